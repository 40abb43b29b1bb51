"""What each variant did, frozen: series per step and per epoch, weights, a table."""

import dataclasses
import types

import numpy as np

FINISHED, DIVERGED, FAILED, INTERRUPTED = (
    "finished",
    "diverged",
    "failed",
    "interrupted",
)
VECTORIZED, SHARED_TRACE, FIT = "vectorized", "shared trace", "fit"
SERIES = ("loss", "penalty", "gradient_norm", "clipped_norm", "learning_rate")
_CHANGED = 1e-6  # relative; float32 carries seven digits


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """What one variant did.

    Attributes:
        name: str.
        status: "finished", "diverged" (the loss became NaN or infinite and stayed
            so), "failed" (an exception) or "interrupted".
        reason: str, why it is not finished; empty when it is.
        path: "vectorized" (together with others as one), "shared trace" (one after
            the other through one traced step), "fit" (Keras's own) or empty.
        why: str, why it took no faster path; empty on the fastest.
        together: int, how many variants ran as one.
        seconds: float, its share of the wall time, tracing included.
        loss: float32 `(steps,)`, each batch's own loss with all penalties, as Keras
            computes it. Ends with the first bad value of a variant that diverged.
        penalty: float32 `(steps,)`, the part of the loss that penalizes kernels.
        gradient_norm: float32 `(steps,)`, joint norm of all gradients before clipping.
        clipped_norm: float32 `(steps,)`, the same after clipping, 0 for a step that
            the clip left out.
        learning_rate: float32 `(steps,)`.
        epochs: Mapping of name -> float64 `(epochs,)`: `loss`, compiled metrics, and
            the same with `val_` before it for the validation data, as many as there
            were evaluations.
    """

    name: str
    status: str
    reason: str
    path: str
    why: str
    together: int
    seconds: float
    loss: np.ndarray
    penalty: np.ndarray
    gradient_norm: np.ndarray
    clipped_norm: np.ndarray
    learning_rate: np.ndarray
    epochs: types.MappingProxyType

    @property
    def data_loss(self):
        """float32 `(steps,)`, the loss without the kernels' penalty."""
        return self.loss - self.penalty

    @property
    def share_clipped(self):
        """float, share of the steps in which clipping changed the gradients' norm."""
        if not len(self.loss):
            return 0.0
        raw, clipped = self.gradient_norm, self.clipped_norm
        same = np.isclose(clipped, raw, rtol=_CHANGED, atol=0, equal_nan=True)
        return float(np.mean(~same))


def make_record(name, series, epoch_logs, *, interrupted, error, **how):
    """Makes a record out of what was measured.

    Args:
        name: str.
        series: Dict of the `SERIES`, arrays `(steps,)`.
        epoch_logs: List per epoch of dict name -> float.
        interrupted: bool, whether the run was stopped before its end.
        error: Exception that ended it, or None.
        **how: `path`, `why`, `together` and `seconds` of the `Record`.

    Returns:
        `Record`.
    """
    status, reason = FINISHED, ""
    bad = _first_of_the_bad_end(series["loss"])
    if error is not None:
        status, reason = FAILED, describe(error)
    elif bad is not None:
        where = ""
        if epoch_logs and len(series["loss"]) >= len(epoch_logs):
            per_epoch = -(-len(series["loss"]) // len(epoch_logs))
            where = f", epoch {bad // per_epoch}"
        status = DIVERGED
        reason = f"loss is {series['loss'][bad]} from step {bad}{where} on"
        series = {key: values[: bad + 1] for key, values in series.items()}
    elif interrupted:
        status, reason = INTERRUPTED, f"stopped after {len(series['loss'])} steps"
    names = dict.fromkeys(name for logs in epoch_logs for name in logs)
    epochs = {n: np.array([e[n] for e in epoch_logs if n in e]) for n in names}
    series = {key: np.asarray(values, "float32") for key, values in series.items()}
    return Record(
        name=name,
        status=status,
        reason=reason,
        epochs=types.MappingProxyType(epochs),
        **series,
        **how,
    )


def empty_record(name, *, error=None, interrupted=False):
    """Makes the record of a variant that never took a step.

    Args:
        name: str.
        error: Exception that kept it from starting, or None.
        interrupted: bool, whether the run was stopped before its turn.

    Returns:
        `Record` with empty series.
    """
    return make_record(
        name,
        {key: np.zeros(0, "float32") for key in SERIES},
        [],
        interrupted=interrupted,
        error=error,
        path="",
        why="",
        together=0,
        seconds=0.0,
    )


def describe(error):
    """Says in one line what went wrong.

    Args:
        error: Exception.

    Returns:
        str, its class and the first line of its message.
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _first_of_the_bad_end(loss):
    good = np.flatnonzero(np.isfinite(loss))
    first = int(good[-1]) + 1 if len(good) else 0
    return first if first < len(loss) else None

"""What a run leaves behind, and the file it can be kept in."""

import dataclasses
import json

import numpy as np

from workbench.clipping import read_record
from workbench.files import atomic_write
from workbench.reports import Note, Report, Table, format_seconds
from workbench.steps import StepRecords


@dataclasses.dataclass(frozen=True)
class Change:
    """A value that was changed while the model trained.

    Attributes:
        step: int, the first step that used the new value.
        name: str, such as "learning_rate".
        old: float, the value before.
        new: float, or None where the value was given back to the schedule.
        by: "hand" for `Run.set`; "callback" for what was assigned to the optimizer.
        schedule: str, the class of the schedule that was set, `new` being its first
            rate; empty for a number.
    """

    step: int
    name: str
    old: float
    new: float | None
    by: str = "hand"
    schedule: str = ""


@dataclasses.dataclass(frozen=True)
class LayerRecords:
    """What clipping did to each variable's gradient, step by step.

    A step that was skipped holds NaN. Long runs are thinned: `step` says which.

    Attributes:
        paths: Tuple of V str, the paths of the trained variables.
        step: int64 `(S,)`, from 1.
        norm_before: float32 `(S, V)`, the norms of the raw gradients.
        norm_after: float32 `(S, V)`, the norms of what the optimizer got.
        clipped: bool `(S, V)`, whether the norm changed.
        cosine: float32 `(S, V)`, of the angle between the two.
    """

    paths: tuple
    step: np.ndarray
    norm_before: np.ndarray
    norm_after: np.ndarray
    clipped: np.ndarray
    cosine: np.ndarray

    @classmethod
    def from_raw(cls, paths, step, raw):
        """Decodes what `ClippedOptimizer.step_record` held, `(S, 3, V)`."""
        before, after, clipped, cosine = np.moveaxis(read_record(raw), -1, 0)
        clipped = np.isfinite(before) & (clipped > 0)
        return cls(paths, step, before, after, clipped, cosine)


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        state: str: "ready", "running", "paused", "finished", "stopped" or "failed".
        step: int, steps done.
        total_steps: int, or None while the length of the data is not known.
        epoch: int, the current epoch, from 1.
        epochs: int.
        seconds: float, training time so far, pauses left out.
        seconds_left: float, or None where it cannot be told.
        logs: dict name -> float, the newest metrics as Keras logs them: running
            means over the epoch, and `val_…` of the last validation.
    """

    state: str
    step: int
    total_steps: int | None
    epoch: int
    epochs: int
    seconds: float
    seconds_left: float | None
    logs: dict

    def __str__(self):
        total = "?" if self.total_steps is None else self.total_steps
        text = f"{self.state}: step {self.step} of {total}"
        text += f", epoch {self.epoch} of {self.epochs}"
        if self.seconds_left is not None and self.state in ("running", "paused"):
            text += f", {format_seconds(self.seconds_left)} left"
        return text


@dataclasses.dataclass(frozen=True)
class SavedRun(Report):
    """A run's records, read back from a file.

    Attributes:
        records: `StepRecords`.
        changes: Tuple of `Change`.
        history: dict name -> list of float, one per epoch, as Keras's History.
    """

    records: StepRecords
    changes: tuple
    history: dict

    def blocks(self):
        """Returns the report's content: one row per epoch, then the changes."""
        yield Note(f"{len(self.records)} steps")
        epochs = range(max(map(len, self.history.values()), default=0))
        rows = [
            (str(i + 1), *(f"{values[i]:.4f}" for values in self.history.values()))
            for i in epochs
        ]
        yield Table(("epoch", *self.history), tuple(rows))
        for change in self.changes:
            yield Note(f"step {change.step}: {change.name} {change.old} → {change.new}")


def save_records(filepath, records, changes, history):
    """Writes a run's records as an `.npz` without pickled objects.

    Args:
        filepath: str or path; an existing file is replaced once the new one is whole.
        records: `StepRecords`.
        changes: Iterable of `Change`.
        history: dict name -> list of numbers, one per epoch.
    """
    rest = {
        "changes": [dataclasses.asdict(change) for change in changes],
        "history": {name: [float(v) for v in vs] for name, vs in history.items()},
    }
    arrays = {f.name: getattr(records, f.name) for f in dataclasses.fields(records)}
    with atomic_write(filepath) as file:
        np.savez_compressed(file, rest=np.array(json.dumps(rest)), **arrays)


def load_records(filepath):
    """Reads what `Run.save` wrote.

    Args:
        filepath: str or path of the file.

    Returns:
        `SavedRun`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds something else.
    """
    try:
        with np.load(filepath, allow_pickle=False) as arrays:
            rest = json.loads(str(arrays["rest"]))
            names = [field.name for field in dataclasses.fields(StepRecords)]
            records = StepRecords(**{name: arrays[name] for name in names})
    except FileNotFoundError:
        raise
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(
            "`filepath` must be a file that `Run.save` wrote; inspect it with "
            f"`numpy.load`. Received: filepath={filepath}"
        ) from error
    changes = tuple(Change(**change) for change in rest["changes"])
    return SavedRun(records, changes, rest["history"])

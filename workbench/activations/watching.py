"""Statistics of activations while the model trains."""

import keras
import numpy as np

from workbench.activations import arrays
from workbench.activations.statistics import statistics

_KNOWN = (
    "mean",
    "deviation",
    "zeros",
    "saturated",
    "dead_share",
    "nan",
    "inf",
)


class RecordActivations(keras.callbacks.Callback):
    """Records statistics of layers' outputs every few steps of `fit` or of a `Run`.

    The same inputs are measured each time, by `workbench.activations.statistics`, and
    training goes on as without it, bit for bit. `points` shows in the `TrainingMonitor`
    of a run beside its metrics.

    Attributes:
        step: int64 `(S,)`, the steps after which it was measured, from 1.
        points: dict "statistic path" -> list of `(step, value)`, such as
            "dead_share conv2d".

    Args:
        x: What is measured: one batch or arrays, as `capture` takes them.
        layers: As for `capture`.
        statistics: str or sequence of str: "mean", "deviation", "zeros", "saturated",
            "dead_share", "nan", "inf".
        every: Positive int, steps between two measurements.
        batch_size: int, samples per pass.
        training: Whether the model is called as in training.

    Raises:
        ValueError: If a statistic is not known or `every` is out of range.
    """

    def __init__(
        self,
        x,
        layers=None,
        *,
        statistics=("mean", "deviation", "dead_share"),
        every=100,
        batch_size=256,
        training=False,
    ):
        super().__init__()
        names = (statistics,) if isinstance(statistics, str) else tuple(statistics)
        unknown = sorted(set(names) - set(_KNOWN))
        if unknown or not names:
            raise ValueError(
                f"`statistics` must hold some of {', '.join(_KNOWN)}. Received: "
                f"statistics={statistics!r}"
            )
        if every < 1:
            raise ValueError(f"`every` must be >= 1 (steps). Received: {every=}")
        if arrays.is_batched(x) and hasattr(x, "__next__"):
            raise ValueError(
                "`x` must be something that can be read again, such as an array. "
                f"Received: x={x!r}"
            )
        self.points = {}
        self._names = names
        self._every = every
        self._step = 0
        self._steps = []
        self._arguments = (x, layers), {"batch_size": batch_size, "training": training}

    @property
    def step(self):
        """See the class."""
        return np.array(self._steps, "int64")

    def values(self, statistic):
        """Returns one statistic of all layers.

        Args:
            statistic: str.

        Returns:
            dict path -> float64 array of shape `(S,)`.
        """
        if statistic not in self._names:
            raise ValueError(
                f"`statistic` must be one of {', '.join(self._names)}, which were "
                f"recorded. Received: {statistic=}"
            )
        start = f"{statistic} "
        return {
            name.removeprefix(start): np.array([value for _, value in points])
            for name, points in self.points.items()
            if name.startswith(start)
        }

    def on_train_batch_end(self, batch, logs=None):
        """Counts, and measures when it is time."""
        self._step += 1
        if self._step % self._every:
            return
        positional, keywords = self._arguments
        found = statistics(self.model, *positional, histograms=False, **keywords)
        for name in self._names:
            for path, layer in found.items():
                value = float(getattr(layer, name))
                points = self.points.setdefault(f"{name} {path}", [])
                points.append((self._step, value))
        self._steps.append(self._step)

"""What each step did, collected while it trains, read as arrays."""

import dataclasses
import threading

import numpy as np


@dataclasses.dataclass(frozen=True)
class StepRecords:
    """What each training step did, one entry per step.

    Attributes:
        step: int64 `(S,)`, 1 for the run's first step.
        loss: float64 `(S,)`, the batch's own loss, penalties included; NaN where the
            model's `train_step` never calls `compute_loss`.
        learning_rate: float64 `(S,)`, the rate this step used.
        gradient_norm: float64 `(S,)`, Euclidean norm over all gradients, before any
            clipping.
        seconds: float64 `(S,)`, wall time of the step.
    """

    step: np.ndarray
    loss: np.ndarray
    learning_rate: np.ndarray
    gradient_norm: np.ndarray
    seconds: np.ndarray

    def __len__(self):
        return len(self.step)


class Recorder:
    """Collects rows from the training thread; snapshots can be taken in any thread."""

    _NAMES = ("loss", "learning_rate", "gradient_norm", "seconds")

    def __init__(self):
        self._rows = np.empty((256, len(self._NAMES)))
        self._count = 0
        self._lock = threading.Lock()

    def __len__(self):
        return self._count

    def append(self, loss, learning_rate, gradient_norm, seconds):
        """Adds one step; float each, `seconds` in seconds."""
        with self._lock:
            if self._count == len(self._rows):
                self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._rows[self._count] = loss, learning_rate, gradient_norm, seconds
            self._count += 1

    def snapshot(self):
        """Copies what there is.

        Returns:
            `StepRecords`; later steps do not change it.
        """
        with self._lock:
            rows = self._rows[: self._count].T.copy()
        columns = dict(zip(self._NAMES, rows, strict=True))
        return StepRecords(step=np.arange(1, rows.shape[1] + 1), **columns)

    def get_state(self):
        """Copies the rows, float64 `(S, 4)`."""
        with self._lock:
            return self._rows[: self._count].copy()

    def set_state(self, rows):
        """Holds these rows instead of its own, as `get_state` gave them."""
        with self._lock:
            self._rows, self._count = np.array(rows), len(rows)


class LayerRecorder:
    """Keeps one array per step, in bounded memory: when full, every other is dropped.

    Args:
        most: int, arrays kept at most.
    """

    def __init__(self, most=8192):
        self._most = most
        self._stride = 1
        self._steps = []
        self._arrays = []
        self._lock = threading.Lock()

    def append(self, step, array):
        """Keeps `array` of step `step`, an int from 1, unless it is thinned out."""
        with self._lock:
            if (step - 1) % self._stride:
                return
            self._steps.append(step)
            self._arrays.append(array)
            if len(self._steps) > self._most:
                self._stride *= 2
                kept = [
                    i for i, s in enumerate(self._steps) if not (s - 1) % self._stride
                ]
                self._steps = [self._steps[i] for i in kept]
                self._arrays = [self._arrays[i] for i in kept]

    def snapshot(self):
        """Copies what there is.

        Returns:
            `(steps, arrays)`: int64 `(S,)` and an array `(S, …)`; None where nothing
            was kept.
        """
        with self._lock:
            if not self._steps:
                return None
            return np.array(self._steps), np.stack(self._arrays)

    def get_state(self):
        """Copies what there is: `{"stride": int, "steps": list, "arrays": array}`."""
        kept = self.snapshot() or ([], None)
        return {"stride": self._stride, "steps": list(kept[0]), "arrays": kept[1]}

    def set_state(self, state):
        """Holds what `get_state` gave instead of its own."""
        with self._lock:
            self._stride = state["stride"]
            self._steps = [int(step) for step in state["steps"]]
            self._arrays = [] if state["arrays"] is None else list(state["arrays"])

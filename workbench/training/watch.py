"""The callbacks of a run: one that reads what steps did, one that obeys."""

import math
import time

import keras

from workbench.steps import LayerRecorder, Recorder
from workbench.training.records import Change, Progress
from workbench.training.values import LearningRate, Threshold

_SECONDS_BETWEEN_LOGS = 0.1


class Watch(keras.callbacks.Callback):
    """Reads after each step, before any other callback.

    It runs in the training thread; what it collects may be read from any thread.

    Args:
        control: `Control`, asked to pause when a step was not finite.
    """

    def __init__(self, control):
        super().__init__()
        self.hook = None
        self.recorder = Recorder()
        self.layers = LayerRecorder()
        self.points = {}
        self.problem = None
        self.begun = None
        self._control = control
        self._epoch = 0
        self._seconds = 0.0
        self._logs = {}
        self._logs_read = -math.inf

    def progress(self, state, epochs):
        """Returns `Progress`; `state` str and `epochs` int are the run's."""
        step = len(self.recorder)
        per_epoch = (self.params or {}).get("steps")
        total = left = None
        if per_epoch:
            total = per_epoch * epochs
            left = max(total - step, 0) * self._seconds / step if step else None
        logs = dict(self._logs)
        return Progress(
            state, step, total, self._epoch, epochs, self._seconds, left, logs
        )

    def on_epoch_begin(self, epoch, logs=None):
        """Counts."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        """Reads the rows of the steps done; there are several per execution."""
        steps = self.hook.read()
        seconds = time.perf_counter() - self.begun
        self._seconds += seconds
        for step in steps:
            self.recorder.append(
                step.loss, step.learning_rate, step.gradient_norm, seconds / len(steps)
            )
            if step.problem and self.problem is None:
                self.problem = f"step {len(self.recorder)}: {step.problem}"
                self._control.request(pause=True)
        layers = self.hook.read_layers()
        if layers is not None:
            if steps[-1].problem:
                layers[:] = float("nan")  # that step was never clipped
            self.layers.append(len(self.recorder), layers)
        now = time.perf_counter()
        if now - self._logs_read > _SECONDS_BETWEEN_LOGS:
            self._logs_read = now
            self._read(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Reads the epoch's metrics, validation included."""
        self._read(logs)

    def _read(self, logs):
        step = len(self.recorder)
        for name, value in (logs or {}).items():
            self._logs[name] = float(value)
            self.points.setdefault(name, []).append((step, float(value)))


class Gate(keras.callbacks.Callback):
    """Between two steps, after all other callbacks: stands still, sets values.

    Args:
        control: `Control`, what the reader asks for.
        watch: `Watch` of the same run.
        clipped: `ClippedOptimizer` of the run, or None.
    """

    def __init__(self, control, watch, clipped):
        super().__init__()
        self.changes = []
        self._values = {"learning_rate": LearningRate(watch)}
        if clipped is not None and clipped.threshold is not None:
            self._values["clip"] = Threshold(clipped)
        self._control = control
        self._watch = watch

    def check(self, name, value):
        """Raises ValueError unless `value` may be set under `name`."""
        if name not in self._values:
            hint = ""
            if name == "clip":
                hint = "; a threshold needs `Run(…, clip=ByGlobalNorm(1.0))`, say"
            raise ValueError(
                f"`name` must be one of {sorted(self._values)}{hint}. Received: {name=}"
            )
        if value is not None:
            self._values[name].check(value)

    def on_train_begin(self, logs=None):
        """Remembers the values it began with."""
        for value in self._values.values():
            value.begin()
        self._obey()

    def on_train_batch_begin(self, batch, logs=None):
        """Stands still if asked to, then sets what was asked for."""
        self._obey()
        for name, wanted in self._control.take().items():
            old = self._values[name].read()
            new = self._values[name].write(wanted)
            step = len(self._watch.recorder) + 1
            self.changes.append(Change(step, name, old, new))
        self._watch.begun = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Stands still or ends if asked to."""
        self._obey()

    def on_test_batch_begin(self, batch, logs=None):
        """Stands still if asked to, in validation too."""
        self._obey()

    def _obey(self):
        if self._control.block_while_paused():
            self.model.stop_training = True

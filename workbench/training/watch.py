"""The callbacks of a run: one that reads what steps did, one that obeys."""

import dataclasses
import math
import time

import keras
import numpy as np

from workbench.steps import LayerRecorder, Recorder, settings_of
from workbench.training.records import Change, Progress
from workbench.training.values import (
    LearningRate,
    Penalty,
    Setting,
    Threshold,
    number_of,
)

_SECONDS_BETWEEN_LOGS = 0.1


class Watch(keras.callbacks.Callback):
    """Reads after each step, before any other callback.

    It runs in the training thread; what it collects may be read from any thread.

    Args:
        control: `Control`, asked to pause when a step was not finite.
        optimizer: Keras optimizer that applies the gradients itself.
        others: Iterable of the run's other callbacks.
    """

    def __init__(self, control, optimizer, others=()):
        super().__init__()
        self.optimizer = optimizer
        self.hook = None
        self.recorder = Recorder()
        self.layers = LayerRecorder()
        self.points = {}
        self.others = tuple(others)
        self.problem = None
        self.begun = None
        self.last_rate = math.nan
        self._control = control
        self._epoch = 0
        self._seconds = 0.0
        self._logs = {}
        self._logs_read = -math.inf

    @property
    def iterations(self):
        """int, steps that the optimizer has done in its life."""
        return int(self.optimizer._iterations.numpy())

    @property
    def steps_left(self):
        """int, or None while the length of the data is not known."""
        params = self.params or {}
        if not params.get("steps"):
            return None
        return params["steps"] * params["epochs"] - len(self.recorder)

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

    def all_points(self):
        """Returns the metrics, and the `points` of other callbacks that have some."""
        points = dict(self.points)
        for callback in self.others:
            points |= getattr(callback, "points", {})
        return {name: list(values) for name, values in points.items()}

    def on_epoch_begin(self, epoch, logs=None):
        """Counts."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        """Reads the rows of the steps done; there are several per execution."""
        steps = self.hook.read()
        seconds = time.perf_counter() - self.begun
        self._seconds += seconds
        if steps:
            self.last_rate = steps[-1].learning_rate
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

    def get_state(self):
        """Returns what was read so far, for a later process."""
        return {
            "records": self.recorder.get_state(),
            "layers": self.layers.get_state(),
            "points": {name: np.array(p) for name, p in self.points.items()},
            "now": (self.last_rate, self._epoch, self._seconds, self._logs),
        }

    def set_state(self, state):
        """Takes over what `get_state` returned."""
        self.recorder.set_state(state["records"])
        self.layers.set_state(state["layers"])
        self.points = {
            name: [(int(step), value) for step, value in points.tolist()]
            for name, points in state["points"].items()
        }
        self.last_rate, self._epoch, self._seconds, self._logs = state["now"]

    def _read(self, logs):
        step = len(self.recorder)
        for name, value in (logs or {}).items():
            self._logs[name] = float(value)
            self.points.setdefault(name, []).append((step, float(value)))


class RatedHistory(keras.callbacks.History):
    """Keras's History, with the learning rate of each epoch's last step.

    Args:
        watch: `Watch` of the run.
    """

    def __init__(self, watch):
        super().__init__()
        self._watch = watch

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the metrics, and the rate under the name that Keras's callbacks use."""
        rates = {"learning_rate": self._watch.last_rate}
        super().on_epoch_end(epoch, rates | (logs or {}))


class Gate(keras.callbacks.Callback):
    """Between two steps, after all other callbacks: stands still, sets values.

    Args:
        control: `Control`, what the reader asks for.
        watch: `Watch` of the same run.
        clipped: `ClippedOptimizer` of the run, or None.
        strengths: List of the live strengths of the model's penalties.
    """

    def __init__(self, control, watch, clipped, strengths=()):
        super().__init__()
        self.changes = []
        self.end = None  # set by the run: ends the training
        self.wishes = []  # (step, name, value) by hand, schedules as they came
        self._values = {"learning_rate": LearningRate(watch)}
        for name in settings_of(watch.optimizer):
            self._values[name] = Setting(watch, name)
        if clipped is not None and clipped.threshold is not None:
            self._values["clip"] = Threshold(clipped)
        if len(strengths) == 1:
            self._values["penalty"] = Penalty(strengths[0])
        self._control = control
        self._watch = watch
        self._has_begun = False

    def checked(self, name, value):
        """Returns `value` as it is kept; ValueError unless `name` may be set to it."""
        if name not in self._values:
            hint = ""
            if name == "momentum":
                hint = (
                    "; a momentum needs one above 0 in `compile`, such as `SGD(0.1, "
                    "momentum=0.9)`: only then Keras makes the velocities"
                )
            if name == "clip":
                hint = "; a threshold needs `Run(…, clip=ByGlobalNorm(1.0))`, say"
            if name == "penalty":
                hint = (
                    "; a strength needs one `workbench.regularization.set_penalty("
                    "model, …)` before the run"
                )
            raise ValueError(
                f"`name` must be one of {sorted(self._values)}{hint}. Received: {name=}"
            )
        if value is None:
            return None
        if name != "learning_rate" or not callable(value):
            value = number_of(name, value)
        self._values[name].check(value)
        return value

    def rate(self, waiting):
        """Returns the rate of the next step, float.

        Args:
            waiting: What will be set before it, or None.
        """
        return self._values["learning_rate"].peek(waiting)

    def assign_rate(self, value):
        """Takes what something, say a callback, assigned to the optimizer's rate."""
        self._change("learning_rate", self.checked("learning_rate", value), "callback")

    def on_train_begin(self, logs=None):
        """Remembers the values it began with."""
        for value in self._values.values():
            value.begin()
        self._has_begun = True
        self._obey()

    def on_train_batch_begin(self, batch, logs=None):
        """Stands still if asked to, then sets what was asked for."""
        self._obey()
        for name, wanted in self._watch.hook.live.assigned().items():
            self._change(name, self.checked(name, wanted), "callback")
        for name, wanted in self._control.take().items():
            self._change(name, wanted, "hand")
        self._watch.begun = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Stands still or ends if asked to."""
        self._obey()

    def on_test_batch_begin(self, batch, logs=None):
        """Stands still if asked to, in validation too."""
        self._obey()

    def _change(self, name, wanted, by):
        old = self._values[name].read()
        # A number that ends a schedule is a change, even where it is the same number.
        ends = name == "learning_rate" and self._watch.hook.live.follows_schedule
        new = self._values[name].write(wanted)
        step = len(self._watch.recorder) + 1
        if by == "hand":
            self.wishes.append((step, name, wanted))
        if by == "hand" or new != old or ends:
            schedule = type(wanted).__name__ if callable(wanted) else ""
            self.changes.append(Change(step, name, old, new, by, schedule))

    def get_state(self):
        """Returns what was changed so far, for a later process."""
        return {
            "changes": [dataclasses.astuple(change) for change in self.changes],
            "values": {name: v.get_state() for name, v in self._values.items()},
        }

    def set_state(self, state):
        """Takes over what `get_state` returned."""
        self.changes = [Change(*change) for change in state["changes"]]
        for name, value in state["values"].items():
            self._values[name].set_state(value)

    def give_back(self):
        """Undoes what was set, before the training goes on from a checkpoint."""
        for value in self._values.values() if self._has_begun else ():
            value.give_back()

    def _obey(self):
        if self._control.block_while_paused():
            self.end()

"""The values that can be changed while a model trains."""

import dataclasses
import math

import tensorflow as tf

from workbench.schedules import sample_schedule

_STEPS_IF_UNKNOWN = 100_000  # of a schedule; its last rate holds on
_SHARE = ("a number in [0, 1)", lambda value: 0 <= value < 1)
_RANGES = {
    "momentum": ("a number in [0, 1]", lambda value: 0 <= value <= 1),
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "rho": _SHARE,
    "weight_decay": ("a number >= 0", lambda value: value >= 0),
}


def number_of(name, value):
    """Returns `value` as float; TypeError if it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` must be a number, or None for the value at the start. "
            f"Received: {name}={value!r}"
        ) from error


class _Value:
    """What the values that are numbers share."""

    _start = None

    def begin(self):
        """Remembers the value at the start."""
        self._start = self.read()

    def get_state(self):
        """Returns the start and the value of now, for a later process."""
        return {"start": self._start, "now": self.read()}

    def set_state(self, state):
        """Takes over what `get_state` returned."""
        self._start = state["start"]
        if self.read() != state["now"]:
            self.write(state["now"])

    def give_back(self):
        """Undoes what was set, between two trainings."""
        self.write(None)


class LearningRate(_Value):
    """The learning rate, whether a number or a schedule makes it.

    Args:
        watch: `Watch` of the run.
    """

    def __init__(self, watch):
        self._watch = watch

    def check(self, value):
        """Raises ValueError unless `value` may be set."""
        if callable(value):
            self._rates_of(value)
        elif not (math.isfinite(value) and value >= 0):
            raise ValueError(
                "`learning_rate` must be a finite number >= 0, a LearningRateSchedule, "
                f"or None. Received: learning_rate={value}"
            )

    def read(self):
        """Returns the value of the next step, float."""
        return self._watch.hook.live.read_rate()

    def peek(self, waiting):
        """Returns the value of the next step, `waiting` being what will be set."""
        optimizer, hook = self._watch.optimizer, self._watch.hook
        if callable(waiting):
            return float(tf.convert_to_tensor(waiting(optimizer._iterations)))
        if waiting is not None:
            return waiting
        if hook is not None:
            return hook.live.read_rate()
        return float(tf.convert_to_tensor(optimizer.learning_rate))

    def write(self, value):
        """Sets it, None for the start's; returns what is recorded as new."""
        live = self._watch.hook.live
        if callable(value):
            live.write_rate(self._rates_of(value))
            return self.read()
        if value is None and live.rate_is_variable:
            value = self._start
        live.write_rate(value)
        return value

    def get_state(self):
        """Returns the start, and what was set by hand, for a later process."""
        return {"start": self._start, "rates": self._watch.hook.live.rates}

    def set_state(self, state):
        """Takes over what `get_state` returned."""
        self._start = state["start"]
        self._watch.hook.live.rates = state["rates"]

    def give_back(self):
        """Does nothing: the optimizer keeps its rate, and what is by hand ends."""

    def _rates_of(self, schedule):
        # As an optimizer would, it counts all the steps that the optimizer has done.
        done, left = self._watch.iterations, self._watch.steps_left
        steps = _STEPS_IF_UNKNOWN if left is None else max(left, 1)
        return sample_schedule(schedule, done + steps)


class Setting(_Value):
    """A setting that Keras's optimizers keep as a number: momentum, betas, decay.

    Args:
        watch: `Watch` of the run.
        name: str, such as "momentum".
    """

    def __init__(self, watch, name):
        self._watch = watch
        self._name = name

    def check(self, value):
        """Raises ValueError unless `value` may be set."""
        must, holds = _RANGES[self._name]
        if not (math.isfinite(value) and holds(value)):
            raise ValueError(
                f"`{self._name}` must be {must}, or None for the value at the start. "
                f"Received: {self._name}={value}"
            )

    def read(self):
        """Returns the value of the next step: float, or None for no weight decay."""
        return self._watch.hook.live.read(self._name)

    def write(self, value):
        """Sets it, None for the start's; returns what is recorded as new."""
        value = self._start if value is None else value
        self._watch.hook.live.write(self._name, value)
        return value

    def give_back(self):
        """Undoes what was set, between two trainings."""
        setattr(self._watch.optimizer, self._name, self._start)


class Threshold(_Value):
    """The threshold of a clip method."""

    def __init__(self, clipped):
        self._clipped = clipped

    def check(self, value):
        """Raises ValueError unless `value` may be set."""
        clip = self._clipped.clip
        dataclasses.replace(clip, **{clip.threshold: value})

    def read(self):
        """Returns the value of the next step, float."""
        return float(self._clipped.threshold.numpy())

    def write(self, value):
        """Sets it, None for the start's; returns what is recorded as new."""
        value = self._start if value is None else value
        self._clipped.threshold = value
        return value


class Penalty(_Value):
    """The strength of the penalty that `set_penalty` put on the model.

    Args:
        strength: `workbench.regularization.live.Strength`.
    """

    def __init__(self, strength):
        self._strength = strength
        self._plain = {}

    def check(self, value):
        """Raises ValueError unless `value` may be set."""
        self._strength.check(value)

    def read(self):
        """Returns the value of the next step, float."""
        return self._strength.value

    def write(self, value):
        """Sets it, None for the start's; returns what is recorded as new."""
        value = self._start if value is None else value
        self._strength.assign(value)
        return value

    def begin(self):
        """Remembers the value at the start."""
        super().begin()
        self._plain = dict(vars(self._strength.plain))

    def give_back(self):
        """Undoes what was set, to the last digit: the variable has fewer."""
        super().give_back()
        vars(self._strength.plain).update(self._plain)

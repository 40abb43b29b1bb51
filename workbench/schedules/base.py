"""The base of the schedules: checked fields, float64 inside, saved with the model."""

import dataclasses
import math
import numbers
from typing import ClassVar

import keras
import tensorflow as tf

RATE = ("a finite number >= 0", lambda value: value >= 0)
POSITIVE = ("a positive finite number", lambda value: value > 0)
FRACTION = ("a number in [0, 1]", lambda value: 0 <= value <= 1)
STEPS = ("an int >= 0 (steps)", lambda value: value >= 0 and value == int(value))
SOME_STEPS = ("an int >= 1 (steps)", lambda value: value >= 1 and value == int(value))

register = keras.saving.register_keras_serializable(package="workbench")


def check_number(name, value, rule):
    """Raises ValueError unless `value` is a finite number that keeps the rule.

    Args:
        name: str, the argument.
        value: What arrived.
        rule: `(must, holds)`: str and function of the value.
    """
    must, holds = rule
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and holds(value)):
        raise ValueError(f"`{name}` must be {must}. Received: {name}={value!r}")


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base: a frozen dataclass whose fields are the configuration.

    Rates are computed in float64 and rounded once, so that the small end of a cosine
    keeps its digits.
    """

    rules: ClassVar[dict] = {}

    def __post_init__(self):
        for name, rule in self.rules.items():
            check_number(name, getattr(self, name), rule)

    def __call__(self, step):
        """Computes the rate of a step.

        Args:
            step: Scalar int tensor or Keras variable, 0 for the first update.

        Returns:
            Scalar tensor of Keras's default float type.
        """
        rate = self.rate(tf.cast(step, tf.float64))
        return tf.cast(rate, keras.config.floatx())

    def rate(self, step):
        """Computes the rate from a float64 step, as float64."""
        raise NotImplementedError

    def get_config(self):
        """Returns the fields as a dict, for Keras."""
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields}


def linear(start, end, share):
    """Goes from `start` to `end` as `share`, float64, goes from 0 to 1."""
    return start + (end - start) * share


def cosine(start, end, share):
    """Goes from `start` to `end` along half a cosine."""
    return end + (start - end) * (1.0 + tf.cos(math.pi * share)) / 2.0

"""Schedules made of others: warmup before any, pieces in a row, pieces by epochs."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from workbench.schedules.base import (
    RATE,
    SOME_STEPS,
    STEPS,
    Schedule,
    check_number,
    linear,
    register,
)

_KERAS = keras.optimizers.schedules.LearningRateSchedule


def _check_part(name, part):
    if isinstance(part, _KERAS):
        return
    check_number(
        name, part, ("a LearningRateSchedule or a finite number >= 0", RATE[1])
    )


def _rate_of(part, step):
    """The rate of a schedule or number at a float64 step."""
    if isinstance(part, _KERAS):
        return tf.cast(part(tf.cast(step, tf.int64)), tf.float64)
    return tf.cast(part, tf.float64)


class _OfParts(Schedule):
    """Base of those whose fields hold schedules."""

    def get_config(self):
        """Returns the fields as a dict, for Keras."""
        return {
            name: keras.saving.serialize_keras_object(value)
            for name, value in super().get_config().items()
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Creates the schedule that `get_config` described."""
        revive = keras.saving.deserialize_keras_object
        return cls(**{name: revive(v, custom_objects) for name, v in config.items()})


@register
@dataclasses.dataclass(frozen=True)
class Warmup(_OfParts):
    """Goes up in a line to a schedule's first rate, then follows it from its step 0.

    Attributes:
        schedule: `keras.optimizers.schedules.LearningRateSchedule` or a number.
        warmup_steps: int >= 0.
        initial_learning_rate: Number >= 0, where the line starts.

    Source: Goyal et al. 2017 (arXiv:1706.02677), section 2.2.
    """

    schedule: Any
    warmup_steps: int
    initial_learning_rate: float = 0.0
    rules: ClassVar[dict] = {"warmup_steps": STEPS, "initial_learning_rate": RATE}

    def __post_init__(self):
        super().__post_init__()
        _check_part("schedule", self.schedule)

    def rate(self, step):
        """See `Schedule.rate`."""
        later = tf.maximum(step - self.warmup_steps, 0.0)
        rate = _rate_of(self.schedule, later)
        if not self.warmup_steps:
            return rate
        # Before its step 0 the schedule stands at it, so `rate` is where the line ends.
        up = linear(self.initial_learning_rate, rate, step / self.warmup_steps)
        return tf.where(step < self.warmup_steps, up, rate)


@register
@dataclasses.dataclass(frozen=True)
class Joined(_OfParts):
    """Follows one schedule after the other, each from its own step 0.

    Attributes:
        schedules: Sequence of P schedules or numbers.
        boundaries: Sequence of P - 1 ints, in steps, increasing: the first step of the
            second piece, of the third, and so on.

    Source: `optax.join_schedules`.
    """

    schedules: Sequence
    boundaries: Sequence

    def __post_init__(self):
        for name in ("schedules", "boundaries"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for part in self.schedules:
            _check_part("schedules", part)
        for boundary in self.boundaries:
            check_number("boundaries", boundary, SOME_STEPS)
        if len(self.boundaries) != len(self.schedules) - 1:
            raise ValueError(
                "`boundaries` must be one fewer than `schedules`. Received: "
                f"{len(self.boundaries)} boundaries, {len(self.schedules)} schedules"
            )
        _check_increasing("boundaries", self.boundaries, "steps")

    def rate(self, step):
        """See `Schedule.rate`."""
        rate = _rate_of(self.schedules[0], step)
        for boundary, part in zip(self.boundaries, self.schedules[1:], strict=True):
            later = _rate_of(part, tf.maximum(step - boundary, 0.0))
            rate = tf.where(step < boundary, rate, later)
        return rate

    def get_config(self):
        """Returns the fields as a dict of lists, for Keras."""
        serialize = keras.saving.serialize_keras_object
        return {
            "schedules": [serialize(part) for part in self.schedules],
            "boundaries": list(self.boundaries),
        }


def piecewise_by_epochs(learning_rates, epochs, steps_per_epoch):
    """Makes Keras's piecewise constant schedule from epochs instead of steps.

    `piecewise_by_epochs([0.1, 0.01, 0.001, 0.0001], [20, 60, 100], steps)` trains 20
    epochs with 0.1, up to epoch 60 with 0.01, and so on. Keras keeps a value up to and
    including its boundary step, and steps count from 0, so each boundary is the last
    step before the change.

    Args:
        learning_rates: Sequence of P numbers >= 0.
        epochs: Sequence of P - 1 positive numbers, increasing: the epochs trained
            before each change.
        steps_per_epoch: int >= 1, batches per epoch.

    Returns:
        `keras.optimizers.schedules.PiecewiseConstantDecay`.

    Raises:
        ValueError: If an argument is out of range or their lengths do not match.
    """
    check_number("steps_per_epoch", steps_per_epoch, SOME_STEPS)
    for rate in learning_rates:
        check_number("learning_rates", rate, RATE)
    if not len(epochs) or len(epochs) != len(learning_rates) - 1:
        raise ValueError(
            "`epochs` must be one fewer than `learning_rates`, at least one. Received: "
            f"{len(epochs)} epochs, {len(learning_rates)} learning_rates"
        )
    for epoch in epochs:
        check_number("epochs", epoch, ("positive (epochs)", lambda value: value > 0))
    _check_increasing("epochs", epochs, "epochs")
    boundaries = [round(epoch * steps_per_epoch) - 1 for epoch in epochs]
    rates = [float(rate) for rate in learning_rates]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _check_increasing(name, values, unit):
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise ValueError(
            f"`{name}` must increase ({unit}). Received: {name}={list(values)}"
        )

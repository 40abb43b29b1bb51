"""The values that can be changed while a model trains."""

import dataclasses
import math


class LearningRate:
    """The learning rate, whether a number or a schedule made it."""

    def __init__(self, watch):
        self._watch = watch
        self._start = None

    def check(self, value):
        """Raises ValueError unless `value` may be set."""
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                "`learning_rate` must be a finite number >= 0, or None. Received: "
                f"learning_rate={value}"
            )

    def begin(self):
        """Remembers the value at the start."""
        self._start = self.read()

    def read(self):
        """Returns the value of the next step, float."""
        return self._watch.hook.learning_rate()

    def write(self, value):
        """Sets it, None for the start's; returns what is recorded as new."""
        hook = self._watch.hook
        if value is None and hook.rate_is_variable:
            value = self._start
        hook.set_learning_rate(value)
        return value


class Threshold:
    """The threshold of a clip method."""

    def __init__(self, clipped):
        self._clipped = clipped
        self._start = None

    def check(self, value):
        """Raises ValueError unless `value` may be set."""
        clip = self._clipped.clip
        dataclasses.replace(clip, **{clip.threshold: value})

    def begin(self):
        """Remembers the value at the start."""
        self._start = self.read()

    def read(self):
        """Returns the value of the next step, float."""
        return float(self._clipped.threshold.numpy())

    def write(self, value):
        """Sets it, None for the start's; returns what is recorded as new."""
        value = self._start if value is None else value
        self._clipped.threshold = value
        return value

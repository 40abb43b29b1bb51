"""Schedules that Keras lacks: one-cycle, warmup-stable-decay, Noam, triangles."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from workbench.schedules.base import (
    FRACTION,
    POSITIVE,
    RATE,
    SOME_STEPS,
    STEPS,
    Schedule,
    cosine,
    linear,
    register,
)


@register
@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """Up along half a cosine, then down along another, far below the start.

    Attributes:
        maximum_learning_rate: Positive number, the peak.
        total_steps: int >= 1, when the end is reached; it holds from there on.
        warmup_fraction: Number in [0, 1], the share of the steps that go up.
        initial_divisor: Positive number; the first rate is the peak divided by it.
        final_divisor: Positive number; the last is the first divided by it.

    Source: Smith and Topin 2017, "Super-Convergence" (arXiv:1708.07120), in the form
    of `optax.cosine_onecycle_schedule`.
    """

    maximum_learning_rate: float
    total_steps: int
    warmup_fraction: float = 0.3
    initial_divisor: float = 25.0
    final_divisor: float = 1e4
    rules: ClassVar[dict] = {
        "maximum_learning_rate": POSITIVE,
        "total_steps": SOME_STEPS,
        "warmup_fraction": FRACTION,
        "initial_divisor": POSITIVE,
        "final_divisor": POSITIVE,
    }

    def rate(self, step):
        """See `Schedule.rate`."""
        peak = self.maximum_learning_rate
        start = peak / self.initial_divisor
        top = int(self.warmup_fraction * self.total_steps)
        up = cosine(start, peak, step / max(top, 1))
        share = tf.minimum((step - top) / max(self.total_steps - top, 1), 1.0)
        down = cosine(peak, start / self.final_divisor, share)
        return tf.where(step < top, up, down)


_DECAYS = {
    "linear": linear,
    "cosine": cosine,
    "sqrt": lambda start, end, share: linear(start, end, tf.sqrt(share)),
}


@register
@dataclasses.dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """Up in a line, level for as long as you like, down at the end.

    Attributes:
        learning_rate: Positive number, the level.
        warmup_steps: int >= 0.
        stable_steps: int >= 0.
        decay_steps: int >= 1.
        initial_learning_rate: Number >= 0, where the warmup starts.
        end_learning_rate: Number >= 0, reached at the end; it holds from there on.
        decay: "linear", "cosine", or "sqrt": a fall by the root of the share done.

    Source: Hu et al. 2024, "MiniCPM" (arXiv:2404.06395), section 4; the root: Hägele
    et al. 2024 (arXiv:2405.18392), equation 1.
    """

    learning_rate: float
    warmup_steps: int
    stable_steps: int
    decay_steps: int
    initial_learning_rate: float = 0.0
    end_learning_rate: float = 0.0
    decay: str = "linear"
    rules: ClassVar[dict] = {
        "learning_rate": POSITIVE,
        "warmup_steps": STEPS,
        "stable_steps": STEPS,
        "decay_steps": SOME_STEPS,
        "initial_learning_rate": RATE,
        "end_learning_rate": RATE,
    }

    def __post_init__(self):
        super().__post_init__()
        if self.decay not in _DECAYS:
            raise ValueError(
                f"`decay` must be one of {sorted(_DECAYS)}. "
                f"Received: decay={self.decay!r}"
            )

    def rate(self, step):
        """See `Schedule.rate`."""
        level = self.learning_rate
        share = tf.minimum(step / max(self.warmup_steps, 1), 1.0)
        up = linear(self.initial_learning_rate, level, share)
        start = self.warmup_steps + self.stable_steps
        share = tf.clip_by_value((step - start) / self.decay_steps, 0.0, 1.0)
        down = _DECAYS[self.decay](level, self.end_learning_rate, share)
        return tf.where(step < self.warmup_steps, up, down)


@register
@dataclasses.dataclass(frozen=True)
class Noam(Schedule):
    """Up in a line, then down with the root of the step: the Transformer's.

    Attributes:
        d_model: Positive number, the width of the model.
        warmup_steps: int >= 1.
        scale: Positive number that multiplies every rate.

    Source: Vaswani et al. 2017, "Attention Is All You Need" (arXiv:1706.03762),
    equation 3, whose first step is number 1, as here.
    """

    d_model: float
    warmup_steps: int = 4000
    scale: float = 1.0
    rules: ClassVar[dict] = {
        "d_model": POSITIVE,
        "warmup_steps": SOME_STEPS,
        "scale": POSITIVE,
    }

    def rate(self, step):
        """See `Schedule.rate`."""
        number = step + 1.0
        rate = tf.minimum(number**-0.5, number * self.warmup_steps**-1.5)
        return self.scale * self.d_model**-0.5 * rate


@register
@dataclasses.dataclass(frozen=True)
class Triangular(Schedule):
    """Up and down in lines, again and again.

    Attributes:
        initial_learning_rate: Number >= 0, the lower end.
        maximum_learning_rate: Positive number, the upper end of the first cycle.
        half_cycle_steps: int >= 1, the steps from one end to the other.
        decay_rate: Positive number, the height of each cycle in units of the one
            before: 1 keeps it, 0.5 halves it ("triangular2").

    Source: Smith 2017, "Cyclical Learning Rates" (arXiv:1506.01186), section 3.1.
    """

    initial_learning_rate: float
    maximum_learning_rate: float
    half_cycle_steps: int
    decay_rate: float = 1.0
    rules: ClassVar[dict] = {
        "initial_learning_rate": RATE,
        "maximum_learning_rate": POSITIVE,
        "half_cycle_steps": SOME_STEPS,
        "decay_rate": POSITIVE,
    }

    def __post_init__(self):
        super().__post_init__()
        if self.maximum_learning_rate < self.initial_learning_rate:
            raise ValueError(
                "`maximum_learning_rate` must be >= `initial_learning_rate`. Received: "
                f"maximum_learning_rate={self.maximum_learning_rate!r}, "
                f"initial_learning_rate={self.initial_learning_rate!r}"
            )

    def rate(self, step):
        """See `Schedule.rate`."""
        cycle = tf.floor(step / (2 * self.half_cycle_steps))
        place = step / self.half_cycle_steps - 2.0 * cycle
        height = self.maximum_learning_rate - self.initial_learning_rate
        height *= tf.cast(self.decay_rate, tf.float64) ** cycle
        return self.initial_learning_rate + height * (1.0 - tf.abs(place - 1.0))

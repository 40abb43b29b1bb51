"""Clip methods whose threshold follows from the norms of past steps."""

import dataclasses
import math
from typing import ClassVar

import tensorflow as tf

from workbench.clipping.base import POSITIVE, Clip, register

_PERCENTILE = ("a percentile, above 0 and at most 100", lambda value: 0 < value <= 100)
_FRACTION = ("a number between 0 and 1, both excluded", lambda value: 0 < value < 1)
_STEPS = ("an int >= 2 (steps)", lambda value: value >= 2 and value == int(value))


class HistoryClip(Clip):
    """Base of the methods that limit the joint norm by the norms of past steps."""

    def __call__(self, gradients, variables):
        """Refuses: a call has no past.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"`{type(self).__name__}` needs the norms of past steps, which a call does "
            "not have; `clip.wrap(optimizer)` keeps them in the optimizer. "
            f"Received: clip={self}"
        )

    def limit(self, norm, state):
        """Computes the limit of one step's joint norm from the past.

        Args:
            norm: float64 scalar tensor, this step's joint norm, finite.
            state: float64 tensor, first of `initial_state`, then of the last call.

        Returns:
            float64 scalar tensor, the limit, and the next state.
        """
        raise NotImplementedError


@register
@dataclasses.dataclass(frozen=True)
class AutoClip(HistoryClip):
    """Limits the joint norm to a percentile of the norms so far, this one included.

    Attributes:
        percentile: Number above 0 and at most 100, interpolated linearly.
        window: int >= 2, how many of the latest norms count (steps).

    Source: Seetharaman, Wichern, Pardo, Le Roux 2020, algorithm 1
    (arXiv:2007.14469), where every norm counts.
    """

    percentile: float
    window: int = 1000
    threshold: ClassVar[str] = "percentile"
    rules: ClassVar[dict] = {"percentile": _PERCENTILE, "window": _STEPS}

    @property
    def initial_state(self):
        """The number of norms seen, then a ring of the latest; infinity is none."""
        return (0.0, *[math.inf] * self.window)

    def limit(self, norm, state):
        """See `HistoryClip.limit`."""
        count, ring = state[0], state[1:]
        slot = tf.cast(count % self.window, tf.int32)
        ring = tf.where(tf.range(self.window) == slot, norm, ring)
        count += 1.0
        last = tf.minimum(count, self.window) - 1.0
        position = last * tf.cast(self.percentile, tf.float64) / 100.0
        low = tf.floor(position)
        ends = tf.stack([low, tf.minimum(low + 1.0, last)])
        lower, upper = tf.unstack(tf.gather(tf.sort(ring), tf.cast(ends, tf.int32)))
        limit = lower + (upper - lower) * (position - low)
        return limit, tf.concat([[count], ring], axis=0)


@register
@dataclasses.dataclass(frozen=True)
class ZClip(HistoryClip):
    """Pulls in a joint norm that lies far above the running mean.

    A norm `s` standard deviations above the mean, with `s > z`, becomes
    `mean + z**2 / s` standard deviations; the statistics then see that norm.

    Attributes:
        z: Positive number, the threshold in standard deviations.
        decay: Number in (0, 1), how much of mean and variance a step keeps.
        warmup_steps: int >= 2, the first steps, which are not clipped and from which
            mean and variance start.

    Source: Kumar, Owen, Roy Chowdhury, Güra 2025 (arXiv:2504.02507), section 3, with
    the constants of https://github.com/bluorion-com/ZClip.
    """

    z: float = 2.5
    decay: float = 0.97
    warmup_steps: int = 25
    threshold: ClassVar[str] = "z"
    initial_state: ClassVar[tuple] = (0.0, 0.0, 0.0)  # count, mean, variance
    rules: ClassVar[dict] = {
        "z": POSITIVE,
        "decay": _FRACTION,
        "warmup_steps": _STEPS,
    }

    def limit(self, norm, state):
        """See `HistoryClip.limit`."""
        count, before, variance = tf.unstack(state)
        deviation = tf.sqrt(variance)
        score = (norm - before) / (deviation + 1e-6)
        z = tf.cast(self.z, tf.float64)
        warm = count >= self.warmup_steps
        spike = warm & (score > z)
        limit = tf.where(spike, before + z**2 / score * deviation, norm)
        count += 1.0
        share = tf.where(warm, tf.constant(1.0 - self.decay, tf.float64), 1.0 / count)
        mean = before + share * (limit - before)
        # Warming up this is Welford's recursion for the population variance.
        other = tf.where(warm, limit - mean, limit - before)
        variance += share * ((limit - mean) * other - variance)
        return limit, tf.stack([count, mean, variance])

"""The clip methods that look at one step only: small frozen dataclasses."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from workbench.clipping import tensors
from workbench.clipping.base import POSITIVE, Clip, register


@register
@dataclasses.dataclass(frozen=True)
class NoClip(Clip):
    """Clips nothing: the plain optimizer, recorded, without its non-finite steps."""

    def clip(self, step):
        """See `Clip.clip`."""
        return tensors.Clipped(step.gradients, step.squares, step.squares)


@register
@dataclasses.dataclass(frozen=True)
class ByValue(Clip):
    """Limits every element to `[-clipvalue, clipvalue]`.

    Attributes:
        clipvalue: Positive number, in units of the gradient.

    Source: `tf.clip_by_value`; Mikolov 2012, thesis, section 3.2.
    """

    clipvalue: float
    threshold: ClassVar[str] = "clipvalue"
    rules: ClassVar[dict] = {"clipvalue": POSITIVE}

    def clip(self, step):
        """See `Clip.clip`."""
        clipped = []
        for gradient in step.gradients:
            limit = tf.cast(self.clipvalue, gradient.dtype)
            values = tf.clip_by_value(tensors.values_of(gradient), -limit, limit)
            clipped.append(tensors.with_values(gradient, values))
        return tensors.Clipped(clipped)


@register
@dataclasses.dataclass(frozen=True)
class ByNorm(Clip):
    """Scales down each gradient whose own norm exceeds `clipnorm`.

    Attributes:
        clipnorm: Positive number, the largest norm of one variable's gradient.

    Source: `tf.clip_by_norm`.
    """

    clipnorm: float
    threshold: ClassVar[str] = "clipnorm"
    rules: ClassVar[dict] = {"clipnorm": POSITIVE}

    def clip(self, step):
        """See `Clip.clip`."""
        return tensors.divide(step, tensors.excess(step.squares, self.clipnorm))


@register
@dataclasses.dataclass(frozen=True)
class ByGlobalNorm(Clip):
    """Scales down all gradients together when their joint norm exceeds a limit.

    Attributes:
        global_clipnorm: Positive number, the largest norm of all gradients together.

    Source: `tf.clip_by_global_norm`; Pascanu, Mikolov, Bengio 2013, algorithm 1
    (arXiv:1211.5063).
    """

    global_clipnorm: float
    threshold: ClassVar[str] = "global_clipnorm"
    rules: ClassVar[dict] = {"global_clipnorm": POSITIVE}

    def clip(self, step):
        """See `Clip.clip`."""
        return tensors.divide_by_global(step, self.global_clipnorm)


@register
@dataclasses.dataclass(frozen=True)
class Adaptive(Clip):
    """Limits each unit's gradient to a fraction of its weights' norm (AGC).

    A unit is what shares an index of the last axis, Keras's outputs; a vector, and
    a tensor whose other axes all have length 1, is one unit.

    Attributes:
        factor: Positive number, the largest ratio of gradient norm to weight norm.
        epsilon: Positive number, the smallest weight norm reckoned with, so that
            weights that start at zero can move.

    Source: Brock, De, Smith, Simonyan 2021, equation 3 (arXiv:2102.06171).
    """

    factor: float
    epsilon: float = 1e-3
    threshold: ClassVar[str] = "factor"
    rules: ClassVar[dict] = {"factor": POSITIVE, "epsilon": POSITIVE}

    def clip(self, step):
        """See `Clip.clip`."""
        parts = zip(
            step.gradients,
            step.variables,
            tf.unstack(tensors.root(step.squares), num=len(step.gradients)),
            strict=True,
        )
        clipped, squares, products = zip(*(self._limit(*p) for p in parts), strict=True)
        return tensors.Clipped(list(clipped), tf.stack(squares), tf.stack(products))

    def _limit(self, gradient, variable, norm):
        shape = variable.shape
        whole = sum(size != 1 for size in shape) <= 1
        axes = None if whole else list(range(len(shape) - 1))
        values = tensors.values_of(gradient)
        # In units of the whole norm no square that matters leaves float32's range.
        scale = tf.clip_by_value(norm, np.finfo("f").tiny, np.finfo("f").max)
        squares = _squares_along(axes, values / tf.cast(scale, values.dtype)) * scale**2
        weights = _squares_along(axes, tf.cast(variable, values.dtype))
        smallest = tf.cast(self.epsilon, tf.float64)
        limit = tf.maximum(tensors.root(weights), smallest)
        ratios = tensors.excess(squares, tf.cast(self.factor, tf.float64) * limit)
        products = squares / ratios
        values *= tf.cast(1.0 / ratios, values.dtype)
        return (
            tensors.with_values(gradient, values),
            tf.reduce_sum(products / ratios),
            tf.reduce_sum(products),
        )


def _squares_along(axes, values):
    sums = tf.reduce_sum(tf.square(values), axis=axes, keepdims=axes is not None)
    return tf.cast(sums, tf.float64)


@register
@dataclasses.dataclass(frozen=True)
class Rescue(Clip):
    """Puts a small multiple of the weights in place of gradients that are not finite.

    One NaN or infinity replaces all gradients of the step; finite ones stay as they
    are. The authors' program does so for the recurrent matrix, with the other
    gradients set to zero; here it is done to every variable.

    Attributes:
        factor: Positive number; plain SGD then shrinks each weight by
            `learning_rate * factor` of itself.

    Source: Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), program RNN.py at
    https://github.com/pascanur/trainingRNNs.
    """

    factor: float = 0.02
    threshold: ClassVar[str] = "factor"
    mends_nonfinite: ClassVar[bool] = True
    rules: ClassVar[dict] = {"factor": POSITIVE}

    def clip(self, step):
        """See `Clip.clip`."""
        finite = tf.math.is_finite(tf.reduce_sum(step.squares))
        rescued = []
        for gradient, variable in zip(step.gradients, step.variables, strict=True):
            factor = tf.cast(self.factor, gradient.dtype)
            pull = factor * tf.cast(variable, gradient.dtype)
            rescued.append(tf.where(finite, tensors.densify(gradient), pull))
        return tensors.Clipped(rescued)


@register
@dataclasses.dataclass(frozen=True)
class Custom(Clip):
    """Applies a function of your own to the gradients of each step.

    The function sees dense gradients without None, float32 at least. What it does
    about NaN and infinity is its own business: a step is left out when what it returns
    is not finite.

    Attributes:
        function: `function(gradients, variables) -> gradients`, lists of equal
            length. To save a model, register it with
            `keras.saving.register_keras_serializable()`.
    """

    function: Callable
    mends_nonfinite: ClassVar[bool] = True

    def __post_init__(self):
        if not callable(self.function):
            raise TypeError(
                "`function` must be callable: function(gradients, variables) -> "
                f"gradients. Received: function={self.function!r}"
            )

    def clip(self, step):
        """See `Clip.clip`."""
        gradients = [tensors.densify(gradient) for gradient in step.gradients]
        clipped = list(self.function(gradients, list(step.variables)))
        count = len(gradients)
        if len(clipped) != count or any(gradient is None for gradient in clipped):
            raise ValueError(
                f"`function` must return {count} gradients, one for each that it was "
                f"given. Received: {clipped}"
            )
        pairs = zip(clipped, step.gradients, strict=True)
        return tensors.Clipped([tensors.cast(g, raw.dtype) for g, raw in pairs])

    def get_config(self):
        """Returns the function as Keras writes it.

        Raises:
            ValueError: If the function is not registered with Keras.
        """
        name = keras.saving.get_registered_name(self.function)
        if keras.saving.get_registered_object(name) is not self.function:
            raise ValueError(
                "`function` must be registered with Keras to be saved: put "
                '@keras.saving.register_keras_serializable(package="mine") above its '
                "definition, where it is loaded too. "
                f"Received: function={self.function!r}"
            )
        return {"function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config):
        """Creates the clip that `get_config` described."""
        return cls(keras.saving.deserialize_keras_object(config["function"]))

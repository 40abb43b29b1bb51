"""Keras's own optimizers as pure functions, so that many can run as one.

On TensorFlow Keras writes optimizer state straight into `tf.Variable`s and refuses
`stateless_apply`. `functional_class` puts Keras's backend-neutral methods back in,
and leaves every formula to Keras.
"""

import functools

import keras
import tensorflow as tf
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer


class LiveFloat(float):
    """A number that is decided while the traced graph runs.

    To Python it is a float, so that tests such as `if self.momentum > 0` and
    `isinstance` work; calculated with, it is a float64 tensor, which behaves as a
    Python float does and turns into the other operand's dtype. The float64 matters:
    `1 - 0.999` in float32 is off by 5e-5.
    """

    def __new__(cls, value, tensor):  # noqa: D102, documented by its class
        number = super().__new__(cls, value)
        number.tensor = tf.cast(tensor, tf.float64)
        return number

    @property
    def dtype(self):
        """What Keras takes it for when it looks for a common dtype."""
        return keras.config.floatx()

    def __tf_tensor__(self, dtype=None, name=None):
        return tf.cast(self.tensor, dtype or tf.float32, name=name)

    def _calculate(self, other, function):
        if isinstance(other, int | float):
            right = other.tensor if isinstance(other, LiveFloat) else other
            return LiveFloat(
                function(float(self), float(other)), function(self.tensor, right)
            )
        other = tf.convert_to_tensor(other)
        return function(tf.cast(self.tensor, other.dtype), other)

    def __add__(self, other):
        return self._calculate(other, lambda a, b: a + b)

    def __sub__(self, other):
        return self._calculate(other, lambda a, b: a - b)

    def __rsub__(self, other):
        return self._calculate(other, lambda a, b: b - a)

    def __mul__(self, other):
        return self._calculate(other, lambda a, b: a * b)

    def __truediv__(self, other):
        return self._calculate(other, lambda a, b: a / b)

    def __rtruediv__(self, other):
        return self._calculate(other, lambda a, b: b / a)

    def __pow__(self, other):
        return self._calculate(other, lambda a, b: a**b)

    def __rpow__(self, other):
        return self._calculate(other, lambda a, b: b**a)

    def __neg__(self):
        return LiveFloat(-float(self), -self.tensor)

    __radd__ = __add__
    __rmul__ = __mul__


class _Functional(TFOptimizer):
    # Keras picks the TensorFlow versions of these for tf.distribute's sake; the
    # backend-neutral ones below them work on whatever a StatelessScope holds.
    assign = BaseOptimizer.assign
    assign_add = BaseOptimizer.assign_add
    assign_sub = BaseOptimizer.assign_sub
    stateless_apply = BaseOptimizer.stateless_apply
    _apply_weight_decay = BaseOptimizer._apply_weight_decay
    _backend_update_step = BaseOptimizer._backend_update_step
    _clip_by_norm = BaseOptimizer._clip_by_norm
    _var_key = BaseOptimizer._var_key

    # Set for each step: the joint norm that is known already, and what clipping did.
    known_norm = None
    applied = None
    scale = 1.0

    def _clip_gradients(self, grads):
        limit = self.global_clipnorm
        if limit and limit > 0 and self.known_norm is not None:
            # Keras's formula, without reading all gradients once more for the norm.
            norm = self.known_norm
            scale = tf.minimum(1.0 / norm, 1.0 / limit) * limit + (norm - norm)
            clipped = [
                None if g is None else g * tf.cast(scale, g.dtype) for g in grads
            ]
            self.scale, self.applied = scale, None
        else:
            clipped = super()._clip_gradients(grads)
            self.scale, self.applied = 1.0, clipped
        return clipped

    def __setattr__(self, name, value):
        if name in ("known_norm", "applied", "scale"):
            # Keras would track it, and keep a traced tensor for ever.
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


@functools.cache
def functional_class(optimizer_class):
    """Makes a subclass of a Keras optimizer with a working `stateless_apply`.

    Args:
        optimizer_class: One of Keras's own optimizer classes.

    Returns:
        Class with the same constructor. Before an apply, `known_norm` takes the joint
        norm of the gradients, or None to have Keras compute it; after it, `scale` says
        what `global_clipnorm` scaled them by, or `applied` holds them as the other
        clip arguments left them.
    """
    return type(
        f"Functional{optimizer_class.__name__}", (optimizer_class, _Functional), {}
    )

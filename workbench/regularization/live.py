"""Penalties and constraints whose strength lives in a variable."""

import copy
import math

import keras
import tensorflow as tf

from workbench.regularization.proximal import ProximalL1

# The number that says how strong it is; others are scaled as a whole.
_NUMBERS = {
    keras.regularizers.L1: "l1",
    keras.regularizers.L2: "l2",
    keras.regularizers.OrthogonalRegularizer: "factor",
    keras.constraints.MaxNorm: "max_value",
    ProximalL1: "strength",
}


class Strength:
    """One number that many variables share; the next step uses what it is set to.

    Args:
        plain: Regularizer or constraint, not shared with anybody: it follows the
            number, so that a saved file has the strength of that moment.
    """

    def __init__(self, plain):
        self.plain = plain
        self.number = _NUMBERS.get(type(plain))
        self._config = plain.get_config()
        start = 1.0 if self.number is None else float(self._config[self.number])
        with tf.init_scope():
            self.variable = tf.Variable(start, trainable=False, dtype=tf.float32)
        self._unit = copy.copy(plain)
        # Constraints other than those above have no number that means strength.
        is_penalty = isinstance(plain, keras.regularizers.Regularizer)
        self.adjustable = is_penalty or self.number is not None

    @property
    def value(self):
        """float, the number of the next step."""
        return float(self.variable.numpy())

    def check(self, value):
        """Raises ValueError unless the strength may become `value`."""
        if not self.adjustable:
            raise ValueError(
                f"`strength` cannot change: {type(self.plain).__name__} has no number "
                f"for it. Received: strength={value}"
            )
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"`strength` must be a finite number >= 0. Received: strength={value}"
            )

    def assign(self, value):
        """Sets the strength, float, from the next step on; nothing is retraced."""
        self.check(value)
        self.variable.assign(value)
        if self.number is not None:
            setattr(self.plain, self.number, float(value))
        elif isinstance(self.plain, keras.regularizers.L1L2):
            for name, number in self._config.items():
                setattr(self.plain, name, number * float(value))

    def bind(self, model):
        """Lets a `ProximalL1` step at the rate of a model's optimizer."""
        for thing in (self.plain, self._unit):
            thing.bind(model)

    def apply(self, x):
        """Returns the penalty of `x`, or `x` constrained, with the number of now."""
        number = tf.cast(self.variable, x.dtype)
        if self.number is None:
            return number * self._unit(x) if self.adjustable else self._unit(x)
        # The same operations as Keras's own, so that the bits are the same.
        live = copy.copy(self._unit)
        setattr(live, self.number, number)
        return live(x)


@keras.saving.register_keras_serializable(package="workbench")
class LivePenalty(keras.regularizers.Regularizer):
    """A regularizer with a live strength, which remembers what it came to.

    In a file it is the plain regularizer that it stands for.

    Args:
        strength: `Strength`.
        path: str, the path of the variable, or of the layer whose outputs count.
        per_sample: bool, whether Keras divides it by the batch size afterwards.
    """

    def __init__(self, strength, path, *, per_sample=False):
        self.strength = strength
        self.path = path
        self._per_sample = per_sample
        with tf.init_scope():
            self.last = tf.Variable(float("nan"), trainable=False, dtype=tf.float32)

    def __call__(self, x):
        """Computes the penalty of `x`, a scalar."""
        value = self.strength.apply(tf.convert_to_tensor(x))
        counted = tf.cast(value, tf.float32)
        if self._per_sample and x.shape.rank:
            counted /= tf.cast(tf.shape(x)[0], tf.float32)
        self.last.assign(counted)
        return value

    def get_config(self):
        """Returns the plain regularizer's class and configuration."""
        return {"plain": keras.regularizers.serialize(self.strength.plain)}

    @classmethod
    def from_config(cls, config):
        """Returns the plain regularizer."""
        return keras.regularizers.deserialize(config["plain"])


class LiveConstraint(keras.constraints.Constraint):
    """A constraint with a live strength.

    Args:
        strength: `Strength`.
    """

    def __init__(self, strength):
        self.strength = strength

    def __call__(self, w):
        """Returns `w` constrained."""
        return self.strength.apply(tf.convert_to_tensor(w))


def plain_of(thing):
    """Returns the regularizer or constraint that a live one stands for, or itself."""
    strength = getattr(thing, "strength", None)
    return strength.plain if isinstance(strength, Strength) else thing


def strengths_of(model):
    """Lists the live strengths that were set on a model.

    Args:
        model: `keras.Model`.

    Returns:
        List of `Strength`, without repetition.
    """
    things = []
    for variable in model.trainable_variables:
        things += [variable.regularizer, variable.constraint]
    things += [layer.activity_regularizer for layer in model._flatten_layers()]
    found = {}
    for thing in things:
        strength = getattr(thing, "strength", None)
        if isinstance(strength, Strength) and strength.adjustable:
            found[id(strength)] = strength
    return list(found.values())


def live_penalties_of(model):
    """Lists the live penalties on a model's weights and outputs.

    Args:
        model: `keras.Model`.

    Returns:
        List of `LivePenalty`.
    """
    things = [variable.regularizer for variable in model.trainable_variables]
    things += [layer.activity_regularizer for layer in model._flatten_layers()]
    return [thing for thing in things if isinstance(thing, LivePenalty)]

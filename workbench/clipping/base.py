"""The base of the clip methods: checked fields, a call for one step, `wrap`."""

import dataclasses
import math
import numbers
from typing import ClassVar

import keras
import tensorflow as tf

from workbench.clipping import tensors
from workbench.clipping.optimizer import ClippedOptimizer

POSITIVE = ("a positive finite number", lambda value: value > 0)

register = keras.saving.register_keras_serializable(package="workbench")


class Clip:
    """Base of the clip methods.

    Attributes:
        threshold: str, the field that a control may change, or None.
        initial_state: Tuple of float, the past before the first step; empty for a
            method that needs no past.
        mends_nonfinite: bool, whether NaN and infinity are the method's own business.
    """

    threshold: ClassVar[str | None] = None
    initial_state: ClassVar[tuple] = ()
    mends_nonfinite: ClassVar[bool] = False
    rules: ClassVar[dict] = {}

    def __post_init__(self):
        for name, (must, holds) in self.rules.items():
            value = getattr(self, name)
            if tf.is_tensor(value) or isinstance(value, keras.Variable):
                continue  # a live value, checked where it is set
            number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and holds(value)):
                raise ValueError(f"`{name}` must be {must}. Received: {name}={value!r}")

    def __call__(self, gradients, variables):
        """Clips the gradients of one step.

        They are looked at in float32 at least, an embedding's duplicate rows summed,
        and cast back.

        Args:
            gradients: Sequence of V tensors, `tf.IndexedSlices` or None.
            variables: Sequence of V Keras variables, `tf.Variable`s or tensors.

        Returns:
            List of V gradients of the same shapes and dtypes, None where None was.
            When a gradient is not finite, all of them are zeros: nothing is poisoned,
            but momentum decays. `wrap` leaves out the whole step instead.

        Raises:
            ValueError: If the method needs past steps.
        """
        kept = [i for i, gradient in enumerate(gradients) if gradient is not None]
        result = list(gradients)
        if not kept:
            return result
        step = tensors.prepare([result[i] for i in kept], [variables[i] for i in kept])
        clipped = self.clip(step).gradients
        if not self.mends_nonfinite:
            finite = tf.math.is_finite(tf.reduce_sum(step.squares))
            clipped = [_zero_unless(finite, gradient) for gradient in clipped]
        for i, gradient in zip(kept, clipped, strict=True):
            result[i] = tensors.cast(gradient, result[i].dtype)
        return result

    def clip(self, step):
        """Clips prepared gradients.

        Args:
            step: `tensors.Step` of V gradients.

        Returns:
            `tensors.Clipped`.
        """
        raise NotImplementedError

    def wrap(self, optimizer, *, record=True, name=None):
        """Wraps an optimizer so that every update is clipped.

        Args:
            optimizer: `keras.optimizers.Optimizer` without clipping of its own.
            record: Whether each step's norms and angles are kept.
            name: str, the new optimizer's name.

        Returns:
            `ClippedOptimizer`, a Keras optimizer around `optimizer`.

        Raises:
            TypeError: If `optimizer` is not a Keras optimizer.
            ValueError: If `optimizer` clips already or scales the loss.
        """
        return ClippedOptimizer(optimizer, self, record=record, name=name)

    def get_config(self):
        """Returns the fields as a dict of numbers, for Keras."""
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields}

    @classmethod
    def from_config(cls, config):
        """Creates the clip that `get_config` described."""
        return cls(**config)


def _zero_unless(finite, gradient):
    values = tensors.values_of(gradient)
    values = tf.where(finite, values, tf.zeros_like(values))
    return tensors.with_values(gradient, values)

"""An optimizer around another, whose settings and state stay the other one's."""

import keras
import numpy as np
import tensorflow as tf
from keras.src.utils import tracking

# What Keras's constructor makes and the inner optimizer has already: read from there.
_INNER = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
    "_learning_rate",
    "_iterations",
    "_trainable_variables",
)


class OuterOptimizer(keras.optimizers.Optimizer):
    """Base of an optimizer that leaves the update to its inner optimizer.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer` without clipping of its own.
        name: str.

    Raises:
        TypeError: If `inner_optimizer` is not a Keras optimizer.
        ValueError: If `inner_optimizer` clips already or scales the loss.
    """

    def __init__(self, inner_optimizer, name=None):
        _check(inner_optimizer)
        super().__init__(learning_rate=0.0, name=name)
        self._untrack(self._learning_rate, self._iterations)
        for attribute in _INNER:
            delattr(self, attribute)
        self.inner_optimizer = inner_optimizer

    def _untrack(self, *variables):
        """Takes variables out of `variables`, and so out of what is saved."""
        for variable in variables:
            self._untrack_variable(variable)
        # TensorFlow saves no model that holds a list from which something was taken.
        with tracking.DotNotTrackScope():
            self._variables = list(self._variables)
        is_variable, _ = self._tracker.config["variables"]
        self._tracker.config["variables"] = is_variable, self._variables

    def __getattr__(self, name):
        # Only what this object does not have itself comes here.
        if name == "inner_optimizer":
            raise AttributeError(name)
        return getattr(self.inner_optimizer, name)

    def __setattr__(self, name, value):
        inner = self.__dict__.get("inner_optimizer")
        own = name.startswith("_") or name in self.__dict__ or hasattr(type(self), name)
        if inner is not None and not own and hasattr(inner, name):
            # A setting left on this object would silently do nothing.
            setattr(inner, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def learning_rate(self):
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self):
        """The inner optimizer's number of updates; steps left out do not count."""
        return self.inner_optimizer.iterations

    @property
    def variables(self):
        """This optimizer's own variables, then the inner optimizer's."""
        return self._variables[:] + self.inner_optimizer.variables

    def _add_value(self, value, dtype, name):
        value = np.asarray(value, dtype)
        return self.add_variable(
            value.shape,
            lambda shape, dtype: tf.constant(value, dtype, shape),
            dtype,
            aggregation="only_first_replica",
            name=name,
        )


def _check(optimizer):
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            "`optimizer` must be a keras.optimizers.Optimizer; "
            f"keras.optimizers.get makes one. Received: optimizer={optimizer!r}"
        )
    if hasattr(optimizer, "inner_optimizer"):
        raise ValueError(
            "`optimizer` must not clip or scale the loss already; wrap what is inside, "
            "as in LossScaleOptimizer(clip.wrap(optimizer.inner_optimizer)). "
            f"Received: optimizer={optimizer.name} ({type(optimizer).__name__})"
        )
    for part in (optimizer, *getattr(optimizer, "optimizers", ())):
        for name in ("clipnorm", "clipvalue", "global_clipnorm"):
            if getattr(part, name):
                raise ValueError(
                    f"`optimizer` must not clip already; make it without `{name}`. "
                    f"Received: {part.name} with {name}={getattr(part, name)}"
                )

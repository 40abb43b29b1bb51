"""L1 by its proximal step, which gives weights that are exactly zero."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="workbench")
class ProximalL1(keras.constraints.Constraint):
    """After each update, moves every weight toward zero, and stops at zero.

    The gradient of an L1 penalty makes weights swing around zero and never rest there.
    The proximal step subtracts `learning_rate * strength` from each size and sets what
    would change its sign to zero: with plain SGD that is ISTA, whose fixed points are
    those of the loss with an L1 penalty of that strength. The loss itself does not
    show the penalty.

    `set_constraint(model, ProximalL1(…))` gives it the model's own learning rate, a
    schedule and a rate set by hand included. A file keeps the rate of that moment.

    Args:
        strength: float >= 0, the factor of the L1 penalty that it stands for.
        learning_rate: float > 0, or None for that of the model's optimizer.

    Raises:
        ValueError: If a number is out of range.

    Source:
        Beck, Teboulle 2009, "A Fast Iterative Shrinkage-Thresholding Algorithm",
        equations 1.4 and 2.6.
    """

    def __init__(self, strength, learning_rate=None):
        if not strength >= 0:
            raise ValueError(
                f"`strength` must be a number >= 0. Received: strength={strength}"
            )
        if learning_rate is not None and not learning_rate > 0:
            raise ValueError(
                "`learning_rate` must be a number > 0, or None for the optimizer's. "
                f"Received: learning_rate={learning_rate}"
            )
        self.strength = strength
        self._rate = learning_rate
        self._model = None

    @property
    def learning_rate(self):
        """The rate of the step: the one given, else that of the model's optimizer."""
        if self._rate is not None or self._model is None:
            return self._rate
        optimizer = self._model.optimizer
        # The innermost one is the one that knows the rate.
        while hasattr(optimizer, "inner_optimizer"):
            optimizer = optimizer.inner_optimizer
        # Keras counts the step after the constraints: this is the step's own rate.
        return None if optimizer is None else optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self._rate = value

    @property
    def follows_optimizer(self):
        """bool, whether no rate of its own was given."""
        return self._rate is None

    def bind(self, model):
        """Takes the rate from a model's optimizer, unless one was given.

        Args:
            model: `keras.Model`, compiled now or later.
        """
        self._model = model

    def __call__(self, w):
        """Returns `w` after the step, of the same shape and dtype."""
        rate = self.learning_rate
        if rate is None:
            raise ValueError(
                "`learning_rate` must be known: use `set_constraint(model, "
                "ProximalL1(…))` on a compiled model, or give it. "
                "Received: learning_rate=None"
            )
        w = ops.convert_to_tensor(w)
        limit = ops.cast(rate, w.dtype) * ops.cast(self.strength, w.dtype)
        return ops.sign(w) * ops.maximum(ops.abs(w) - limit, 0)

    def get_config(self):
        """Returns the configuration, the rate as it is now."""
        rate = self.learning_rate
        return {
            "strength": float(self.strength),
            "learning_rate": None if rate is None else float(rate),
        }

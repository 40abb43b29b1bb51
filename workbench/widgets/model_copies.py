"""Copies of the reader's compiled model, so that a panel trains those."""

import keras
import numpy as np
import tensorflow as tf

from workbench import clipping, steps
from workbench.experiments import Variant, variants

_CLIPS = {
    "clipnorm": clipping.ByNorm,
    "clipvalue": clipping.ByValue,
    "global_clipnorm": clipping.ByGlobalNorm,
}


class ModelCopies:
    """Makes copies of a compiled model whose optimizer does not clip.

    A copy has the model's weights of now, or new ones, and a fresh optimizer with the
    same settings. The model itself is only read.

    Args:
        source: Compiled `keras.Model`, or a function without arguments that returns
            one, for models that Keras cannot clone.

    Raises:
        ValueError: If there is no compiled model.
    """

    def __init__(self, source):
        self.model = source if isinstance(source, keras.Model) else None
        self._build = None if self.model is not None else source
        model = self.model
        if model is None:
            if not callable(source):
                raise ValueError(
                    "`model` must be a compiled keras.Model, or a function that "
                    f"returns one. Received: model={source!r}"
                )
            model = source()
        if not getattr(model, "compiled", False) or model.optimizer is None:
            raise ValueError(
                "`model` must be compiled with an optimizer and a loss: call "
                f"model.compile(optimizer, loss) first. Received: model={model!r}"
            )
        self._example = model
        self.clip = _clip_of(model)
        self.num_weights = max(
            sum(int(np.prod(w.shape)) for w in model.trainable_weights), 1
        )

    @property
    def bad_weights(self):
        """Tuple of str, paths of the model's weights that hold NaN or Inf."""
        if self.model is None:
            return ()
        return tuple(
            weight.path
            for weight in self.model.weights
            if not np.isfinite(np.asarray(weight, "float64")).all()
        )

    def check_weights(self, *, new_weights):
        """Raises ValueError if copies would begin with weights that are not finite."""
        bad = () if new_weights else self.bad_weights
        if bad:
            raise ValueError(
                "`new_weights` must be True when the model's own are not finite. "
                f"Received: new_weights=False, NaN or Inf in {', '.join(bad)}"
            )

    @property
    def learning_rate(self):
        """The model's learning rate: float, or the schedule it was compiled with."""
        return _candidate(self._example).learning_rate

    def optimizer(self, **changes):
        """Makes the model's optimizer anew, without clipping.

        Args:
            **changes: Constructor arguments that replace the model's, such as
                `learning_rate`.

        Returns:
            Keras optimizer, not built.
        """
        return _unclipped_optimizer(self._example, **changes)

    def make(self, *, new_weights=False, optimizer=None):
        """Makes a copy.

        Args:
            new_weights: bool, whether its weights are drawn anew by the model's
                initializers.
            optimizer: Keras optimizer for the copy, or None for the model's.

        Returns:
            Compiled `keras.Model`.

        Raises:
            ValueError: If Keras cannot clone the model.
        """
        if self.model is None:
            source = copy = self._build()
        else:
            source, copy = self.model, _clone(self.model)
            if not new_weights:
                for variable, value in zip(
                    copy.variables, source.variables, strict=True
                ):
                    variable.assign(value)
        # What was passed to `compile`, as it was passed.
        arguments = dict(source._compile_config.config)
        arguments["optimizer"] = optimizer or _unclipped_optimizer(source)
        for name in ("metrics", "weighted_metrics"):
            arguments[name] = tf.nest.map_structure(_fresh_metric, arguments[name])
        copy.compile(**arguments)
        return copy


def _clone(model):
    # Keras would compile the clone from what it can serialize; a loss of the reader's
    # own is not among that. So it gets to see the model as if it was not compiled.
    plain = object.__new__(type(model))
    vars(plain).update(vars(model), compiled=False)
    try:
        copy = keras.models.clone_model(plain)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(_cannot_clone(model, str(error).splitlines()[0])) from error
    if len(copy.variables) != len(model.variables):
        raise ValueError(_cannot_clone(model, "the clone has other variables"))
    return copy


def _cannot_clone(model, reason):
    return (
        f"`model` must be one that Keras can clone, and {model.name} is not: pass the "
        f"function that builds and compiles it, without calling it. Reason: {reason}"
    )


def _fresh_metric(metric):
    # An object's state would be shared with the reader's model.
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric


def _candidate(model):
    optimizer = steps.unscaled(model.optimizer)
    return variants.resolve(model.name, Variant(optimizer=optimizer), None, 0)


def _unclipped_optimizer(model, **changes):
    candidate = _candidate(model)
    unclipped = {name: None for name in _CLIPS if name in candidate.config}
    return candidate.make_optimizer(**unclipped, **changes)


def _clip_of(model):
    """Returns the clip method that a model was compiled with, or `NoClip()`."""
    candidate = _candidate(model)
    if candidate.clip is not None:
        return candidate.clip
    for name, method in _CLIPS.items():
        if candidate.config.get(name):
            return method(candidate.config[name])
    return clipping.NoClip()


def fixed_order(data, seed):
    """Brings arrays into an order that is the same at each start.

    Args:
        data: Tuple of possibly nested arrays, or a dataset, which is left alone.
        seed: int.

    Returns:
        Tuple of shuffled copies, or the dataset.
    """
    if not isinstance(data, tuple | list):
        return data
    order = np.random.default_rng(seed).permutation(len(tf.nest.flatten(data)[0]))
    return tf.nest.map_structure(lambda array: np.asarray(array)[order], tuple(data))

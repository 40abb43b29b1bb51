"""Dropout whose rate lives in a variable, for comparing it with penalties."""

import keras
import tensorflow as tf

RATE = "dropout_rate"


@keras.saving.register_keras_serializable(package="workbench")
class LiveDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` whose rate the next step uses as it is set.

    Args:
        rate: float in [0, 1).
        **arguments: As for `keras.layers.Dropout`.
    """

    def __init__(self, rate, **arguments):
        # Keras makes no random generator for a rate of zero, which may rise later.
        super().__init__(rate or 0.5, **arguments)
        self.rate = rate
        self._tracker.unlock()  # Dropout takes itself for complete
        self.live_rate = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(rate),
            trainable=False,
            dtype="float32",
            name=RATE,
        )
        self._tracker.lock()

    def set_rate(self, rate):
        """Sets the rate, float in [0, 1), from the next step on."""
        if not 0 <= rate < 1:
            raise ValueError(
                f"`rate` must be in [0, 1), the share left out. Received: rate={rate}"
            )
        self.rate = rate
        self.live_rate.assign(rate)

    def call(self, inputs, training=False):
        """Leaves numbers out while training, and scales the others up."""
        if not training:
            return inputs
        # As TensorFlow's own dropout, which takes no rate that may change.
        shape = [
            tf.shape(inputs)[i] if size is None else size
            for i, size in enumerate(self.noise_shape or (None,) * inputs.shape.rank)
        ]
        rate = tf.convert_to_tensor(self.live_rate)
        kept = keras.random.uniform(shape, seed=self.seed_generator) >= rate
        scale = tf.cast(1 / (1 - rate), inputs.dtype)
        return tf.where(kept, inputs * scale, tf.zeros_like(inputs))


def with_live_dropout(model):
    """Copies a model with its `Dropout` layers made live, or with new ones.

    A model without any gets one behind each layer with a kernel but the last such.

    Args:
        model: Built functional or sequential `keras.Model`.

    Returns:
        `keras.Model` with the same weights and no compilation; the rates are those
        that it had, or 0.

    Raises:
        ValueError: If Keras cannot copy the model layer by layer.
    """
    dropouts = [layer for layer in model.layers if _is_dropout(layer)]
    kernels = [layer for layer in model.layers if _has_kernel(layer)]
    behind = [] if dropouts else [layer.name for layer in kernels[:-1]]

    def make(layer):
        if not _is_dropout(layer):
            return type(layer).from_config(layer.get_config())
        config = layer.get_config()
        return LiveDropout.from_config(config)

    def call(layer, *arguments, **others):
        outputs = layer(*arguments, **others)
        if layer.name in behind:
            outputs = LiveDropout(0.0, name=f"{layer.name}_dropout")(outputs)
        return outputs

    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0])
    try:
        copy = keras.models.clone_model(model, clone_function=make, call_function=call)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "`model` must be functional or sequential, so that dropout can be put "
            f"between its layers. Received: model={model.name}, "
            f"{str(error).splitlines()[0]}"
        ) from error
    pairs = _without_rates(copy), _without_rates(model)
    for new, old in zip(*pairs, strict=True):
        new.assign(old)
    return copy


def rates_of(model):
    """Lists a model's live dropout layers.

    Args:
        model: `keras.Model`.

    Returns:
        List of `LiveDropout`.
    """
    return [x for x in model._flatten_layers() if isinstance(x, LiveDropout)]


def _is_dropout(layer):
    return isinstance(layer, keras.layers.Dropout)


def _has_kernel(layer):
    return any(weight.name.endswith("kernel") for weight in layer.trainable_weights)


def _without_rates(model):
    return [weight for weight in model.weights if weight.name != RATE]

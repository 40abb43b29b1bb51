"""Which variables of a model a penalty is for."""

import keras

_NORMALIZATION = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)


def check_built(model):
    """Raises TypeError or ValueError unless `model` is a built `keras.Model`."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not model.built or not model.weights:
        raise ValueError(
            "`model` must be built, so that it has weights: call "
            "`model.build(input_shape)`, or give it one batch first. "
            f"Received: model={model.name}, not built"
        )


def choose_layers(model, layers):
    """Finds layers, those inside others included.

    Args:
        model: Built `keras.Model`.
        layers: None for all; or a layer's name or path, a layer, a layer class, a
            function from a layer to bool, or an iterable of those.

    Returns:
        List of layers that hold variables or give outputs, without repetition.

    Raises:
        ValueError: If one of them meets no layer.
    """
    every = list(model._flatten_layers(include_self=False))
    if layers is None:
        return every
    single = isinstance(layers, str | type | keras.Layer) or callable(layers)
    chosen = {}
    for wanted in [layers] if single else layers:
        met = [layer for layer in every if _meets(layer, wanted)]
        if not met:
            names = [layer.name for layer in model.layers]
            raise ValueError(
                "`layers` must name layers of the model, or be a class or function "
                f"that meets some; it has {names}. Received: layers={wanted!r}"
            )
        for layer in met:
            chosen[id(layer)] = layer
    return list(chosen.values())


def _meets(layer, wanted):
    if isinstance(wanted, str):
        return wanted in (layer.name, layer.path)
    if isinstance(wanted, type):
        return isinstance(layer, wanted)
    if isinstance(wanted, keras.Layer):
        return layer is wanted
    return bool(wanted(layer))


def choose_variables(model, layers, *, biases, normalization):
    """Finds trainable variables with the layer that holds each.

    Args:
        model: Built `keras.Model`.
        layers: As for `choose_layers`.
        biases: bool, whether biases are meant too.
        normalization: bool, whether scale and offset of normalization are meant too.

    Returns:
        List of `(layer, variable)`, without repetition.

    Raises:
        ValueError: If nothing is left.
    """
    found = {}
    chosen = [
        inner
        for layer in choose_layers(model, layers)
        for inner in layer._flatten_layers()
    ]
    if layers is None:
        chosen = [model, *chosen]
    for owner in chosen:
        if isinstance(owner, _NORMALIZATION) and not normalization:
            continue
        for variable in owner._trainable_variables:
            if _is_bias(variable) and not (biases or isinstance(owner, _NORMALIZATION)):
                continue
            found.setdefault(id(variable), (owner, variable))
    if not found:
        raise ValueError(
            "`layers` must hold weights besides biases and normalization; "
            "`biases=True` or `normalization=True` takes those. "
            f"Received: layers={layers!r}"
        )
    return list(found.values())


def _is_bias(variable):
    return variable.name == "bias" or variable.name.endswith("_bias")


def keeper_of(owner, variable, kind):
    """Finds the layer's argument that brings a penalty back from a file.

    Args:
        owner: Layer that holds the variable.
        variable: `keras.Variable`.
        kind: "regularizer" or "constraint".

    Returns:
        str, the attribute's name, or None where the layer has no such argument.
    """
    name = variable.name
    for stem in (name, name.removesuffix("_kernel"), f"depthwise_{name}", "depthwise"):
        attribute = f"{stem}_{kind}"
        if attribute in vars(owner):
            return attribute
    return None

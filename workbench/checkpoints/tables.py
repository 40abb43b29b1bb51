"""Weights of frozen layers that a checkpoint names by their hash and does not hold."""

import keras

from workbench.checkpoints import state
from workbench.checkpoints.store import describe_array


def check_layers(model, layers):
    """Finds the weights that are named by hash.

    Args:
        model: Built `keras.Model`.
        layers: List of `keras.layers.Layer`.

    Returns:
        Set of int, the `id` of each variable.

    Raises:
        ValueError: If one is no layer of the model, or training may change it.
    """
    inside = {id(layer) for layer in model._flatten_layers(include_self=False)}
    for layer in layers:
        name = getattr(layer, "name", layer)
        if not isinstance(layer, keras.layers.Layer) or id(layer) not in inside:
            raise ValueError(
                "`by_hash` must hold layers of the model, such as "
                f"`model.get_layer(name)`. Received: by_hash=[{name!r}]"
            )
        if layer.trainable_variables or not layer.weights:
            why = "is trained" if layer.trainable_variables else "has no weights"
            raise ValueError(
                "`by_hash` must hold frozen layers with weights, for what training "
                "changes must be stored; set `trainable=False` before compiling, or "
                f"leave the layer out. Received: by_hash=[{name!r}], which {why}"
            )
    return {id(variable) for layer in layers for variable in layer.weights}


def split(variables, ids):
    """Divides variables into those that are stored and those named by hash.

    Args:
        variables: dict name -> variable, see `state.variables_of`.
        ids: Set of int, see `check_layers`.

    Returns:
        `(stored, by_hash)`: dicts name -> variable.
    """
    stored, by_hash = {}, {}
    for name, variable in variables.items():
        (by_hash if id(variable) in ids else stored)[name] = variable
    return stored, by_hash


def views(variables):
    """Returns the values, dict name -> array over the variables' own memory."""
    return {name: state.shared(variable) for name, variable in variables.items()}


def stored_of(variables, manifest):
    """Returns the variables whose values a checkpoint holds, dict name -> variable."""
    places = {state.place_of(name) for name in manifest.get("by_hash", {})}
    return {n: v for n, v in variables.items() if state.place_of(n) not in places}


def find_difference(variables, manifest):
    """Compares the model's own weights with those that a checkpoint only names.

    Args:
        variables: dict name -> variable, see `state.variables_of`.
        manifest: dict of the checkpoint.

    Returns:
        str, what is not the same, or None.
    """
    here = {state.place_of(name): name for name in variables}
    for name, there in manifest.get("by_hash", {}).items():
        own = here.get(state.place_of(name))
        if own is None:
            return f"{name} is not there"
        ((_, value),) = views({own: variables[own]}).items()
        found = describe_array(value)
        if found != there:
            kinds = [f"{d['dtype']} {d['shape']}" for d in (found, there)]
            if kinds[0] == kinds[1]:
                kinds = [f"SHA-256 {d['sha256'][:12]}…" for d in (found, there)]
            return f"{own} is {kinds[0]} and was {kinds[1]}"
    return None

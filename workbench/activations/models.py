"""A model before and after a pass: checked, built, recognized, and left as it was."""

import contextlib
import types
import weakref

import keras
import tensorflow as tf

from workbench.activations.arrays import check_shapes
from workbench.activations.recording import flat, layers_of

_SETTINGS = {bool, int, float, str}
_tried = weakref.WeakKeyDictionary()  # model -> ids of layers that stayed unbuilt


def prepare(model, x):
    """Checks a model against its first batch, and builds it if it is not built.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If `x` does not fit it.
    """
    check_model(model)
    check_shapes(model, x)
    # Some layers are never called, and so never built.
    unbuilt = _unbuilt(model)
    if not unbuilt or _tried.get(model) == unbuilt:
        return
    # Traced and never run: weights are made, and nothing else happens.
    specs = [None if t is None else tf.TensorSpec(t.shape, t.dtype) for t in flat(x)]
    packed = keras.tree.pack_sequence_as(skeleton(x), specs)
    traced = tf.function(lambda x: model(x), autograph=False)  # noqa: PLW0108
    traced.get_concrete_function(packed)
    _tried[model] = _unbuilt(model)


def check_model(model):
    """Raises TypeError if `model` is no `keras.Model`."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a keras.Model; put a layer into keras.Sequential first. "
            f"Received: model={model!r} (of type {type(model).__name__})"
        )


def _unbuilt(model):
    layers = [model, *(layer for _, layer in layers_of(model))]
    return {id(layer) for layer in layers if not layer.built}


def fingerprint(model):
    """Hashable that changes when a layer, a variable or a setting of a layer does."""
    parts = []
    for _, layer in [("", model), *layers_of(model)]:
        parts.append(id(layer))
        # A copy: a training in another thread may set attributes meanwhile.
        for name, value in list(vars(layer).items()):
            if name[0] == "_":
                continue
            kind = type(value)
            if kind in _SETTINGS:
                parts.append(value)
            elif kind is types.FunctionType:
                parts.append(id(value))
        parts.append(layer._dtype_policy.name)
        parts.extend(map(id, layer._trainable_variables))
        parts.extend(map(id, layer._non_trainable_variables))
    return hash(tuple(parts))


@contextlib.contextmanager
def state_kept(model, *, losses):
    """Context after which what StatelessScope does not keep is what it was.

    That is raw `tf.Variable`s of the layers and, with `losses`, what Keras notes of
    losses, and the compiled loss, which is built at its first call.
    """
    layers = [model, *(layer for _, layer in layers_of(model))]
    values = (value for layer in layers for value in list(vars(layer).values()))
    variables = {id(v): v for v in values if isinstance(v, tf.Variable)}.values()
    before = [variable.read_value() for variable in variables]
    ids = [set(layer._loss_ids) for layer in layers] if losses else []
    compiled = model._compile_loss if losses and model.compiled else None
    unbuilt = None if compiled is None or compiled.built else dict(vars(compiled))
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        for layer, known in zip(layers, ids, strict=False):
            layer._loss_ids.intersection_update(known)
        if unbuilt is not None:
            vars(compiled).clear()
            vars(compiled).update(unbuilt)
            compiled._metrics.clear()


def skeleton(structure):
    """Returns the same structure without what is in it."""
    return keras.tree.map_structure(lambda _: 0, structure)

"""Where NaN or Inf began: flags inside the graph, looked at only when it happens."""

import functools

import keras
import tensorflow as tf

from workbench.steps.norms import NONE, all_finite

_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape")


def first_bad_layer(model, data):
    """Repeats the forward pass inside the graph and looks at each layer's output.

    Args:
        model: `keras.Model`.
        data: The batch, as `train_step` gets it.

    Returns:
        `(index, names)`: scalar int32 tensor, which of `names` is the first that is
        not finite, else -1; list of str, the places in the order they were computed.
    """
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    graph, names, flags = current_graph(), ["the input batch"], [_finite(x)]

    def watch(layer, original, *args, **kwargs):
        outputs = original(*args, **kwargs)
        # What a loop inside computes cannot leave the loop.
        if current_graph() is graph:
            names.append(f"the output of layer {layer.path or layer.name}")
            flags.append(_finite(outputs))
        return outputs

    layers = [layer for layer in model._flatten_layers() if "call" not in vars(layer)]
    for layer in layers:
        vars(layer)["call"] = functools.partial(watch, layer, layer.call)
    try:
        model(x, training=True)
    finally:
        for layer in layers:
            del vars(layer)["call"]
    return _first_true(tf.logical_not(tf.stack(flags))), names


def current_graph():
    """Returns the graph that is being traced, None in eager mode."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def written(variables):
    """Tells which variables the graph traced so far may have written.

    Only those are restored, so that a large frozen table is never copied.

    Args:
        variables: List of `tf.Variable`.

    Returns:
        List of bool.
    """
    if tf.executing_eagerly():
        return [True] * len(variables)
    inner = {id(outer): tensor for outer, tensor in current_graph().captures}
    handles = [inner.get(id(variable.handle)) for variable in variables]
    return [
        handle is not None and any(op.type not in _READS for op in handle.consumers())
        for handle in handles
    ]


def _finite(structure):
    tensors = [tf.convert_to_tensor(t) for t in tf.nest.flatten(structure)]
    return tf.reduce_all([all_finite(t) for t in tensors])


def _first_true(flags):
    found = tf.argmax(flags, output_type=tf.int32)
    return tf.where(tf.reduce_any(flags), found, NONE)

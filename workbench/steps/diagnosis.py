"""Where NaN or Inf began: flags inside the graph, looked at only when it happens."""

import functools

import keras
import tensorflow as tf

from workbench.steps import replicas
from workbench.steps.norms import NONE, all_finite

_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape")


class LayerWatch:
    """Context in which a forward pass notes which layer's output is not finite.

    It serves all replicas, which are traced in turns.

    Args:
        model: `keras.Model`.

    Attributes:
        names: List of str, the places looked at, in the order they were computed.
    """

    def __init__(self, model):
        self.names = []
        self._model = model
        self._graph = None
        self._flags = {}
        self._watched = []

    def __enter__(self):
        self.names, self._graph = ["the input batch"], current_graph()
        layers = self._model._flatten_layers()
        self._watched = [layer for layer in layers if "call" not in vars(layer)]
        for layer in self._watched:
            vars(layer)["call"] = functools.partial(self._watch, layer, layer.call)
        return self

    def __exit__(self, *exception):
        for layer in self._watched:
            del vars(layer)["call"]

    def first_bad_layer(self, data):
        """Repeats the forward pass inside the graph and looks at each layer's output.

        Args:
            data: The batch, as `train_step` gets it.

        Returns:
            Scalar int32 tensor, which of `names` is the first that is not finite,
            else -1.
        """
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        flags = self._flags[replicas.number()] = [_finite(x)]
        self._model(x, training=True)
        return _first_true(tf.logical_not(tf.stack(flags)))

    def _watch(self, layer, original, *args, **kwargs):
        outputs = original(*args, **kwargs)
        # What a loop inside computes cannot leave the loop.
        if current_graph() is self._graph:
            flags = self._flags[replicas.number()]
            flags.append(_finite(outputs))
            if len(flags) > len(self.names):
                self.names.append(f"the output of layer {layer.path or layer.name}")
        return outputs


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

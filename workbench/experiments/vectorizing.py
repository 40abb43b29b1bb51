"""`tf.vectorized_map`, with the operations it lacks for Keras models."""

import tensorflow as tf
from tensorflow.python.ops.parallel_for import pfor

# TensorFlow runs the older names of these one by one as well.
_ONE_BY_ONE = (
    "StatelessRandomGetKeyCounter",
    "StatelessRandomNormalV2",
    "StatelessRandomUniformV2",
    "StatelessTruncatedNormalV2",
)


def vectorized(function, arguments):
    """Runs a function of one variant on the stacked arguments of many.

    Args:
        function: Function of nested tensors.
        arguments: The same nest, each tensor with a leading axis over the variants.

    Returns:
        The function's results, each with that axis.

    Raises:
        ValueError: If an operation in it cannot be vectorized.
    """
    return tf.vectorized_map(function, arguments, fallback_to_while_loop=False)


def _register(name, converter):
    # A later TensorFlow may bring its own.
    if name not in pfor._pfor_converter_registry:
        pfor.RegisterPFor(name)(converter)


def _convert_bitcast(pfor_input):
    values = tf.bitcast(pfor_input.stacked_input(0), pfor_input.get_attr("type"))
    return pfor.wrap(values, True)


def _convert_one_by_one(pfor_input):
    return pfor._fallback_converter(pfor_input, warn=False)


# Keras's argmax, and with it every accuracy, asks for the sign bit with a bitcast.
_register("Bitcast", _convert_bitcast)
# Dropout, where variants have seeds of their own.
for _name in _ONE_BY_ONE:
    _register(_name, _convert_one_by_one)

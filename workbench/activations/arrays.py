"""What goes in and what comes out: structures of arrays, batches, no needless copy."""

import numbers

import keras
import numpy as np
import tensorflow as tf

# TensorFlow's buffers have no such type in Python.
_COPIED = (tf.bfloat16, tf.string, tf.resource, tf.variant)


def to_tensors(x):
    """Turns what a model is called with into tensors, its structure unchanged.

    Args:
        x: Nested structure of arrays, tensors or None; a list of numbers is an array.

    Returns:
        The same structure of tensors.

    Raises:
        ValueError: If there is nothing in it, or a batch is empty.
    """
    leaves = keras.tree.flatten(x)
    if leaves and all(isinstance(v, (numbers.Real, str, bytes)) for v in leaves):
        x = np.asarray(x, None if isinstance(leaves[0], (str, bytes)) else "float32")
    x = keras.tree.map_structure(
        lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf), x
    )
    tensors = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
    if not tensors:
        raise ValueError(
            "`x` must hold at least one array or one batch. Received: nothing"
        )
    for tensor in tensors:
        if tensor.shape.rank and tensor.shape[0] == 0:
            raise ValueError(
                "`x` must hold at least one sample. Received: an array of shape "
                f"{tuple(tensor.shape)}"
            )
    return x


def is_batched(data):
    """Whether `data` brings its own batches: a dataset, a generator, an iterator."""
    kinds = (tf.data.Dataset, keras.utils.PyDataset)
    return isinstance(data, kinds) or hasattr(data, "__next__")


def batches_of(data, batch_size=None):
    """Iterates over the batches of what the model reads.

    Args:
        data: Arrays as `model(x)` takes them, or a `tf.data.Dataset`, PyDataset or
            iterator of batches, each `x`, `(x, y)` or `(x, y, sample_weight)`.
        batch_size: int, samples, for arrays; None for all at once.

    Yields:
        Structures of tensors, the x of each batch.
    """
    if is_batched(data):
        batches = data
        if isinstance(data, keras.utils.PyDataset):
            batches = (data[i] for i in range(data.num_batches))
        for batch in batches:
            x = batch
            if isinstance(batch, (tuple, list)):
                x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
            yield to_tensors(x)
        return
    x = to_tensors(data)
    if batch_size is None:
        yield x
        return
    if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an int >= 1 (samples). Received: {batch_size=}"
        )
    sizes = {t.shape[0] for t in keras.tree.flatten(x) if t is not None}
    if len(sizes) > 1:
        raise ValueError(
            "`x` must hold arrays of one length when `batch_size` is given. Received: "
            f"lengths {sorted(sizes)}"
        )
    for start in range(0, sizes.pop(), batch_size):
        stop = start + batch_size
        yield keras.tree.map_structure(
            lambda t, a=start, b=stop: None if t is None else t[a:b], x
        )


def count_batches(data, batch_size):
    """Returns how many batches `batches_of` gives, None if that is not known."""
    if isinstance(data, tf.data.Dataset):
        count = int(data.cardinality())
        return count if count >= 0 else None
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    if is_batched(data):
        return None
    length = len(next(t for t in keras.tree.flatten(data) if t is not None))
    return 1 if batch_size is None else -(-length // batch_size)


def length_of(x):
    """Returns the number of samples in a structure of tensors."""
    first = next(t for t in keras.tree.flatten(x) if t is not None)
    return first.shape[0] if first.shape.rank else 1


def to_array(tensor):
    """Returns a tensor's values without a copy where there is a way, read-only.

    The array keeps the tensor's memory alive.
    """
    if not tf.is_tensor(tensor):
        return tensor
    if tensor.dtype in _COPIED:
        array = tensor.numpy()
    else:
        array = np.asarray(memoryview(tensor))
    if isinstance(array, np.ndarray):
        array.flags.writeable = False
    return array


def unshared(array, others):
    """Returns the array, a copy if it lies in the memory of one of `others`."""
    if any(np.may_share_memory(array, other) for other in others):
        array = array.copy()
        array.flags.writeable = False
    return array


def check_shapes(model, x):
    """Raises ValueError if `x` does not fit what a built model says it reads."""
    try:
        expected = keras.tree.flatten(model.inputs)
    except (AttributeError, ValueError):
        return
    given = keras.tree.flatten(x)
    if not expected or isinstance(x, dict):
        return
    shapes = [None if leaf is None else tuple(leaf.shape) for leaf in given]
    wanted = [(None, *tensor.shape[1:]) for tensor in expected]
    if len(shapes) == len(wanted) and all(map(_fits, shapes, wanted)):
        return
    raise ValueError(
        f"`x` must fit the model's inputs, of shape {_listed(wanted)}, the batch "
        f"first. Received: shape {_listed(shapes)}"
    )


def _fits(shape, wanted):
    if shape is None or len(shape) == len(wanted):
        # A Sequential keeps the batch size of its first call, and takes any.
        pairs = zip((shape or ())[1:], wanted[1:], strict=False)
        return all(w is None or s is None or s == w for s, w in pairs)
    # Keras adds or drops a last axis of length 1.
    longer, shorter = sorted((shape, wanted), key=len, reverse=True)
    return longer[-1] == 1 and len(longer) == len(shorter) + 1


def _listed(shapes):
    return ", ".join(str(shape).replace("None", "batch", 1) for shape in shapes)

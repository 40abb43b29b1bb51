"""Norms of gradients, right also for sparse, half-precision and huge ones."""

import functools

import tensorflow as tf


def sum_duplicates(slices):
    """Sums the rows of a sparse gradient that belong to the same index.

    Shapes stay static, so that XLA compiles it: rows that became free hold zeros.

    Args:
        slices: `tf.IndexedSlices`, values `(N, …)` and indices `(N,)`.

    Returns:
        Tensor `(N, …)`: each distinct index's sum once, then zeros.
    """
    order = tf.argsort(slices.indices, stable=True)
    indices = tf.gather(slices.indices, order)
    is_new = tf.cast(indices[1:] != indices[:-1], tf.int32)
    segments = tf.concat([[0], tf.cumsum(is_new)], 0)
    count = tf.shape(indices)[0]
    return tf.math.unsorted_segment_sum(
        tf.gather(slices.values, order), segments[:count], count
    )


def _dense(gradient):
    if isinstance(gradient, tf.IndexedSlices):
        gradient = sum_duplicates(gradient)
    if gradient.dtype.size < 4:
        gradient = tf.cast(gradient, tf.float32)
    return gradient


def all_finite(tensor):
    """Tells whether a tensor holds neither NaN nor Inf.

    Args:
        tensor: Tensor of any shape; integers are always finite.

    Returns:
        Scalar bool tensor.
    """
    if not tensor.dtype.is_floating:
        return tf.constant(True)
    return tf.reduce_all(tf.math.is_finite(tensor))


def global_norm(gradients):
    """Computes the Euclidean norm over all gradients together.

    Args:
        gradients: List of tensors, `tf.IndexedSlices` (duplicates are summed first)
            and None (left out).

    Returns:
        `(norm, finite)`: scalar float tensor, right also where the squares overflow;
        scalar bool tensor, whether every element is finite.
    """
    dense = [_dense(gradient) for gradient in gradients if gradient is not None]
    total = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in dense])

    def by_largest():
        largest = functools.reduce(
            tf.maximum, [tf.reduce_max(tf.abs(gradient)) for gradient in dense]
        )
        scaled = [tf.reduce_sum(tf.square(gradient / largest)) for gradient in dense]
        finite = tf.reduce_all([all_finite(gradient) for gradient in dense])
        return tf.where(finite, largest * tf.sqrt(tf.add_n(scaled)), total), finite

    # Squares of finite gradients overflow beyond 1.8e19; only then look twice.
    return tf.cond(
        tf.math.is_finite(total),
        lambda: (tf.sqrt(total), tf.constant(True)),
        by_largest,
    )

"""Norms of gradients, right also for sparse, half-precision and huge ones."""

import functools

import tensorflow as tf

NONE = -1


def sum_duplicates(slices):
    """Sums the rows of an embedding gradient that belong to the same index.

    Every shape stays as it was, so that XLA and `tf.vectorized_map` can take it:
    the rows that fell free hold zeros under an index that occurs anyway.

    Args:
        slices: `tf.IndexedSlices`, values of shape `(n, …)`, indices `(n,)`.

    Returns:
        `tf.IndexedSlices` of the same shapes; dense, it is the same tensor.
    """
    order = tf.argsort(slices.indices)
    indices = tf.gather(slices.indices, order)
    count = tf.shape(indices)[0]
    changes = tf.cast(indices[1:] != indices[:-1], tf.int32)
    segments = tf.cumsum(tf.pad(changes, [[1, 0]]))[:count]
    sorted_values = tf.gather(slices.values, order)
    rows = tf.math.unsorted_segment_sum(sorted_values, segments, count)
    owners = tf.math.unsorted_segment_max(indices, segments, count)
    # An empty segment's maximum is the smallest integer, which is no row.
    owners = tf.maximum(owners, indices[:1])
    return tf.IndexedSlices(rows, owners, slices.dense_shape)


def _dense(gradient):
    if isinstance(gradient, tf.IndexedSlices):
        gradient = sum_duplicates(gradient).values
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
        return tf.constant(value=True)
    return tf.reduce_all(tf.math.is_finite(tensor))


def global_norm(gradients):
    """Computes the Euclidean norm over all gradients together.

    Args:
        gradients: List of tensors, `tf.IndexedSlices` (duplicates are summed first)
            and None (left out), in the order of layers.

    Returns:
        `(norm, bad)`: scalar float tensor, right also where the squares overflow;
        scalar int32 tensor, which gradient holds NaN or Inf, the one nearest to the
        loss, -1 for none.
    """
    places = [i for i, gradient in enumerate(gradients) if gradient is not None]
    dense = [_dense(gradients[i]) for i in places]
    # One pass over memory, where `square` would write all of it once more.
    total = 2 * tf.add_n([tf.nn.l2_loss(gradient) for gradient in dense])

    def by_largest():
        largest = functools.reduce(
            tf.maximum, [tf.reduce_max(tf.abs(gradient)) for gradient in dense]
        )
        scaled = [tf.reduce_sum(tf.square(gradient / largest)) for gradient in dense]
        bad = [tf.logical_not(all_finite(gradient)) for gradient in dense]
        last = tf.reduce_max(tf.where(bad, places, NONE))
        norm = tf.where(last == NONE, largest * tf.sqrt(tf.add_n(scaled)), total)
        return norm, last

    # Squares of finite gradients overflow beyond 1.8e19; only then look twice. What
    # the update needs is not held for later, so that it may reuse the memory.
    return tf.cond(
        tf.math.is_finite(total),
        lambda: (tf.sqrt(total), tf.constant(NONE)),
        by_largest,
    )

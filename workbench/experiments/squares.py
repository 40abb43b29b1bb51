"""Squared norms of gradients: quick in float32, in float64 where that overflows."""

import tensorflow as tf

# Sums of squares in float32 are quick; outside this range they are redone in float64.
_SMALLEST, _LARGEST = 1e-30, 1e37


def squared_norms(pieces, leading):
    """Computes squared norms in float32 where that will do, else in float64.

    Not for XLA, which takes three times as long for it.

    Args:
        pieces: List per gradient, V of them, of tensors which in a row are it.
        leading: int, axes in front that are not summed over; 0 or 1.

    Returns:
        float64 tensor `(…, V)`.
    """
    sums = _summed(pieces, leading, _quick)
    same = tf.math.is_nan(sums) | (sums == 0)
    usual = same | ((sums > _SMALLEST) & (sums < _LARGEST))
    return tf.cond(
        tf.reduce_all(usual), lambda: sums, lambda: _summed(pieces, leading, _exact)
    )


def _summed(pieces, leading, squared):
    columns = []
    for own in pieces:
        parts = [squared(t, range(leading, t.shape.rank)) for t in own]
        columns.append(tf.concat(parts, 0) if leading else parts[0])
    return tf.stack(columns, axis=-1)


def _quick(tensor, axes):
    # One pass over memory, where `square` would write all of it once more.
    norm = tf.raw_ops.EuclideanNorm(input=tensor, axis=list(axes))
    return tf.square(tf.cast(norm, tf.float64))


def _exact(tensor, axes):
    return tf.reduce_sum(tf.square(tf.cast(tensor, tf.float64)), axis=list(axes))


def by_rows(gradients):
    """Computes squared norms, float64 `(V,)`, from sums in float32, as XLA likes it."""
    sums = []
    for gradient in gradients:
        squares = tf.square(gradient)
        if gradient.shape.rank > 1:
            # XLA adds rows of numbers at once, but single numbers one by one.
            squares = tf.reduce_sum(squares, axis=range(gradient.shape.rank - 1))
        sums.append(tf.reduce_sum(tf.cast(squares, tf.float64)))
    return tf.stack(sums)


def exact(gradients):
    """Computes squared norms, float64 `(V,)`, in float64."""
    return tf.stack([_exact(g, range(g.shape.rank)) for g in gradients])

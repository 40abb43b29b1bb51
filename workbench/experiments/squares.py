"""Squared norms of gradients: quick in float32, in float64 where that overflows."""

import tensorflow as tf

# Sums of squares in float32 are quick; outside this range they are redone in float64.
_SMALLEST, _LARGEST = 1e-30, 1e37


def squared_norms(mapped, gradients, exact):
    """Computes squared norms, float64 `(…, V)`, in float32 where that will do."""
    sums = mapped(quick, gradients)
    same = tf.math.is_nan(sums) | (sums == 0)
    usual = same | ((sums > _SMALLEST) & (sums < _LARGEST))
    return tf.cond(
        tf.reduce_all(usual),
        lambda: sums,
        exact,
    )


def quick(gradients):
    """Computes squared norms, float64 `(V,)`, from sums in float32."""
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
    wide = [tf.cast(gradient, tf.float64) for gradient in gradients]
    return tf.stack([tf.reduce_sum(tf.square(values)) for values in wide])

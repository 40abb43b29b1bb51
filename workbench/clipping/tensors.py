"""Gradients as lists of tensors: exact norms, scaling, duplicate rows summed."""

from typing import NamedTuple

import tensorflow as tf

from workbench.steps import sum_duplicates


class Step(NamedTuple):
    """What a clip method gets to see of one step.

    Attributes:
        gradients: List of V tensors or `tf.IndexedSlices`, none of them None, at
            least float32, no index twice.
        variables: List of the V variables.
        squares: float64 tensor of shape `(V,)`, the gradients' squared norms, in which
            no float32 number overflows or vanishes; non-finite exactly where a
            gradient is.
    """

    gradients: list
    variables: list
    squares: tf.Tensor


class Clipped(NamedTuple):
    """What a clip method made of a step.

    Attributes:
        gradients: List of V tensors or `tf.IndexedSlices`.
        squares: float64 tensor of shape `(V,)`, their squared norms, or None for a
            method that does not know them.
        products: float64 tensor of shape `(V,)`, their inner products with the step's
            gradients, or None.
    """

    gradients: list
    squares: tf.Tensor | None = None
    products: tf.Tensor | None = None


def prepare(gradients, variables):
    """Makes gradients exact to work on: at least float32, one row per index.

    Args:
        gradients: List of V tensors, arrays or `tf.IndexedSlices`, without None.
        variables: List of the V variables.

    Returns:
        `Step`.
    """
    prepared = []
    for gradient in gradients:
        if not isinstance(gradient, tf.IndexedSlices):
            gradient = tf.convert_to_tensor(gradient)  # noqa: PLW2901
        if gradient.dtype.size < 4:
            gradient = cast(gradient, tf.float32)  # noqa: PLW2901
        if isinstance(gradient, tf.IndexedSlices):
            gradient = sum_duplicates(gradient)  # noqa: PLW2901
        prepared.append(gradient)
    return Step(prepared, list(variables), inner_products(prepared, prepared))


def values_of(gradient):
    """Returns the numbers of a dense gradient or of `tf.IndexedSlices`."""
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def with_values(gradient, values):
    """Returns `gradient` with its numbers replaced, sparse if it was sparse."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return values


def cast(gradient, dtype):
    """Returns the gradient in a dtype, the same object if it has it."""
    if gradient.dtype == dtype:
        return gradient
    return with_values(gradient, tf.cast(values_of(gradient), dtype))


def densify(gradient):
    """Returns a dense tensor for a dense gradient or `tf.IndexedSlices`."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(
        gradient.values, gradient.indices, gradient.dense_shape[0]
    )


def inner_products(left, right, dtype="float64"):
    """Computes the inner product of each pair of gradients.

    Args:
        left: List of V tensors or `tf.IndexedSlices` without duplicate indices.
        right: The same; each has its partner's shape and, if sparse, indices.
        dtype: What is computed in.

    Returns:
        float64 tensor of shape `(V,)`.
    """

    def row(gradient):
        return tf.cast(tf.reshape(values_of(gradient), [1, -1]), dtype)

    # A sum of products takes three times as long as a product of matrices.
    products = [
        tf.matmul(row(x), row(y), transpose_b=True)
        for x, y in zip(left, right, strict=True)
    ]
    return tf.cast(tf.reshape(tf.concat(products, axis=0), [-1]), tf.float64)


def root(squares):
    """Computes norms from float64 squared norms.

    The norm of zero comes out as 1e-150, so that dividing by it is safe and its
    derivative is 0 instead of infinite.
    """
    return tf.sqrt(tf.maximum(squares, tf.constant(1e-300, tf.float64)))


def excess(squares, limit):
    """Computes by how much norms exceed their limit.

    Args:
        squares: float64 tensor, squared norms.
        limit: Number or tensor of a shape that broadcasts with `squares`.

    Returns:
        float64 tensor, norm / limit where that is above 1, else exactly 1.
    """
    one = tf.constant(1.0, tf.float64)
    return tf.maximum(root(squares) / tf.cast(limit, tf.float64), one)


def divide(step, ratios):
    """Divides each gradient by its ratio; a ratio of 1 leaves every bit.

    Args:
        step: `Step` of V gradients.
        ratios: float64 tensor of shape `(V,)`, or a scalar for all.

    Returns:
        `Clipped`. Ratios above 8e37, whose inverse float32 does not hold, give zeros.
    """
    count = len(step.gradients)
    # A product is much cheaper than a quotient, and as exact to one bit.
    scales = tf.cast(1.0 / ratios, tf.float32)
    scales = tf.unstack(scales, num=count) if ratios.shape.rank else [scales] * count
    gradients = [
        with_values(gradient, values_of(gradient) * tf.cast(scale, gradient.dtype))
        for gradient, scale in zip(step.gradients, scales, strict=True)
    ]
    products = step.squares / ratios
    return Clipped(gradients, products / ratios, products)


def divide_by_global(step, limit):
    """Divides all gradients so that their joint norm is at most `limit`.

    Args:
        step: `Step` of V gradients.
        limit: Number or scalar tensor.

    Returns:
        `Clipped`.
    """
    return divide(step, excess(tf.reduce_sum(step.squares), limit))


def measure(step, clipped):
    """Computes what there is to record of a method that does not know it.

    Args:
        step: `Step` of V gradients.
        clipped: `Clipped` of the V gradients.

    Returns:
        float64 tensor of shape `(3, V)`: squared norms before and after, and inner
        products.
    """
    before, after = list(step.gradients), list(clipped.gradients)
    for i, pair in enumerate(zip(before, after, strict=True)):
        kinds = {isinstance(gradient, tf.IndexedSlices) for gradient in pair}
        if len(kinds) == 2:
            before[i], after[i] = map(densify, pair)
    pairs = (before, before), (after, after), (before, after)

    def compute(dtype):
        return tf.stack([inner_products(*pair, dtype) for pair in pairs])

    # Copies in float64 take long, and sizes that need them are rare.
    squares = step.squares
    usual = (tf.equal(squares, 0.0) | (squares > 1e-24)) & (squares < 1e30)
    usual = tf.reduce_all(usual)
    return tf.cond(usual, lambda: compute("float32"), lambda: compute("float64"))

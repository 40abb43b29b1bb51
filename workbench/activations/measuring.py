"""Statistics of many tensors, computed where they lie; few passes over the values.

Reading all activations once takes about a tenth of the time of computing them, so that
only sums read every value; the rest comes from a sample. What is small leaves the
graph in a few long vectors, since each operation costs too.
"""

import keras
import numpy as np
import tensorflow as tf

# The upper bits of a float32: sign, exponent and 5 bits of the fraction.
_SHIFT = 18
NUM_CODES = 2 ** (32 - _SHIFT)
RELATIVE_BIN_WIDTH = 2.0 ** (_SHIFT - 23)
NEAR_BOUND = 0.01

_BOUNDS = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu6": (None, 6.0),
}


def bounds_of(layer):
    """Returns the bounds of a layer's activation, None for each that it lacks.

    The zeros of a ReLU are no saturation: they are counted as zeros.

    Returns:
        `(low, high)`, floats or None.
    """
    if isinstance(layer, keras.layers.ReLU) and layer.max_value is not None:
        return None, float(layer.max_value)
    activation = getattr(layer, "activation", None)
    return _BOUNDS.get(getattr(activation, "__name__", ""), (None, None))


def limits_of(bounds):
    """Returns from where on values count as saturated: 1 % of the range away."""
    low, high = bounds
    width = high - (low or 0.0) if high is not None else 0.0
    return (
        None if low is None else low + NEAR_BOUND * width,
        None if high is None else high - NEAR_BOUND * width,
    )


def measure(tensors, bounds, uniform, *, histograms=True):
    """Computes the statistics of several tensors.

    Args:
        tensors: Non-empty list of L numeric tensors of known shapes, none empty; units
            are along the last axis.
        bounds: List of L `(low, high)`, see `bounds_of`.
        uniform: float64 `(n,)` in [0, 1), which makes the samples, or None to count
            every value.
        histograms: Whether the codes of the samples are counted.

    Returns:
        `(results, layout)`: dict name -> tensor for `read`, and what `read` needs to
        know about them.
    """
    tensors = [_at_least_float32(tensor) for tensor in tensors]
    rows = [_as_rows(tensor) for tensor in tensors]
    sums, norms = _sums(rows)
    samples, is_whole = _samples(tensors, uniform)
    results = {"sums": _joined(sums), "norms": _joined(norms)}
    limits = [limits_of(pair) for pair in bounds]
    looked, groups = _looked_at(samples, limits, histograms=histograms)
    results |= looked
    layout = {
        "groups": groups if histograms else [],
        "batches": [row.shape[0] for row in rows],
        "units": [row.shape[2] for row in rows],
        "counted": [sample.shape[0] for sample in samples],
        "whole": is_whole,
        "bounded": [high is not None for _, high in bounds],
    }
    return results, layout


def read(results, layout):
    """Turns what `measure` computed into numbers per layer.

    Args:
        results: dict name -> array.
        layout: As `measure` returned it.

    Returns:
        dict name -> array of L entries: "sums" and "squares", float64, not finite
        where a value is not; "counted", "zeros" and "saturated", int64, the latter two
        among the values counted. "alive", bool `(U,)` for all units of all layers in a
        row. "codes", list of L int32 `(NUM_CODES,)`, empty without histograms.
    """
    codes = [
        (i, counts)
        for number, members in enumerate(layout["groups"])
        for i, counts in zip(members, results[f"codes {number}"], strict=True)
    ]
    batches, units = layout["batches"], layout["units"]
    sizes = 2 * np.multiply(batches, units)
    pieces = np.split(results["sums"], np.cumsum(sizes)[:-1])
    pieces = [p.reshape(b, 2, -1) for p, b in zip(pieces, batches, strict=True)]
    starts = np.cumsum([0, *batches])[:-1]
    return {
        "sums": np.array([piece[:, 0].sum() for piece in pieces]),
        "squares": np.add.reduceat(np.square(results["norms"]), starts),
        "counted": np.array(layout["counted"], "int64"),
        "zeros": results["zeros"].astype("int64"),
        "saturated": results["saturated"].astype("int64"),
        "alive": np.concatenate([(piece[:, 1] != 0).any(0) for piece in pieces]),
        "codes": [counts for _, counts in sorted(codes, key=lambda pair: pair[0])],
    }


def _at_least_float32(tensor):
    is_wide = tensor.dtype in (tf.float32, tf.float64)
    return tensor if is_wide else tf.cast(tensor, tf.float32)


def _as_rows(x):
    if x.shape.rank < 2:
        return tf.reshape(x, [1, -1, 1])
    if x.shape.rank == 2:
        return x[None]
    return tf.reshape(x, [x.shape[0], -1, x.shape[-1]])


def _joined(tensors):
    """All numbers in a row, float64; joined in float32, where there is little else."""
    flat = [tf.reshape(tensor, [-1]) for tensor in tensors]
    if any(tensor.dtype != tf.float32 for tensor in flat):
        flat = [tf.cast(tensor, tf.float64) for tensor in flat]
    return tf.cast(tf.concat(flat, 0), tf.float64)


def _sums(rows):
    """Sums over rows for each unit, plain and weighted, and the norm of all.

    A unit whose weighted sum is 0 was 0 throughout: the weights are so that values of
    both signs do not cancel. A product of matrices adds rows at the speed of memory,
    which reduce_sum does not.
    """
    weights = {}
    for row in rows:
        kind = row.shape[1], row.dtype
        if kind not in weights:
            random = np.random.default_rng(0).uniform(0.5, 1.5, kind[0])
            weights[kind] = tf.constant(np.stack([np.ones(kind[0]), random]), kind[1])
    sums = [tf.matmul(weights[row.shape[1], row.dtype], row) for row in rows]
    return sums, [tf.raw_ops.EuclideanNorm(input=row, axis=[1, 2]) for row in rows]


def _samples(tensors, uniform):
    """Draws one value from each of n stretches of equal length.

    Returns:
        List of the samples, float32 `(n,)` or all values where there are not more; and
        of whether each is the whole tensor, bool.
    """
    places, samples = {}, []
    sizes = [tensor.shape.num_elements() for tensor in tensors]
    count = None if uniform is None else uniform.shape[0]
    is_whole = [count is None or size <= count for size in sizes]
    for tensor, size, whole in zip(tensors, sizes, is_whole, strict=True):
        values = tf.reshape(tensor, [-1])
        if not whole:
            if size not in places:
                drawn = tf.range(count, dtype=tf.float64) + uniform
                places[size] = tf.cast(drawn * (size / count), tf.int64)
            values = tf.gather(values, places[size])
        samples.append(tf.cast(values, tf.float32))
    return samples, is_whole


def _looked_at(samples, limits, *, histograms):
    """Counts zeros, saturated values and codes; samples of one length all at once.

    Returns:
        dict name -> tensor, and which layers are in each group, a list of lists. The
        codes stay by group: they are too many to be put in order here.
    """
    groups = {}
    for i, sample in enumerate(samples):
        groups.setdefault(sample.shape[0], []).append(i)
    groups = list(groups.values())
    zeros, saturated, results = [], [], {}
    for number, members in enumerate(groups):
        values = tf.stack([samples[i] for i in members])
        low, high = np.array(
            [
                [-np.inf if low is None else low for low, _ in limits],
                [np.inf if high is None else high for _, high in limits],
            ],
            "float32",
        )[:, members, None]
        zeros.append(_number_of(tf.equal(values, 0)))
        saturated.append(_number_of((values <= low) | (values >= high)))
        if histograms:
            results[f"codes {number}"] = _bincount(values)
    order = np.argsort([i for members in groups for i in members])
    results["zeros"] = tf.gather(tf.concat(zeros, 0), order)
    results["saturated"] = tf.gather(tf.concat(saturated, 0), order)
    return results, groups


def _number_of(flags):
    return tf.reduce_sum(tf.cast(flags, tf.int32), axis=1)


def _bincount(values):
    bits = tf.bitwise.right_shift(tf.bitcast(values, tf.uint32), _SHIFT)
    return tf.raw_ops.DenseBincount(
        input=tf.bitcast(bits, tf.int32),
        size=NUM_CODES,
        weights=tf.zeros([0], tf.int32),
        binary_output=False,
    )


def count_with_care(tensors):
    """Measures tensors of which not all values are finite; slower.

    Args:
        tensors: As for `measure`.

    Returns:
        float64 tensor `(4, L)`: the sums and the sums of squares of the finite values,
        and how many values are NaN and Inf.
    """
    parts = []
    for tensor in map(_at_least_float32, tensors):
        wide = tf.cast(tensor, tf.float64)
        wide = tf.where(tf.math.is_finite(wide), wide, 0.0)
        nan, inf = tf.math.is_nan(tensor), tf.math.is_inf(tensor)
        parts.append(
            [
                tf.reduce_sum(wide),
                tf.reduce_sum(tf.square(wide)),
                tf.reduce_sum(tf.cast(nan, tf.float64)),
                tf.reduce_sum(tf.cast(inf, tf.float64)),
            ]
        )
    return tf.transpose(tf.stack(parts))

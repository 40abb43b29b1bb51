"""`lookup`: rows of a table, or of its shards, with ids checked instead of wrapped."""

import keras
import numpy as np
import tensorflow as tf

STRATEGIES = ("mod", "div")
COMBINERS = ("sum", "mean", "sqrtn")


def lookup(params, ids, *, strategy="mod", combiner=None):
    """Looks up rows of an embedding table.

    With one table it is `tf.gather`. Several tensors are shards of one table: under
    "mod" id `i` is row `i // n` of shard `i % n`, the default of TensorFlow 1; under
    "div" each shard holds a run of ids that follow each other, the only way of
    TensorFlow 2. Which one a table was sharded by is not written in it.

    Args:
        params: Table `(V, …)`, tensor, variable or array, or a list of n shards of it;
            where n does not divide V, the first `V % n` shards have one row more.
        ids: Integers of any shape, or `tf.RaggedTensor` of them, in [0, V).
        strategy: "mod" or "div".
        combiner: None for each id's own row; "sum", "mean" or "sqrtn" (sum divided by
            the root of the count) joins those along the last axis of `ids`. Without
            ids it gives zeros.

    Returns:
        Tensor `ids.shape + params.shape[1:]`, without the last axis of `ids` where
        there is a combiner; ragged where `ids` are. The bits are those of
        `tf.compat.v1.nn.embedding_lookup`.

    Raises:
        TypeError: If ids are not integers.
        ValueError: If an id is out of range, or shards do not belong together. Inside
            a `tf.function`, ids raise `tf.errors.InvalidArgumentError`.
    """
    _check_choices(strategy, combiner)
    shards = list(params) if isinstance(params, list | tuple) else [params]
    num_rows = _check_shards(shards, strategy)
    ragged = isinstance(ids, tf.RaggedTensor)
    flat = _check_ids(ids.flat_values if ragged else ids, num_rows)
    rows = tf.compat.v1.nn.embedding_lookup(
        [_table(shard) for shard in shards], flat, partition_strategy=strategy
    )
    if ragged:
        rows = ids.with_flat_values(rows)
    return rows if combiner is None else _combine(rows, ids, flat, combiner)


def _check_choices(strategy, combiner):
    if strategy not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {STRATEGIES}. Received: strategy={strategy!r}"
        )
    if combiner is not None and combiner not in COMBINERS:
        raise ValueError(
            f"`combiner` must be one of {COMBINERS} or None. "
            f"Received: combiner={combiner!r}"
        )


def _check_shards(shards, strategy):
    """Returns the number of rows of the table that shards make up."""
    if not shards:
        raise ValueError("`params` must hold at least one shard. Received: params=[]")
    shapes = [tuple(shard.shape) for shard in shards]
    kinds = {
        (shape[1:], str(tf.as_dtype(s.dtype)))
        for shape, s in zip(shapes, shards, strict=True)
    }
    if len(kinds) > 1 or not all(shapes) or None in {shape[0] for shape in shapes}:
        raise ValueError(
            "`params` must be shards of one table, alike but for the number of rows. "
            f"Received: shapes {shapes}, dtypes {[str(s.dtype) for s in shards]}"
        )
    sizes = [shape[0] for shape in shapes]
    num_rows, count = sum(sizes), len(sizes)
    wanted = [num_rows // count + (i < num_rows % count) for i in range(count)]
    if sizes != wanted:
        raise ValueError(
            f"`params` must be {count} shards of {wanted} rows for a table of "
            f"{num_rows} rows under {strategy!r}; others would silently give wrong "
            f"rows. Received: shards of {sizes} rows"
        )
    return num_rows


def _check_ids(ids, num_rows):
    """Returns ids as a tensor whose values are rows."""
    ids = tf.convert_to_tensor(ids)
    if not ids.dtype.is_integer:
        hint = " An empty list needs a dtype." if 0 in ids.shape else ""
        raise TypeError(
            "`ids` must be integers; a cast would cut fractions off. "
            f"Received: ids of dtype {ids.dtype.name}.{hint}"
        )
    if ids.dtype not in (tf.int32, tf.int64):  # the gather takes no others
        ids = tf.cast(ids, tf.int64)
    limit = tf.cast(num_rows, ids.dtype)
    bad = tf.logical_or(ids < 0, ids >= limit)
    if tf.executing_eagerly():
        if tf.reduce_any(bad):
            place = np.argwhere(bad.numpy())[0].tolist()
            number = int(ids.numpy()[tuple(place)])
            raise ValueError(
                f"`ids` must be in [0, {num_rows}), the rows of the table. "
                f"Received: {number} at {place}"
            )
        return ids
    text = f"`ids` must be in [0, {num_rows}), the rows of the table. Received: ids="
    with tf.control_dependencies(
        [tf.debugging.Assert(~tf.reduce_any(bad), [text, tf.boolean_mask(ids, bad)])]
    ):
        return tf.identity(ids)


def _table(shard):
    return shard.value if isinstance(shard, keras.Variable) else shard


def _combine(rows, ids, flat, combiner):
    ragged = isinstance(ids, tf.RaggedTensor)
    axis = ids.shape.rank - 1 if ragged else flat.shape.rank - 1
    if axis < 0:
        raise ValueError(
            "`combiner` must have ids to join: `ids` of at least one axis. Received: "
            "a scalar"
        )
    total = tf.reduce_sum(rows, axis)
    if combiner == "sum":
        return total
    counts = ids.row_lengths(axis) if ragged else tf.shape(flat)[-1]
    counts = tf.maximum(tf.cast(counts, total.dtype), 1)
    if combiner == "sqrtn":
        counts = tf.sqrt(counts)
    if isinstance(counts, tf.RaggedTensor) or not ragged:
        return total / counts
    inner = [1] * (total.shape.rank - counts.shape.rank)
    return total / tf.reshape(counts, [-1, *inner])

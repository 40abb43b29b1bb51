"""`lookup` against TensorFlow's own and NumPy, over shards, shapes and combiners."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from workbench.embeddings import lookup
from workbench.plots.lookups import plot_lookup, plot_shards

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(21, 3)).astype("float32")


def split(table, count, strategy):
    """Shards of a table, as TensorFlow's documentation describes them."""
    if strategy == "mod":
        return [table[i::count] for i in range(count)]
    return np.array_split(table, count)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1, 3), (0,)])
@pytest.mark.parametrize("strategy", ["mod", "div"])
@pytest.mark.parametrize("count", range(1, 9))
def test_the_bits_of_tensorflow(count, strategy, shape):
    shards = split(TABLE, count, strategy)
    ids = rng.integers(0, len(TABLE), shape)
    found = lookup(shards, ids, strategy=strategy).numpy()
    np.testing.assert_array_equal(found, TABLE[ids])
    theirs = tf.compat.v1.nn.embedding_lookup(
        [tf.constant(s) for s in shards], ids, partition_strategy=strategy
    )
    np.testing.assert_array_equal(found, theirs)
    if strategy == "div":
        tables = [tf.constant(s) for s in shards]
        np.testing.assert_array_equal(found, tf.nn.embedding_lookup(tables, ids))


def test_the_examples_that_people_ask_about():
    words = np.array(["i", "like", "the", "country"])
    assert lookup(words, np.array([1, 2, 3])).numpy().tolist() == (
        [b"like", b"the", b"country"]
    )
    numbers = np.array([10, 20, 40])
    assert lookup(numbers, [1, 1, 2]).numpy().tolist() == [20, 20, 40]
    shards = [np.array([1, 3, 5]), np.array([2, 4, 6])]
    assert lookup(shards, [1, 2, 5]).numpy().tolist() == [2, 3, 6]
    assert lookup(shards, [1, 2, 5], strategy="div").numpy().tolist() == [3, 5, 6]
    three = [np.array([1, 4, 7]), np.array([2, 5, 8]), np.array([3, 6])]
    assert lookup(three, [0, 3, 4, 1, 6]).numpy().tolist() == [1, 4, 5, 2, 7]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64"])
def test_any_integers_will_do(dtype):
    ids = np.array([20, 0, 7], dtype)
    np.testing.assert_array_equal(lookup(TABLE, ids), TABLE[[20, 0, 7]])


def test_a_keras_variable_gets_a_sparse_gradient_summed_over_equal_ids():
    table = keras.Variable(TABLE)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(lookup(table, [4, 4, 1]))
    gradient = tape.gradient(total, table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    wanted = np.zeros_like(TABLE)
    wanted[4], wanted[1] = 2, 1
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), wanted)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_combiners_are_those_of_the_sparse_lookup(combiner):
    ragged = tf.ragged.constant([[1, 1, 5], [], [20]])
    theirs = tf.nn.safe_embedding_lookup_sparse(
        tf.constant(TABLE), ragged.to_sparse(), combiner=combiner
    )
    found = lookup(split(TABLE, 4, "mod"), ragged, combiner=combiner)
    np.testing.assert_allclose(found, theirs, rtol=1e-6)
    dense = np.array([[1, 1, 5], [2, 3, 4]])
    power = {"sum": 0, "mean": 1, "sqrtn": 0.5}[combiner]
    wanted = TABLE[dense].sum(1) / 3**power
    np.testing.assert_allclose(
        lookup(TABLE, dense, combiner=combiner), wanted, rtol=1e-6
    )


def test_ragged_ids_stay_ragged():
    found = lookup(TABLE, tf.ragged.constant([[3], [0, 20]]))
    assert found.to_list() == [[TABLE[3].tolist()], TABLE[[0, 20]].tolist()]


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        ([3, -1], ValueError, r"\[0, 21\).*Received: -1 at \[1\]"),
        ([[0], [21]], ValueError, r"Received: 21 at \[1, 0\]"),
        (np.uint64(2**63), ValueError, r"must be in \[0, 21\)"),
        ([2.9], TypeError, "must be integers.*float32"),
        ([], TypeError, "An empty list needs a dtype"),
    ],
)
def test_bad_ids_are_refused(ids, error, match):
    with pytest.raises(error, match=match):
        lookup(TABLE, ids)


def test_bad_ids_are_refused_in_a_graph():
    find = tf.function(lambda ids: lookup(split(TABLE, 2, "mod"), ids))
    np.testing.assert_array_equal(find(tf.constant([2, 20])), TABLE[[2, 20]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be in"):
        find(tf.constant([2, 21]))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"params": []}, "at least one shard"),
        ({"params": [TABLE[:3], TABLE[3:]]}, r"2 shards of \[11, 10\] rows"),
        ({"params": [TABLE[:2], TABLE[:2, :1]]}, "shards of one table"),
        ({"params": np.float32(3)}, "shards of one table"),
        ({"strategy": "rows"}, "`strategy` must be one of"),
        ({"combiner": "max"}, "`combiner` must be one of"),
        ({"ids": 3, "combiner": "sum"}, "at least one axis"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        lookup(**({"params": TABLE, "ids": [1]} | arguments))


def texts(axes):
    """What is written at which place, as dict of (column, row) -> str."""
    return {t.get_position(): t.get_text() for t in axes.texts}


def test_the_picture_of_a_lookup_shows_the_rows_that_are_picked():
    words = ["a", "b", "c", "d"]
    figure = plot_lookup(TABLE[:4].round(1), words, ["d", "b"])
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == [
        "a  0",
        "b  1",
        "c  2",
        "d  3",
    ]
    found = texts(right)
    for place, row in ((1, 3), (2, 1)):
        values = [found[column, place] for column in range(3)]
        assert values == [f"{v:.1f}" for v in TABLE[row]]
        assert texts(left)[0, row] == values[0]
    assert {"d = 3", "b = 1"} <= set(found.values())


def test_the_picture_of_shards_has_each_row_where_lookup_finds_it():
    for axes, strategy in zip(plot_shards(8, 3).axes, ["mod", "div"], strict=True):
        places = {int(text): place for place, text in texts(axes).items()}
        shards = [np.full(n, -1) for n in (3, 3, 2)]
        for i, (row, shard) in places.items():
            shards[shard][row] = i
        found = lookup(shards, np.arange(8), strategy=strategy)
        assert found.numpy().tolist() == list(range(8))

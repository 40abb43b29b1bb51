"""Checks of notebook 3, embedding lookup."""

import keras
import numpy as np
import tensorflow as tf

from workbench.course.asking import function, integers, letters, number
from workbench.course.verdicts import Wrong
from workbench.embeddings import lookup


def exercise_1(values, is_noticed):
    """Predicts what shards give that are read by the other rule."""
    given = integers("values", values, "nine numbers")
    if len(given) != 9:
        raise Wrong(f"`values` must be nine numbers. Received: {len(given)}")
    shards = [np.arange(9)[i::4] for i in range(4)]
    read = lookup(shards, np.arange(9), strategy="div").numpy()
    for i in range(9):
        if given[i] != read[i]:
            raise Wrong(f"Read by `div`, id {i} gives something else than {given[i]}.")
    if not isinstance(is_noticed, (bool, np.bool_)):
        raise Wrong("`is_noticed` must be True or False.")
    if is_noticed:
        raise Wrong(
            "`is_noticed` is not so: compare the sizes of these shards with those "
            "that `div` would make."
        )
    return "Sizes that fit both rules give wrong rows without a word."


def exercise_2(my_table, gradient_kind, rows_moved):
    """Changes a table so that all of its rows are in the loss."""
    if not isinstance(my_table, keras.layers.Embedding):
        raise Wrong("`my_table` must be an Embedding layer.")
    layer = keras.layers.Embedding.from_config(my_table.get_config())
    layer.build()
    if layer.embeddings.shape != (11, 4):
        raise Wrong("`my_table` must have eleven rows of four numbers.")
    if not layer.losses:
        raise Wrong("`my_table` has no penalty on its rows: its `losses` is empty.")
    kind, moved = _step(layer)
    if gradient_kind not in ("sparse", "dense"):
        raise Wrong('`gradient_kind` must be "sparse" or "dense".')
    if gradient_kind != kind:
        raise Wrong(
            f"The gradient of your layer was taken, and it is not {gradient_kind}."
        )
    rows = number("rows_moved", rows_moved, "rows")
    if rows != moved:
        raise Wrong(
            f"A step of SGD was made on your layer, and it moved another number of "
            f"rows rather than {rows:g}."
        )
    return "A penalty on a table works through the whole table at every step."


def exercise_3(statements, my_lookup, *, words):
    """Explains why unknown words are no padding."""
    letters(
        "statements",
        statements,
        {
            "a": None,
            "b": None,
            "c": "Print the mask of a sentence with an unknown word.",
            "d": "Print the ids of an unknown word and of an empty string.",
        },
    )
    if not isinstance(my_lookup, keras.layers.StringLookup):
        raise Wrong("`my_lookup` must be a StringLookup.")
    if not set(words) <= set(my_lookup.get_vocabulary()):
        raise Wrong("`my_lookup` must know all of these eleven words.")
    ids = my_lookup(tf.constant(["sea", "glaciers", ""]))
    rows = my_lookup.vocabulary_size()
    mask = keras.layers.Embedding(rows, 4, mask_zero=True).compute_mask(ids)
    known, unknown, padding = mask.numpy().tolist()
    where = f"sea, glaciers and padding get {ids.numpy().tolist()}: "
    if not unknown or not known:
        raise Wrong(f"{where}a word is still masked.")
    if padding:
        raise Wrong(f"{where}padding is not masked.")
    return "Unknown words now have a row that is trained, and padding is passed over."


def exercise_4(cause, whose, encode, *, words, table):
    """Diagnoses a word that gets the vector of another."""
    if not isinstance(whose, str) or whose not in words:
        raise Wrong(f"`whose`: {whose!r} is no word of the table.")
    layer = keras.layers.Embedding(*table.shape)
    layer.build()
    layer.set_weights([table])
    row = layer(np.array([-1]))[0]
    if not np.array_equal(row, table[words.index(whose)]):
        raise Wrong(
            f"The mountains do not get the vector of {whose}: compare the rows."
        )
    letters(
        "cause",
        cause,
        {
            "a": "The table has as many rows after the lookup as before.",
            "b": "The vector that is printed is not zero.",
            "c": None,
            "d": "Print what `encode` gives for the mountains.",
        },
    )
    function("encode", encode)
    ids = integers("encode(…)", encode(["sea", "mountains", "i", "glaciers"]), "ids")
    if len(ids) != 4:
        raise Wrong("`encode` must give as many numbers as words.")
    if encode(list(words)) != list(range(len(words))):
        raise Wrong("With `encode` known words do not keep their numbers.")
    for i in (ids[1], ids[3]):
        if i in range(len(words)):
            raise Wrong(f"Unknown words get {i}, which is the row of a known word.")
        if i != len(words):
            raise Wrong(f"Unknown words get {i}, which a table of twelve rows has not.")
    return "The mountains have a row of their own now, and the sea keeps its own."


def _step(layer):
    """The kind of the gradient of three words and a penalty, and the rows it moves."""
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([layer.embeddings])
    before = layer.embeddings.numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(lookup(layer.embeddings, [6, 10, 6, 9]))
        loss += sum(layer.losses)
    gradient = tape.gradient(loss, layer.embeddings.value)
    optimizer.apply([gradient])
    moved = (layer.embeddings.numpy() != before).any(axis=1).sum()
    return "sparse" if isinstance(gradient, tf.IndexedSlices) else "dense", int(moved)

"""A Keras layer whose rows are in the order of a vocabulary."""

import keras
import numpy as np
import tensorflow as tf

from workbench.embeddings.coverage import Coverage
from workbench.embeddings.vocabulary import Vocabulary

_BLOCK = 1 << 13
_ALIGNMENT = 64  # bytes, what TensorFlow asks of memory that it shares
_OOV = ("zeros", "mean", "normal", "subwords")


@keras.saving.register_keras_serializable(package="workbench")
class ZeroPadding(keras.constraints.Constraint):
    """Keeps row 0 of a table, the padding, at zero."""

    def __call__(self, w):
        """Returns the table with zeros in row 0."""
        rows = keras.ops.arange(w.shape[0])[:, None] > 0
        return keras.ops.where(rows, w, keras.ops.zeros((), w.dtype))


def to_layer(vectors, mapped, vocabulary, *, trainable, oov, mask_zero, seed):
    """Makes the layer; see `WordVectors.to_layer`."""
    if not callable(oov) and oov not in _OOV:
        raise ValueError(
            f"`oov` must be one of {_OOV} or a function. Received: oov={oov!r}"
        )
    if oov == "subwords" and vectors.subwords is None:
        raise ValueError(
            '`oov` can be "subwords" only for a fastText .bin, which has n-grams. '
            "Received: oov='subwords'"
        )
    if vocabulary is None or vocabulary is vectors.words:
        return _whole(vectors, mapped, trainable, mask_zero)
    known = Vocabulary(vocabulary)
    if mask_zero and known.padding != 0:
        raise ValueError(
            "`mask_zero` needs padding in row 0, where this vocabulary has "
            f"{known.words[0]!r}, which would be masked; use TextVectorization, "
            'StringLookup(mask_token="") or a list that begins with "". '
            "Received: mask_zero=True"
        )
    rows = np.full(len(known.words), -1, np.int64)
    ordinary = np.flatnonzero(~known.is_special)
    rows[ordinary] = vectors.words.rows([known.words[i] for i in ordinary.tolist()])
    table = _table(vectors, known, rows, oov, seed)
    layer = _layer(table, trainable, mask_zero, is_padded=known.padding == 0)
    found = rows >= 0
    missing = ~found & ~known.is_special
    coverage = Coverage(
        tuple(known.words[i] for i in np.flatnonzero(found).tolist()),
        tuple(known.words[i] for i in np.flatnonzero(missing).tolist()),
        known.unreachable(vectors.words),
        tuple(known.words[i] for i in np.flatnonzero(known.is_special).tolist()),
        getattr(oov, "__name__", "a function") if callable(oov) else oov,
    )
    return layer, coverage


def _whole(vectors, mapped, trainable, mask_zero):
    if mask_zero and vectors.words[0] != "":
        raise ValueError(
            f"`mask_zero` needs padding in row 0, where the file has "
            f"{vectors.words[0]!r}, "
            'which would be masked; give a vocabulary that begins with "". '
            "Received: mask_zero=True"
        )
    # A mapping of its own: what training changes stays in it.
    table = np.asarray(mapped.open())
    layer = _layer(table, trainable, mask_zero, is_padded=vectors.words[0] == "")
    return layer, Coverage(vectors.words, (), (), (), "nothing")


def _aligned(shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def _table(vectors, known, rows, oov, seed):
    table = _aligned((len(rows), vectors.matrix.shape[1]), vectors.matrix.dtype)
    found = np.flatnonzero(rows >= 0)
    for start in range(0, len(found), _BLOCK):
        part = found[start : start + _BLOCK]
        table[part] = vectors.matrix[rows[part]]
    others = np.flatnonzero(rows < 0)
    others = others[others != (-1 if known.padding is None else known.padding)]
    if known.padding is not None:
        table[known.padding] = 0
    if len(others):
        _fill(table, others, vectors, known, oov, seed)
    return table


def _fill(table, others, vectors, known, oov, seed):
    if oov == "zeros":
        table[others] = 0
        return
    mean, deviation = _statistics(vectors.matrix)
    table[others] = mean
    if oov == "normal":
        rng = np.random.default_rng(seed)
        table[others] = mean + deviation * rng.standard_normal((len(others), len(mean)))
    elif oov != "mean":
        make = vectors.subwords.vector if oov == "subwords" else oov
        for i in others.tolist():
            if oov == "subwords" and known.is_special[i]:
                continue  # `[UNK]` has no letters: it stays at the mean
            value = make(known.words[i])
            if value is not None:
                table[i] = _checked(value, known.words[i], table.shape[1])


def _checked(value, word, dimensions):
    value = np.asarray(value, "float32")
    if value.shape != (dimensions,) or not np.isfinite(value).all():
        raise ValueError(
            f"`oov` must return {dimensions} finite numbers. Received: "
            f"oov({word!r}) of shape {value.shape}"
        )
    return value


def _statistics(matrix):
    total = np.zeros((2, matrix.shape[1]))
    count = 0
    for start in range(0, len(matrix), _BLOCK):
        part = np.asarray(matrix[start : start + _BLOCK], "float64")
        part = part[np.isfinite(part).all(axis=1)]
        total += part.sum(axis=0), np.square(part).sum(axis=0)
        count += len(part)
    mean, square = total / max(count, 1)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _layer(table, trainable, mask_zero, *, is_padded):
    if table.ctypes.data % _ALIGNMENT or not table.flags.c_contiguous:
        copy = _aligned(table.shape, table.dtype)
        copy[...] = table
        table = copy
    tensor = tf.experimental.dlpack.from_dlpack(table.__dlpack__())
    layer = keras.layers.Embedding(
        *table.shape,
        embeddings_initializer=lambda shape, dtype: tensor,
        embeddings_constraint=ZeroPadding() if trainable and is_padded else None,
        mask_zero=mask_zero,
        dtype="float16" if table.dtype == np.float16 else None,
    )
    layer.build()
    # What is saved must not ask for the table again.
    layer.embeddings_initializer = keras.initializers.get("zeros")
    layer.trainable = trainable
    return layer

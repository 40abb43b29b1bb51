"""Small files of vectors of every kind, written by other hands than the readers'."""

import gzip
import struct
import zipfile

import keras
import numpy as np
import safetensors.numpy

KINDS = (
    "glove",
    "word2vec text",
    "word2vec",
    "fasttext",
    "npy",
    "npz",
    "safetensors",
    "keras",
    "weights",
    "gz",
    "zip",
)


def write(kind, path, words, matrix):
    """Writes a file; returns the arguments that `load_vectors` needs for it."""
    return _WRITERS[kind](path, words, matrix) or {}


def _glove(path, words, matrix, header=b""):
    lines = (
        f"{word} {' '.join(repr(float(x)) for x in row)}\n"
        for word, row in zip(words, matrix, strict=True)
    )
    path.write_bytes(header + "".join(lines).encode())


def _word2vec_text(path, words, matrix):
    _glove(path, words, matrix, b"%d %d\n" % matrix.shape)


def _word2vec(path, words, matrix):
    with path.open("wb") as file:
        file.write(b"%d %d\n" % matrix.shape)
        for word, row in zip(words, matrix, strict=True):
            file.write(word.encode() + b" " + row.tobytes() + b"\n")


def _fasttext(path, words, matrix):
    write_fasttext(path, words, matrix, 0, 0, 0)


def write_fasttext(path, words, table, buckets, shortest, longest):
    """Writes the layout of `FastText::saveModel`: skipgram, version 12."""
    rows, columns = table.shape
    with path.open("wb") as file:
        file.write(struct.pack("<ii", 793712314, 12))
        numbers = (columns, 5, 5, 1, 5, 1, 2, 2, buckets, shortest, longest, 100)
        file.write(struct.pack("<12id", *numbers, 1e-4))
        file.write(struct.pack("<iiiqq", len(words), len(words), 0, 99, -1))
        for word in words:
            file.write(word.encode() + b"\0" + struct.pack("<qb", 7, 0))
        for matrix in (table, table[: len(words)]):
            file.write(struct.pack("<?", False))
            file.write(struct.pack("<qq", *matrix.shape))
            file.write(np.ascontiguousarray(matrix, "<f4").tobytes())
    assert rows == len(words) + buckets


def write_quantized(path, words, columns, *, model=3, labels=1, pruned=2):
    """Writes the layout of a `.ftz`, as `FastText::quantize` and `saveModel` make it.

    Args:
        path: path.
        words: List of str.
        columns: int, numbers of a vector.
        model: int, 1 of cbow, 2 of skipgram, 3 of a classifier.
        labels: int, entries that are labels, after the words.
        pruned: int, n-grams that were kept, -1 if all were.
    """
    entries = [(word, 0) for word in words]
    entries += [(f"__label__{i}", 1) for i in range(labels)]
    rows = len(words) + 20
    with path.open("wb") as file:
        file.write(struct.pack("<ii", 793712314, 12))
        numbers = (columns, 5, 5, 1, 5, 1, 3, model, 20, 2, 4, 100)
        file.write(struct.pack("<12id", *numbers, 1e-4))
        counts = (len(entries), len(words), labels, 99, pruned)
        file.write(struct.pack("<iiiqq", *counts))
        for word, kind in entries:
            file.write(word.encode() + b"\0" + struct.pack("<qb", 7, kind))
        for i in range(max(pruned, 0)):
            file.write(struct.pack("<ii", i, i))
        # A product quantizer: a code for each two numbers, 256 centroids of two.
        parts = columns // 2
        file.write(struct.pack("<??qqi", True, False, rows, columns, rows * parts))
        file.write(bytes(rows * parts))
        file.write(struct.pack("<4i", columns, parts, 2, 2))
        file.write(np.zeros(256 * columns, "<f4").tobytes())
        file.write(struct.pack("<?qq", False, max(labels, 1), columns))
        file.write(np.zeros((max(labels, 1), columns), "<f4").tobytes())


def _npy(path, words, matrix):
    with path.open("wb") as file:
        np.save(file, matrix)
    return {"rows": words}


def _npz(path, words, matrix):
    with path.open("wb") as file:
        np.savez(file, words=np.array(words), matrix=matrix)


def _safetensors(path, words, matrix):
    safetensors.numpy.save_file({"table": matrix}, path)
    return {"rows": words}


def _model(words, matrix):
    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Embedding(*matrix.shape, weights=matrix, name="table"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )


def _keras(path, words, matrix):
    target = path.with_suffix(".keras")
    _model(words, matrix).save(target)
    target.replace(path)
    return {"rows": words}


def _weights(path, words, matrix):
    target = path.with_suffix(".weights.h5")
    _model(words, matrix).save_weights(target)
    target.replace(path)
    return {"rows": words}


def _gz(path, words, matrix):
    _word2vec(path, words, matrix)
    path.write_bytes(gzip.compress(path.read_bytes()))


def _zip(path, words, matrix):
    _glove(path, words, matrix)
    content = path.read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.txt", content)


_WRITERS = {
    "glove": _glove,
    "word2vec text": _word2vec_text,
    "word2vec": _word2vec,
    "fasttext": _fasttext,
    "npy": _npy,
    "npz": _npz,
    "safetensors": _safetensors,
    "keras": _keras,
    "weights": _weights,
    "gz": _gz,
    "zip": _zip,
}

"""Damaged vector files end in the right matrix or in a ValueError, never elsewhere.

`python -m tests.test_embeddings_fuzz 6000` damages as many files as it is told.
"""

import contextlib
import json
import re
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests import vector_files
from workbench.embeddings import load_vectors

WORDS = ["the", "König", "n/a", '"', "nan", "of", "a", "#b", "x-y", "zz"]
MATRIX = np.linspace(-2, 2, 40, dtype="float32").reshape(10, 4).round(3)
NUMBER = re.compile(
    rb"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)", re.IGNORECASE
)
NUMBER_OF_FILES = 460  # of each kind, more than 5,000 together
LARGEST = 50 << 20  # bytes, the most that a file of a few hundred may ask for


def damage(content, rng):
    """Changes, removes, repeats or inserts some bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, max(len(data), 1)))
        match rng.integers(0, 6):
            case 0 if data:
                data[place] = rng.integers(0, 256)
            case 1 if data:
                data[place] ^= 1 << rng.integers(0, 8)
            case 2:
                del data[place : place + int(rng.integers(1, 20))]
            case 3:
                data[place:place] = data[place : place + int(rng.integers(1, 20))]
            case 4:
                kinds = (b"\n", b"\t", b" ", b"\r", b"\0", b"\xff", b"9", b'"', b"-")
                data[place:place] = kinds[rng.integers(0, len(kinds))]
            case 5:
                del data[place:]
    return bytes(data)


def read_slowly(content, dimensions):
    """Text by the rule alone: the last D fields are numbers, the rest is the word."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.rstrip(b"\r\n").split(b"\n")
    if re.fullmatch(rb"\d+[ \t]+\d+[ \t\r]*", lines[0]):
        lines.pop(0)
    words, rows = [], []
    for line in lines:
        text = line.rstrip(b" \t\r")
        fields = re.split(rb"[ \t]", text)[-dimensions:]
        assert all(NUMBER.fullmatch(field) for field in fields)
        rows.append([float(field) for field in fields])
        words.append(text[: len(text) - len(b" ".join(fields)) - 1].decode())
    return words, np.array(rows).astype("float32")


def check(kind, path, content, arguments):
    """Loads a damaged file and compares what came of it."""
    path.write_bytes(content)
    try:
        vectors = load_vectors(path, cache=False, **arguments)
    except ValueError as error:
        assert len(str(error)) > 15
        return False
    assert vectors.matrix.nbytes < LARGEST
    assert len(vectors.words) == len(vectors.matrix)
    if kind in ("glove", "word2vec text"):
        words, rows = read_slowly(content, vectors.matrix.shape[1])
        assert list(vectors.words) == words
        np.testing.assert_array_equal(vectors.matrix, rows)
    elif kind in ("word2vec", "fasttext"):
        # Each row stands in the file as it is.
        for row in vectors.matrix:
            assert row.tobytes() in content
        for word in vectors.words:
            assert word.encode() in content
    elif kind == "npy":
        # By NumPy too, where it takes a header that is damaged without harm.
        with contextlib.suppress(ValueError, TypeError, SyntaxError):
            expected = np.load(path, allow_pickle=False).astype("float32")
            np.testing.assert_array_equal(vectors.matrix, expected)
    elif kind in ("gz", "zip", "npz", "keras"):
        # They have sums of their own: nothing damaged passes for whole.
        np.testing.assert_array_equal(vectors.matrix, MATRIX)
        assert list(vectors.words) == WORDS
    elif kind == "safetensors":
        np.testing.assert_array_equal(vectors.matrix, read_safetensors(content))
    else:
        # HDF5 has none: the numbers of the dataset lie in one piece.
        assert kind == "weights"
        assert np.ascontiguousarray(vectors.matrix).tobytes() in content
    return True


def read_safetensors(content):
    """By the rule alone: the header says where each tensor's numbers lie."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    ((tensor, where),) = ((k, v) for k, v in header.items() if k != "__metadata__")
    assert tensor
    first, last = where["data_offsets"]
    kinds = {"F32": "<f4", "F64": "<f8", "F16": "<f2"}
    values = np.frombuffer(content[start:][first:last], kinds[where["dtype"]])
    return values.reshape(where["shape"]).astype("float32")


def fuzz(kind, count, folder, seed):
    """Damages `count` files; returns how many could be read all the same."""
    path, rng = folder / "vectors", np.random.default_rng(seed)
    arguments = vector_files.write(kind, path, WORDS, MATRIX)
    content, read = path.read_bytes(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for i in range(count):
            changed = damage(content, rng)
            try:
                read += check(kind, path, changed, arguments)
            except BaseException:
                (Path(tempfile.gettempdir()) / "vectors.damaged").write_bytes(changed)
                sys.stderr.write(f"{kind}, file {i} of seed {seed}\n")
                raise
    return read


@pytest.mark.parametrize("kind", vector_files.KINDS)
def test_damaged_files_are_read_right_or_refused(tmp_path, kind):
    read = fuzz(kind, NUMBER_OF_FILES, tmp_path, seed=1)
    assert read < NUMBER_OF_FILES


@pytest.mark.parametrize("end", [".index", ".data-00000-of-00001"])
def test_damaged_checkpoints_are_read_right_or_refused(tmp_path, end):
    prefix, rng = tmp_path / "ckpt", np.random.default_rng(3)
    tf.train.Checkpoint(table=tf.Variable(MATRIX)).write(str(prefix))
    path = tmp_path / f"ckpt{end}"
    content = path.read_bytes()
    for _ in range(100):
        path.write_bytes(damage(content, rng))
        try:
            vectors = load_vectors(prefix, rows=WORDS, cache=False)
        except ValueError as error:
            assert len(str(error)) > 15
        else:
            np.testing.assert_array_equal(vectors.matrix, MATRIX)


if __name__ == "__main__":
    number = int(sys.argv[1]) // len(vector_files.KINDS) + 1
    for each in vector_files.KINDS:
        with tempfile.TemporaryDirectory() as name:
            done = fuzz(each, number, Path(name), seed=2)
        sys.stdout.write(f"{each}: {number} files, {done} read, the rest refused\n")

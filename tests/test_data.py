"""The data sets: shapes, dtypes, ranges, seeds, and what the tasks ask for."""

import collections
import gzip
import hashlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from workbench import data


def test_mnist_is_split_once_and_for_all():
    (x, y), (x_test, y_test) = data.load_mnist()
    assert x.shape == (8000, 28, 28)
    assert x_test.shape == (2000, 28, 28)
    assert x.dtype == x_test.dtype == np.float32
    assert y.dtype == y_test.dtype == np.int64
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert set(np.unique(y)) == set(range(10))
    assert np.bincount(y_test).min() > 150
    # The split of release 0.1; another one would change every stored result.
    assert y[:10].tolist() == [7, 6, 2, 1, 3, 6, 3, 2, 7, 1]
    (again, _), _ = data.load_mnist()
    np.testing.assert_array_equal(x, again)


def test_the_two_parts_share_no_digit_and_lose_none():
    (x, _), (x_test, _) = data.load_mnist()
    with np.load(data._DATA / "mnist10k.npz") as arrays:
        expected = sorted(image.tobytes() for image in arrays["images"])
    both = (np.concatenate([x, x_test]) * 255).round().astype("uint8")
    assert sorted(image.tobytes() for image in both) == expected


def test_full_mnist_comes_from_keras_or_says_what_to_do(monkeypatch):
    whole = (np.full((3, 28, 28), 255, "uint8"), np.array([1, 2, 3], "uint8"))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: (whole, whole))
    (x, y), _ = data.load_mnist(full=True)
    assert x.dtype == np.float32
    assert x.max() == 1.0
    assert y.dtype == np.int64

    def unreachable():
        raise OSError("no network")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", unreachable)
    with pytest.raises(RuntimeError, match=r"use `load_mnist\(\)`.*no network"):
        data.load_mnist(full=True)


def test_reviews_are_split_once_and_for_all():
    (x, y), (x_test, y_test) = data.load_reviews()
    assert x.shape == y.shape == (7171,)
    assert x_test.shape == y_test.shape == (2000,)
    assert y.dtype == y_test.dtype == np.int64
    assert {type(text) for text in [*x, *x_test]} == {str}
    assert (np.bincount(y).tolist(), np.bincount(y_test).tolist()) == (
        [3598, 3573],
        [976, 1024],
    )
    # The split of release 0.1, and the first sentence of each label in it.
    assert y[:10].tolist() == [0, 0, 1, 0, 0, 1, 1, 1, 1, 1]
    assert x[0] == "An opportunity missed."
    assert x[2] == "Will amuse and provoke adventurous adults in specialty venues."
    assert tf.constant(x[:2]).dtype == tf.string


def test_reviews_share_no_sentence_and_lose_none():
    (x, y), (x_test, y_test) = data.load_reviews()
    packed = (data._DATA / "reviews.tsv.gz").read_bytes()
    text = gzip.decompress(packed)
    assert hashlib.sha256(text).hexdigest().startswith("1d27b9338a3bdb9f")
    ours = [f"{b}\t{a}" for a, b in zip([*x, *x_test], [*y, *y_test], strict=True)]
    assert collections.Counter(ours) == collections.Counter(text.decode().splitlines())
    assert len({*x, *x_test}) == 9171
    lengths = [len(sentence.split()) for sentence in [*x, *x_test]]
    assert max(lengths) == 51
    assert np.mean(lengths) == pytest.approx(18.8, abs=0.1)


@pytest.mark.parametrize("length", [2, 3, 10, 51])
def test_adding_problem_asks_for_the_sum_of_the_two_marked(length):
    x, y = data.sample_adding_problem(500, length, seed=1)
    assert x.shape == (500, length, 2)
    assert y.shape == (500, 1)
    assert x.dtype == y.dtype == np.float32
    marks = x[..., 1]
    np.testing.assert_array_equal(marks[:, : length // 2].sum(1), 1)
    np.testing.assert_array_equal(marks[:, length // 2 :].sum(1), 1)
    np.testing.assert_allclose((x[..., 0] * marks).sum(1), y[:, 0], rtol=1e-6)
    assert 0 <= x[..., 0].min() <= x[..., 0].max() < 1


def test_predicting_one_has_an_error_of_a_sixth():
    _, y = data.sample_adding_problem(200_000, 10)
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, rel=0.02)


@pytest.mark.parametrize("length", [10, 20, 50, 100])
def test_temporal_order_is_what_its_classes_say(length):
    x, y = data.sample_temporal_order(2000, length, seed=2)
    assert x.shape == (2000, length, 6)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.sum(-1), 1)
    symbols = x.argmax(-1)
    rows, places = np.nonzero(symbols < 2)
    np.testing.assert_array_equal(rows, np.repeat(np.arange(2000), 2))
    first, second = places.reshape(-1, 2).T
    assert (length // 10 <= first).all()
    assert (first < 2 * length // 10).all()
    assert (length // 2 <= second).all()
    assert (second < 6 * length // 10).all()
    marked = symbols[rows, places].reshape(-1, 2)
    np.testing.assert_array_equal(y, 2 * marked[:, 0] + marked[:, 1])
    assert np.bincount(y).min() > 400


@pytest.mark.parametrize(
    "sample", [data.sample_adding_problem, data.sample_temporal_order]
)
def test_the_same_seed_gives_the_same_sequences(sample):
    for a, b in zip(sample(50, 20, seed=3), sample(50, 20, seed=3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(sample(50, 20, seed=3)[0], sample(50, 20, seed=4)[0])


@pytest.mark.parametrize(
    ("sample", "arguments", "message"),
    [
        (data.sample_adding_problem, (0, 10), r"`num_sequences` must be >= 1.*=0"),
        (data.sample_adding_problem, (1, 1), r"`length` must be >= 2.*length=1"),
        (data.sample_temporal_order, (1, 9), r"`length` must be >= 10.*length=9"),
    ],
)
def test_impossible_sizes_are_refused(sample, arguments, message):
    with pytest.raises(ValueError, match=message):
        sample(*arguments)


@pytest.mark.parametrize("load", ["load_mnist", "load_reviews"])
def test_loading_loads_neither_keras_nor_tensorflow(load):
    code = (
        f"import sys; from workbench import data; data.{load}(); "
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Small real data sets and sequence tasks: seeded, and at hand without a network."""

import gzip
import pathlib

import numpy as np

_DATA = pathlib.Path(__file__).parent / "_data"
GLOVE = _DATA / "glove.6B.50d.top10k.txt.gz"
"""Path of the 10,000 most frequent words of GloVe 6B, 50 numbers each."""

GLOVE_REVIEWS = _DATA / "glove.6B.50d.reviews.txt.gz"
"""Path of the words that stand in `load_reviews` five times or more, in GloVe 6B."""

_SPLIT_SEED = 2026
_NUM_TEST = 2000


def load_mnist(*, full=False):
    """Loads handwritten digits.

    Without `full`, the 10,000 MNIST digits shipped with the package, split once
    and for all into 8,000 for training and 2,000 held out.

    Args:
        full: bool. True fetches all 70,000 through `keras.datasets.mnist`, which
            needs a network the first time.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images float32 `(N, 28, 28)` in
        [0, 1] and labels int64 `(N,)` in 0..9; N is 8,000 and 2,000, with `full`
        60,000 and 10,000.

    Raises:
        RuntimeError: If `full` and the digits can be neither found nor fetched.

    Source:
        LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
    """
    if full:
        (x, y), (x_test, y_test) = _fetch_full_mnist()
        return (_scaled(x), y.astype("int64")), (
            _scaled(x_test),
            y_test.astype("int64"),
        )
    with np.load(_DATA / "mnist10k.npz") as arrays:
        images, labels = _scaled(arrays["images"]), arrays["labels"].astype("int64")
    return _split(images, labels)


def _split(x, y):
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(x))
    test, train = order[:_NUM_TEST], order[_NUM_TEST:]
    return (x[train], y[train]), (x[test], y[test])


def _scaled(images):
    return images.astype("float32") / np.float32(255)


def _fetch_full_mnist():
    import keras  # noqa: PLC0415, loading digits must not load Keras

    try:
        return keras.datasets.mnist.load_data()
    except Exception as error:
        raise RuntimeError(
            "The full MNIST could not be fetched; use `load_mnist()` for the 10,000 "
            f"digits shipped with the workbench. Keras said: {error}"
        ) from error


def load_reviews():
    """Loads sentences out of film reviews, each praising or panning.

    Those that people rated on average at least 1 or at most -1 on a scale from -4 to
    4, split once and for all into 7,171 for training and 2,000 held out.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: sentences, arrays of str `(N,)`, of 19
        words on average and 51 at most, and labels int64 `(N,)`, 1 for praise, half of
        them, and 0 else; N is 7,171 and 2,000.

    Source:
        Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment
        Analysis of Social Media Text", who had sentences rated that Pang and Lee
        collected.
    """
    text = gzip.decompress((_DATA / "reviews.tsv.gz").read_bytes()).decode()
    labels, sentences = zip(
        *(line.split("\t") for line in text.splitlines()), strict=True
    )
    return _split(np.array(sentences, object), np.array(labels, "int64"))


def sample_adding_problem(num_sequences, length, *, seed=0):
    """Draws the adding problem: remember two marked numbers, give their sum.

    Each sequence holds uniform numbers and a 0/1 mark beside each; one mark lies in
    the first half, one in the second. Predicting 1.0 always has a squared error of
    1/6.

    Args:
        num_sequences: Positive int, N.
        length: int >= 2, time steps T.
        seed: int; the same seed gives the same sequences.

    Returns:
        `(x, y)`: x float32 `(N, T, 2)`, numbers in [0, 1) and marks; y float32
        `(N, 1)` in [0, 2).

    Raises:
        ValueError: If `num_sequences` < 1 or `length` < 2.

    Source:
        Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", section 5.4.
    """
    _check_at_least("num_sequences", num_sequences, 1, "sequences")
    _check_at_least("length", length, 2, "time steps")
    rng = np.random.default_rng(seed)
    rows = np.arange(num_sequences)
    first = rng.integers(0, length // 2, num_sequences)
    second = rng.integers(length // 2, length, num_sequences)
    x = np.zeros((num_sequences, length, 2), "float32")
    x[..., 0] = rng.random((num_sequences, length), "float32")
    x[rows, first, 1] = 1
    x[rows, second, 1] = 1
    y = x[rows, first, 0] + x[rows, second, 0]
    return x, y[:, None]


def sample_temporal_order(num_sequences, length, *, seed=0):
    """Draws the temporal order problem: which two symbols came, and in which order.

    Six one-hot symbols: four distractors everywhere, and one of two marked symbols
    at one place in [T/10, 2T/10) and one in [5T/10, 6T/10).

    Args:
        num_sequences: Positive int, N.
        length: int >= 10, time steps T.
        seed: int; the same seed gives the same sequences.

    Returns:
        `(x, y)`: x float32 `(N, T, 6)` one-hot, symbols 0 and 1 are the marked ones;
        y int64 `(N,)` in 0..3, twice the first marked symbol plus the second.

    Raises:
        ValueError: If `num_sequences` < 1 or `length` < 10.

    Source:
        Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent
        neural networks", section 4.1.1.
    """
    _check_at_least("num_sequences", num_sequences, 1, "sequences")
    _check_at_least("length", length, 10, "time steps")
    rng = np.random.default_rng(seed)
    rows = np.arange(num_sequences)
    symbols = rng.integers(2, 6, (num_sequences, length))
    first, second = rng.integers(0, 2, (2, num_sequences))
    symbols[rows, rng.integers(length // 10, 2 * length // 10, num_sequences)] = first
    symbols[rows, rng.integers(length // 2, 6 * length // 10, num_sequences)] = second
    return np.eye(6, dtype="float32")[symbols], 2 * first + second


def _check_at_least(name, value, minimum, unit):
    if value < minimum:
        raise ValueError(
            f"`{name}` must be >= {minimum} ({unit}). Received: {name}={value}"
        )

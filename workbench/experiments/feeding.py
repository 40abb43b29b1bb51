"""One order of batches for all: arrays shuffled by seed, datasets read once."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The batches of one epoch.

    Attributes:
        data: `(x, y)` or `(x, y, sample_weight)`, x and y may be nested; tensors of
            N samples each.
        orders: List of int32 arrays `(S, B)`, rows of `data` for S steps of B
            samples; a shorter last batch is an array of its own.
    """

    data: tuple
    orders: list

    @property
    def sizes(self):
        """Samples in each step, int array `(steps,)`."""
        return np.concatenate([np.full(len(o), o.shape[1]) for o in self.orders])


def epoch_order(num_samples, seed, epoch):
    """Says in which order an epoch visits the samples of arrays.

    Args:
        num_samples: Positive int, N.
        seed: int >= 0, `compare`'s.
        epoch: int >= 0.

    Returns:
        int array `(N,)`, a permutation.
    """
    return np.random.default_rng((seed, epoch)).permutation(num_samples)


def split_order(order, batch_size):
    """Cuts an order into whole batches and, if need be, a shorter last one.

    Args:
        order: int array `(N,)`.
        batch_size: Positive int.

    Returns:
        List of one or two int32 arrays `(S, B)`.
    """
    order = np.asarray(order, "int32")
    whole = len(order) // batch_size * batch_size
    parts = [order[:whole].reshape(-1, batch_size), order[None, whole:]]
    return [part for part in parts if part.size]


class ArrayFeed:
    """Epochs over arrays that stay in memory, each in an order of its own.

    Args:
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, possibly nested.
        batch_size: Positive int, samples.
        seed: int >= 0 for the orders; None keeps the samples' own order.
    """

    def __init__(self, data, batch_size, seed):
        self.data = tf.nest.map_structure(_to_tensor, tuple(data))
        self.num_samples = _count(self.data)
        self.batch_size = batch_size
        self.seed = seed

    def epoch(self, index):
        """Returns the `Epoch` of that index."""
        order = np.arange(self.num_samples)
        if self.seed is not None:
            order = epoch_order(self.num_samples, self.seed, index)
        return Epoch(self.data, split_order(order, self.batch_size))

    @property
    def even(self):
        """Whether all batches have the same size."""
        return self.num_samples % self.batch_size == 0


class DatasetFeed:
    """Epochs read from a dataset, which is gone through once per epoch.

    Every variant sees the batches of that one reading, whether or not the dataset
    shuffles anew each time. One epoch is held in memory.

    Args:
        dataset: `tf.data.Dataset`, `keras.utils.PyDataset`, or any iterable of
            batches `(x, y)` or `(x, y, sample_weight)` that can be gone through
            again.
    """

    even = False

    def __init__(self, dataset):
        self.dataset = dataset
        self._index = None
        self._epoch = None

    def epoch(self, index):
        """Returns the `Epoch` of that index; the last one read is kept."""
        if index != self._index:
            self._epoch, self._index = self._read(), index
        return self._epoch

    def _read(self):
        if isinstance(self.dataset, keras.utils.PyDataset):
            batches = [self.dataset[i] for i in range(self.dataset.num_batches)]
            self.dataset.on_epoch_end()
        else:
            batches = list(self.dataset)
        if not batches:
            raise ValueError("`data` must give at least one batch. Received: none")
        batches = [tf.nest.map_structure(_to_tensor, tuple(batch)) for batch in batches]
        shapes = {_inner_shapes(batch) for batch in batches}
        if len(shapes) > 1:
            raise ValueError(
                "`data` must give batches that differ in nothing but their number of "
                "samples; pad all to one length. Received: samples of shapes "
                f"{sorted(map(str, shapes))}"
            )
        data = tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *batches)
        return Epoch(data, _consecutive([_count(batch) for batch in batches]))


class EpochList:
    """Epochs that were read before, for a worker that cannot read the dataset.

    Args:
        epochs: List of `(data, orders)` with NumPy arrays.
    """

    even = False

    def __init__(self, epochs):
        self.epochs = epochs

    def epoch(self, index):
        """Returns the `Epoch` of that index."""
        data, orders = self.epochs[index]
        return Epoch(tf.nest.map_structure(tf.convert_to_tensor, data), orders)


def make_feed(data, batch_size, seed):
    """Chooses how to go through the data.

    Args:
        data: Tuple of arrays, or a dataset of batches.
        batch_size: Positive int; a dataset has its own.
        seed: int for shuffling arrays, None to keep their order.

    Returns:
        `ArrayFeed`, `DatasetFeed` or `EpochList`.

    Raises:
        ValueError: If `data` is neither, or its arrays differ in length.
    """
    if isinstance(data, EpochList):
        return data
    if isinstance(data, tuple | list):
        if len(data) not in (2, 3):
            raise ValueError(
                "`data` must be (x, y), (x, y, sample_weight) or a dataset. "
                f"Received: a {type(data).__name__} of length {len(data)}"
            )
        return ArrayFeed(data, batch_size, seed)
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise ValueError(
            "`data` must be (x, y), (x, y, sample_weight) or a dataset. "
            f"Received: data={data!r}"
        )
    if (
        isinstance(data, tf.data.Dataset)
        and data.cardinality() == tf.data.INFINITE_CARDINALITY
    ):
        raise ValueError(
            "`data` must end: an epoch is one pass over it; leave out repeat() or add "
            f"take(). Received: data={data!r}"
        )
    return DatasetFeed(data)


def _inner_shapes(batch):
    return tuple(tuple(leaf.shape[1:]) for leaf in tf.nest.flatten(batch))


def _consecutive(sizes):
    orders, start = [], 0
    for size in sizes:
        rows = np.arange(start, start + size, dtype="int32")[None]
        if orders and orders[-1].shape[1] == size:
            orders[-1] = np.concatenate([orders[-1], rows])
        else:
            orders.append(rows)
        start += size
    return orders


def _to_tensor(value):
    if isinstance(value, tf.Tensor):
        return value
    array = np.asarray(value)
    if array.dtype == np.float64:
        array = array.astype(keras.config.floatx())  # as `fit` does
    return tf.convert_to_tensor(array)


def _count(data):
    counts = {int(leaf.shape[0]) for leaf in tf.nest.flatten(data)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            "`data` must hold arrays of one and the same positive length (samples). "
            f"Received: lengths {sorted(counts)}"
        )
    return counts.pop()

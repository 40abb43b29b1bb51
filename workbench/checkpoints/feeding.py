"""The data as one endless stream of batches that can begin anywhere."""

import itertools
import random

import keras
import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils

from workbench.checkpoints.identity import digest_of_arrays
from workbench.checkpoints.order import permutation


class Feed:
    """Base: where a run stands in its data, and the stream from there on.

    Attributes:
        steps_per_epoch: int, batches.
        spec: Nested `tf.TensorSpec` of a batch.
        notes: List of str, what about the order of the data cannot be exact.
        identity: JSON dict, the same for the same data.
    """

    def __init__(self, steps_per_epoch, spec, identity):
        self.steps_per_epoch = steps_per_epoch
        self.spec = spec
        self.notes = []
        self.identity = {"steps_per_epoch": steps_per_epoch, **identity}

    def dataset(self, epoch, step, state):
        """Makes the endless stream.

        Args:
            epoch: int, epochs done.
            step: int, steps done of the next epoch.
            state: What `capture` returned there, or None at the beginning.

        Returns:
            `tf.data.Dataset` whose first batch is that of `step`.
        """
        raise NotImplementedError

    def begin_epoch(self):
        """Is told that the next batch will be the first of an epoch."""

    def capture(self):
        """Returns what the position does not say, when step `step` has just ended.

        Made of what `workbench.checkpoints.encoding.encode` takes.
        """
        return


class ArrayFeed(Feed):
    """Arrays, in an order made of seed and epoch.

    Args:
        data: Array, or `(x, y)`, or `(x, y, sample_weight)`; each may be nested.
        batch_size: int, samples.
        seed: int.
        shuffle: bool.
    """

    def __init__(self, data, batch_size, seed, shuffle):
        data = keras.tree.map_structure(_array, data)
        sizes = {len(array) for array in keras.tree.flatten(data) if array is not None}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                "`data` must hold arrays of one and the same length > 0 (samples). "
                f"Received: lengths {sorted(sizes)}"
            )
        (self._size,) = sizes
        arrays = array_slicing.convert_to_sliceable(data, target_backend="tensorflow")
        self._arrays = keras.tree.lists_to_tuples(arrays)
        self._batch_size, self._seed, self._shuffle = batch_size, seed, shuffle
        spec = keras.tree.map_structure(
            lambda a: a if a is None else tf.TensorSpec([None, *a.shape[1:]], a.dtype),
            self._arrays,
        )
        identity = {
            "kind": "arrays",
            "samples": self._size,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "content": digest_of_arrays(keras.tree.flatten(data)),
        }
        super().__init__(-(-self._size // batch_size), spec, identity)

    def dataset(self, epoch, step, state):
        """See `Feed.dataset`."""
        size, batch_size = self._size, self._batch_size

        def orders():
            first = step * batch_size
            for number in itertools.count(epoch):
                order = np.arange(size)
                if self._shuffle:
                    order = permutation(self._seed, number, size)
                yield order[first:]
                first = 0

        # Nothing to convert in them, and to look for it takes a while at each start.
        as_it_is = tf.autograph.experimental.do_not_convert

        @as_it_is
        def split(order):
            starts = tf.range(0, tf.size(order), batch_size)
            parts = tf.data.Dataset.from_tensor_slices(starts)
            return parts.map(as_it_is(lambda i: order[i : i + batch_size]))

        @as_it_is
        def take(index, arrays):
            return keras.tree.map_structure(
                lambda a: a if a is None else tf.gather(a, index), arrays
            )

        stream = tf.data.Dataset.from_generator(
            orders, output_signature=tf.TensorSpec([None], tf.int64)
        ).flat_map(split)
        arrays = tf.data.Dataset.from_tensors(self._arrays).repeat()
        stream = tf.data.Dataset.zip(stream, arrays)
        stream = stream.map(take, num_parallel_calls=tf.data.AUTOTUNE)
        return _as_written(stream).prefetch(tf.data.AUTOTUNE)


class IndexedFeed(Feed):
    """Anything with length and indexing, in an order made of seed and epoch.

    Items are read one step at a time and not ahead, so that what an item changes, such
    as NumPy's global random state, is where the step is.

    Args:
        data: `keras.utils.PyDataset`, whose items are batches, or another object with
            `__len__` and `__getitem__`, whose items are samples.
        batch_size: int, samples; not for a `PyDataset`.
        seed: int.
        shuffle: bool.
    """

    def __init__(self, data, batch_size, seed, shuffle):
        self._data, self._seed, self._shuffle = data, seed, shuffle
        self._batches = isinstance(data, keras.utils.PyDataset)
        self._batch_size = 1 if self._batches else batch_size
        self._size = len(data)
        if self._size < 1:
            raise ValueError("`data` must not be empty. Received: length 0")
        self._has_state = hasattr(data, "get_state") and hasattr(data, "set_state")
        steps = -(-self._size // self._batch_size)
        identity = {
            "kind": type(data).__name__,
            "items": self._size,
            "batch_size": self._batch_size,
            "shuffle": shuffle,
            "seed": seed,
        }
        super().__init__(steps, self._peek(steps), identity)
        hooks = ("on_epoch_end", "on_epoch_begin")
        own = [
            hook
            for hook in hooks
            if self._batches
            and getattr(type(data), hook) is not getattr(keras.utils.PyDataset, hook)
        ]
        if own and not self._has_state:
            self.notes.append(
                f"{type(data).__name__}.{own[0]} may change the data, and what it "
                "changes is not saved; give the class `get_state()` and "
                "`set_state(state)`"
            )

    def dataset(self, epoch, step, state):
        """See `Feed.dataset`."""

        def batches():
            if self._has_state and state is not None:
                self._data.set_state(state)
            first = step
            for number in itertools.count(epoch):
                if first == 0:
                    self._begin_epoch(number)
                order = np.arange(self._size)
                if self._shuffle:
                    order = permutation(self._seed, number, self._size)
                for i in range(first, self.steps_per_epoch):
                    start = i * self._batch_size
                    yield self._batch(order[start : start + self._batch_size])
                first = 0

        return _as_written(
            tf.data.Dataset.from_generator(batches, output_signature=self.spec)
        )

    def capture(self):
        """See `Feed.capture`."""
        return self._data.get_state() if self._has_state else None

    def _begin_epoch(self, number):
        if self._batches:
            if number:
                self._data.on_epoch_end()
            self._data.on_epoch_begin()

    def _batch(self, index):
        if self._batches:
            return _standard(self._data[int(index[0])])
        samples = [_standard(self._data[int(i)]) for i in index]
        return keras.tree.map_structure(lambda *parts: np.stack(parts), *samples)

    def _peek(self, steps):
        # Reading may draw random numbers and change the data's own state.
        state = self._data.get_state() if self._has_state else None
        seeds = random.getstate(), np.random.get_state()  # noqa: NPY002
        batches = [self._batch(np.arange(i, i + 1)) for i in range(min(steps, 2))]
        random.setstate(seeds[0])
        np.random.set_state(seeds[1])  # noqa: NPY002
        if self._has_state:
            self._data.set_state(state)
        return data_adapter_utils.get_tensor_spec(batches)


def _standard(batch):
    """As Keras does: a list is a tuple, one array the inputs, floats are floatx."""
    if isinstance(batch, list):
        batch = tuple(batch)
    if not isinstance(batch, tuple | dict):
        batch = (batch,)
    return batch


def _array(value):
    if value is None or isinstance(value, np.ndarray | tf.Tensor):
        return value
    if tf.is_tensor(value):
        raise TypeError(
            "`data` must hold dense arrays; give ragged and sparse ones as a "
            f"tf.data.Dataset. Received: {type(value).__name__}"
        )
    # h5py data sets and pandas columns have shape and dtype, and are no arrays yet.
    return np.asarray(value)


def _as_written(dataset):
    """Turns off what would read ahead, or in another order than asked for."""
    options = tf.data.Options()
    # Several workers share each batch; by itself TensorFlow shares out whole epochs.
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_optimization.inject_prefetch = False
    return dataset.with_options(options)

"""The batches of a range test, in an order of their own for each seed."""

import keras
import numpy as np
import tensorflow as tf


class Batches:
    """Draws batches from whatever `model.fit` takes that can be read again.

    Args:
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, possibly nested; a
            `tf.data.Dataset` or a `keras.utils.PyDataset` of batches.
        batch_size: int >= 1, for arrays.
        num_steps: int, the batches that a trial needs.

    Raises:
        TypeError: If `data` is something else.
        ValueError: If it holds less than one batch.
    """

    def __init__(self, data, batch_size, num_steps):
        self._data = data
        self._batch_size = batch_size
        self._num_steps = num_steps
        if isinstance(data, tuple | list):
            sizes = {len(array) for array in tf.nest.flatten(tuple(data))}
            if not 2 <= len(data) <= 3 or len(sizes) != 1:
                raise ValueError(
                    "`data` must be (x, y) or (x, y, sample_weight) of arrays with "
                    f"equally many samples. Received: {len(data)} parts of {sizes} "
                    "samples"
                )
            self._size, needed = sizes.pop(), batch_size
        elif isinstance(data, tf.data.Dataset):
            self._size, needed = int(data.cardinality()), 1
            if self._size < 0:  # endless, or not known before it is read
                self._size = num_steps if any(True for _ in data.take(1)) else 0
        elif isinstance(data, keras.utils.PyDataset):
            self._size, needed = data.num_batches or 0, 1
        else:
            raise TypeError(
                "`data` must be a tuple of arrays, a tf.data.Dataset or a "
                "keras.utils.PyDataset: the test reads it several times. Received: "
                f"data of type {type(data).__name__}"
            )
        if self._size < needed:
            unit = "samples" if needed == batch_size else "batches"
            raise ValueError(
                "`data` must hold at least one batch; use a smaller `batch_size`. "
                f"Received: {self._size} {unit}, batch_size={batch_size}"
            )

    def draw(self, seed):
        """Draws the batches of one trial; data that is too short comes round again.

        Args:
            seed: int.

        Returns:
            dict, what `model.fit` gets.
        """
        data, rng = self._data, np.random.default_rng(seed)
        if isinstance(data, tf.data.Dataset):
            skipped = (seed * self._num_steps) % self._size
            return {"x": data.repeat().skip(skipped).take(self._num_steps)}
        if isinstance(data, keras.utils.PyDataset):
            return {"x": _Picked(data, self._order(rng, self._num_steps))}
        # Only whole batches: a small last one would tell another loss.
        rows = self._order(rng, self._num_steps * self._batch_size)
        parts = tf.nest.map_structure(
            lambda a: tf.gather(a, rows) if tf.is_tensor(a) else np.asarray(a)[rows],
            tuple(data),
        )
        names = ("x", "y", "sample_weight")
        return {
            **dict(zip(names, parts, strict=False)),
            "batch_size": self._batch_size,
        }

    def _order(self, rng, count):
        rounds = -(-count // self._size)
        orders = [rng.permutation(self._size) for _ in range(rounds)]
        return np.concatenate(orders)[:count]


class _Picked(keras.utils.PyDataset):
    """Batches of another data set, in a given order."""

    def __init__(self, data, order):
        super().__init__()
        self._data, self._order = data, order

    @property
    def num_batches(self):
        """Int, batches."""
        return len(self._order)

    def __getitem__(self, index):
        return self._data[int(self._order[index])]

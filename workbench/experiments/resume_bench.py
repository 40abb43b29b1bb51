"""Training that is cut short and goes on, with Keras and with `checkpoints.fit`."""

import contextlib
import itertools
import pathlib

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from workbench import checkpoints, data

SEED = 7
STEPS = 4  # in an epoch
_SAMPLES = 128


def crash_after(steps):
    """Makes a callback that stands in for a power cut: it raises KeyboardInterrupt.

    Args:
        steps: int, steps that are done before it.

    Returns:
        `keras.callbacks.Callback`.
    """
    count = iter(range(steps))

    def step(batch, logs):  # noqa: ARG001, Keras calls by name
        if next(count, None) is None:
            raise KeyboardInterrupt

    return keras.callbacks.LambdaCallback(on_train_batch_begin=step)


def descent(learning_rate=1e-3):
    """Makes the optimizer of the nets; its steps are quick, one by one."""
    return keras.optimizers.SGD(learning_rate, momentum=0.9)


def largest_difference(model, other):
    """Returns the largest difference between two models' weights, float."""
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


class Bench:
    """A place to train a small net on, with Keras and exactly.

    Args:
        folder: path of an existing folder.
    """

    _numbers = itertools.count()

    def __init__(self, folder):
        (x, y), _ = data.load_mnist()
        self._data = x[:_SAMPLES], y[:_SAMPLES]
        self._folder = pathlib.Path(folder)

    def path(self, ending=""):
        """Names a file or folder that is not there yet."""
        return self._folder / f"{next(self._numbers)}{ending}"

    def net(self, optimizer=None, *, built=True):
        """Makes a compiled net, always the same; None is for `descent()`."""
        keras.utils.set_random_seed(SEED)
        first = [layers.Input((28, 28))] if built else []
        stack = [*first, layers.Flatten(), layers.Dropout(0.2), layers.Dense(10)]
        return self.compile(keras.Sequential(stack), optimizer)

    def compile(self, model, optimizer=None):
        """Compiles a net, anew if it was compiled before; returns it."""
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer or descent(), loss, run_eagerly=True)
        return model

    def growing(self):
        """Makes a dataset that does not tell its length: two batches, then `STEPS`."""
        x, y = self._data
        lengths = itertools.chain([2], itertools.repeat(STEPS))

        def batches():
            for i in range(next(lengths)):
                yield x[i : i + 32], y[i : i + 32]

        spec = tf.TensorSpec([32, 28, 28]), tf.TensorSpec([32], tf.int64)
        return tf.data.Dataset.from_generator(batches, output_signature=spec)

    def by_keras(self, model, epochs=1, callbacks=(), data=None, **arguments):
        """Trains with `model.fit`, until the end or a crash; returns the model."""
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(
                *(self._data if data is None else [data]),
                epochs=epochs,
                callbacks=list(callbacks),
                verbose=0,
                **arguments,
            )
        return model

    def exactly(self, model, path, epochs=1, callbacks=(), data=None, **arguments):
        """Trains with `checkpoints.fit`, to the end or a crash; returns the model."""
        with contextlib.suppress(KeyboardInterrupt):
            checkpoints.fit(
                model,
                self._data if data is None else data,
                filepath=path,
                epochs=epochs,
                save_every=2,
                callbacks=callbacks,
                **arguments,
            )
        return model

    def crashed(self, save_freq):
        """Two epochs with a crash in the second; returns Keras's model and ours."""
        paths = self.path(), self.path()
        backup = keras.callbacks.BackupAndRestore(paths[0], save_freq=save_freq)
        for crash in ([crash_after(7)], []):
            model = self.by_keras(self.net(), 2, [backup, *crash])
            other = self.exactly(self.net(), paths[1], 2, crash)
        return model, other

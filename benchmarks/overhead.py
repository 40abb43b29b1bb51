"""What recording and the panel cost: a run against a plain fit, in one process.

Prints, for steps of 10 ms and more, the ratio of median step times. Plain and
recorded epochs alternate, so that a busy machine slows both.

Usage: python benchmarks/overhead.py
"""

import statistics
import time

import keras
import numpy as np
from keras import layers

from workbench.training import Run

EPOCHS = 8
STEPS = 60


def mlp():
    """A wide MLP: many weights for little work."""
    return keras.Sequential(
        [layers.Input((784,)), layers.Dense(1024, "relu"), layers.Dense(1024, "relu")]
        + [layers.Dense(10)]
    ), (256, 784)


def cnn():
    """A small CNN on digits."""
    return keras.Sequential(
        [layers.Input((28, 28, 1)), layers.Conv2D(16, 3, activation="relu")]
        + [layers.MaxPool2D(), layers.Conv2D(32, 3, activation="relu")]
        + [layers.BatchNormalization(), layers.Flatten(), layers.Dense(10)]
    ), (64, 28, 28, 1)


def lstm():
    """An LSTM over 100 steps."""
    return keras.Sequential(
        [layers.Input((100, 8)), layers.LSTM(50), layers.Dense(10)]
    ), (64, 100, 8)


def _epoch_seconds(train):
    begin = time.perf_counter()
    train()
    return time.perf_counter() - begin


def measure(build, *, panel):
    """Returns plain milliseconds per step and the ratio recorded / plain."""
    model, shape = build()
    batch = shape[0]
    rng = np.random.default_rng(0)
    x = rng.random((batch * STEPS, *shape[1:]), "float32")
    y = rng.integers(0, 10, len(x))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plain = _Clock()
    model.fit(x, y, batch_size=batch, epochs=2, verbose=0)  # traced once, and warm
    recorded = _Clock()
    for _ in range(EPOCHS):
        model.fit(x, y, batch_size=batch, verbose=0, callbacks=[plain])
        run = Run(model, (x, y), batch_size=batch, epochs=2, callbacks=[recorded])
        if panel:
            from workbench.widgets import TrainingMonitor  # noqa: PLC0415

            monitor = TrainingMonitor(run)
        run.start().wait()
        if panel:
            monitor.close()
    return plain.milliseconds(), recorded.milliseconds() / plain.milliseconds()


class _Clock(keras.callbacks.Callback):
    """Times from step to step, tracing epochs left out."""

    def __init__(self):
        super().__init__()
        self.gaps = []

    def on_epoch_begin(self, epoch, logs=None):
        self.last = None
        # A run traces anew in its first epoch.
        self.counts = epoch == self.params["epochs"] - 1

    def on_train_batch_begin(self, batch, logs=None):
        now = time.perf_counter()
        if self.last is not None and self.counts and batch > 1:
            self.gaps.append(now - self.last)
        self.last = now

    def milliseconds(self):
        """Median of the middle, in ms; the mean would follow the machine's moods."""
        return 1000 * statistics.median(self.gaps)


if __name__ == "__main__":
    for build in (mlp, cnn, lstm):
        for panel in (False, True):
            plain, ratio = measure(build, panel=panel)
            label = "recording and panel" if panel else "recording"
            print(f"{build.__name__:5} {plain:6.1f} ms a step   {label}: {ratio:.3f}")

"""What the workers of `test_several_machines.py` run, and one process beside them.

python worker.py TASK FOLDER
"""

import json
import os
import pathlib
import shutil
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from workbench import checkpoints, devices
from workbench.checkpoints import arguments

BATCH_SIZE, EPOCHS = 16, 2
KINDS = ("sequential", "functional", "subclassed")


def data():
    """400 rows: x float32 (400, 6), y float32 (400, 2)."""
    x = np.random.default_rng(0).normal(size=(400, 6)).astype("float32")
    return x, np.sin(x[:, :2])


def build(kind):
    """A compiled model of one of the three kinds, from seed 0."""

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(16, "tanh")
            self.out = keras.layers.Dense(2)

        def call(self, inputs):
            return self.out(self.hidden(inputs))

    keras.utils.set_random_seed(0)
    if kind == "random":
        layers = [keras.layers.Dropout(0.3), keras.layers.Dense(2)]
        model = keras.Sequential([keras.Input((6,)), *layers])
    elif kind == "subclassed":
        model = Subclassed()
    elif kind == "functional":
        inputs = keras.Input((6,))
        hidden = keras.layers.Dense(16, "tanh")(inputs)
        model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    else:
        layers = [keras.layers.Dense(16, "tanh"), keras.layers.Dense(2)]
        model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    return model


def train(model, *, only_fit=False):
    """Fits 50 steps, evaluates and predicts; returns all numbers as arrays."""
    x, y = data()
    call = {"batch_size": BATCH_SIZE, "verbose": 0}
    held_out = None if only_fit else (x[:48], y[:48])
    history = model.fit(x, y, epochs=EPOCHS, validation_data=held_out, **call).history
    numbers = [*model.get_weights(), history["loss"], history["mae"]]
    if not only_fit:
        numbers += [history["val_loss"], history["val_mae"]]
        numbers += [model.evaluate(*held_out, **call), model.predict(x[:48], **call)]
    return [np.asarray(each) for each in numbers]


def fails(call):
    """The message of what a call raises; None if it raises nothing."""
    try:
        call()
    except Exception as error:  # noqa: BLE001, what it is, is the question
        return f"{type(error).__name__}: {error}"
    return None


def compare(folder):
    """Trains each kind together with the others; then the second worker is killed."""
    strategy = devices.multi_worker_strategy(seconds=60)
    for kind in KINDS:
        with strategy.scope():
            model = build(kind)
        store(folder / kind, train(model))
    x, y = data()
    found = {"resumable": resumable(strategy, folder / "whole")}
    found["rows"] = rows_of_steps(strategy)
    found["few rows"] = fails(lambda: model.fit(x, y, batch_size=1, verbose=0))
    foretold = devices.preflight(model, (x, y), batch_size=1)
    found["foretold"] = [[each.code, each.fails] for each in foretold]
    own = type(strategy)
    # The same strategy as TensorFlow has it.
    strategy.__class__ = tf.distribute.MultiWorkerMirroredStrategy
    foretold = devices.preflight(model, (x, y))
    found["foretold plain"] = [[each.code, each.fails] for each in foretold]
    found["plain fit"] = fails(lambda: model.fit(x, y, verbose=0))
    found["plain evaluate"] = fails(lambda: model.evaluate(x, y, verbose=0))
    strategy.__class__ = own
    say(found)
    second = devices.read_cluster().index == 1
    kill = [Kill(folder / "cut" / "worker-1")] if second else []
    resumable(strategy, folder / "cut", *kill)


def store(path, arrays):
    """Stores what the first worker has."""
    if devices.read_cluster().index == 0:
        np.savez(path.with_suffix(".npz"), *arrays)


def rows_of_steps(strategy):
    """Which rows a process gets in three steps of an exact run that goes on."""
    rows = np.arange(40)
    feed = arguments.feed_of((rows, rows), 8, 0, True, None)
    dataset = feed.dataset(1, 3, None)
    steps = iter(strategy.experimental_distribute_dataset(dataset))
    batches = [strategy.experimental_local_results(next(steps)[0]) for _ in range(3)]
    return [np.ravel(batch).tolist() for batch in batches]


def resumable(strategy, filepath, *callbacks):
    """Trains 50 steps by exact resume; returns weights and history."""
    with strategy.scope():
        model = build("random")
    history = checkpoints.fit(
        model,
        data(),
        filepath=filepath,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        save_every=5,
        callbacks=callbacks,
    )
    weights = [weight.tobytes().hex() for weight in model.get_weights()]
    return {"weights": weights, "history": history.history}


class Kill(keras.callbacks.Callback):
    """Takes a worker's newest checkpoint and its life, at step 33."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_batch_end(self, batch, logs=None):
        """Counts by the optimizer."""
        if self.model.optimizer.iterations == 33:
            shutil.rmtree(checkpoints.list_checkpoints(self.folder)[-1].path)
            os.kill(os.getpid(), signal.SIGKILL)

    def get_state(self):
        """Has nothing to remember."""

    def set_state(self, state):
        """Has nothing to remember."""


def go_on(folder):
    """Goes on where `compare` ended."""
    newest = checkpoints.list_checkpoints(folder / "cut" / "worker-0")[-1].steps
    strategy = devices.multi_worker_strategy(seconds=60)
    return {"newest": newest, **resumable(strategy, folder / "cut")}


def only_fit(folder):
    """Trains one kind together with the others."""
    with devices.multi_worker_strategy(seconds=60).scope():
        model = build("sequential")
    store(folder / "sequential", train(model, only_fit=True))


TASKS = {"compare": compare, "go_on": go_on, "only_fit": only_fit}


def say(answer):
    """Tells the launcher."""
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    say(TASKS[sys.argv[1]](pathlib.Path(sys.argv[2])))

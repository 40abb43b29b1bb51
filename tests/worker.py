"""What the workers of `test_several_machines.py` run, and one process beside them.

python worker.py TASK FOLDER
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from workbench import devices

BATCH_SIZE, EPOCHS = 16, 2
KINDS = ("sequential", "functional", "subclassed")


def data():
    """400 rows: x float32 (400, 6), y float32 (400, 2)."""
    import numpy as np

    x = np.random.default_rng(0).normal(size=(400, 6)).astype("float32")
    return x, np.sin(x[:, :2])


def build(kind):
    """A compiled model of one of the three kinds, from seed 0."""
    import keras

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(16, "tanh")
            self.out = keras.layers.Dense(2)

        def call(self, inputs):
            return self.out(self.hidden(inputs))

    keras.utils.set_random_seed(0)
    if kind == "subclassed":
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


def train(model, only_fit=False):
    """Fits 50 steps, evaluates and predicts; returns all numbers as arrays."""
    import numpy as np

    x, y = data()
    call = {"batch_size": BATCH_SIZE, "verbose": 0}
    held_out = None if only_fit else (x[:48], y[:48])
    history = model.fit(x, y, epochs=EPOCHS, validation_data=held_out, **call).history
    numbers = [*model.get_weights(), history["loss"], history["mae"]]
    if not only_fit:
        numbers += [history["val_loss"], history["val_mae"]]
        numbers += [model.evaluate(x, y, **call), model.predict(x[:48], **call)]
    return [np.asarray(each) for each in numbers]


def fails(call):
    """The message of what a call raises; None if it raises nothing."""
    try:
        call()
    except Exception as error:  # noqa: BLE001, what it is, is the question
        return f"{type(error).__name__}: {error}"
    return None


def compare(folder):
    """Trains each kind together with the others; the first worker stores it."""
    strategy = devices.multi_worker_strategy(seconds=60)
    import tensorflow as tf

    for kind in KINDS:
        with strategy.scope():
            model = build(kind)
        store(folder / kind, train(model))
    x, y = data()
    found = {}
    found["few rows"] = fails(lambda: model.fit(x, y, batch_size=1, verbose=0))
    foretold = devices.preflight(model, (x, y), batch_size=1)
    found["foretold"] = [[each.code, each.fails] for each in foretold]
    # The same strategy as TensorFlow has it.
    strategy.__class__ = tf.distribute.MultiWorkerMirroredStrategy
    foretold = devices.preflight(model, (x, y))
    found["foretold plain"] = [[each.code, each.fails] for each in foretold]
    found["plain fit"] = fails(lambda: model.fit(x, y, verbose=0))
    found["plain evaluate"] = fails(lambda: model.evaluate(x, y, verbose=0))
    return found


def store(path, arrays):
    """Stores what the first worker has."""
    import numpy as np

    if devices.read_cluster().index == 0:
        np.savez(path.with_suffix(".npz"), *arrays)


def only_fit(folder):
    """Trains one kind together with the others."""
    with devices.multi_worker_strategy(seconds=60).scope():
        model = build("sequential")
    store(folder / "sequential", train(model, only_fit=True))


TASKS = {"compare": compare, "only_fit": only_fit}


if __name__ == "__main__":
    answer = TASKS[sys.argv[1]](pathlib.Path(sys.argv[2]))
    sys.stdout.write(f"{json.dumps(answer)}\n")

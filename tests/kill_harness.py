"""Kills training at random moments and compares what comes out, bit for bit.

    python -m tests.kill_harness --configurations 0 5 9 --kills 10 [--control]

One parent imports TensorFlow, runs no operation, and forks a child for each life, so
that a life costs no import; a fork after TensorFlow has run would hang. A child trains
until it is killed, from outside at a random moment or by itself inside a random disk
operation.
"""

import argparse
import dataclasses
import functools
import gc
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from workbench import checkpoints
from workbench.checkpoints import callbacks as callback_states
from workbench.checkpoints import store

SAMPLES, BATCH_SIZE, EPOCHS, SAVE_EVERY = 44, 8, 3, 2
STEPS = -(-SAMPLES // BATCH_SIZE)
BEST = "best.weights.h5"
_LIMIT_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What is trained; every pair of values occurs among the 27."""

    optimizer: str
    layer: str
    data: str
    rate: str
    extra: str


def configurations():
    """27 of the 243 combinations, such that every pair of values occurs."""
    names = (
        ("sgd", "adam", "adamw"),
        ("dropout", "batch_norm", "augmentation"),
        ("arrays", "py_dataset", "tf_data"),
        ("float", "schedule", "plateau"),
        ("ema", "accumulation", "mixed_precision"),
    )
    chosen = [
        (a, b, c, (a + b + c) % 3, (a + 2 * b + c) % 3)
        for a, b, c in itertools.product(range(3), repeat=3)
    ]
    return [
        Configuration(*(values[i] for values, i in zip(names, row, strict=True)))
        for row in chosen
    ]


class SampleLog(layers.Layer):
    """Passes its first input on and writes down which samples each step saw."""

    def build(self, shapes):
        self.rows = self.add_weight(
            shape=(EPOCHS * STEPS + 1, BATCH_SIZE),
            dtype="int32",
            initializer=keras.initializers.Constant(-1),
            trainable=False,
            name="rows",
        )
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="count"
        )

    def call(self, inputs, training=False):
        x, identifiers = inputs
        if training:
            row = tf.reshape(identifiers, [-1])[:BATCH_SIZE]
            row = tf.pad(row, [[0, BATCH_SIZE - tf.size(row)]], constant_values=-1)
            rows, count = self.rows.value, self.count.value
            # More steps than there can be all land in the last row.
            place = tf.minimum(count, EPOCHS * STEPS)
            rows.assign(tf.tensor_scatter_nd_update(rows, [[place]], [row]))
            self.count.assign(count + 1)
        return x

    def compute_output_shape(self, shapes):
        return shapes[0]


class Draws(keras.callbacks.Callback):
    """Draws from the global random states at each step, and adds up."""

    def __init__(self):
        super().__init__()
        self.total = 0.0
        self.batches = []
        self.rows, self.steps = np.empty(0), 0

    def on_epoch_end(self, epoch, logs=None):
        # Here, since EarlyStopping gives back an older log with the best weights.
        log = self.model.get_layer("sample_log")
        self.rows, self.steps = log.rows.numpy(), int(log.count.numpy())

    def on_train_batch_end(self, batch, logs=None):
        self.total += random.random() + np.random.random()  # noqa: NPY002
        self.total += float(keras.random.uniform(()))
        self.batches.append(batch)

    def get_state(self):
        # The log too: nothing is trained any more after a kill at the very end.
        return [self.total, list(self.batches), self.rows, self.steps]

    def set_state(self, state):
        self.total, self.batches, self.rows, self.steps = state


class Batches(keras.utils.PyDataset):
    """The arrays as batches."""

    def __init__(self, x, y):
        super().__init__()
        self._x, self._y = x, y

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        part = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
        return {k: v[part] for k, v in self._x.items()}, self._y[part]


def arrays(size=SAMPLES):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(size, 6, 6, 1)).astype("float32")
    return {"image": x, "id": np.arange(size, dtype="int32")[:, None]}, rng.integers(
        0, 4, size
    )


def data_of(configuration):
    x, y = arrays()
    if configuration.data == "py_dataset":
        return Batches(x, y)
    if configuration.data == "tf_data":
        # The seed of a shuffle depends on the global one too.
        keras.utils.set_random_seed(0)
        dataset = tf.data.Dataset.from_tensor_slices((x, y))
        return dataset.shuffle(20, seed=5).batch(BATCH_SIZE).prefetch(2)
    return x, y


def model_of(configuration):
    policy = "float32"
    if configuration.extra == "mixed_precision":
        policy = "mixed_float16"
    rate = 0.05 if configuration.optimizer == "sgd" else 0.01
    if configuration.rate == "schedule":
        rate = keras.optimizers.schedules.CosineDecay(rate, EPOCHS * STEPS)
    settings = {
        "ema": {"use_ema": True, "ema_momentum": 0.8},
        "accumulation": {"gradient_accumulation_steps": 4},
        "mixed_precision": {},
    }[configuration.extra]
    optimizer = {
        "sgd": functools.partial(keras.optimizers.SGD, momentum=0.9),
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
    }[configuration.optimizer](rate, **settings)
    extra = {
        "dropout": [layers.Dropout(0.4, dtype=policy)],
        "batch_norm": [layers.BatchNormalization(dtype=policy)],
        "augmentation": [],
    }[configuration.layer]
    image = keras.Input((6, 6, 1), name="image")
    identifiers = keras.Input((1,), name="id", dtype="int32")
    x = SampleLog(name="sample_log")([image, identifiers])
    if configuration.layer == "augmentation":
        x = layers.RandomFlip()(x)
        x = layers.GaussianNoise(0.1)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(12, activation="tanh", dtype=policy)(x)
    for layer in extra:
        x = layer(x)
    x = layers.Dense(4, dtype="float32")(x)
    model = keras.Model({"image": image, "id": identifiers}, x)
    if policy != "float32":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def callbacks_of(configuration, folder):
    chosen = [
        keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        Draws(),
    ]
    if configuration.rate == "plateau":
        plateau = keras.callbacks.ReduceLROnPlateau(
            "loss", factor=0.5, patience=1, min_delta=10.0
        )
        best = keras.callbacks.ModelCheckpoint(
            folder / BEST, "loss", save_best_only=True, save_weights_only=True
        )
        chosen += [plateau, best]
    return chosen


def train(configuration, folder, attempt, control, tell):
    """Trains to the end, if it is not killed; writes `result.json`."""
    begun = folder / ("backup" if control else "checkpoints")
    data = data_of(configuration)
    # What is restored must not be what happens to be there anyway.
    if control:
        fresh = not (begun.is_dir() and any(begun.glob("*")))
    else:  # killed before its first checkpoint, a training begins anew
        fresh = not (begun.is_dir() and checkpoints.list_checkpoints(begun))
    keras.utils.set_random_seed(0 if fresh else 1000 + attempt)
    model = model_of(configuration)
    callbacks = [*callbacks_of(configuration, folder), tell]
    validation = arrays(16)
    if control:
        backup = keras.callbacks.BackupAndRestore(
            begun, save_freq=SAVE_EVERY, double_checkpoint=True, delete_checkpoint=False
        )
        x, y = data if isinstance(data, tuple) else (data, None)
        history = model.fit(
            x,
            y,
            batch_size=BATCH_SIZE if y is not None else None,
            epochs=EPOCHS,
            validation_data=validation,
            callbacks=[backup, *callbacks],
            verbose=0,
        )
    else:
        history = checkpoints.fit(
            model,
            data,
            filepath=begun,
            epochs=EPOCHS,
            batch_size=BATCH_SIZE,
            save_every=SAVE_EVERY,
            validation_data=validation,
            callbacks=callbacks,
        )
    result = result_of(model, history, callbacks, folder)
    part = folder / "result.part"
    part.write_text(json.dumps(result))
    part.rename(folder / "result.json")


def result_of(model, history, callbacks, folder):
    """Hashes by topic, and the log of samples."""
    tensors = {}
    parts = {
        "weights": [v.numpy() for v in model.variables],
        "optimizer": [v.numpy() for v in model.optimizer.variables],
        "metrics": [v.numpy() for v in model.metrics_variables],
        "history": [repr(history.history), repr(history.epoch)],
        "callbacks": [repr(callback_states.capture(callbacks, tensors))],
        "csv": [(folder / "log.csv").read_text()],
        "best file": [(folder / BEST).read_bytes()] if (folder / BEST).exists() else [],
        "seeds": seeds(),
    }
    parts["callbacks"] += [tensors[name] for name in sorted(tensors)]
    (draws,) = (c for c in callbacks if isinstance(c, Draws))
    return {
        "hashes": {name: _hash(values) for name, values in parts.items()},
        "rows": draws.rows.tolist(),
        "steps": draws.steps,
    }


def seeds():
    """What the global random states are, and what they give next."""
    states = repr(random.getstate()), repr(np.random.get_state())  # noqa: NPY002
    drawn = keras.random.uniform((4,)), tf.random.uniform((4,))
    return [*states, *(values.numpy() for values in drawn)]


def _hash(values):
    digest = hashlib.sha256()
    for value in values:
        content = value.encode() if isinstance(value, str) else value
        digest.update(content if isinstance(content, bytes) else content.tobytes())
    return digest.hexdigest()


class TellFirstStep(keras.callbacks.Callback):
    """Writes a byte into a pipe when training begins."""

    def __init__(self, pipe):
        super().__init__()
        self._pipe = pipe

    def get_state(self):
        return None

    def set_state(self, state):
        pass

    def on_train_batch_begin(self, batch, logs=None):
        if self._pipe is not None:
            os.write(self._pipe, b"x")
            self._pipe = None


class KillingDisk(store.Disk):
    """Ends the process inside its n-th operation, a write after part of its bytes."""

    def __init__(self, count, share):
        self._left, self._share = count, share

    def make_folder(self, path):
        self._do(super().make_folder, path)

    def write_tensors(self, path, tensors):
        self._do(super().write_tensors, path, tensors)

    def write_bytes(self, path, content):
        self._do(super().write_bytes, path, content)

    def sync(self, path):
        self._do(super().sync, path)

    def rename(self, path, new_path):
        self._do(super().rename, path, new_path)

    def remove(self, path):
        self._do(super().remove, path)

    def _do(self, operation, path, *arguments):
        self._left -= 1
        last = self._left == 0
        is_write = operation.__name__.startswith("write")
        if not last or is_write or self._share > 0.5:
            operation(path, *arguments)
        if last:
            if is_write:
                os.truncate(path, int(path.stat().st_size * self._share))
            os.kill(os.getpid(), signal.SIGKILL)


def one_life(configuration, folder, attempt, control, kill, rng, seconds=0.0):
    """Forks a child and ends it in one of several ways.

    `kill` is None; "start", at a random moment from the fork on; "time", at a random
    moment of `seconds` after the first step began; or "write", inside a random disk
    operation.

    Returns:
        "killed", "finished", or the text of an error; and seconds from the first step
        to the end.
    """
    reader, writer = os.pipe()
    count, share = rng.randrange(1, 34), rng.random()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 0
        try:
            if kill == "write":
                store.Disk = functools.partial(KillingDisk, count, share)
            train(configuration, folder, attempt, control, TellFirstStep(writer))
        except BaseException:  # noqa: BLE001, the parent reports it
            (folder / "error.txt").write_text(traceback.format_exc())
            code = 1
        os._exit(code)
    os.close(writer)
    if kill == "start":
        time.sleep(rng.uniform(0.0, 0.6))
    else:
        select.select([reader], [], [], _LIMIT_SECONDS)
    begin = time.perf_counter()
    if kill == "time":
        time.sleep(rng.uniform(0.0, seconds))
    if kill in ("start", "time"):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(reader)
    seconds = time.perf_counter() - begin
    if os.WIFSIGNALED(status):
        return "killed", seconds
    if os.WEXITSTATUS(status):
        return (folder / "error.txt").read_text(), seconds
    return "finished", seconds


def run_case(number, kills, seed, control):
    """Trains once without a kill, then with kills until there were enough of them.

    Returns:
        dict of counts: kills by kind, runs, failures by topic, samples seen twice and
        lost.
    """
    configuration = configurations()[number]
    rng = random.Random(f"{seed} {number}")
    counts = dict.fromkeys(("start", "time", "write"), 0)
    kinds = ("start", "time", "time")
    if not control:  # the writes of BackupAndRestore cannot be met one by one
        kinds = ("start", "time", "write", "write")
    failed = {}
    runs = different = twice = lost = 0
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        (root / "straight").mkdir()
        straight = functools.partial(one_life, configuration, root / "straight")
        end, seconds = straight(0, control, None, rng)
        assert end == "finished", end
        expected = json.loads((root / "straight" / "result.json").read_text())
        while sum(counts.values()) < kills:
            runs += 1
            folder = root / f"run{runs}"
            folder.mkdir()
            end, attempt = "killed", 0
            while end == "killed":
                attempt += 1
                enough = sum(counts.values()) >= kills or attempt > 40
                kill = None if enough else rng.choice(kinds)
                end, _ = one_life(
                    configuration, folder, attempt, control, kill, rng, seconds * 0.7
                )
                if end == "killed":
                    counts[kill] += 1
            problems = ["error"]
            if end == "finished":
                result = json.loads((folder / "result.json").read_text())
                problems = [
                    topic
                    for topic, value in expected["hashes"].items()
                    if result["hashes"][topic] != value
                ]
                if result["rows"] != expected["rows"]:
                    problems.append("samples")
                a, b = seen_twice_and_lost(result)
                twice, lost = twice + a, lost + b
            elif not control:
                sys.stderr.write(f"{end}\n")
            different += bool(problems)
            for problem in problems:
                failed[problem] = failed.get(problem, 0) + 1
            shutil.rmtree(folder)
    return {
        "number": number,
        "configuration": dataclasses.asdict(configuration),
        "kills": counts,
        "runs": runs,
        "different": different,
        "failed": failed,
        "twice": twice,
        "lost": lost,
    }


def seen_twice_and_lost(result):
    """Counts, over the epochs, samples too many and samples too few."""
    rows = result["rows"][: max(result["steps"], EPOCHS * STEPS)]
    twice = lost = 0
    for epoch in range(EPOCHS):
        part = rows[epoch * STEPS : (epoch + 1) * STEPS]
        seen = [i for row in part for i in row if i >= 0]
        twice += len(seen) - len(set(seen))
        lost += SAMPLES - len(set(seen))
    twice += max(0, result["steps"] - EPOCHS * STEPS) * BATCH_SIZE
    return twice, lost


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, nargs="+", default=range(27))
    parser.add_argument("--kills", type=int, default=10, help="for each configuration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--control", action="store_true", help="under BackupAndRestore")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    case = functools.partial(
        run_case,
        kills=arguments.kills,
        seed=arguments.seed,
        control=arguments.control,
    )
    gc.freeze()  # or each child walks, and so copies, all that was imported
    # The workers are forked before TensorFlow runs, too.
    with multiprocessing.get_context("fork").Pool(arguments.processes) as pool:
        for result in pool.imap(case, arguments.configurations):
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

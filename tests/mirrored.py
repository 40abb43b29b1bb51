"""Trains on several logical processors, and writes down what came out.

    python -m tests.mirrored 2 found.json

Devices can be split only before TensorFlow has run, so this is a process of its own.
"""

import contextlib
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.waiting import wait_for
from workbench import clipping
from workbench.experiments import Variant, compare
from workbench.training import Run
from workbench.widgets import TrainingMonitor

SECONDS = 120
BATCH_SIZE = 16
X = np.random.default_rng(0).normal(size=(400, 6)).astype("float32")
Y = np.sin(X[:, :2])
FEW = X[:96], Y[:96]  # six steps
ONE = tf.distribute.get_strategy()
SGD, ADAM = keras.optimizers.SGD, keras.optimizers.Adam
COSINE = keras.optimizers.schedules.CosineDecay


def compiled(strategy, optimizer, *arguments, middle=(), **others):
    """A net that is the same on one device and on several, but for its middle."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        first, last = layers.Dense(8, "tanh"), layers.Dense(2)
        model = keras.Sequential(
            [keras.Input((6,)), first, *(layer() for layer in middle), last]
        )
        model.compile(optimizer(*arguments), "mse", metrics=["mae"], **others)
    return model


def norm():
    return layers.BatchNormalization(synchronized=True)


def dropout():
    return layers.Dropout(0.2, seed=1)


def root():
    return layers.Lambda(tf.sqrt, name="root")


def states(model, others=()):
    """Everything that training changes, in each replica: list of arrays."""
    strategy = model.distribute_strategy
    return [
        part.numpy()
        for variable in [*model.variables, *model.optimizer.variables, *others]
        for part in strategy.experimental_local_results(variable.value)
    ]


def same(one, other):
    return all(map(np.array_equal, one, other))


def gap(arrays, others):
    """The largest difference between two lists of arrays."""
    pairs = zip(arrays, others, strict=True)
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)


def run_of(model, data, **arguments):
    return Run(model, data, **{"batch_size": BATCH_SIZE, "shuffle": False, **arguments})


def finished(model, data, **arguments):
    run = run_of(model, data, **arguments)
    run.start().wait(SECONDS)
    return run


class At(keras.callbacks.Callback):
    """Calls a function when so many steps are done."""

    def __init__(self, actions):
        super().__init__()
        self.actions = actions
        self.steps = 0

    def get_state(self):
        return self.steps

    def set_state(self, state):
        self.steps = state

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps in self.actions:
            self.actions[self.steps]()


# `Run`


def equals_one_device(several):
    """How far 50 steps are from those of one device."""
    extra = {"epochs": 2, "validation_data": (X[:32], Y[:32])}
    one, other = (
        finished(compiled(s, SGD, 0.05, 0.9, middle=[norm]), (X, Y), **extra)
        for s in (ONE, several)
    )
    names = ("loss", "gradient_norm", "learning_rate")
    records = ([getattr(run.records, name) for name in names] for run in (one, other))
    histories = ([*run.history.history.values()] for run in (one, other))
    return {
        "steps": len(other.records),
        "weights": gap(one.model.get_weights(), other.model.get_weights()),
        "records": gap(*records),
        "history": gap(*histories),
        "timed": bool((other.records.seconds > 0).all()),
    }


def equals_fit(several):
    """Whether each optimizer ends in the bits of `fit`, and shows its History."""
    found = {}
    for name, optimizer in (
        ("schedule", lambda: ADAM(COSINE(0.01, 12))),
        ("own clip", lambda: keras.optimizers.AdamW(0.01, global_clipnorm=0.5)),
    ):
        by_fit, by_run = (
            compiled(several, optimizer, middle=[dropout]) for _ in range(2)
        )
        arguments = {"epochs": 2, "validation_data": FEW} if not found else {}
        keras.utils.set_random_seed(5)
        run = finished(by_run, FEW, shuffle=True, **arguments)
        keras.utils.set_random_seed(5)
        history = by_fit.fit(*FEW, batch_size=BATCH_SIZE, verbose=0, **arguments)
        shown = run.history.history
        found[name] = [
            same(states(by_fit), states(by_run)),
            all(shown[key] == values for key, values in history.history.items()),
        ]
    return found


def is_steered(several):
    """How far from one device, with values changed on the way, by hand and callback."""
    runs = []
    for strategy in (ONE, several):
        model = compiled(strategy, ADAM, COSINE(0.01, 50))

        def by_hand():
            runs[-1].set("learning_rate", 0.02)
            runs[-1].set("beta_1", 0.5)
            runs[-1].set("clip", 0.05)

        def by_callback(model=model):
            model.optimizer.learning_rate = COSINE(0.03, 20)

        callback = At({4: by_hand, 8: by_callback})
        clip = clipping.ByGlobalNorm(1.0)
        runs.append(run_of(model, (X[:200], Y[:200]), clip=clip, callbacks=[callback]))
        runs[-1].start().wait(SECONDS)
    one, other = runs
    return {
        "weights": gap(one.model.get_weights(), other.model.get_weights()),
        "rates": gap([one.records.learning_rate], [other.records.learning_rate]),
        "changes": [[c.step, c.name, c.by] for c in other.changes],
        "clipped": bool(other.layers.clipped[5:].any()),
        "norms": gap([one.layers.norm_after], [other.layers.norm_after]),
    }


def obeys(several):
    """Pause, resume and stop, by hand and by the panel."""
    run = run_of(compiled(several, SGD), FEW, epochs=10_000)
    panel = TrainingMonitor(run)
    run.start()
    wait_for(lambda: len(run.records) > 5, SECONDS)
    panel.paused = True
    wait_for(lambda: run.state == "paused", SECONDS)
    steps = len(run.records)
    panel.learning_rate = 0.25
    run.resume()
    wait_for(lambda: len(run.records) > steps + 5, SECONDS)
    run.stop()
    history = run.wait(SECONDS)
    panel.close()
    found = {
        "state": run.state,
        "changes": [[c.step - steps, c.name, c.new] for c in run.changes],
        "epochs": len(history.history["loss"]) == history.epoch[-1] + 1,
        "kept": float(run.model.optimizer.learning_rate.numpy()),
    }
    left = [name for part in (run.model, run.model.optimizer) for name in vars(part)]
    patched = {"train_step", "compute_loss", "apply", "_all_reduce_sum_gradients"}
    return found | {"patched": sorted(patched & set(left))}


class States(keras.callbacks.Callback):
    """Tells after which steps all is as before them, metrics too."""

    def __init__(self):
        super().__init__()
        self.unchanged = []

    def on_train_batch_begin(self, batch, logs=None):
        self.before = self.now()

    def on_train_batch_end(self, batch, logs=None):
        if same(self.before, self.now()):
            self.unchanged.append(batch + 1)

    def now(self):
        return states(self.model, self.model.metrics_variables)


def guards(several):
    """What a NaN in the rows of the last replica alone does to all of them."""
    said, ends = [], []
    x, y = (array[:96].copy() for array in (X, Y))
    x[2 * BATCH_SIZE - 1], y[4 * BATCH_SIZE - 1] = np.nan, np.nan
    watcher = States()
    for model, data in (
        (compiled(several, ADAM, middle=[norm]), (x, y)),
        (compiled(several, SGD, middle=[root]), (X[:32], Y[:32])),
    ):
        run = run_of(model, data, callbacks=[watcher]).start()
        while not run.ended.is_set():
            try:
                run.wait(SECONDS)
            except FloatingPointError as error:
                said.append(str(error).partition(". That")[0])
                run.resume()
        ends.append(states(model))
    good = [row for row in range(96) if row // BATCH_SIZE not in (1, 3)]
    model = compiled(several, ADAM, middle=[norm])
    finished(model, (X[good], Y[good]))
    left_out = same(states(model), ends[0])
    return {"said": said, "unchanged": watcher.unchanged, "left out": left_out}


def resumes(several):
    """A run with a folder, stopped and started again, against one that was not."""
    ends = []
    with tempfile.TemporaryDirectory() as folder:
        for number, actions in enumerate(({}, {8: "stop"})):
            at = At(actions)
            model = compiled(several, ADAM, middle=[dropout])
            extra = {"filepath": f"{folder}/{number}", "epochs": 2, "save_every": 5}
            run = run_of(model, FEW, shuffle=True, callbacks=[at], **extra)
            at.actions = {step: getattr(run, name) for step, name in actions.items()}
            run.start().wait(SECONDS)
            if actions:
                assert run.state == "stopped"
                run.start().wait(SECONDS)
            ends.append([*states(model), run.records.loss])
    return same(*ends)


def carries_the_scope(several):
    """Whether callbacks are under the strategy as `fit`'s would be."""
    seen, data = [], (X[:32], Y[:32])
    for scope in (several.scope, contextlib.nullcontext):
        model = compiled(several, SGD, middle=[root])
        with scope():
            run = run_of(model, data, callbacks=[Sees(seen)]).start()
        run.stop()
        run.wait(SECONDS)
    return seen


class Sees(keras.callbacks.Callback):
    """Notes whether there is a strategy when training begins."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def on_train_begin(self, logs=None):
        self.seen.append(tf.distribute.has_strategy())


def refuses(several):
    """What is said to data and models that do not fit."""
    found = {}
    dataset = tf.data.Dataset.from_tensor_slices(FEW)
    few = X[:33], Y[:33]
    for name, data, settings, arguments in (
        ("batch", FEW, {}, {"batch_size": 1}),
        ("last batch", few, {}, {}),
        ("held out", FEW, {}, {"validation_data": few}),
        ("dataset", dataset.batch(1, drop_remainder=True), {}, {}),
        ("steps", FEW, {"steps_per_execution": 2}, {}),
        ("jit", FEW, {"jit_compile": True}, {}),
    ):
        model = compiled(several, SGD, **settings)
        call = {"batch_size": BATCH_SIZE, **arguments}
        try:
            Run(model, data, **call)
        except ValueError as error:
            found[f"Run, {name}"] = str(error)
        try:
            compare(lambda m=model: m, data, {"a": Variant()}, **call)
        except ValueError as error:
            found[f"compare, {name}"] = str(error)
    rest = dataset.take(33).batch(BATCH_SIZE)
    run = run_of(compiled(several, SGD), rest, epochs=2)
    try:
        run.start().wait(SECONDS)
    except FloatingPointError as error:
        found["Run, rest of a dataset"] = str(error)
    run.stop()
    run.wait(SECONDS)
    return found


# `compare`


def variants():
    decayed = keras.optimizers.AdamW(COSINE(0.01, 50))
    decayed.exclude_from_weight_decay(var_names=["bias"])
    return {
        "compiled": Variant(),
        "clip": Variant(ADAM(0.01), clip=clipping.ByGlobalNorm(0.2)),
        "penalty": Variant(SGD(0.1, 0.9), penalty=keras.regularizers.L2(0.01)),
        "seed": Variant(decayed, seed=3),
    }


def compares(several):
    """How far each variant is from one device, whose variants run as one."""
    wanted = variants()
    if several.num_replicas_in_sync > 2:  # two will do, for the time they take
        wanted = {name: wanted[name] for name in ("clip", "seed")}
    call = {"batch_size": BATCH_SIZE, "epochs": 2, "validation_data": (X[:40], Y[:40])}
    one, other = (
        compare(lambda s=s: compiled(s, SGD, 0.05), (X, Y), wanted, **call)
        for s in (ONE, several)
    )
    found = {}
    series = ("loss", "penalty", "gradient_norm", "clipped_norm", "learning_rate")
    for name, record in other.records.items():
        first = one.records[name]
        found[name] = {
            "how": [first.path, record.path, record.why, record.status],
            "steps": len(record.loss),
            "weights": gap(one.weights(name), other.weights(name)),
            "series": gap(*([getattr(r, s) for s in series] for r in (first, record))),
            "epochs": gap(*([*r.epochs.values()] for r in (first, record))),
        }
    return found


def compare_is_fit(several):
    """Whether a variant has the bits of `fit` over the same batches."""
    wanted = {"a": Variant()}
    order = np.random.default_rng((0, 0)).permutation(88)
    data = X[:88], Y[:88]  # the last batch has 8 rows
    with several.scope():  # it changes nothing to call it inside
        call = {"batch_size": BATCH_SIZE, "seed": 0}
        mine = compare(lambda: compiled(several, ADAM), data, wanted, **call)
    model = compiled(several, ADAM)
    data = [array[order] for array in data]
    history = model.fit(*data, batch_size=BATCH_SIZE, shuffle=False, verbose=0)
    record = mine.records["a"]
    return {
        "weights": same(mine.weights("a"), model.get_weights()),
        "loss": gap([record.epochs["loss"]], [history.history["loss"]]),
    }


EQUAL = (equals_one_device, compares)
ALL = (
    *EQUAL,
    equals_fit,
    is_steered,
    obeys,
    guards,
    resumes,
    carries_the_scope,
    refuses,
    compare_is_fit,
)


if __name__ == "__main__":
    number, file = int(sys.argv[1]), sys.argv[2]
    cpu = tf.config.list_physical_devices("CPU")[0]
    split = [tf.config.LogicalDeviceConfiguration()] * number
    tf.config.set_logical_device_configuration(cpu, split)
    names = [f"CPU:{index}" for index in range(number)]
    mirrored = tf.distribute.MirroredStrategy(names)
    chosen = ALL if number == 2 else EQUAL
    facts = {function.__name__: function(mirrored) for function in chosen}
    pathlib.Path(file).write_text(json.dumps(facts))

"""Tests of strategies and of what is foretold about them."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from workbench import clipping, devices
from workbench.devices import preflighting

X = np.zeros((64, 4), "float32")
Y = np.zeros((64, 1), "float32")


class Pretended:
    """Stands in for a strategy; the foretelling asks only for its replicas."""

    def __init__(self, replicas=2):
        self.num_replicas_in_sync = replicas


class CollectiveAllReduceStrategy(Pretended):
    pass


class ParameterServerStrategyV2(Pretended):
    pass


class CentralStorageStrategy(Pretended):
    pass


def make_model(*layers, optimizer=None, **arguments):
    model = keras.Sequential(
        [keras.Input((4,)), *layers, keras.layers.Dense(1, name="head")]
    )
    model.compile(optimizer or keras.optimizers.SGD(), "mse", **arguments)
    return model


def codes(model, data=None, replicas=2, **arguments):
    found = devices.preflight(model, data, strategy=Pretended(replicas), **arguments)
    known = [concern.code for concern in found]
    # The model of a test lies outside of the pretended strategy.
    assert ("outside-scope" in known) == (replicas > 1)
    return [code for code in known if code != "outside-scope"]


class OwnStep(keras.Model):
    def train_step(self, data):
        return {}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (make_model, []),
        (lambda: make_model(steps_per_execution=2), ["steps-per-execution"]),
        (lambda: make_model(jit_compile=True), ["jit-compile"]),
        (
            lambda: make_model(
                optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2)
            ),
            ["gradient-accumulation"],
        ),
        (
            lambda: make_model(optimizer=keras.optimizers.SGD(global_clipnorm=1.0)),
            ["global-clipnorm"],
        ),
        (
            lambda: make_model(optimizer=keras.optimizers.SGD(clipnorm=1.0)),
            ["clipnorm"],
        ),
        (
            lambda: make_model(optimizer=keras.optimizers.SGD(clipvalue=1.0)),
            ["clipvalue"],
        ),
        (
            lambda: make_model(
                optimizer=clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.SGD())
            ),
            [],
        ),
        (
            lambda: make_model(
                optimizer=keras.optimizers.LossScaleOptimizer(
                    keras.optimizers.SGD(clipvalue=1.0)
                )
            ),
            ["loss-scaling", "clipvalue"],
        ),
        (
            lambda: make_model(keras.layers.BatchNormalization(name="bn")),
            ["batch-normalization"],
        ),
        (lambda: make_model(keras.layers.BatchNormalization(synchronized=True)), []),
        (lambda: make_model(keras.layers.BatchNormalization(trainable=False)), []),
        (lambda: make_model(keras.layers.Dropout(0.5, name="drop")), ["random-layers"]),
        (
            lambda: make_model(keras.Sequential([keras.layers.GaussianNoise(0.5)])),
            ["random-layers"],
        ),
    ],
)
def test_what_fails_or_differs_is_foretold(model, expected):
    assert codes(model()) == expected
    # One device has none of it.
    assert codes(model(), replicas=1) == []


def test_a_step_of_ones_own_is_foretold():
    inputs = keras.Input((4,))
    model = OwnStep(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    assert codes(model) == ["own-train-step"]


@pytest.mark.parametrize(
    ("rows", "batch_size", "replicas", "expected"),
    [
        (64, 32, 2, []),
        (64, 32, 4, []),
        (60, 32, 4, []),
        (63, 32, 2, ["partial-batch"]),
        (62, 32, 4, ["partial-batch"]),
        (64, 31, 2, ["uneven-batch"]),
        (64, 2, 4, ["fewer-rows-than-replicas"]),
        (64, 1, 2, ["fewer-rows-than-replicas"]),
    ],
)
def test_rows_and_replicas(rows, batch_size, replicas, expected):
    data = X[:rows], Y[:rows]
    model = make_model()
    assert codes(model, data, replicas, batch_size=batch_size) == expected


def test_a_dataset_knows_its_batch():
    data = tf.data.Dataset.from_tensor_slices(({"x": X}, Y))
    assert codes(make_model(), data.batch(1, drop_remainder=True)) == [
        "fewer-rows-than-replicas"
    ]
    assert codes(make_model(), data.batch(1)) == []


@pytest.mark.parametrize(
    ("strategy", "code", "fails"),
    [
        (CollectiveAllReduceStrategy(), "multi-worker", True),
        (ParameterServerStrategyV2(), "parameter-server", True),
        (CentralStorageStrategy(1), "central-storage", False),
    ],
)
def test_strategies_that_keras_does_not_know(strategy, code, fails):
    first = devices.preflight(make_model(), strategy=strategy)[0]
    assert (first.code, first.fails) == (code, fails)


class MultiWorkerStrategy(Pretended):
    cluster_resolver = object()


def test_what_differs_on_several_workers_is_foretold():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    options = tf.data.Options()
    policies = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policies.DATA
    several = {"strategy": MultiWorkerStrategy()}

    def foretold(*data, **arguments):
        found = devices.preflight(make_model(), *data, **several, **arguments)
        return [each.code for each in found if each.code != "outside-scope"]

    seed = context.global_seed()
    try:
        keras.utils.set_random_seed(0)
        assert foretold((X, Y)) == []
        assert foretold(data) == ["auto-shard"]
        assert foretold(data.with_options(options)) == []
        assert foretold((X, Y), batch_size=1) == ["fewer-rows-than-replicas"]
        context.set_global_seed(None)
        assert foretold((X, Y)) == ["no-seed"]
    finally:
        context.set_global_seed(seed)


def test_the_names_of_strategies_are_tensorflows():
    real = (
        tf.distribute.MultiWorkerMirroredStrategy,
        tf.distribute.ParameterServerStrategy,
        tf.distribute.experimental.CentralStorageStrategy,
    )
    assert {each.__name__ for each in real} == set(preflighting._STRATEGIES)


def test_what_fails_comes_first_and_reads_so():
    model = make_model(keras.layers.Dropout(0.5, name="drop"), steps_per_execution=4)
    found = devices.preflight(model, strategy=Pretended())
    assert [concern.fails for concern in found] == [True, False, False]
    lines = str(found).splitlines()
    assert lines[0] == "Fails: steps_per_execution=4"
    assert lines[-3] == "Differs: layers that draw random numbers: drop"
    assert "<b>Fails: steps_per_execution=4</b>" in found._repr_html_()
    assert str(devices.preflight(make_model())).startswith("Nothing is known")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": keras.Sequential()}, "`model` must be a compiled keras.Model"),
        ({"model": "mlp"}, "`model` must be a compiled"),
        ({"batch_size": 0}, r"`batch_size` must be >= 1 \(rows\). Received"),
    ],
)
def test_preflight_checks_its_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        devices.preflight(**{"model": make_model(), **arguments})


# Strategies.


def test_one_device_is_tensorflows_own_strategy():
    if len(tf.config.list_logical_devices()) > 1:
        pytest.skip("this machine has more than one device")
    assert devices.strategy() is tf.distribute.get_strategy()
    assert devices.strategy().num_replicas_in_sync == 1
    named = devices.strategy(["/CPU:0"])
    assert isinstance(named, tf.distribute.OneDeviceStrategy)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "must be a list of different TensorFlow names of one kind"),
        ("/CPU:0", "must be a list of different"),
        (["/CPU:0", "CPU:0"], "must be a list of different"),
        (["/CPU:0", "/GPU:0"], "must be a list of different"),
        (["/GPU:77"], r"/GPU:77 is not among them; `diagnose\(\)` may say why"),
    ],
)
def test_devices_must_be_there(names, message):
    with pytest.raises(ValueError, match=message) as caught:
        devices.strategy(names)
    assert str(caught.value).endswith(f"Received: devices={names!r}")


MIRRORED = """
import json, sys, tempfile
import keras, numpy as np, tensorflow as tf
from workbench import activations, checkpoints, clipping, devices
number, file = int(sys.argv[1]), sys.argv[2]
cpu = tf.config.list_physical_devices("CPU")[0]
parts = [tf.config.LogicalDeviceConfiguration()] * number
tf.config.set_logical_device_configuration(cpu, parts)
x = np.random.default_rng(0).normal(size=(400, 6)).astype("float32")
y = np.sin(x[:, :2])
results, names = [], []
# Only the first of the processes takes the time for one device, and for resuming.
for chosen in (["/CPU:0"], None) if number == 2 else (None,):
    strategy = devices.strategy(chosen)
    names.append([type(strategy).__name__, strategy.num_replicas_in_sync])
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([
            keras.Input((6,)),
            keras.layers.Dense(16, "tanh", name="hidden"),
            keras.layers.Dense(2, name="out"),
        ])
        inner = keras.optimizers.SGD(0.1, momentum=0.9)
        model.compile(clipping.ByGlobalNorm(0.5).wrap(inner), "mse")
    assert devices.preflight(model, (x, y), batch_size=16) == []
    history = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 50
    seen = activations.capture(model, x[:8])
    arrays = [*model.get_weights(), *map(np.asarray, seen.values())]
    results.append([*arrays, np.asarray(history.history["loss"])])
np.savez(file, *sum(results, []))
found = {"names": names, "seen": list(seen)}
if number != 2:
    print(json.dumps(found))
    sys.exit()

class Stop(keras.callbacks.Callback):
    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == 18:
            raise KeyboardInterrupt

def train(filepath, *callbacks, data=(x, y), batch_size=16, **compiled):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([
            keras.Input((6,)),
            keras.layers.Dense(16, "tanh", name="hidden"),
            keras.layers.BatchNormalization(synchronized=True, name="bn"),
            keras.layers.Dropout(0.3, name="drop"),
            keras.layers.Dense(2, name="out"),
        ])
        model.compile("adam", "mse", metrics=["mae"], **compiled)
    history = checkpoints.fit(
        model,
        data,
        filepath=filepath,
        epochs=1,
        batch_size=batch_size,
        save_every=5,
        callbacks=callbacks,
    )
    return [w.tobytes() for w in model.get_weights()], history.history

folder = tempfile.mkdtemp()
whole = train(f"{folder}/whole")
try:
    train(f"{folder}/cut", Stop())
except KeyboardInterrupt:
    pass
resumed = train(f"{folder}/cut")
refused = []
for case in (
    {"data": tf.data.Dataset.from_tensor_slices((x, y)).batch(16)},
    {"batch_size": 1},
    {"steps_per_execution": 5},
):
    try:
        train(f"{folder}/none", **case)
    except ValueError as error:
        refused.append(str(error))
print(json.dumps(found | {"refused": refused, "resumed": resumed == whole}))
"""


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """What two and four logical processors gave, in processes of their own.

    Devices can be split only before TensorFlow has run, and one process can add up
    over one group of processors only.
    """
    folder = tmp_path_factory.mktemp("replicas")
    running = {
        number: subprocess.Popen(
            [sys.executable, "-c", MIRRORED, str(number), folder / f"{number}.npz"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (2, 4)
    }
    ended = {number: each.communicate(timeout=270) for number, each in running.items()}
    said = {
        number: json.loads(out.splitlines()[-1]) if out else err[-2000:]
        for number, (out, err) in ended.items()
    }
    arrays = [list(np.load(folder / f"{number}.npz").values()) for number in running]
    return said, [array for each in arrays for array in each]


def test_fifty_steps_on_two_and_four_devices_are_those_of_one(mirrored):
    said, arrays = mirrored
    assert said[2]["names"] == [["OneDeviceStrategy", 1], ["MirroredStrategy", 2]]
    assert said[4]["names"] == [["MirroredStrategy", 4]]
    assert said[2]["seen"] == said[4]["seen"] == ["hidden", "out"]
    # Four weights, two layers' outputs, the losses.
    one, two, four = (arrays[i : i + 7] for i in (0, 7, 14))
    assert len(arrays) == 21
    for several in (two, four):
        for a, b in zip(one, several, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_an_interrupted_training_goes_on_to_the_same_bits(mirrored):
    said, _ = mirrored
    assert said[2]["resumed"] is True
    pipeline, rows, steps = said[2]["refused"]
    assert pipeline.startswith("`data` must be arrays")
    assert rows.endswith("Received: batch_size=1")
    assert steps.startswith("`steps_per_execution` of `compile` must be 1")

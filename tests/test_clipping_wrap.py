"""Wrapped optimizers: every way of training, saving, skipping, live thresholds."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from workbench import clipping

METHODS = {
    "none": clipping.NoClip(),
    "value": clipping.ByValue(0.01),
    "norm": clipping.ByNorm(0.1),
    "global": clipping.ByGlobalNorm(0.1),
    "adaptive": clipping.Adaptive(0.05),
    "rescue": clipping.Rescue(),
    "auto": clipping.AutoClip(30, window=5),
    "z": clipping.ZClip(1.0, 0.9, warmup_steps=3),
}
OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
}
methods = pytest.mark.parametrize("method", METHODS)
# Compiling in XLA takes seconds: one method of each kind.
compiled = pytest.mark.parametrize(
    ("method", "jit_compile"),
    [*((method, False) for method in METHODS), ("global", True), ("z", True)],
)


@keras.saving.register_keras_serializable(package="test_clipping")
def halve(gradients, variables):
    return [gradient / 2 for gradient in gradients]


def data(steps=12, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(8 * steps, 5)).astype("float32")
    return x, generator.normal(size=(8 * steps, 2)).astype("float32")


def network(optimizer=None, jit_compile=False, **arguments):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(7, activation="tanh", name="hidden")(inputs)
    outputs = keras.layers.Dense(2, dtype="float32", name="top")(hidden)
    model = keras.Model(inputs, outputs)
    if optimizer is not None:
        model.compile(optimizer, "mse", jit_compile=jit_compile, **arguments)
    return model


def fit(model, x, y, epochs=1):
    return model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)


def values(variables):
    return [np.array(v.numpy()) for v in variables]


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_near(left, right, rtol=1e-5):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7)


def tape_loop(model, x, y, apply):
    for i in range(0, len(x), 8):
        with tf.GradientTape() as tape:
            difference = model(x[i : i + 8], training=True) - y[i : i + 8]
            loss = tf.reduce_mean(difference**2)
        weights = model.trainable_variables
        apply(tape.gradient(loss, weights), weights)


@compiled
def test_fit_in_a_graph_eager_fit_and_tape_loop_agree(method, jit_compile):
    x, y = data()
    results = []
    for arguments in ({"run_eagerly": True}, {"jit_compile": jit_compile}):
        model = network(METHODS[method].wrap(keras.optimizers.SGD(0.1)), **arguments)
        fit(model, x, y)
        results.append(values(model.weights))
    optimizer = METHODS[method].wrap(keras.optimizers.SGD(0.1))
    model = network()
    tape_loop(
        model, x, y, lambda g, v: optimizer.apply_gradients(zip(g, v, strict=True))
    )
    results.append(values(model.weights))
    for other in results[1:]:
        assert_near(results[0], other)
    assert int(optimizer.iterations) == 12


@methods
def test_the_wrapped_optimizer_takes_the_step_of_the_clipped_gradient(method):
    clip = METHODS[method]
    x, y = data()
    reference, model = network(), network()
    plain, past = keras.optimizers.Adam(0.01), clip.initial_state
    past = tf.constant(past, tf.float64) if past else None

    def by_hand(gradients, variables):
        nonlocal past
        if past is None:
            gradients = clip(gradients, variables)
        else:
            norm = tf.cast(tf.linalg.global_norm(gradients), tf.float64)
            limit, past = clip.limit(norm, past)
            limit = tf.cast(limit, tf.float32)
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        plain.apply(gradients, variables)

    tape_loop(reference, x, y, by_hand)
    tape_loop(model, x, y, clip.wrap(keras.optimizers.Adam(0.01)).apply)
    assert_near(values(reference.weights), values(model.weights), rtol=1e-4)


def test_no_clip_is_the_bare_optimizer_to_the_bit():
    x, y = data()
    for make in OPTIMIZERS.values():
        bare = network(make())
        wrapped = network(clipping.NoClip().wrap(make()))
        losses = [fit(model, x, y).history["loss"] for model in (bare, wrapped)]
        assert losses[0] == losses[1]
        assert_same(values(bare.weights), values(wrapped.weights))


@pytest.mark.parametrize(
    ("method", "optimizer", "suffix"),
    [
        *(("auto", name, ".keras") for name in OPTIMIZERS),
        *(("z", name, ".keras") for name in OPTIMIZERS),
        *(("global", name, ".weights.h5") for name in OPTIMIZERS),
        ("auto", "adam", ".weights.h5"),
    ],
)
def test_saved_and_loaded_training_goes_on_to_the_bit(
    method, optimizer, suffix, tmp_path
):
    x, y = data()
    make = OPTIMIZERS[optimizer]
    model = network(METHODS[method].wrap(make()))
    fit(model, x, y)
    model.optimizer.threshold = 0.5
    model.optimizer.learning_rate = 0.02
    filepath = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        model.save(filepath)
        loaded = keras.models.load_model(filepath)
        loaded.compile(loaded.optimizer, "mse")
    else:
        model.save_weights(filepath)
        loaded = network(METHODS[method].wrap(make()))
        loaded.optimizer.build(loaded.trainable_variables)
        loaded.load_weights(filepath)
    assert float(loaded.optimizer.threshold.numpy()) == 0.5
    assert int(loaded.optimizer.iterations) == 12
    ours, theirs = model.optimizer.variables, loaded.optimizer.variables
    assert_same(values(ours), values(theirs))
    for each in (model, loaded):
        fit(each, *data(seed=1))
    assert_same(values(model.weights), values(loaded.weights))
    assert_same(values(ours), values(theirs))


@pytest.mark.parametrize(
    "clip", [*METHODS.values(), clipping.Custom(halve)], ids=lambda clip: str(clip)[:9]
)
def test_config_round_trip(clip):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    inner = keras.optimizers.AdamW(schedule, weight_decay=0.02)
    wrapped = clip.wrap(inner, record=False, name="mine")
    again = type(wrapped).from_config(wrapped.get_config())
    assert isinstance(wrapped, keras.optimizers.Optimizer)
    assert again.clip == clip
    assert again.name == "mine"
    assert again.get_config() == wrapped.get_config()
    written = keras.optimizers.serialize(wrapped)
    assert written["registered_name"] == "workbench>ClippedOptimizer"
    assert keras.optimizers.deserialize(written).get_config() == wrapped.get_config()


def test_config_carries_the_live_threshold():
    wrapped = clipping.ByNorm(0.1).wrap(keras.optimizers.SGD(0.1))
    assert wrapped.clip == clipping.ByNorm(0.1)
    wrapped.threshold = 0.25
    again = type(wrapped).from_config(wrapped.get_config())
    assert again.clip == clipping.ByNorm(0.25)
    assert float(again.threshold.numpy()) == 0.25


def test_a_function_is_saved_when_registered_else_named_in_an_error(tmp_path):
    x, y = data()
    model = network(clipping.Custom(halve).wrap(keras.optimizers.SGD(0.1)))
    fit(model, x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.clip.function is halve

    unregistered = clipping.Custom(lambda gradients, _: gradients)
    model = network(unregistered.wrap(keras.optimizers.SGD(0.1)))
    fit(model, x, y)
    with pytest.raises(ValueError, match=r"register_keras_serializable"):
        model.save(tmp_path / "other.keras")
    model.save_weights(tmp_path / "other.weights.h5")  # holds no function


@pytest.mark.parametrize("method", ["value", "global", "adaptive", "z"])
def test_threshold_is_live_without_a_new_trace(method):
    traces = []

    class Counting(keras.Model):
        def train_step(self, batch):
            traces.append(1)
            return super().train_step(batch)

    x, y = data()
    model = network()
    model = Counting(model.inputs, model.outputs)
    optimizer = METHODS[method].wrap(keras.optimizers.SGD(0.1))
    model.compile(optimizer, "mse", jit_compile=False)
    fit(model, x, y)
    before = optimizer.last_step()
    count = len(traces)
    optimizer.threshold = 1e-3
    fit(model, x, y)
    assert len(traces) == count
    after = optimizer.last_step()
    if method != "z":
        assert np.linalg.norm(after.norm_after) < np.linalg.norm(before.norm_after) / 5
    with pytest.raises(ValueError, match="must be"):
        optimizer.threshold = -1.0
    assert float(optimizer.threshold.numpy()) == np.float32(1e-3)


def test_a_clip_without_threshold_has_none_to_set():
    optimizer = clipping.NoClip().wrap(keras.optimizers.SGD(0.1))
    assert optimizer.threshold is None
    with pytest.raises(ValueError, match="`threshold` cannot be set: NoClip"):
        optimizer.threshold = 1.0


@compiled
def test_a_step_that_is_not_finite_leaves_every_bit(method, jit_compile):
    inner = keras.optimizers.AdamW(0.01, use_ema=True, ema_overwrite_frequency=2)
    optimizer = METHODS[method].wrap(inner)
    model = network(optimizer, jit_compile=jit_compile)
    x, y = data()
    fit(model, x, y)
    before = values(model.weights + optimizer.variables)
    y = y.copy()
    y[9] = np.nan  # in the second batch
    fit(model, x[8:16], y[8:16])
    after = values(model.weights + optimizer.variables)
    record = optimizer.last_step()
    if method == "rescue":
        assert record.skipped_steps == 0
        assert all(np.isfinite(a).all() for a in after)
        assert not np.array_equal(before[0], after[0])
        return
    assert_same(before, after)
    assert record.skipped_steps == optimizer.skipped_steps == 1
    assert record.skipped_step == 12
    assert record.nonfinite == tuple(v.path for v in model.trainable_variables)
    assert "step 12: not finite in hidden/kernel" in str(record).replace("\n", " ")
    fit(model, x[:16], y[:16])
    record = optimizer.last_step()
    assert (record.skipped_steps, record.skipped_step) == (2, 14)
    assert int(optimizer.iterations) == 13


def test_the_layer_that_is_not_finite_is_named():
    optimizer = clipping.ByNorm(1).wrap(keras.optimizers.SGD(0.1))
    model = network()
    gradients = [tf.ones_like(v) for v in model.trainable_variables]
    gradients[2] *= np.inf
    optimizer.apply(gradients, model.trainable_variables)
    record = optimizer.last_step()
    assert record.nonfinite == ("top/kernel",)
    assert record.skipped_step == 0
    assert record.norm_before[2] == np.inf


def test_a_function_may_mend_what_is_not_finite_and_is_caught_when_it_does_not():
    def mend(gradients, _):
        return [tf.where(tf.math.is_finite(g), g, 0.0) for g in gradients]

    model = network()
    variables = model.trainable_variables
    gradients = [tf.ones_like(v) * np.nan for v in variables]
    optimizer = clipping.Custom(mend).wrap(keras.optimizers.SGD(0.1))
    optimizer.apply(gradients, variables)
    assert int(optimizer.iterations) == 1
    before = values(variables)
    spoil = clipping.Custom(lambda gradients, _: [g / 0.0 for g in gradients])
    optimizer = spoil.wrap(keras.optimizers.SGD(0.1))
    optimizer.apply([tf.ones_like(v) for v in variables], variables)
    assert_same(before, values(variables))
    assert optimizer.skipped_steps == 1


def test_record_of_a_step():
    model = network()
    variables = model.trainable_variables
    optimizer = clipping.ByValue(0.5).wrap(keras.optimizers.SGD(0.1))
    gradients = [tf.random.normal(v.shape, seed=i) for i, v in enumerate(variables)]
    gradients[1] = tf.ones_like(gradients[1]) * 0.1
    gradients[2] = None
    gradients[3] *= 0.0
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply(gradients, variables)
    record = optimizer.last_step()
    raw = gradients[0].numpy().ravel()
    cut = raw.clip(-0.5, 0.5)
    norms = np.linalg.norm(raw), np.linalg.norm(cut)
    assert record.paths == ("hidden/kernel", "hidden/bias", "top/kernel", "top/bias")
    np.testing.assert_allclose(record.norm_before[0], norms[0], rtol=1e-6)
    np.testing.assert_allclose(record.norm_after[0], norms[1], rtol=1e-6)
    np.testing.assert_allclose(record.cosine[0], raw @ cut / np.prod(norms), rtol=1e-6)
    assert record.clipped.tolist() == [True, False, False, False]
    assert record.cosine[[1, 3]] == pytest.approx(1)
    assert np.isnan(record.cosine[2])
    assert record.norm_before[2] == record.norm_before[3] == 0
    raw = np.stack([optimizer.step_record.numpy()] * 5)
    read = clipping.read_record(raw)
    assert read.shape == (5, 4, len(clipping.RECORD_COLUMNS))
    np.testing.assert_array_equal(read[3, :, 1], record.norm_after)
    assert "hidden/kernel" in str(record)
    assert "<td" in record._repr_html_()


@pytest.mark.parametrize("name", ["norm", "global", "adaptive"])
def test_recorded_norms_that_the_method_derives_are_the_measured_ones(name):
    variables = network().trainable_variables
    gradients = [tf.random.normal(v.shape, seed=i) for i, v in enumerate(variables)]
    clip = METHODS[name]
    measured = clipping.Custom(clip)
    records = []
    for each in (clip, measured):
        optimizer = each.wrap(keras.optimizers.SGD(0.0))
        optimizer.apply(gradients, variables)
        records.append(clipping.read_record(optimizer.step_record.numpy()))
    np.testing.assert_allclose(*records, rtol=1e-5)


def test_without_record_there_is_nothing_to_read():
    optimizer = clipping.ByNorm(1).wrap(keras.optimizers.SGD(0.1), record=False)
    model = network(optimizer)
    fit(model, *data())
    assert optimizer.step_record is None
    with pytest.raises(ValueError, match="record=False"):
        optimizer.last_step()


def embedding_network(optimizer, jit_compile=False):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            keras.layers.Embedding(4, 3),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(2),
        ]
    )
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    return model


@pytest.mark.parametrize(
    ("method", "jit_compile"),
    [(name, False) for name in ("norm", "global", "adaptive", "rescue")]
    + [("global", True)],
)
def test_embedding_with_repeated_words(method, jit_compile):
    clip = METHODS[method]
    x = np.random.default_rng(0).integers(4, size=(32, 6))
    y = data(4)[1]
    model = embedding_network(clip.wrap(keras.optimizers.Adam(0.01)), jit_compile)
    reference = embedding_network(None)
    wrapped = clip.wrap(keras.optimizers.Adam(0.01))
    tape_loop(
        reference,
        x,
        y,
        lambda g, v: wrapped.apply([tf.convert_to_tensor(each) for each in g], v),
    )
    fit(model, x, y)
    assert_near(values(reference.weights), values(model.weights), rtol=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_loss_scaling_clips_true_gradients(jit_compile):
    x, y = data()
    clip = clipping.ByGlobalNorm(0.05)
    plain = network(clip.wrap(keras.optimizers.SGD(0.1)), jit_compile=jit_compile)
    scaling = keras.optimizers.LossScaleOptimizer(clip.wrap(keras.optimizers.SGD(0.1)))
    scaled = network(scaling, jit_compile=jit_compile)
    for model in (plain, scaled):
        fit(model, x, y)
    assert_near(values(plain.weights), values(scaled.weights))
    record = scaling.inner_optimizer.last_step()
    assert np.linalg.norm(record.norm_after) == pytest.approx(0.05)
    constant = keras.optimizers.SGD(0.1, loss_scale_factor=128.0)
    third = network(clip.wrap(constant), jit_compile=jit_compile)
    fit(third, x, y)
    assert_near(values(plain.weights), values(third.weights))


def test_mixed_float16(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        optimizer = clipping.AutoClip(10).wrap(keras.optimizers.Adam(0.01))
        model = network(optimizer)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        x, y = data()
        before = values(model.weights)
        fit(model, x, y)
        assert int(model.optimizer.iterations) > 0
        assert not np.array_equal(before[0], values(model.weights)[0])
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        for each in (model, loaded):
            fit(each, x, y)
        assert_same(values(model.weights), values(loaded.weights))
        assert loaded.optimizer.inner_optimizer.clip == clipping.AutoClip(10)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("method", "jit_compile"),
    [(name, False) for name in ("value", "global", "rescue", "auto")]
    + [("global", True)],
)
def test_gradient_accumulation_clips_the_mean_like_one_big_batch(method, jit_compile):
    x, y = data()
    clip = METHODS[method]
    small = keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=3)
    small = network(clip.wrap(small), jit_compile=jit_compile)
    big = network(clip.wrap(keras.optimizers.SGD(0.1, momentum=0.9)))
    fit(small, x, y)
    big.fit(x, y, batch_size=24, shuffle=False, verbose=0)
    assert_near(values(small.weights), values(big.weights), rtol=1e-4)
    np.testing.assert_allclose(
        small.optimizer.step_record.numpy(), big.optimizer.step_record.numpy(), 1e-4
    )
    assert int(small.optimizer.iterations) == int(big.optimizer.iterations) == 4


def test_a_bad_batch_is_not_accumulated():
    x, y = data(7)
    y = y.copy()
    y[10] = np.inf
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    model = network(clipping.ByGlobalNorm(0.1).wrap(optimizer))
    fit(model, x, y)
    assert model.optimizer.skipped_steps == 1
    assert model.optimizer.last_step().skipped_step == 1
    good = np.r_[0:8, 16:56]
    reference = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    reference = network(clipping.ByGlobalNorm(0.1).wrap(reference))
    fit(reference, x[good], y[good])
    assert_same(values(model.weights), values(reference.weights))


def test_settings_are_the_inner_optimizers():
    inner = keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.1, 0.01]),
        momentum=0.9,
        weight_decay=0.1,
        use_ema=True,
    )
    optimizer = clipping.ByNorm(1).wrap(inner)
    assert optimizer.weight_decay == 0.1
    assert optimizer.use_ema
    optimizer.momentum = 0.5
    optimizer.weight_decay = 0.2
    assert (inner.momentum, inner.weight_decay) == (0.5, 0.2)
    model = network(optimizer)
    fit(model, *data())
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = optimizer.no_such_thing


def test_learning_rate_is_live():
    optimizer = clipping.ByNorm(1).wrap(keras.optimizers.SGD(0.1))
    model = network(optimizer)
    fit(model, *data())
    optimizer.learning_rate = 0.0
    before = values(model.weights)
    fit(model, *data())
    assert_same(before, values(model.weights))
    assert float(optimizer.inner_optimizer.learning_rate.numpy()) == 0.0


def test_averages_and_constraints_work_as_without_clipping():
    def run(wrap):
        keras.utils.set_random_seed(3)
        layer = keras.layers.Dense(2, kernel_constraint="unit_norm")
        model = keras.Sequential([keras.Input((5,)), layer])
        optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5)
        model.compile(wrap(optimizer), "mse")
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        model.fit(*data(), batch_size=8, shuffle=False, verbose=0, callbacks=[swap])
        return values(model.weights)

    assert_same(run(lambda o: o), run(lambda o: clipping.NoClip().wrap(o)))


def test_an_optimizer_with_state_keeps_it():
    x, y = data()
    inner = keras.optimizers.Adam(0.01)
    model = network(inner)
    fit(model, x, y)
    model.compile(clipping.NoClip().wrap(inner), "mse")
    fit(model, x, y)
    reference = network(keras.optimizers.Adam(0.01))
    fit(reference, x, y, epochs=2)
    assert_same(values(model.weights), values(reference.weights))


def test_missing_gradients_speak_as_keras_does():
    variables = network().trainable_variables
    optimizer = clipping.ByNorm(1).wrap(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="must already be built"):
        optimizer.apply([tf.ones_like(v) for v in variables])
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([None] * 4, variables)
    optimizer.apply([], variables)
    optimizer.apply([tf.ones_like(v) for v in variables])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([tf.ones(())], [keras.Variable(0.0)])


def test_several_optimizers_share_one_norm():
    parts = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(0.1), {"top/.*": keras.optimizers.Adam(0.01)}
    )
    wrapped = clipping.ByGlobalNorm(0.1).wrap(keras.optimizers.MultiOptimizer(parts))
    model = network(wrapped)
    fit(model, *data())
    norm = np.linalg.norm(wrapped.last_step().norm_after)
    assert norm == pytest.approx(0.1, rel=1e-5)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
from workbench import clipping
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = x[:, :3].copy()
y[20] = np.nan
results = []
for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
    with tf.distribute.MirroredStrategy(devices).scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
        optimizer = clipping.AutoClip(30).wrap(keras.optimizers.Adam(0.01))
        model.compile(optimizer, "mse", jit_compile=False)
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0, epochs=3)
    assert optimizer.skipped_steps == 3, optimizer.skipped_steps
    assert int(optimizer.iterations.numpy()) == 9
    state = model.weights + optimizer.variables
    results.append([np.array(v.numpy()) for v in state])
for one, two in zip(*results, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
print("equal")
"""


def test_two_replicas_clip_their_common_gradient():
    # Devices can be split only before TensorFlow has run.
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED], capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("equal\n"), done.stderr[-2000:]


@pytest.mark.parametrize(
    ("optimizer", "error", "message"),
    [
        (lambda: keras.optimizers.SGD(clipnorm=1.0), ValueError, "without `clipnorm`"),
        (lambda: keras.optimizers.SGD(clipvalue=1.0), ValueError, "`clipvalue`"),
        (lambda: keras.optimizers.SGD(global_clipnorm=1.0), ValueError, "global_clip"),
        (
            lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
            ValueError,
            "scale the loss already; wrap what is inside",
        ),
        (
            lambda: clipping.ByNorm(1).wrap(keras.optimizers.SGD()),
            ValueError,
            "must not clip or scale.*inner_optimizer",
        ),
        (lambda: "sgd", TypeError, "must be a keras.optimizers.Optimizer"),
    ],
)
def test_what_cannot_be_wrapped(optimizer, error, message):
    with pytest.raises(error, match=message):
        clipping.ByGlobalNorm(1).wrap(optimizer())


def test_the_private_method_that_accumulation_needs_is_where_keras_had_it():
    calls = []

    class Spy(keras.optimizers.SGD):
        def _clip_gradients(self, grads):
            calls.append(len(grads))
            return super()._clip_gradients(grads)

    variable = keras.Variable([1.0, 2.0])
    optimizer = Spy(0.1, gradient_accumulation_steps=2)
    for _ in range(2):
        optimizer.apply([tf.ones(2)], [variable])
    assert calls == [1]  # once, on the mean, at the second step


def test_tensorflow_saves_and_exports_a_model_that_clips(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.Adam()), "mse")
    x, y = np.ones((8, 4), "float32"), np.ones((8, 1), "float32")
    model.fit(x, y, verbose=0)
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    names = [name for name, _ in tf.train.list_variables(path)]
    assert any("optimizer" in name for name in names)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(x), model(x), rtol=1e-6)

"""The hook: norms against NumPy, rows against an eager replay, the guard."""

import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.models import cnn, compiled, lstm, mlp, mlp_with_batch_norm, state_of
from workbench.steps import Recorder, StepHook, global_norm, own_random, sum_duplicates


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_global_norm_is_numpys_also_where_squares_overflow(scale):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) * scale for shape in ((3, 4), (5,))]
    expected = np.sqrt(sum(np.sum(a**2) for a in arrays))
    norm, bad = global_norm([tf.constant(a, tf.float32) for a in arrays] + [None])
    if scale == 1e-25:  # squares underflow below what float32 holds
        assert norm.numpy() <= expected
    else:
        np.testing.assert_allclose(norm.numpy(), expected, rtol=1e-6)
    assert bad.numpy() == -1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_global_norm_names_the_bad_gradient_nearest_to_the_loss(value):
    fine, poor = tf.constant([2.0]), tf.constant([1.0, value])
    norm, bad = global_norm([poor, None, poor, fine, None])
    assert bad.numpy() == 2
    assert not np.isfinite(norm.numpy())


def test_global_norm_sums_duplicate_rows_first():
    slices = tf.IndexedSlices(tf.ones((16, 1)), tf.fill([16], 7), tf.constant([10, 1]))
    norm, _ = global_norm([slices])
    assert norm.numpy() == 16.0


@pytest.mark.parametrize("jit", [False, True])
def test_sum_duplicates_equals_the_dense_gradient(jit):
    rng = np.random.default_rng(1)
    indices = rng.integers(0, 5, 12)
    values = rng.normal(size=(12, 3)).astype("float32")
    expected = np.zeros((5, 3))
    np.add.at(expected, indices, values)

    @tf.function(jit_compile=jit)
    def summed():
        slices = tf.IndexedSlices(values, tf.constant(indices), tf.constant([5, 3]))
        return tf.convert_to_tensor(sum_duplicates(slices))

    np.testing.assert_allclose(summed().numpy(), expected, rtol=1e-5, atol=1e-6)
    slices = sum_duplicates(tf.IndexedSlices(values, tf.constant(indices)))
    norms = np.linalg.norm(slices.values.numpy(), axis=1)
    wanted = np.linalg.norm(expected[np.unique(indices)], axis=1)
    np.testing.assert_allclose(norms[: len(wanted)], wanted, rtol=1e-5)
    assert not norms[len(wanted) :].any()


def test_recorder_grows_and_snapshots_stay():
    recorder = Recorder()
    for i in range(600):
        recorder.append(i, 0.1, 2 * i, 0.0)
    snapshot = recorder.snapshot()
    recorder.append(-1, -1, -1, -1)
    assert len(snapshot) == 600
    np.testing.assert_array_equal(snapshot.step, np.arange(1, 601))
    np.testing.assert_array_equal(snapshot.gradient_norm, 2 * np.arange(600))


class _ReadEveryStep(keras.callbacks.Callback):
    def __init__(self, hook):
        super().__init__()
        self.hook, self.steps, self.before, self.after = hook, [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.before.append(state_of(self.model))

    def on_train_batch_end(self, batch, logs=None):
        self.steps += self.hook.read()
        self.after.append(state_of(self.model))


def _fit_with_hook(model, x, y):
    with StepHook(model) as hook:
        reader = _ReadEveryStep(hook)
        model.fit(x, y, shuffle=False, verbose=0, callbacks=[reader])
    return reader


@pytest.mark.parametrize("build", [mlp, cnn, lstm])
def test_rows_equal_an_eager_replay(build, digits):
    x, y = (array[:160] for array in digits)
    reader = _fit_with_hook(compiled(build, keras.optimizers.SGD(0.1)), x, y)
    replay = compiled(build, keras.optimizers.SGD(0.1))
    for i, step in enumerate(reader.steps):
        batch = slice(32 * i, 32 * i + 32)
        with tf.GradientTape() as tape:
            loss = replay.loss(y[batch], replay(x[batch], training=True))
        gradients = tape.gradient(loss, replay.trainable_variables)
        norm = np.sqrt(sum(np.sum(g.numpy().astype("float64") ** 2) for g in gradients))
        replay.optimizer.apply(gradients, replay.trainable_variables)
        np.testing.assert_allclose(step.loss, loss.numpy(), rtol=1e-5)
        np.testing.assert_allclose(step.gradient_norm, norm, rtol=1e-4)
        assert step.learning_rate == pytest.approx(0.1)
        assert step.problem is None


def _poisoned(digits, batch):
    x, y = digits[0][:160].copy(), digits[1][:160]
    x[32 * batch + 5, 3, 3] = np.nan
    return x, y


@pytest.mark.parametrize("eager", [False, True])
def test_a_bad_batch_changes_nothing_and_is_named(eager, digits):
    model = compiled(
        lambda: mlp(layers.Dropout(0.3), layers.BatchNormalization()),
        keras.optimizers.Adam(),
        run_eagerly=eager,
    )
    reader = _fit_with_hook(model, *_poisoned(digits, batch=2))
    assert [bool(step.problem) for step in reader.steps] == [0, 0, 1, 0, 0]
    assert "input batch" in reader.steps[2].problem
    for path, before in reader.before[2].items():
        np.testing.assert_array_equal(reader.after[2][path], before, err_msg=path)
    assert any(
        not np.array_equal(reader.after[3][path], before)
        for path, before in reader.before[3].items()
    )


def test_the_epochs_metrics_leave_the_bad_batch_out(digits):
    x, y = _poisoned(digits, batch=4)
    model = compiled(mlp, keras.optimizers.SGD(0.1))
    with StepHook(model):
        bad = model.fit(x, y, shuffle=False, verbose=0).history
    clean = compiled(mlp, keras.optimizers.SGD(0.1))
    good = clean.fit(x[:128], y[:128], shuffle=False, verbose=0).history
    assert bad == good


def test_the_layer_where_it_began_is_named(digits):
    x, y = digits[0][:32] * np.float32(3e38), digits[1][:32]
    reader = _fit_with_hook(compiled(mlp, keras.optimizers.SGD(0.1)), x, y)
    assert "layer sequential" in reader.steps[0].problem
    assert "hidden" in reader.steps[0].problem


def test_a_loss_that_is_not_finite_is_named(digits):
    model = mlp()
    model.compile("sgd", lambda y, logits: tf.math.log(-tf.reduce_mean(logits**2)))
    reader = _fit_with_hook(model, digits[0][:32], digits[1][:32])
    assert "but the loss is not" in reader.steps[0].problem


class _Root(layers.Layer):
    def call(self, x):
        return keras.ops.sqrt(x)  # infinite slope at the zeros of the ReLU before


def test_a_gradient_that_is_not_finite_is_named(digits):
    reader = _fit_with_hook(
        compiled(lambda: mlp(_Root()), "sgd"), digits[0][:32], digits[1][:32]
    )
    assert "hidden" in reader.steps[0].problem
    assert np.isfinite(reader.steps[0].loss)
    for path, before in reader.before[0].items():
        np.testing.assert_array_equal(reader.after[0][path], before, err_msg=path)


def test_under_loss_scaling_a_bad_batch_still_spares_the_weights(digits):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(mlp_with_batch_norm, keras.optimizers.Adam())
    finally:
        keras.config.set_dtype_policy("float32")
    reader = _fit_with_hook(model, *_poisoned(digits, batch=2))
    assert "input batch" in reader.steps[2].problem
    scaling = ("dynamic_scale", "step_counter")
    for path, before in reader.before[2].items():
        if not path.endswith(scaling):
            np.testing.assert_array_equal(reader.after[2][path], before, err_msg=path)
    assert reader.steps[0].gradient_norm < 100  # of the unscaled gradient


def test_nothing_stays_on_model_or_optimizer(digits):
    model = compiled(mlp, keras.optimizers.SGD(0.1))
    model.fit(digits[0][:32], digits[1][:32], verbose=0)
    attributes, function = set(vars(model)), model.train_function
    optimizer_attributes = set(vars(model.optimizer))
    with pytest.raises(ZeroDivisionError), StepHook(model):
        model.fit(digits[0][:32], digits[1][:32], verbose=0)
        raise ZeroDivisionError
    assert set(vars(model)) == attributes
    assert set(vars(model.optimizer)) == optimizer_attributes
    assert model.train_function is function


def test_a_frozen_table_is_not_copied(digits):
    table = layers.Embedding(50, 8, trainable=False)
    build = lambda: keras.Sequential(  # noqa: E731, a model of three lines
        [layers.Input((4,)), table, layers.BatchNormalization(), layers.Flatten()]
        + [layers.Dense(10)]
    )
    model = compiled(build, "sgd")
    with StepHook(model):
        model.fit(np.ones((32, 4)), digits[1][:32], verbose=0)
        written = _written_of(model)
    assert "batch_normalization" in " ".join(written)
    assert not any("embedding" in path for path in written)


def _written_of(model):
    """Paths of the variables that the traced step restores after a bad batch."""
    from workbench.steps import diagnosis as hook

    found = []
    original = hook.written

    def spy(variables):
        flags = original(variables)
        by_id = {id(variable.value): variable.path for variable in model.variables}
        found.extend(
            by_id.get(id(variable), "metric")
            for variable, flag in zip(variables, flags, strict=True)
            if flag
        )
        return flags

    hook.written = spy
    try:
        model.make_train_function(force=True)
        model.fit(np.ones((32, 4)), np.zeros(32), verbose=0)
    finally:
        hook.written = original
    return found


def test_other_threads_draw_nothing_from_the_random_of_this_one():
    random.seed(5)
    theirs = [random.random() for _ in range(20)]
    random.seed(3)
    wanted = [random.random() for _ in range(20)]
    random.seed(5)
    drawn, found = [], []
    with own_random():
        random.seed(3)
        for _ in range(20):
            thread = threading.Thread(target=lambda: drawn.append(random.random()))
            thread.start()
            thread.join()
            found.append(random.random())
    assert found == wanted
    assert drawn == theirs
    assert random.getstate() == state_after(5, 20)
    assert random.random.__self__ is random.seed.__self__  # nothing left patched


def state_after(seed, draws):
    generator = random.Random(seed)
    for _ in range(draws):
        generator.random()
    return generator.getstate()


def test_the_random_of_a_thread_comes_back_after_an_error():
    random.seed(5)
    own = random.sample
    with pytest.raises(ZeroDivisionError), own_random():
        random.seed(3)
        1 / 0  # noqa: B018
    assert random.sample == own
    assert random.getstate() == state_after(5, 0)

"""Schedules against optax and closed forms; sampling; saving; the finder."""

import random

import jax
import keras
import numpy as np
import optax
import pytest
import tensorflow as tf
from keras import layers

from tests.models import compiled, mlp, mlp_with_dropout, state_of
from workbench import schedules
from workbench.schedules import (
    Joined,
    Noam,
    OneCycle,
    Triangular,
    Warmup,
    WarmupStableDecay,
    find_learning_rate,
    piecewise_by_epochs,
    range_test,
    sample_schedule,
)

keras_schedules = keras.optimizers.schedules
STEPS = np.arange(260)


# Against optax, in float64: in float32 its own cosine has lost its digits at the end.


def triangle(low, high, half):
    """Five triangles, each half as high as the one before."""
    lines, height = [], high - low
    for _ in range(5):
        lines.append(optax.linear_schedule(low, low + height, half))
        lines.append(optax.linear_schedule(low + height, low, half))
        height /= 2
    return optax.join_schedules(lines, [half * i for i in range(1, 10)])


PAIRS = {
    "one-cycle": (
        OneCycle(0.3, 200),
        lambda: optax.cosine_onecycle_schedule(200, 0.3),
    ),
    "one-cycle, all arguments": (
        OneCycle(2.0, 137, 0.41, 10.0, 300.0),
        lambda: optax.cosine_onecycle_schedule(137, 2.0, 0.41, 10.0, 300.0),
    ),
    "stable": (
        WarmupStableDecay(0.3, 20, 100, 80, 0.01, 0.001),
        lambda: optax.join_schedules(
            [
                optax.linear_schedule(0.01, 0.3, 20),
                optax.constant_schedule(0.3),
                optax.linear_schedule(0.3, 0.001, 80),
            ],
            [20, 120],
        ),
    ),
    "stable, cosine": (
        WarmupStableDecay(0.3, 20, 0, 80, decay="cosine"),
        lambda: optax.warmup_cosine_decay_schedule(0.0, 0.3, 20, 100),
    ),
    "triangular": (Triangular(0.01, 0.4, 30, 0.5), lambda: triangle(0.01, 0.4, 30)),
    "warmup": (
        Warmup(keras_schedules.ExponentialDecay(0.3, 10, 0.5), 25, 0.1),
        lambda: optax.join_schedules(
            [
                optax.linear_schedule(0.1, 0.3, 25),
                optax.exponential_decay(0.3, 10, 0.5),
            ],
            [25],
        ),
    ),
    "warmup of a number": (
        Warmup(0.3, 25),
        lambda: optax.warmup_constant_schedule(0.0, 0.3, 25),
    ),
    "joined": (
        Joined([0.5, OneCycle(0.3, 100), WarmupStableDecay(1, 5, 5, 5)], [30, 140]),
        lambda: optax.join_schedules(
            [
                optax.constant_schedule(0.5),
                optax.cosine_onecycle_schedule(100, 0.3),
                optax.join_schedules(
                    [
                        optax.linear_schedule(0.0, 1.0, 5),
                        optax.constant_schedule(1.0),
                        optax.linear_schedule(1.0, 0.0, 5),
                    ],
                    [5, 10],
                ),
            ],
            [30, 140],
        ),
    ),
    "by epochs": (
        piecewise_by_epochs([0.1, 0.01, 0.001, 0.0001], [2, 6, 10], 20),
        lambda: optax.piecewise_constant_schedule(0.1, {40: 0.1, 120: 0.1, 200: 0.1}),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_every_step_has_the_rate_of_optax(name):
    schedule, make = PAIRS[name]
    with jax.enable_x64(True):
        other = make()
        expected = np.array([float(other(step)) for step in STEPS])
    rates = sample_schedule(schedule, len(STEPS))
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=0)


def test_noam_is_the_paper():
    number = np.arange(1, 20_001, dtype="float64")
    expected = 2 * 512**-0.5 * np.minimum(number**-0.5, number * 4000**-1.5)
    rates = sample_schedule(Noam(512, scale=2.0), 20_000)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates.argmax() == 3999


def test_the_root_decay_is_its_closed_form():
    rates = sample_schedule(WarmupStableDecay(0.2, 0, 10, 90, decay="sqrt"), 101)
    share = np.clip((np.arange(101) - 10) / 90, 0, 1)
    np.testing.assert_allclose(rates, 0.2 * (1 - np.sqrt(share)), rtol=1e-6, atol=1e-9)


def test_epochs_change_at_the_first_step_of_an_epoch():
    """Keras keeps a value up to and including its boundary."""
    schedule = piecewise_by_epochs([0.1, 0.01, 0.001, 0.0001], [20, 60, 100], 7)
    assert type(schedule) is keras_schedules.PiecewiseConstantDecay
    rates = sample_schedule(schedule, 7 * 120).reshape(120, 7)
    expected = np.repeat([0.1, 0.01, 0.001, 0.0001], [20, 40, 40, 20]).astype("f")
    np.testing.assert_array_equal(rates, np.repeat(expected[:, None], 7, 1))


# Real Keras schedules


OWN = [pair[0] for pair in PAIRS.values()] + [Noam(64, 10)]


@pytest.mark.parametrize("schedule", OWN, ids=lambda s: type(s).__name__)
def test_a_saved_model_brings_its_schedule_back(schedule, tmp_path):
    model = keras.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(schedule), "mse")
    model.fit(np.ones((8, 2)), np.ones(8), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").optimizer._learning_rate
    assert type(loaded) is type(schedule)
    assert loaded.get_config() == schedule.get_config()
    np.testing.assert_array_equal(
        sample_schedule(loaded, 200), sample_schedule(schedule, 200)
    )


def test_fit_uses_the_rates_of_the_preview():
    class Reads(keras.callbacks.Callback):
        rates = ()

        def on_train_batch_begin(self, batch, logs=None):
            self.rates = (*self.rates, float(self.model.optimizer.learning_rate))

    model = keras.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(OneCycle(0.1, 12)), "mse")
    reads = Reads()
    model.fit(np.ones((12, 2)), np.ones(12), 1, callbacks=[reads], verbose=0)
    np.testing.assert_allclose(
        reads.rates, sample_schedule(OneCycle(0.1, 12), 12), rtol=1e-6
    )


# Sampling


class Own(keras_schedules.LearningRateSchedule):
    """What a Keras variable as the step allows, and a tensor would not."""

    def __call__(self, step):
        return step * 0.5


class Branches(keras_schedules.LearningRateSchedule):
    """Python's `if`: only step by step."""

    def __call__(self, step):
        return 0.1 if step < 5 else 0.05


class Asks(keras_schedules.LearningRateSchedule):
    """NumPy's root: only step by step."""

    def __call__(self, step):
        return 0.1 / np.sqrt(1 + int(step))


class Refuses(keras_schedules.LearningRateSchedule):
    """A vector of steps makes no sense to it."""

    def __call__(self, step):
        return tf.cond(step < 5, lambda: 0.1, lambda: 0.2)


SAMPLED = [
    keras_schedules.ExponentialDecay(0.1, 7, 0.5, staircase=True),
    keras_schedules.PolynomialDecay(0.1, 9, cycle=True),
    keras_schedules.InverseTimeDecay(0.1, 9, 0.5),
    keras_schedules.CosineDecay(0.0, 20, warmup_target=0.1, warmup_steps=7),
    keras_schedules.CosineDecayRestarts(0.1, 5),
    keras_schedules.PiecewiseConstantDecay([3, 8], [0.3, 0.2, 0.1]),
    Own(),
    Branches(),
    Asks(),
    Refuses(),
]


@pytest.mark.parametrize("schedule", SAMPLED, ids=lambda s: type(s).__name__)
def test_any_schedule_is_sampled_as_an_optimizer_asks_it(schedule):
    step, expected = keras.Variable(0, dtype="int64"), []
    for i in range(40):
        step.assign(i)
        expected.append(float(schedule(step)))
    # Keras computes a cosine in float32, which the graph rounds in another way.
    np.testing.assert_allclose(
        sample_schedule(schedule, 40), expected, rtol=2e-6, atol=1e-8
    )


def test_a_million_steps_call_the_schedule_once():
    calls = []

    class Counts(keras_schedules.LearningRateSchedule):
        def __call__(self, step):
            calls.append(1)
            return keras.ops.cast(step, "float32") * 1e-3

    rates = sample_schedule(Counts(), 1_000_000)
    assert len(calls) < 5
    np.testing.assert_allclose(rates[[0, 999_999]], [0, 999.999], rtol=1e-6)


def test_a_number_is_a_schedule_too():
    np.testing.assert_array_equal(sample_schedule(0.5, 3), np.float32([0.5] * 3))
    assert sample_schedule(np.float32(0.25), 1).tolist() == [0.25]


# Bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneCycle(-0.1, 10), r"`maximum_learning_rate` must be.*-0\.1"),
        (lambda: OneCycle(0.1, 0), r"`total_steps` must be an int >= 1.*total_steps=0"),
        (lambda: OneCycle(0.1, 10, 1.5), "`warmup_fraction` must be"),
        (lambda: OneCycle(0.1, 10.5), "`total_steps` must be an int"),
        (lambda: WarmupStableDecay(0.1, -1, 5, 5), "`warmup_steps` must be"),
        (lambda: WarmupStableDecay(0.1, 1, 5, 5, decay="log"), r"`decay` must.*'log'"),
        (lambda: WarmupStableDecay(float("nan"), 1, 5, 5), "`learning_rate` must be"),
        (lambda: Noam(0), "`d_model` must be"),
        (lambda: Triangular(0.2, 0.1, 5), "`maximum_learning_rate` must be >="),
        (lambda: Warmup("0.1", 5), "`schedule` must be a LearningRateSchedule"),
        (lambda: Warmup(-0.1, 5), "`schedule` must be a LearningRateSchedule"),
        (lambda: Joined([0.1, 0.2], []), "`boundaries` must be one fewer"),
        (lambda: Joined([0.1, 0.2, 0.3], [5, 5]), "`boundaries` must increase"),
        (lambda: piecewise_by_epochs([0.1, 0.2], [1, 2], 5), "`epochs` must be one"),
        (lambda: piecewise_by_epochs([3, 2, 1], [2, 1], 5), "`epochs` must increase"),
        (lambda: piecewise_by_epochs([2, 1], [1], 0), "`steps_per_epoch` must be"),
        (lambda: sample_schedule(0.1, 0), r"`num_steps` must be >= 1.*num_steps=0"),
        (lambda: sample_schedule(-0.1, 3), r"`schedule` must give.*rate -0\.1"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_that_goes_bad_says_where():
    falls = keras_schedules.PolynomialDecay(0.1, 10, end_learning_rate=-0.1)
    with pytest.raises(ValueError, match=r"rate -0\.02 at step 6, and 14 of 20"):
        sample_schedule(falls, 20)
    with pytest.raises(ValueError, match=r"rate nan at step 0"):
        sample_schedule(lambda step: tf.cast(step, tf.float32) / 0.0 * 0.0, 5)
    with pytest.raises(TypeError, match=r"`schedule` must be.*'fast'"):
        sample_schedule("fast", 5)


# The finder


@pytest.fixture(scope="module")
def small(digits):
    """256 digits, eight batches."""
    return digits[0][:256], digits[1][:256]


def everything(model):
    """All state that a test must leave alone, the random states included."""
    keras_seed = keras.src.random.seed_generator.global_seed_generator().state.numpy()
    numpy = np.random.get_state()  # noqa: NPY002
    return {
        **state_of(model),
        "keras": keras_seed,
        "numpy": np.append(numpy[1], numpy[2]),
        "python": np.array(random.getstate()[1]),
        "tensorflow": tf.random.get_global_generator().state.numpy(),
    }


def assert_same(before, after):
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.mark.parametrize("trained", [False, True])
def test_the_finder_leaves_every_bit(trained, small):
    twins = [compiled(mlp_with_dropout, keras.optimizers.Adam(1e-3)) for _ in range(2)]
    for model in twins:
        model.optimizer.build(model.trainable_variables)
        keras.utils.set_random_seed(7)
        if trained:
            model.fit(*small, verbose=0)
    model, twin = twins
    attributes, before = set(vars(model)), everything(model)
    test = find_learning_rate(model, small, seeds=1, steps=8)
    assert_same(before, everything(model))
    assert set(vars(model)) <= attributes | {"_eval_epoch_iterator"}
    assert model.steps_per_execution == 1
    assert np.isfinite(test.suggestion)
    # What follows has the bits of a model that was never tested.
    histories = []
    for each in (model, twin):
        keras.utils.set_random_seed(8)
        histories.append(each.fit(*small, verbose=0).history)
    assert histories[0] == histories[1]
    for a, b in zip(state_of(model).values(), state_of(twin).values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_exception_in_the_middle_leaves_every_bit_too(error, small, monkeypatch):
    model = compiled(mlp_with_dropout, keras.optimizers.SGD(0.1, momentum=0.9))
    model.fit(*small, verbose=0)
    before = everything(model)

    def add(bar, steps):
        bar.done += steps
        if bar.done > 60:
            raise error("in the middle")

    monkeypatch.setattr(range_test.Progress, "add", add)
    with pytest.raises(error, match="in the middle"):
        find_learning_rate(model, small, seeds=1)
    assert_same(before, everything(model))
    assert model.optimizer.momentum == 0.9


def test_the_losses_are_true_batch_losses_at_rising_rates(small):
    """Replayed by hand, in eager steps over the same batches."""
    model = compiled(mlp, keras.optimizers.SGD(0.1))
    test = find_learning_rate(model, small, seeds=1, steps=16)
    order = np.random.default_rng(0)
    rows = np.concatenate([order.permutation(256) for _ in range(15)])
    replay = compiled(mlp, keras.optimizers.SGD(0.1))
    losses = []
    for i, rate in enumerate(test.rates[:60]):
        batch = rows[32 * i : 32 * i + 32]
        with tf.GradientTape() as tape:
            outputs = replay(small[0][batch], training=True)
            loss = replay.loss(small[1][batch], outputs)
        losses.append(float(loss))
        gradients = tape.gradient(loss, replay.trainable_variables)
        for gradient, variable in zip(
            gradients, replay.trainable_variables, strict=True
        ):
            variable.assign_sub(rate * gradient)
    np.testing.assert_allclose(test.losses[0, :60], losses, rtol=1e-4)
    np.testing.assert_allclose(test.rates, np.geomspace(1e-6, 10, 120))


def bowl(optimizer):
    """A line through 0: gradient descent diverges from rate 1 on."""
    model = keras.Sequential(
        [layers.Input((1,)), layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    model.compile(optimizer, "mse")
    return model


BOWL = np.ones((64, 1), "float32"), np.full((64, 1), 3.0, "float32")


def test_on_a_bowl_the_rate_is_near_the_best_and_below_the_edge():
    """Error factor |1 - 2 rate| per step: 0.5 is exact, from 1 on it diverges."""
    test = find_learning_rate(bowl(keras.optimizers.SGD(1e-3)), BOWL, steps=16)
    assert 0.1 < test.suggestion < 1
    assert test.interval[0] <= test.suggestion <= test.interval[1]
    exploded = [rate for rate, loss in test.trials if not np.isfinite(loss)]
    assert all(rate >= 1 for rate in exploded)


def test_a_trained_model_whose_batches_differ_more_than_training_changes(digits):
    x, y = digits
    model = compiled(mlp, keras.optimizers.SGD(0.2))
    model.fit(x, y, epochs=8, verbose=0)
    test = find_learning_rate(model, (x, y), steps=48)
    # Without training taken off, the lowest would be any batch.
    start = test.smoothed[:20]
    assert np.ptp(start) < 0.01 * np.std(test.losses[:, :20])
    assert 0.005 < test.suggestion < 1


@pytest.mark.parametrize("kind", ["dataset", "batches", "weights"])
def test_data_of_every_kind_and_a_schedule_in_the_optimizer(kind, small):
    x, y = small
    dataset = tf.data.Dataset.from_tensor_slices(small)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return x[32 * index :][:32], y[32 * index :][:32]

    data = {
        "dataset": lambda: dataset.shuffle(256).batch(32),
        "batches": Batches,
        "weights": lambda: (x, y, np.ones(256, "float32")),
    }[kind]()
    model = compiled(mlp, keras.optimizers.Adam(OneCycle(0.1, 100)))
    test = find_learning_rate(model, data, seeds=1, steps=8)
    assert test.losses.shape == (1, 120)
    assert 1e-4 < test.suggestion < 1
    assert int(model.optimizer.iterations.numpy()) == 0


def test_the_same_model_gives_the_same_suggestion_and_says_why(small):
    model = compiled(mlp_with_dropout, "adam")
    test, again = (find_learning_rate(model, small, seeds=2, steps=8) for _ in range(2))
    assert test.suggestion == again.suggestion
    np.testing.assert_array_equal(test.losses, again.losses)
    text = str(test)
    assert f"Learning rate {test.suggestion:.2g}" in text
    assert "median of 2 orders" in text
    assert "trainings of 8 steps" in text
    assert "<table>" in test._repr_html_()
    assert len(test.trials) >= 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, r"`batch_size` must be.*batch_size=0"),
        ({"seeds": 0}, ValueError, "`seeds` must be"),
        ({"steps": 0}, ValueError, "`steps` must be"),
        ({"batch_size": 257}, ValueError, r"at least one batch.*256 samples"),
        ({"data": iter(())}, TypeError, r"`data` must be.*iterator"),
        ({"data": (np.ones(3), np.ones(4))}, ValueError, "equally many"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message, small):
    model = compiled(mlp, "sgd")
    with pytest.raises(error, match=message):
        find_learning_rate(model, **{"data": small, **arguments})


def test_a_model_without_a_finite_loss_is_refused_and_restored(small):
    model = compiled(mlp, "sgd")
    model.get_layer("logits").bias.assign(np.full(10, np.nan))
    before = state_of(model)
    with pytest.raises(ValueError, match="NaN or infinite at the first step"):
        find_learning_rate(model, small, seeds=1)
    assert_same(before, state_of(model))


def test_a_model_that_cannot_learn_is_refused_and_restored():
    x, y = BOWL
    model = bowl(keras.optimizers.SGD(0.1))
    before = state_of(model)
    with pytest.raises(ValueError, match="falls at no rate"):
        find_learning_rate(model, (x, x), seeds=1)  # it is right already
    assert_same(before, state_of(model))
    with pytest.raises(ValueError, match=r"`model` must be .*compile"):
        find_learning_rate(mlp(), (x, y))


def test_an_empty_dataset_is_refused():
    nothing = tf.data.Dataset.from_tensor_slices(BOWL).batch(8)
    nothing = nothing.filter(lambda *_: False)  # its length is not known
    with pytest.raises(ValueError, match=r"`data` must hold.*0 batches"):
        find_learning_rate(bowl("sgd"), nothing, seeds=1)


def test_the_public_names():
    assert set(schedules.__all__) == {
        "Joined",
        "Noam",
        "OneCycle",
        "RangeTest",
        "Triangular",
        "Warmup",
        "WarmupStableDecay",
        "find_learning_rate",
        "piecewise_by_epochs",
        "sample_schedule",
    }

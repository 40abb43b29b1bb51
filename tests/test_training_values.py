"""The optimizer's values during a run: live, Keras's own bits when nobody touches."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.models import compiled
from tests.test_training import SECONDS, AtStep, assert_equal_states, cosine
from workbench.clipping import ByGlobalNorm
from workbench.schedules import WarmupStableDecay
from workbench.steps import StepHook
from workbench.training import Run, load_records

optimizers = keras.optimizers
schedules = keras.optimizers.schedules


def small(*extra):
    """A net small enough that tracing is most of its cost."""
    return keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.AveragePooling1D(4),
            layers.Flatten(),
            *extra,
            layers.Dense(10, name="logits"),
        ]
    )


@pytest.fixture
def few(digits):
    """320 digits, ten steps."""
    return digits[0][:320], digits[1][:320]


# The same bits


MAKERS = {
    "SGD": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "nesterov, decay": lambda: optimizers.SGD(
        0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "Adam": lambda: optimizers.Adam(1e-2),
    "AdamW": lambda: optimizers.AdamW(cosine(), weight_decay=0.05),
    "RMSprop": lambda: optimizers.RMSprop(1e-2, momentum=0.5, centered=True),
    "Nadam": lambda: optimizers.Nadam(1e-2),
    "Lion": lambda: optimizers.Lion(1e-3, weight_decay=0.1),
    "Muon": lambda: optimizers.Muon(1e-2),
    "accumulated": lambda: optimizers.Adam(1e-2, gradient_accumulation_steps=2),
}


UNTOUCHED = ("nesterov, decay", "RMSprop", "Nadam", "Lion", "Muon", "accumulated")


@pytest.mark.parametrize("name", UNTOUCHED)
def test_untouched_values_give_the_bits_of_fit(name, few):
    plain = compiled(small, MAKERS[name]())
    plain.fit(*few, verbose=0)
    model = compiled(small, MAKERS[name]())
    config = model.optimizer.get_config()
    run = Run(model, few).start()
    run.wait(SECONDS)
    assert_equal_states(model, plain)
    assert model.optimizer.get_config() == config
    assert run.changes == ()


# What is set is what is used


CHANGES = [
    ("momentum", "momentum", 0.5),
    ("nesterov, decay", "momentum", 0.3),
    ("SGD", "weight_decay", 0.5),
    ("Adam", "beta_1", 0.5),
    ("Adam", "beta_2", 0.9),
    ("AdamW", "weight_decay", 1.0),
    ("RMSprop", "rho", 0.5),
    ("Nadam", "beta_1", 0.5),
    ("Muon", "momentum", 0.5),
]


@pytest.mark.parametrize(("name", "setting", "value"), CHANGES)
def test_a_new_value_gives_the_weights_of_an_optimizer_that_has_it(
    name, setting, value, few
):
    """Keras's way: train, change the attribute, trace anew, train on."""
    x, y = few
    expected = compiled(small, MAKERS[name]())
    expected.fit(x[:128], y[:128], shuffle=False, verbose=0)
    untouched = [w.copy() for w in expected.get_weights()]
    setattr(expected.optimizer, setting, value)
    expected.make_train_function(force=True)
    expected.fit(x[128:], y[128:], shuffle=False, verbose=0)

    traces = []

    class Counts(layers.Layer):
        def call(self, x):
            traces.append(1)
            return x

    model = compiled(lambda: small(Counts()), MAKERS[name]())
    traces.clear()
    counts = []
    run = Run(
        model,
        few,
        shuffle=False,
        callbacks=[
            AtStep(3, lambda: counts.append(len(traces))),
            AtStep(4, lambda: run.set(setting, value)),
            AtStep(10, lambda: counts.append(len(traces))),
        ],
    ).start()
    run.wait(SECONDS)
    assert counts[0] == counts[1]
    weights = model.get_weights()
    for a, b, before in zip(weights, expected.get_weights(), untouched, strict=True):
        moved = np.abs(b - before).max()
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * moved)
    assert [(c.step, c.name, c.new) for c in run.changes] == [(5, setting, value)]
    # The attribute is a plain number, as Keras wants it.
    assert getattr(model.optimizer, setting) == value
    assert type(getattr(model.optimizer, setting)) is float


def test_set_back_it_is_keras_own_graph_again(few):
    """Set before anything is built or traced, and back after the first step."""
    x, y = few
    plain = compiled(small, optimizers.SGD(0.05, momentum=0.5))
    plain.fit(x[:32], y[:32], shuffle=False, verbose=0)
    plain.optimizer.momentum = 0.9
    plain.make_train_function(force=True)
    plain.fit(x[32:], y[32:], shuffle=False, verbose=0)
    model = compiled(small, optimizers.SGD(0.05, momentum=0.9))
    back = AtStep(1, lambda: run.set("momentum", None))
    run = Run(model, few, shuffle=False, callbacks=[back])
    run.set("momentum", 0.5)
    run.start().wait(SECONDS)
    assert_equal_states(model, plain)


def test_an_attribute_assigned_by_a_callback_works_as_in_no_plain_fit(few):
    by_set = compiled(small, optimizers.Adam(1e-2))
    run = Run(
        by_set, few, callbacks=[AtStep(4, lambda: run.set("beta_1", 0.5))]
    ).start()
    run.wait(SECONDS)
    model = compiled(small, optimizers.Adam(1e-2))
    run = Run(
        model,
        few,
        callbacks=[AtStep(4, lambda: setattr(model.optimizer, "beta_1", 0.5))],
    ).start()
    run.wait(SECONDS)
    assert_equal_states(model, by_set)
    assert [(c.step, c.name, c.by) for c in run.changes] == [(5, "beta_1", "callback")]


def test_a_clip_and_loss_scaling_are_no_obstacle(few):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(small, optimizers.SGD(0.05, momentum=0.9))
        twin = compiled(small, optimizers.SGD(0.05, momentum=0.9))
    finally:
        keras.config.set_dtype_policy("float32")
    for each, momentum in ((model, 0.0), (twin, 0.9)):
        run = Run(each, few, clip=ByGlobalNorm(1.0))
        run.set("momentum", momentum)
        run.start().wait(SECONDS)
        assert each.optimizer.inner_optimizer.momentum == momentum
    velocities = [
        m.optimizer.inner_optimizer.momentums[0].numpy() for m in (model, twin)
    ]
    assert np.abs(velocities[0]).max() < 0.5 * np.abs(velocities[1]).max()


def test_several_steps_per_execution_follow_too(few):
    weights = [_weights_at_a_time(steps, few) for steps in (1, 5)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def _weights_at_a_time(steps, few):
    model = compiled(
        small, optimizers.SGD(0.05, momentum=0.9), steps_per_execution=steps
    )
    change = AtStep(5, lambda: run.set("momentum", 0.2))
    run = Run(model, few, shuffle=False, callbacks=[change])
    run.set("learning_rate", cosine())
    run.start().wait(SECONDS)
    expected = [float(cosine()(step)) for step in range(10)]
    np.testing.assert_allclose(run.records.learning_rate, expected, rtol=1e-6)
    return model.get_weights()


@pytest.mark.parametrize("end", ["exception", "stop"])
def test_however_it_ends_keras_has_its_numbers_and_its_property_back(end, few):
    before = vars(keras.optimizers.Adam.__mro__[-2]), _learning_rate_property()
    model = compiled(small, optimizers.Adam(1e-2))

    def fail():
        if end == "stop":
            run.stop()
        else:
            raise OSError("disk full")

    run = Run(model, few, callbacks=[AtStep(5, fail)])
    run.set("beta_1", 0.5)
    run.start()
    if end == "stop":
        run.wait(SECONDS)
    else:
        with pytest.raises(OSError, match="disk full"):
            run.wait(SECONDS)
    assert model.optimizer.beta_1 == 0.5
    assert type(model.optimizer.beta_1) is float
    assert model.optimizer.beta_2 == 0.999
    assert _learning_rate_property() is before[1]
    model.fit(*few, verbose=0)


def _learning_rate_property():
    kinds = optimizers.Adam.__mro__
    return next(vars(k)["learning_rate"] for k in kinds if "learning_rate" in vars(k))


# The rate: number, schedule, callbacks


def plateau():
    """Reduces at every epoch's end but the first."""
    return keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=1e9)


def test_reduce_on_plateau_meets_a_schedule_and_goes_on(few):
    model = compiled(small, optimizers.Adam(cosine()))
    run = Run(model, few, epochs=3, callbacks=[plateau()]).start()
    history = run.wait(SECONDS).history
    rates = run.records.learning_rate
    np.testing.assert_allclose(
        rates[:20], [float(cosine()(i)) for i in range(20)], rtol=1e-6
    )
    np.testing.assert_allclose(rates[20:], 0.5 * float(cosine()(20)), rtol=1e-6)
    assert [(c.step, c.by) for c in run.changes] == [(21, "callback"), (31, "callback")]
    assert len(history["learning_rate"]) == 3
    # A plain fit stops at that point.
    plain = compiled(small, optimizers.Adam(cosine()))
    with pytest.raises(TypeError, match="not settable"):
        plain.fit(*few, epochs=3, callbacks=[plateau()], verbose=0)


def test_a_scheduler_callback_meets_a_schedule_from_the_first_epoch(few):
    model = compiled(small, optimizers.SGD(cosine()))
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    run = Run(model, few, epochs=2, callbacks=[scheduler]).start()
    run.wait(SECONDS)
    expected = np.repeat([0.1, 0.05], 10)
    np.testing.assert_allclose(run.records.learning_rate, expected, rtol=1e-6)
    assert isinstance(model.optimizer._learning_rate, schedules.CosineDecay)


def test_the_same_number_from_a_callback_still_ends_a_schedule(few):
    model = compiled(small, optimizers.SGD(cosine()))
    keeps = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    run = Run(model, few, epochs=2, callbacks=[keeps]).start()
    run.wait(SECONDS)
    np.testing.assert_allclose(run.records.learning_rate, float(cosine()(0)), 1e-6)
    assert [(c.step, c.by) for c in run.changes] == [(1, "callback")]


@pytest.mark.parametrize("start", [0.01, cosine()], ids=["number", "schedule"])
def test_number_and_schedule_follow_one_another_and_no_state_is_lost(start, few):
    other = schedules.ExponentialDecay(0.2, 5, 0.5)
    model = compiled(small, optimizers.Adam(start))
    names = len(model.optimizer.variables)
    model.optimizer.build(model.trainable_variables)
    run = Run(
        model,
        few,
        epochs=2,
        callbacks=[
            AtStep(2, lambda: setattr(model.optimizer, "learning_rate", other)),
            AtStep(4, lambda: run.set("learning_rate", 0.3)),
            AtStep(6, lambda: run.set("learning_rate", other)),
            AtStep(8, lambda: setattr(model.optimizer, "learning_rate", 0.4)),
        ],
    ).start()
    run.wait(SECONDS)
    kept = [float(start(i)) if callable(start) else start for i in range(2)]
    expected = [
        *kept,
        *[float(other(i)) for i in (2, 3)],
        0.3,
        0.3,
        *[float(other(i)) for i in (6, 7)],
        *[0.4] * 4,
        *[float(other(i)) for i in (12, 13)],
        0.3,
        0.3,
        *[float(other(i)) for i in (16, 17)],
        0.4,
        0.4,
    ]
    # In the second epoch the rate starts as the first left it.
    np.testing.assert_allclose(run.records.learning_rate, expected, rtol=1e-6)
    optimizer = model.optimizer
    assert len(optimizer.variables) == names + 2 * len(model.trainable_variables)
    assert int(optimizer.iterations.numpy()) == 20
    if callable(start):
        assert optimizer._learning_rate is start
    else:
        assert float(optimizer.learning_rate.numpy()) == np.float32(0.4)
    by = [change.by for change in run.changes]
    assert by == ["callback", "hand", "hand", "callback"] * 2
    assert run.changes[0].schedule == "ExponentialDecay"
    model.fit(*few, verbose=0)


def test_a_schedule_for_a_number_is_the_optimizer_compiled_with_it(few):
    plain = compiled(small, optimizers.SGD(cosine(), momentum=0.9))
    plain.fit(*few, verbose=0)
    model = compiled(small, optimizers.SGD(0.5, momentum=0.9))
    run = Run(model, few)
    run.set("learning_rate", cosine())
    assert run.learning_rate == pytest.approx(float(cosine()(0)))
    run.start().wait(SECONDS)
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_history_has_the_rate_and_saved_changes_keep_who_made_them(few, tmp_path):
    model = compiled(small, optimizers.SGD(cosine()))
    run = Run(model, few, epochs=2, callbacks=[AtStep(10, lambda: hand(run))])

    def hand(run):
        run.set("learning_rate", schedules.InverseTimeDecay(0.1, 10, 1.0))

    history = run.start().wait(SECONDS).history
    assert history["learning_rate"] == run.records.learning_rate[[9, 19]].tolist()
    run.save(tmp_path / "run.npz")
    saved = load_records(tmp_path / "run.npz")
    assert saved.changes == run.changes
    assert saved.changes[0].schedule == "InverseTimeDecay"


def test_others_optimizers_keep_keras_ways_meanwhile(few):
    other = optimizers.SGD(cosine())
    seen = []

    def assign():
        try:
            other.learning_rate = 0.1
        except TypeError:
            seen.append("refused")

    run = Run(
        compiled(small, optimizers.SGD(cosine())), few, callbacks=[AtStep(3, assign)]
    )
    run.start().wait(SECONDS)
    assert seen == ["refused"]


def test_a_hook_alone_leaves_assignments_to_keras(few):
    model = compiled(small, optimizers.SGD(cosine()))
    with StepHook(model), pytest.raises(TypeError, match="not settable"):
        model.optimizer.learning_rate = 0.1


# Bad input


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("momentum", 1.5, r"`momentum` must be a number in \[0, 1\].*momentum=1.5"),
        ("momentum", float("nan"), "`momentum` must be"),
        ("weight_decay", -1, r"`weight_decay` must be a number >= 0"),
        ("beta_1", 0.5, r"'beta_1'"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, message, few):
    run = Run(compiled(small, optimizers.SGD(0.1, momentum=0.9)), few)
    with pytest.raises(ValueError, match=message):
        run.set(name, value)


def test_what_is_no_number_is_refused(few):
    run = Run(compiled(small, optimizers.Adam()), few)
    with pytest.raises(TypeError, match=r"`beta_1` must be a number.*'high'"):
        run.set("beta_1", "high")
    with pytest.raises(ValueError, match=r"`beta_1` must be a number in \[0, 1\)"):
        run.set("beta_1", 1)


def test_a_momentum_needs_velocities(few):
    run = Run(compiled(small, optimizers.SGD(0.1)), few)
    with pytest.raises(ValueError, match=r"momentum=0\.9.*velocities"):
        run.set("momentum", 0.9)


def test_a_schedule_that_goes_bad_is_refused_and_the_run_goes_on(few):
    run = Run(compiled(small, optimizers.SGD(0.1)), few)
    falls = schedules.PolynomialDecay(0.1, 5, end_learning_rate=-0.1)
    with pytest.raises(
        ValueError, match=r"`schedule` must give .*PolynomialDecay.* step 3"
    ):
        run.set("learning_rate", falls)
    with pytest.raises(ValueError, match=r"`schedule` must give"):
        run.set("learning_rate", WarmupNaN())
    run.set("learning_rate", WarmupStableDecay(0.1, 2, 4, 4))
    run.start().wait(SECONDS)
    assert run.records.learning_rate[5] == np.float32(0.1)


class WarmupNaN(schedules.LearningRateSchedule):
    """What a division by the step gives at step 0."""

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return step / step * 0.1

"""Penalties on built models against closed forms, NumPy and Keras's own layers."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models import compiled, mlp, mlp_with_batch_norm, state_of
from workbench.regularization import (
    LiveDropout,
    PenaltyRecorder,
    ProximalL1,
    l2_to_weight_decay,
    set_constraint,
    set_penalty,
    weight_decay_to_l2,
    with_live_dropout,
)
from workbench.training import Run

SECONDS = 60
layers, regularizers = keras.layers, keras.regularizers
sgd = keras.optimizers.SGD


def kernels(model):
    return [v for v in model.trainable_variables if v.name == "kernel"]


def squares(variables):
    return sum(float(np.sum(np.square(v.numpy(), dtype="float64"))) for v in variables)


def with_argument(regularizer=None, **arguments):
    """The MLP with the penalty given to its layers, as Keras has it."""

    def build():
        model = mlp()
        config = model.get_config()
        for layer in config["layers"]:
            if layer["class_name"] == "Dense":
                plain = regularizers.serialize(regularizers.get(regularizer))
                layer["config"]["kernel_regularizer"] = plain
                layer["config"].update(arguments)
        return keras.Sequential.from_config(config)

    return build


def trained(model, digits, **arguments):
    arguments = {"epochs": 2, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(*digits, **arguments)


def assert_same_state(model, other, rtol=0.0):
    pairs = zip(model.trainable_variables, other.trainable_variables, strict=True)
    for mine, wanted in pairs:
        np.testing.assert_allclose(mine.numpy(), wanted.numpy(), rtol=rtol, atol=rtol)


# On a built model


def test_on_a_built_model_only_the_variables_regularizer_counts(digits):
    model = compiled(mlp, sgd(0.1))
    model.layers[1].kernel_regularizer = regularizers.L2(0.1)
    assert model.losses == []  # Keras's surprise
    model.layers[1].kernel_regularizer = None
    plain = model.evaluate(*digits, verbose=0)[0]
    set_penalty(model, regularizers.L2(0.1))
    expected = 0.1 * squares(kernels(model))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    # Traced before the penalty was set, and yet with it.
    penalized = model.evaluate(*digits, verbose=0)[0]
    assert penalized == pytest.approx(plain + expected, rel=1e-5)


@pytest.mark.parametrize(
    "regularizer",
    [
        regularizers.L1(1e-3),
        regularizers.L2(1e-3),
        regularizers.L1L2(1e-4, 1e-3),
        regularizers.OrthogonalRegularizer(1e-3, mode="columns"),
    ],
    ids=lambda regularizer: type(regularizer).__name__,
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_has_the_bits_of_the_layers_own_argument(
    regularizer, optimizer, digits
):
    wanted = compiled(with_argument(regularizer), optimizer)
    model = compiled(mlp, optimizer)
    trained(model, digits, epochs=1)  # traced without the penalty
    model.set_weights(wanted.get_weights())
    model.compile(optimizer, model.loss, metrics=["accuracy"])
    set_penalty(model, regularizer)
    assert trained(model, digits).history == trained(wanted, digits).history
    assert_same_state(model, wanted)


def test_remove_gives_back_what_was_there(digits):
    own = regularizers.L1(0.01)
    model = compiled(with_argument(own), sgd(0.1))
    before = [kernel.regularizer for kernel in kernels(model)]
    with set_penalty(model, "l2") as penalty:
        assert "on 2 of" in repr(penalty)
        trained(model, digits, epochs=1)
    assert [kernel.regularizer for kernel in kernels(model)] == before
    assert float(model.layers[1].kernel_regularizer.l1) == pytest.approx(0.01)
    penalty.remove()  # a second time does nothing
    wanted = compiled(with_argument(own), sgd(0.1))
    wanted.set_weights(model.get_weights())
    trained(model, digits), trained(wanted, digits)
    assert_same_state(model, wanted)


def test_penalties_come_off_in_the_order_of_a_stack():
    model = compiled(mlp, "sgd")
    first = set_penalty(model, "l2")
    second = set_penalty(model, "l1", layers="logits")
    with pytest.raises(RuntimeError, match="Another penalty was set on"):
        first.remove()
    second.remove()
    first.remove()
    assert model.losses == []


@pytest.mark.parametrize(
    ("choice", "paths"),
    [
        ("hidden", ("hidden/kernel",)),
        (["hidden", "logits"], ("hidden/kernel", "logits/kernel")),
        (layers.Dense, ("hidden/kernel", "logits/kernel")),
        (lambda layer: getattr(layer, "units", 0) == 10, ("logits/kernel",)),
        (None, ("hidden/kernel", "logits/kernel")),
    ],
    ids=["name", "names", "class", "function", "all"],
)
def test_layers_are_chosen(choice, paths):
    model = compiled(mlp_with_batch_norm, "sgd")
    penalty = set_penalty(model, "l2", choice)
    assert tuple("/".join(p.split("/")[-2:]) for p in penalty.paths) == paths


def test_biases_and_normalization_come_only_when_asked_for():
    model = compiled(mlp_with_batch_norm, "sgd")
    everything = set_penalty(model, "l2", biases=True, normalization=True)
    assert len(everything.paths) == len(model.trainable_variables)
    total = 0.01 * squares(model.trainable_variables)
    assert float(sum(model.losses)) == pytest.approx(total, rel=1e-5)


def test_layers_inside_layers_are_found():
    inner = keras.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(2)])
    model = keras.Sequential([layers.Input((4,)), inner, layers.Dense(1)])
    assert len(set_penalty(model, "l2").paths) == 3
    recurrent = keras.Sequential([layers.Input((5, 4)), layers.LSTM(3)])
    paths = set_penalty(recurrent, "l2").paths
    assert [path.split("/")[-1] for path in paths] == ["kernel", "recurrent_kernel"]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_brings_the_penalty_back_as_plain_keras(suffix, tmp_path):
    model = compiled(mlp, "sgd")
    set_penalty(model, regularizers.L2(0.5)).strength = 0.25
    model.save(tmp_path / f"model{suffix}")
    loaded = keras.models.load_model(tmp_path / f"model{suffix}")
    assert type(loaded.layers[1].kernel_regularizer) is regularizers.L2
    expected = 0.25 * squares(kernels(model))
    assert float(sum(loaded.losses)) == pytest.approx(expected, rel=1e-5)


def test_a_penalty_on_outputs_is_the_same_for_every_batch_size(digits):
    model = compiled(mlp, "sgd")
    set_penalty(model, regularizers.L2(0.01), "hidden", outputs=True)
    hidden = keras.Model(model.inputs[0], model.get_layer("hidden").output)
    outputs = hidden(digits[0]).numpy().astype("float64")
    expected = 0.01 * np.sum(outputs**2) / len(outputs)
    for batch_size in (16, 64, 640):
        with_it = model.evaluate(*digits, batch_size=batch_size, verbose=0)[0]
        bare = compiled(mlp, "sgd")
        bare.set_weights(model.get_weights())
        without = bare.evaluate(*digits, batch_size=batch_size, verbose=0)[0]
        assert with_it - without == pytest.approx(expected, rel=1e-3)


def test_an_output_penalty_needs_layers():
    with pytest.raises(ValueError, match="`layers` must say whose outputs"):
        set_penalty(compiled(mlp, "sgd"), "l2", outputs=True)


# The strength, live


def test_the_strength_holds_from_the_next_step_and_retraces_nothing(digits):
    traces = []

    class Counts(layers.Layer):
        def call(self, x):
            traces.append(1)
            return x

    model = compiled(lambda: mlp(Counts()), sgd(0.01))
    set_penalty(model, regularizers.L2(1e-4))
    recorder, before = PenaltyRecorder(), {}

    class Asks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            step = int(model.optimizer.iterations.numpy())
            if step in (4, 9):
                before[step] = squares(kernels(model)), len(traces)
                run.set("penalty", 0.02 if step == 4 else None)

    run = Run(model, digits, batch_size=40, callbacks=[Asks(), recorder]).start()
    run.wait(SECONDS)
    paid = recorder.records.penalty
    assert paid[4] == pytest.approx(0.02 * before[4][0], rel=1e-5)
    assert paid[9] == pytest.approx(1e-4 * before[9][0], rel=1e-5)
    assert [(c.step, c.name) for c in run.changes] == [(5, "penalty"), (10, "penalty")]
    assert [c.new for c in run.changes] == pytest.approx([0.02, 1e-4])
    assert before[4][1] == before[9][1] == len(traces)


def test_a_run_without_a_penalty_says_what_is_missing(digits):
    run = Run(compiled(mlp, "sgd"), digits)
    with pytest.raises(ValueError, match=r"a strength needs one .*set_penalty"):
        run.set("penalty", 0.1)


def test_any_other_regularizer_is_scaled_as_a_whole():
    class Cubes(regularizers.Regularizer):
        def __call__(self, x):
            return tf.reduce_sum(tf.abs(x) ** 3)

        def get_config(self):
            return {}

    model = compiled(mlp, "sgd")
    penalty = set_penalty(model, Cubes(), "logits")
    assert penalty.strength == 1.0
    penalty.strength = 0.5
    kernel = model.get_layer("logits").kernel.numpy().astype("float64")
    expected = 0.5 * np.sum(np.abs(kernel) ** 3)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("strength", [-1.0, math.nan, math.inf])
def test_a_strength_out_of_range_is_refused(strength):
    model = compiled(mlp, "sgd")
    penalty = set_penalty(model, regularizers.L2(0.01))
    with pytest.raises(ValueError, match="`strength` must be a finite number >= 0"):
        penalty.strength = strength
    assert penalty.strength == pytest.approx(0.01)


# By hand, the same


def by_hand(model, digits, loss_of):
    """Trains in a loop of one's own; `loss_of(data loss)` adds the penalty."""
    optimizer, loss = sgd(0.1), model.loss
    for start in range(0, 640, 32):
        x, y = (array[start : start + 32] for array in digits)
        with tf.GradientTape() as tape:
            total = loss_of(loss(y, model(x, training=True)))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(total, variables), variables)


def test_the_manual_ways_equal_the_built_in_one(digits):
    strength = 0.01
    wanted = compiled(with_argument(regularizers.L2(strength)), sgd(0.1))
    start = wanted.get_weights()
    trained(wanted, digits, epochs=1)

    def fresh(penalty=None):
        model = compiled(mlp, sgd(0.1))
        model.set_weights(start)
        if penalty is not None:
            set_penalty(model, penalty)
        return model

    summed = fresh(regularizers.L2(strength))
    by_hand(summed, digits, lambda loss: loss + sum(summed.losses))
    halves = fresh()  # tf.nn.l2_loss is half the sum of squares
    terms = kernels(halves)
    by_hand(
        halves,
        digits,
        lambda loss: loss + 2 * strength * sum(tf.nn.l2_loss(v.value) for v in terms),
    )
    added = fresh()
    data_loss = added.loss
    added.compile(
        sgd(0.1),
        lambda y, p: (
            data_loss(y, p)
            + strength * sum(tf.reduce_sum(v.value**2) for v in kernels(added))
        ),
    )
    trained(added, digits, epochs=1)
    for model in (summed, halves, added):
        assert_same_state(model, wanted, rtol=2e-6)
    forgotten = fresh(regularizers.L2(strength))
    by_hand(forgotten, digits, lambda loss: loss)  # a loop of one's own adds nothing
    gap = abs(forgotten.get_weights()[0] - wanted.get_weights()[0]).max()
    assert gap > 1e-3


# Weight decay


def test_l2_and_weight_decay_are_the_same_under_plain_sgd(digits):
    l2 = 0.01
    penalized = compiled(mlp, sgd(0.1))
    set_penalty(penalized, regularizers.L2(l2))
    optimizer = sgd(0.1, weight_decay=l2_to_weight_decay(l2, sgd(0.1)))
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    decayed = compiled(mlp, optimizer)
    trained(penalized, digits), trained(decayed, digits)
    assert optimizer.weight_decay == 0.02
    assert_same_state(penalized, decayed, rtol=1e-6)
    assert weight_decay_to_l2(0.02, sgd(0.1)).l2 == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        ("adam", "rescales the gradient"),
        (sgd(0.1, momentum=0.9), "with momentum=0.9"),
        (sgd(0.1, global_clipnorm=1.0), "`global_clipnorm` clips"),
    ],
)
def test_elsewhere_they_differ_and_the_reason_is_given(optimizer, reason):
    with pytest.raises(ValueError, match=f"must be plain SGD.*{reason}"):
        l2_to_weight_decay(0.01, optimizer)
    with pytest.raises(ValueError, match=f"must be plain SGD.*{reason}"):
        weight_decay_to_l2(0.01, optimizer)


def test_no_weight_decay_equals_l1():
    with pytest.raises(ValueError, match="must come without L1"):
        l2_to_weight_decay(regularizers.L1L2(0.1, 0.1), "sgd")
    with pytest.raises(TypeError, match=r"a number or keras\.regularizers\.L2"):
        l2_to_weight_decay(regularizers.L1(0.1), "sgd")
    with pytest.raises(ValueError, match="`l2` must be a number >= 0"):
        l2_to_weight_decay(-0.1, "sgd")


# True zeros


def lasso(strength, constraint=None, regularizer=None):
    """Linear regression with an orthonormal design, whose lasso has a closed form."""
    rng = np.random.default_rng(0)
    x, _ = np.linalg.qr(rng.normal(size=(64, 8)))
    x = (x * 8).astype("float32")  # columns of norm 8: the mean square has Hessian 2·I
    true = np.array([3, -2, 0.05, 0, 0, -0.04, 1, 0], "float32")[:, None]
    y = x @ true
    model = keras.Sequential([layers.Input((8,)), layers.Dense(1, use_bias=False)])
    model.compile(sgd(0.1), "mse")
    if constraint is not None:
        set_constraint(model, constraint)
    if regularizer is not None:
        set_penalty(model, regularizer)
    x, y = np.tile(x, (150, 1)), np.tile(y, (150, 1))  # 150 steps, all alike
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)
    solution = np.sign(true) * np.maximum(np.abs(true) - strength / 2, 0)
    return model.get_weights()[0], solution


def test_proximal_l1_finds_the_lassos_solution_and_its_zeros():
    found, solution = lasso(0.2, constraint=ProximalL1(0.2))
    np.testing.assert_allclose(found, solution, atol=1e-5)
    np.testing.assert_array_equal(found == 0, solution == 0)
    assert (solution == 0).sum() == 5
    swinging, _ = lasso(0.2, regularizer=regularizers.L1(0.2))
    assert not (swinging == 0).any()  # what the gradient of L1 does


def test_proximal_l1_follows_the_models_rate_and_its_file(tmp_path):
    model = compiled(mlp, sgd(keras.optimizers.schedules.CosineDecay(0.5, 100)))
    set_constraint(model, ProximalL1(0.1), "logits")
    kernel = model.get_layer("logits").kernel
    before = kernel.numpy()
    expected = np.sign(before) * np.maximum(np.abs(before) - np.float32(0.5 * 0.1), 0)
    np.testing.assert_allclose(kernel.constraint(kernel), expected, atol=1e-7)
    assert (expected == 0).any()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    config = loaded.get_layer("logits").kernel_constraint.get_config()
    assert config == {"strength": 0.1, "learning_rate": 0.5}


def test_max_norm_has_a_live_strength(digits):
    model = compiled(mlp, sgd(0.5))
    penalty = set_constraint(model, keras.constraints.MaxNorm(0.5), "hidden")
    trained(model, digits, epochs=1)
    norms = np.linalg.norm(model.get_layer("hidden").kernel.numpy(), axis=0)
    assert norms.max() <= 0.5 + 1e-5
    penalty.strength = 0.1
    trained(model, digits, epochs=1)
    norms = np.linalg.norm(model.get_layer("hidden").kernel.numpy(), axis=0)
    assert norms.max() <= 0.1 + 1e-5


# Curves of their own


def test_the_recorder_splits_what_keras_logs_as_a_sum(digits):
    x, y = digits[0][:100], digits[1][:100]
    model = compiled(mlp, sgd(0.1))
    set_penalty(model, regularizers.L2(0.01))
    seen, recorder = [], PenaltyRecorder()

    class Reads(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append([v.numpy() for v in kernels(model)])

    history = model.fit(
        x, y, batch_size=32, epochs=2, verbose=0, callbacks=[Reads(), recorder]
    )
    records = recorder.records
    assert records.penalties.shape == (8, 2)
    for row, weights in zip(records.penalties, seen, strict=True):
        expected = [0.01 * np.sum(w.astype("float64") ** 2) for w in weights]
        np.testing.assert_allclose(row, expected, rtol=1e-5)
    after = [np.linalg.norm(v.numpy()) for v in kernels(model)]
    np.testing.assert_allclose(records.norms[-1], after, rtol=1e-5)
    assert records.zeros.shape == (8, 2)
    epochs = records.epochs
    np.testing.assert_allclose(epochs["loss"], history.history["loss"])
    # The last batch of an epoch has 4 samples, the others 32.
    weight = np.array([32, 32, 32, 4]) / 100
    expected = records.penalty.reshape(2, 4) @ weight
    np.testing.assert_allclose(epochs["penalty"], expected, rtol=1e-5)
    np.testing.assert_allclose(epochs["data_loss"] + expected, epochs["loss"])


def test_the_recorder_sees_keras_own_penalties_and_exact_zeros(digits):
    model = compiled(with_argument(regularizers.L1(0.001)), sgd(0.1))
    model.get_layer("logits").kernel.assign(np.zeros((32, 10)))
    recorder = PenaltyRecorder()
    run = Run(model, digits, callbacks=[recorder]).start()
    run.wait(SECONDS)
    records = recorder.records
    hidden = compiled(with_argument("l1"), "sgd").get_layer("hidden").kernel.numpy()
    assert records.penalty[0] == pytest.approx(0.001 * np.abs(hidden).sum(), rel=1e-5)
    data_loss = records.data_loss(run.records.loss)
    assert data_loss[0] == pytest.approx(math.log(10), rel=1e-5)
    assert records.zeros[-1, 1] < 1.0
    with pytest.raises(ValueError, match="one number per step, 20"):
        records.data_loss([1.0])


# Dropout to compare with


def test_live_dropout_leaves_out_the_share_it_is_set_to():
    keras.utils.set_random_seed(0)
    layer = LiveDropout(0.25)
    ones = np.ones((200, 200), "float32")
    for rate in (0.25, 0.0, 0.6):
        layer.set_rate(rate)
        outputs = layer(ones, training=True).numpy()
        kept = outputs != 0
        assert 1 - kept.mean() == pytest.approx(rate, abs=0.01)
        np.testing.assert_allclose(outputs[kept], 1 / (1 - rate), rtol=1e-6)
    np.testing.assert_array_equal(layer(ones, training=False), ones)
    with pytest.raises(ValueError, match="`rate` must be in"):
        layer.set_rate(1.0)


def test_a_model_gets_live_dropout_behind_its_hidden_layers(digits):
    model = compiled(mlp, "sgd")
    copy = with_live_dropout(model)
    np.testing.assert_array_equal(copy(digits[0]), model(digits[0]))
    live = [layer for layer in copy.layers if isinstance(layer, LiveDropout)]
    assert [layer.name for layer in live] == ["hidden_dropout"]
    assert live[0].rate == 0.0


# Bad input


class NoConfig(regularizers.Regularizer):
    def __call__(self, x):
        return tf.reduce_sum(x)


def negative():
    """What Keras's constructor refuses, an attribute lets pass."""
    regularizer = regularizers.L2(0.1)
    regularizer.l2 = -0.1
    return regularizer


@pytest.mark.parametrize(
    ("regularizer", "chosen", "error", "message"),
    [
        (negative(), None, ValueError, "Received: l2=-0.1"),
        ("l2", "hiden", ValueError, "it has .*'hidden'.*Received: layers='hiden'"),
        ("l2", layers.LSTM, ValueError, "meets some"),
        ("l2", layers.Flatten, ValueError, "must hold weights besides biases"),
        (NoConfig(), None, TypeError, "with `get_config`"),
        (regularizers.OrthogonalRegularizer(), "bias", ValueError, "`layers` must"),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_changes(
    regularizer, chosen, error, message, digits
):
    model = compiled(mlp, "sgd")
    trained(model, digits, epochs=1)
    before, function = state_of(model), model.train_function
    with pytest.raises(error, match=message):
        set_penalty(model, regularizer, chosen)
    assert model.losses == []
    assert model.train_function is function
    for path, value in state_of(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_an_unbuilt_model_is_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        set_penalty(keras.Sequential([layers.Dense(1)]), "l2")
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        set_penalty("model", "l2")


def test_a_regularizer_that_cannot_take_a_shape_names_the_variable():
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"OrthogonalRegularizer cannot take .*kernel"):
        set_penalty(model, regularizers.OrthogonalRegularizer())
    assert model.losses == []

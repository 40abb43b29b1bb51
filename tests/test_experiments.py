"""`compare` against separate fits on every path, its records, and what goes wrong."""

import json
import random
import threading

import keras
import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf

from workbench import clipping
from workbench.experiments import (
    Comparison,
    Variant,
    cohorts,
    compare,
    load_comparison,
    planning,
    running,
    sessions,
    tails,
)
from workbench.regularization import ProximalL1, set_constraint
from workbench.steps import progress

layers, optimizers, regularizers = keras.layers, keras.optimizers, keras.regularizers
rng = np.random.default_rng(0)
ROWS = (rng.random((505, 12), "float32"), rng.integers(0, 3, 505))
SEQUENCES = (rng.random((505, 6, 2), "float32"), rng.random((505, 1), "float32"))
TEXTS = (rng.integers(0, 20, (505, 6)), rng.integers(0, 2, 505))
IMAGES = (rng.random((505, 6, 6, 1), "float32"), rng.integers(0, 3, 505))
EPOCHS, BATCH_SIZE = 2, 10  # of ROWS, 102 steps; the last batch is shorter


def mlp(*, dropout=0.0, loss="sparse_categorical_crossentropy", **compiled):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(16, activation="tanh"),
            layers.Dropout(dropout),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", loss, **compiled)
    return model


def recurrent(layer):
    def build():
        model = keras.Sequential([keras.Input((6, 2)), layer(8), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    return build


def text():
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.SimpleRNN(5),  # gated ones take long to trace, and have a test
            layers.LayerNormalization(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("sgd", "binary_crossentropy")
    return model


def convolutional():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Losses(keras.callbacks.Callback):
    """Each batch's own loss."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.metrics[0].reset_state()

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(logs["loss"])


def fit(build, data, variant, epochs, validation=None):
    """A separate `compile` and `fit` over the batches that `compare` documents."""
    keras.utils.set_random_seed(variant.seed or 0)
    model = build()
    optimizer = model.optimizer
    if variant.optimizer is not None:
        optimizer = optimizers.get(variant.optimizer)
    if variant.clip is not None:
        optimizer = variant.clip.wrap(optimizer)
    model.optimizer = optimizer
    for variable in model.trainable_variables:
        if variable.name == "kernel" and variant.penalty is not None:
            variable.regularizer = variant.penalty
    if variant.constraint is not None:
        set_constraint(model, variant.constraint)
    losses, logs = Losses(), {}
    for epoch in range(epochs):
        order = np.random.default_rng((0, epoch)).permutation(len(data[0]))
        history = model.fit(
            *(array[order] for array in data),
            batch_size=BATCH_SIZE,
            shuffle=False,
            verbose=0,
            validation_data=validation,
            callbacks=[losses],
        )
        logs = {k: v[0] for k, v in history.history.items()}
    return np.array(losses.values), model, logs


def assert_equal_to_fit(
    build, data, variants, path, epochs=EPOCHS, every=1, **arguments
):
    """Every variant has the losses, weights and validation of its own fit."""
    copies = {name: Variant(**vars(variant)) for name, variant in variants.items()}
    arguments["batch_size"] = BATCH_SIZE
    comparison = compare(build, data, variants, epochs=epochs, **arguments)
    for name, variant in list(copies.items())[::-every]:
        record = comparison.records[name]
        assert (record.status, record.path) == ("finished", path), record
        validation = arguments.get("validation_data")
        losses, model, logs = fit(build, data, variant, epochs, validation)
        np.testing.assert_allclose(record.loss, losses, rtol=1e-4, err_msg=name)
        for ours, theirs in zip(
            comparison.weights(name), model.get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
        for key in set(logs) - {"loss"}:  # the callback resets that mean
            assert record.epochs[key][-1] == pytest.approx(logs[key], rel=1e-4), key
    return comparison


CLIPS = {
    "none": clipping.NoClip(),
    "value": clipping.ByValue(0.01),
    "norm": clipping.ByNorm(0.1),
    "global": clipping.ByGlobalNorm(0.1),
    "global2": clipping.ByGlobalNorm(0.05),
    "adaptive": clipping.Adaptive(0.01),
    "rescue": clipping.Rescue(0.02),
    "auto": clipping.AutoClip(20.0, window=10),
    "z": clipping.ZClip(0.5, warmup_steps=5),
    "own": clipping.Custom(lambda gradients, _: [g / 2 for g in gradients]),
}


def test_vectorized_numbers():
    schedule = optimizers.schedules.CosineDecay(0.5, 100)
    variants = {
        "slow": Variant(optimizers.SGD(0.01)),
        "fast": Variant(optimizers.SGD(0.5)),
        "schedule": Variant(optimizers.SGD(schedule)),
        "l2": Variant(optimizers.SGD(0.1), penalty=regularizers.L2(0.01)),
        "l2 more": Variant(optimizers.SGD(0.1), penalty=regularizers.L2(0.1)),
        "l1l2": Variant(optimizers.SGD(0.1), penalty=regularizers.L1L2(0.001, 0.01)),
        "other weights": Variant(optimizers.SGD(0.1), seed=7),
    }
    comparison = assert_equal_to_fit(
        mlp_with_accuracy,
        ROWS,
        variants,
        "vectorized",
        validation_data=(ROWS[0][:50], ROWS[1][:50]),
    )
    records = comparison.records
    assert {record.together for record in records.values()} == {len(variants)}
    assert not any(record.why for record in records.values())
    assert records["l2"].penalty.min() > 0
    assert records["l2 more"].penalty[0] == pytest.approx(
        10 * records["l2"].penalty[0], rel=1e-5
    )
    np.testing.assert_allclose(
        records["l2"].data_loss[0], records["slow"].loss[0], rtol=1e-5
    )
    np.testing.assert_allclose(
        records["schedule"].learning_rate[::20],
        [float(schedule(step)) for step in range(0, 102, 20)],
        rtol=1e-6,
    )
    assert records["slow"].loss[0] == records["fast"].loss[0]
    assert records["slow"].loss[0] != records["other weights"].loss[0]


def mlp_with_accuracy():
    return mlp(metrics=["accuracy"])


def test_vectorized_optimizers():
    pairs = [
        [optimizers.SGD(0.1, momentum=m, nesterov=True) for m in (0.5, 0.9)],
        [optimizers.Adam(0.01, beta_2=b) for b in (0.9, 0.999)],
        [optimizers.AdamW(0.01, weight_decay=w) for w in (0.01, 0.1)],
        [optimizers.RMSprop(0.01, rho=r, momentum=0.5) for r in (0.8, 0.9)],
        [optimizers.Adagrad(0.1, initial_accumulator_value=v) for v in (0.1, 0.5)],
        [optimizers.Adadelta(1.0, rho=r) for r in (0.9, 0.95)],
        [optimizers.Nadam(0.01, beta_1=b) for b in (0.8, 0.9)],
        [optimizers.Adamax(0.01, beta_1=b) for b in (0.8, 0.9)],
        [optimizers.Lion(0.001, beta_2=b) for b in (0.9, 0.99)],
        [optimizers.Ftrl(0.1, l1_regularization_strength=s) for s in (0.01, 0.02)],
        [optimizers.Adafactor(0.01, beta_2_decay=d) for d in (-0.8, -0.5)],
        [optimizers.Lamb(0.01, beta_1=b) for b in (0.8, 0.9)],
        [optimizers.Muon(0.01, momentum=m) for m in (0.8, 0.95)],
        [optimizers.SGD(0.5, global_clipnorm=n) for n in (0.01, 0.1)],
        [optimizers.SGD(0.5, clipnorm=n) for n in (0.01, 0.1)],
        [optimizers.SGD(0.5, clipvalue=n) for n in (0.001, 0.01)],
    ]
    variants = {
        f"{i} {type(optimizer).__name__} {k}": Variant(optimizer)
        for i, pair in enumerate(pairs)
        for k, optimizer in enumerate(pair)
    }
    comparison = assert_equal_to_fit(
        mlp, ROWS, variants, "vectorized", epochs=1, every=2
    )
    losses = [record.loss for record in comparison.records.values()]
    for one, other in zip(losses[::2], losses[1::2], strict=True):
        assert not np.array_equal(one, other)


def test_vectorized_clips():
    variants = {
        name: Variant(optimizers.SGD(0.5), clip=clip) for name, clip in CLIPS.items()
    }
    records = assert_equal_to_fit(mlp, ROWS, variants, "vectorized").records
    assert records["none"].share_clipped == 0
    assert records["global"].share_clipped == 1
    np.testing.assert_allclose(records["global"].clipped_norm, 0.1, rtol=1e-5)
    np.testing.assert_allclose(
        records["own"].clipped_norm, records["own"].gradient_norm / 2, rtol=1e-5
    )
    assert 0 < records["auto"].share_clipped < 1


def test_vectorized_and_compiled(monkeypatch):
    monkeypatch.setattr(sessions, "_WORTH_COMPILING", 0)
    monkeypatch.setattr(tails, "_SMALL", 0)
    variants = {
        "clip": Variant(optimizers.SGD(0.5), clip=clipping.ByGlobalNorm(0.1)),
        "keras": Variant(optimizers.SGD(0.5, global_clipnorm=0.1)),
        "adam": Variant(optimizers.Adam(0.01), penalty=regularizers.L1(0.001)),
    }
    assert_equal_to_fit(mlp, ROWS, variants, "vectorized")


@pytest.mark.parametrize("worth_compiling", [0, 1e18])
@pytest.mark.parametrize("apart", [False, True])
def test_constraints_of_some_variants_alone(monkeypatch, worth_compiling, apart):
    monkeypatch.setattr(sessions, "_WORTH_COMPILING", worth_compiling)
    monkeypatch.setattr(tails, "_SMALL", 0)
    sgd = optimizers.SGD
    variants = {
        "free": Variant(sgd(0.3)),
        "tight": Variant(sgd(0.3), constraint=keras.constraints.MaxNorm(0.2)),
        "wide": Variant(sgd(0.2), constraint=keras.constraints.MaxNorm(0.9)),
        "sparse": Variant(sgd(0.2), constraint=ProximalL1(0.01)),
        "penalized": Variant(sgd(0.3), penalty=regularizers.L1(0.001)),
    }
    if apart:  # what is constrained does not stand together
        names = ("tight", "free", "wide", "penalized", "sparse")
        variants = {name: variants[name] for name in names}
    comparison = assert_equal_to_fit(mlp, ROWS, variants, "vectorized")
    kernel = comparison.weights("tight")[0]
    assert np.linalg.norm(kernel, axis=0).max() < 0.2001
    assert np.linalg.norm(comparison.weights("free")[0], axis=0).max() > 0.3
    assert (comparison.weights("sparse")[0] == 0).any()
    assert not (comparison.weights("wide")[0] == 0).any()


@pytest.mark.parametrize(("small", "worth_compiling"), [(0, 0), (0, 1e18), (2e5, 1e18)])
def test_norms_whose_squares_float32_cannot_hold(monkeypatch, small, worth_compiling):
    monkeypatch.setattr(tails, "_SMALL", small)
    monkeypatch.setattr(sessions, "_WORTH_COMPILING", worth_compiling)

    def build():
        model = keras.Sequential([keras.Input((12,)), layers.Dense(1)])
        model.compile("sgd", "mae")
        return model

    data = ROWS[0] * np.float32(1e25), rng.random((505, 1), "float32")
    variants = {
        "large": Variant(optimizers.SGD(0.1), clip=clipping.ByGlobalNorm(1.0)),
        "each": Variant(optimizers.SGD(0.1), clip=clipping.ByNorm(1.0)),
        "penalized": Variant(
            optimizers.SGD(0.1),
            clip=clipping.ByGlobalNorm(1.0),
            penalty=regularizers.L2(1e24),
        ),
    }
    comparison = assert_equal_to_fit(build, data, variants, "vectorized", epochs=1)
    record = comparison.records["large"]
    assert record.gradient_norm.min() > 1e20
    np.testing.assert_allclose(record.clipped_norm, 1.0, rtol=1e-5)


def test_vectorized_dropout_draws_the_masks_of_fit():
    def build():
        return mlp(dropout=0.4)

    variants = {"a": Variant(optimizers.SGD(0.1)), "b": Variant(optimizers.SGD(0.2))}
    assert_equal_to_fit(build, ROWS, variants, "vectorized")
    seeds = {"a": Variant("sgd", seed=1), "b": Variant("sgd", seed=2)}
    assert_equal_to_fit(build, ROWS, seeds, "vectorized", epochs=1)


def test_vectorized_with_own_penalties_and_moving_averages():
    def build():
        model = keras.Sequential(
            [
                keras.Input((12,)),
                layers.Dense(8, kernel_regularizer="l2", bias_regularizer="l2"),
                layers.BatchNormalization(),
                layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    variants = {
        "as built": Variant(optimizers.SGD(0.1)),
        "l1": Variant(optimizers.SGD(0.1), penalty=regularizers.L1(0.01)),
    }
    assert_equal_to_fit(build, ROWS, variants, "vectorized", validation_data=ROWS)


def test_held_out_data_may_end_in_a_smaller_batch_where_the_data_does_not():
    even, held_out = (ROWS[0][:300], ROWS[1][:300]), (ROWS[0][300:], ROWS[1][300:])
    variants = {"a": Variant(optimizers.SGD(0.1)), "b": Variant(optimizers.SGD(0.2))}
    assert_equal_to_fit(mlp, even, variants, "vectorized", validation_data=held_out)


@pytest.mark.parametrize("layer", [layers.SimpleRNN, layers.GRU, layers.LSTM])
def test_vectorized_recurrent(layer):
    variants = {
        "a": Variant(optimizers.SGD(0.1), clip=clipping.ByGlobalNorm(0.1)),
        "b": Variant(optimizers.SGD(0.2), clip=clipping.ByGlobalNorm(0.2)),
    }
    assert_equal_to_fit(recurrent(layer), SEQUENCES, variants, "vectorized")


@pytest.mark.parametrize("build", [mlp, convolutional])
def test_evaluations_may_be_fewer_than_epochs(build):
    data = tuple(part[:50] for part in (ROWS if build is mlp else IMAGES))
    variants = {"a": Variant(optimizers.SGD(0.1)), "b": Variant(optimizers.SGD(0.2))}
    arguments = {"epochs": 5, "batch_size": 10, "validation_data": data}
    every = compare(build, data, dict(variants), **arguments)
    some = compare(build, data, variants, validation_freq=2, **arguments)
    for name, record in some.records.items():
        for key, values in every.records[name].epochs.items():
            wanted = values[1::2] if key.startswith("val_") else values
            np.testing.assert_array_equal(record.epochs[key], wanted)


def test_vectorized_long_recurrent(monkeypatch):
    monkeypatch.setattr(planning, "_LONGEST_UNROLLED", 1)
    variants = {"a": Variant(optimizers.SGD(0.1)), "b": Variant(optimizers.SGD(0.2))}
    assert_equal_to_fit(recurrent(layers.SimpleRNN), SEQUENCES, variants, "vectorized")


def test_vectorized_text():
    variants = {
        "sgd": Variant(optimizers.SGD(0.1), clip=clipping.ByGlobalNorm(0.1)),
        # These square or clip an embedding's rows before they sum equal ones.
        "adam": Variant(optimizers.Adam(0.01)),
        "keras": Variant(optimizers.SGD(0.1, global_clipnorm=0.1)),
        "clipped adam": Variant(optimizers.Adam(0.01), clip=clipping.ByNorm(0.1)),
    }
    assert_equal_to_fit(text, TEXTS, variants, "vectorized")


def test_shared_trace():
    variants = {
        "a": Variant(optimizers.SGD(0.05, momentum=0.5)),
        "b": Variant(optimizers.SGD(0.05, momentum=0.9)),
        "clip": Variant(optimizers.SGD(0.05), clip=clipping.AutoClip(50.0, window=10)),
        "l2": Variant(optimizers.Adam(0.01), penalty=regularizers.L2(0.01)),
    }
    comparison = assert_equal_to_fit(
        convolutional,
        IMAGES,
        variants,
        "shared trace",
        validation_data=(IMAGES[0][:30], IMAGES[1][:30]),
    )
    assert "Conv2D" in comparison.records["a"].why
    assert "Conv2D" in str(comparison)


def test_one_variant_takes_the_shared_trace():
    assert_equal_to_fit(mlp, ROWS, {"only": Variant()}, "shared trace", epochs=1)


class Doubled(keras.Model):
    """A model with a train step of its own."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        return super().train_step(data)


def doubled():
    model = Doubled()
    model(ROWS[0][:1])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_fit_where_the_model_has_its_own_step():
    variants = {
        "plain": Variant(optimizers.SGD(0.1, clipnorm=0.1)),
        "clip": Variant(optimizers.SGD(0.1), clip=clipping.ByGlobalNorm(0.1)),
        "l2": Variant(optimizers.SGD(0.1), penalty=regularizers.L2(0.01)),
        "accumulates": Variant(optimizers.SGD(0.1, gradient_accumulation_steps=2)),
    }
    validation = (ROWS[0][:50], ROWS[1][:50])
    comparison = assert_equal_to_fit(
        doubled, ROWS, variants, "fit", validation_data=validation
    )
    records = comparison.records
    assert "train_step" in records["plain"].why
    assert records["clip"].share_clipped == 1
    np.testing.assert_allclose(records["clip"].clipped_norm, 0.1, rtol=1e-4)
    assert (records["plain"].clipped_norm < records["plain"].gradient_norm).all()
    assert records["l2"].penalty.min() > 0


def test_fit_where_the_optimizer_needs_it():
    variants = {
        "accumulates": Variant(optimizers.SGD(0.1, gradient_accumulation_steps=2)),
        "averages": Variant(optimizers.SGD(0.1, use_ema=True)),
    }
    comparison = assert_equal_to_fit(mlp, ROWS, variants, "fit", epochs=1)
    whys = [record.why for record in comparison.records.values()]
    assert ["accumulation" in whys[0], "use_ema" in whys[1]] == [True, True]


class Halving(optimizers.SGD):
    """An optimizer of the user's own."""


def test_fit_where_the_optimizer_is_not_known():
    variants = {
        "own": Variant(Halving(0.1)),
        "schedule free": Variant(optimizers.ScheduleFreeAdamW(0.01)),
    }
    records = assert_equal_to_fit(mlp, ROWS, variants, "fit", epochs=1).records
    assert "Halving" in records["own"].why


def test_fit_where_the_loss_is_scaled():
    def build():
        policy = keras.DTypePolicy("mixed_float16")
        model = keras.Sequential([keras.Input((12,)), layers.Dense(3, dtype=policy)])
        model.dtype_policy = policy
        model.compile("sgd", "mse")
        return model

    data = ROWS[0], rng.random((505, 3), "float32")
    variants = {
        "plain": Variant(optimizers.SGD(0.1)),
        "clip": Variant(optimizers.SGD(0.1), clip=clipping.ByGlobalNorm(0.1)),
        "scaled": Variant(optimizers.LossScaleOptimizer(optimizers.SGD(0.1))),
    }
    records = compare(build, data, variants).records
    assert [r.path for r in records.values()] == ["fit", "fit", ""]
    assert records["clip"].clipped_norm.max() <= 0.1001
    assert records["plain"].gradient_norm.max() < 10
    assert "LossScaleOptimizer" in records["scaled"].reason


def test_one_fails_and_one_diverges_and_the_others_go_on():
    variants = {
        "good": Variant(optimizers.SGD(0.1)),
        "explodes": Variant(optimizers.SGD(1e30)),
        "nameless": Variant("no such optimizer"),
        "twice": Variant(optimizers.SGD(0.1, clipnorm=1.0), clip=clipping.ByNorm(1.0)),
        "no clip": Variant("sgd", clip="tight"),
    }

    def build():
        model = keras.Sequential([keras.Input((12,)), layers.Dense(3)])
        model.compile("sgd", "mse")
        return model

    data = ROWS[0], rng.random((505, 3), "float32")
    comparison = compare(build, data, variants, epochs=2)
    records = comparison.records
    assert list(records) == list(variants)
    assert records["good"].status == "finished"
    assert len(records["good"].loss) == 32
    bad = records["explodes"]
    assert bad.status == "diverged"
    assert f"from step {len(bad.loss) - 1}, epoch 0" in bad.reason
    assert np.isfinite(bad.loss[:-1]).all()
    assert not np.isfinite(bad.loss[-1])
    for name in ("nameless", "twice", "no clip"):
        assert records[name].status == "failed"
        assert comparison.weights(name) == []
    assert "no such optimizer" in records["nameless"].reason
    assert "`clip`" in records["no clip"].reason
    assert "explodes diverged" in str(comparison)


def test_a_clip_leaves_bad_steps_out_as_its_wrapper_does():
    x = ROWS[0].copy()
    x[::100] = np.inf
    variants = {
        "none": Variant(optimizers.SGD(0.1), clip=clipping.NoClip()),
        "rescue": Variant(optimizers.SGD(0.1), clip=clipping.Rescue(0.02)),
    }
    comparison = compare(mlp, (x, ROWS[1]), variants, batch_size=BATCH_SIZE)
    for name, variant in variants.items():
        losses, model, _ = fit(mlp, (x, ROWS[1]), variant, 1)
        np.testing.assert_allclose(comparison.records[name].loss, losses, rtol=1e-4)
        for ours, theirs in zip(
            comparison.weights(name), model.get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert 0 < comparison.records["none"].share_clipped < 0.3
    assert comparison.records["none"].clipped_norm.min() == 0


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset"])
def test_datasets_are_read_once_per_epoch(kind):
    x, y = ROWS
    reads = []

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            reads.append(index)
            rows = slice(index * 20, index * 20 + (20 if index < 4 else 7))
            return x[rows], y[rows]

    dataset = Pairs()
    if kind == "tf.data":
        dataset = tf.data.Dataset.from_tensor_slices((x[:87], y[:87])).batch(20)
    variants = {"a": Variant(optimizers.SGD(0.1)), "b": Variant(optimizers.SGD(0.2))}
    comparison = compare(mlp, dataset, variants, epochs=2)
    assert {r.path for r in comparison.records.values()} == {"vectorized"}
    assert reads in ([], [0, 1, 2, 3, 4] * 2)
    keras.utils.set_random_seed(0)
    model = mlp()
    model.optimizer = optimizers.SGD(0.2)
    losses = Losses()
    for _ in range(2):
        model.fit(
            x[:87], y[:87], batch_size=20, shuffle=False, verbose=0, callbacks=[losses]
        )
    np.testing.assert_allclose(comparison.records["b"].loss, losses.values, rtol=1e-4)


def test_sample_weights_and_several_outputs():
    def build():
        entry = keras.Input((12,), name="entry")
        hidden = layers.Dense(4, activation="relu", activity_regularizer="l2")(entry)
        outputs = {
            "p": layers.Dense(3, name="p")(hidden),
            "q": layers.Dense(1, name="q")(hidden),
        }
        model = keras.Model({"entry": entry}, outputs)
        model.compile(
            "sgd", {"p": "mse", "q": "mae"}, loss_weights={"p": 1.0, "q": 0.5}
        )
        return model

    x = {"entry": ROWS[0]}
    y = {"p": rng.random((505, 3), "float32"), "q": rng.random((505, 1), "float32")}
    weight = {"p": rng.random(505, "float32"), "q": rng.random(505, "float32")}
    variants = {"a": Variant(optimizers.SGD(0.1)), "b": Variant(optimizers.SGD(0.2))}
    comparison = compare(build, (x, y, weight), variants)
    assert {r.path for r in comparison.records.values()} == {"vectorized"}
    keras.utils.set_random_seed(0)
    model = build()
    model.optimizer = optimizers.SGD(0.2)
    order = np.random.default_rng((0, 0)).permutation(505)
    take = (
        {"entry": x["entry"][order]},
        *({k: v[order] for k, v in d.items()} for d in (y, weight)),
    )
    losses = Losses()
    history = model.fit(
        *take[:2], sample_weight=take[2], shuffle=False, verbose=0, callbacks=[losses]
    )
    record = comparison.records["b"]
    np.testing.assert_allclose(record.loss, losses.values, rtol=1e-4)
    assert record.epochs["p_loss"][0] == pytest.approx(
        history.history["p_loss"][0], rel=1e-4
    )


def test_interrupt_keeps_what_there_is(monkeypatch):
    advance, calls = cohorts.Cohort.advance, []

    def interrupted(self, data, order):
        calls.append(len(order))
        if len(calls) == 3:
            raise KeyboardInterrupt
        advance(self, data, order)

    monkeypatch.setattr(cohorts.Cohort, "advance", interrupted)
    monkeypatch.setattr(running, "_CHUNK_SECONDS", 0.0)
    variants = {"a": Variant(optimizers.SGD(0.1)), "b": Variant(optimizers.SGD(0.2))}
    comparison = compare(mlp, ROWS, variants, epochs=3)
    assert comparison.interrupted
    for record in comparison.records.values():
        assert (record.status, len(record.loss)) == ("interrupted", sum(calls[:2]))
    assert len(comparison.weights("a")) == 4


@pytest.fixture(scope="module")
def small():
    variants = {
        "a": Variant(optimizers.SGD(0.1), clip=clipping.ByGlobalNorm(0.1)),
        "<b>": Variant(optimizers.SGD(0.2)),
        "bad": Variant("nothing"),
    }
    return compare(mlp_with_accuracy, ROWS, variants, epochs=2, validation_data=ROWS)


def test_save_and_load(small, tmp_path):
    small.save(tmp_path / "runs.npz")
    again = load_comparison(tmp_path / "runs.npz")
    assert isinstance(again, Comparison)
    assert str(again) == str(small)
    assert (again.seconds, again.interrupted) == (small.seconds, False)
    for name, record in small.records.items():
        np.testing.assert_array_equal(again.records[name].loss, record.loss)
        assert again.records[name].why == record.why
        for one, other in zip(again.weights(name), small.weights(name), strict=True):
            np.testing.assert_array_equal(one, other)
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(ValueError, match="`filepath`"):
        load_comparison(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match="`filepath`"):
        small.save(tmp_path / "nowhere" / "runs.npz")


def test_table_figure_and_columns(small):
    text = str(small.summary())
    assert "val_accuracy" in text
    assert "vectorized" in text
    assert "&lt;b&gt;" in small.summary()._repr_html_()
    figure = small.plot()
    assert isinstance(figure, matplotlib.figure.Figure)
    assert [len(axes.lines) for axes in figure.axes] == [3, 4]
    rows = small.to_dict()
    assert {len(column) for column in rows.values()} == {3}
    assert rows["steps"] == [32, 32, 0]
    steps = small.to_dict(steps=True)
    assert {len(column) for column in steps.values()} == {64}
    json.dumps(steps)
    with pytest.raises(KeyError, match="`name`"):
        small.weights("c")
    small.weights("a")[0][:] = 0
    assert small.weights("a")[0].any()
    with pytest.raises(TypeError):
        small.records["a"] = None


def test_optimizers_passed_in_stay_as_they_were():
    optimizer = optimizers.SGD(0.1, momentum=0.9)
    compare(mlp, ROWS, {"a": Variant(optimizer), "b": Variant(optimizer, seed=1)})
    assert not optimizer.built
    assert int(optimizer.iterations.numpy()) == 0
    wrapped = clipping.ByGlobalNorm(0.1).wrap(optimizers.SGD(0.5))
    variants = {
        "wrapped": Variant(wrapped),
        "clip": Variant(optimizers.SGD(0.5), clip=clipping.ByGlobalNorm(0.1)),
    }
    records = compare(mlp, ROWS, variants).records
    np.testing.assert_array_equal(records["wrapped"].loss, records["clip"].loss)


def test_weight_decay_exclusions_hold():
    def decayed(names):
        optimizer = optimizers.SGD(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=names)
        return Variant(optimizer)

    variants = {"all": decayed(["none"]), "no kernels": decayed(["kernel"])}
    comparison = compare(mlp, ROWS, variants)
    small, large = (np.abs(comparison.weights(name)[0]).sum() for name in variants)
    assert small < large / 2


class Ragged(keras.utils.PyDataset):
    """Batches of sequences of two lengths."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.zeros((4, 5 + index)), np.zeros(4)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"variants": {}}, ValueError, "`variants`"),
        ({"variants": {"a": "sgd"}}, TypeError, "`variants`"),
        ({"epochs": 0}, ValueError, "`epochs` .*>= 1"),
        ({"batch_size": 0}, ValueError, "`batch_size` .*samples"),
        ({"seed": -1}, ValueError, "`seed`"),
        ({"loss": "mse"}, ValueError, "`loss` must be None"),
        ({"build": lambda: 3}, TypeError, "`build`"),
        ({"build": lambda: keras.Sequential([layers.Dense(1)])}, ValueError, "`loss`"),
        ({"data": (ROWS[0], ROWS[1][:3])}, ValueError, "`data`.*3, 505"),
        ({"data": ROWS[:1]}, ValueError, "`data`"),
        ({"data": 3}, ValueError, "`data`"),
        ({"data": tf.data.Dataset.range(2).repeat()}, ValueError, "`data` must end"),
        ({"data": Ragged()}, ValueError, "`data` .*pad"),
    ],
)
def test_bad_arguments(arguments, error, match):
    arguments = {
        "build": mlp,
        "data": ROWS,
        "variants": {"a": Variant("sgd")},
        **arguments,
    }
    with pytest.raises(error, match=match):
        compare(**arguments)


def test_loss_for_a_model_that_is_not_compiled():
    def build():
        return keras.Sequential([layers.Dense(3, activation="softmax")])

    variants = {"sgd": Variant("sgd"), "adam": Variant("adam"), "none": Variant()}
    records = compare(
        build, ROWS, variants, loss="sparse_categorical_crossentropy"
    ).records
    assert [r.status for r in records.values()] == ["finished", "finished", "failed"]
    assert "`optimizer`" in records["none"].reason


def test_seeding_leaves_numpy_alone():
    np.random.seed(5)  # noqa: NPY002, the state in question
    expected = np.random.RandomState(5).rand()
    compare(mlp, ROWS, {"a": Variant("sgd")})
    assert np.random.rand() == expected  # noqa: NPY002


def test_draws_of_another_thread_do_not_change_the_weights():
    def build():
        return keras.Sequential(
            [keras.Input((3,)), *(keras.layers.Dense(2) for _ in range(9))]
        )

    wanted = planning.build_model(build, 7, ()).get_weights()
    ended = threading.Event()

    def disturb():  # as the event loop of a Dask worker does
        while not ended.is_set():
            random.random()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        found = [planning.build_model(build, 7, ()).get_weights() for _ in range(5)]
    finally:
        ended.set()
        thread.join()
    for weights in found:
        for one, two in zip(weights, wanted, strict=True):
            np.testing.assert_array_equal(one, two)


def test_progress_shows_after_two_seconds(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress.Progress(100)
    bar.add(10)
    assert capsys.readouterr().err == ""
    now[0] = 3.0
    bar.add(40)
    assert "50%" in capsys.readouterr().err
    bar.close()
    assert capsys.readouterr().err.strip() == ""

"""`strength_map` against separate fits, its table, picture and file, and bad input."""

import keras
import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf

from workbench.experiments import StrengthGrid, load_strength_grid, strength_map
from workbench.regularization import set_constraint, set_penalty

layers, regularizers = keras.layers, keras.regularizers
rng = np.random.default_rng(0)
X = rng.normal(size=(260, 12)).astype("float32")
Y = (X[:, :3].argmax(axis=1)).astype("int64")
DATA, HELD_OUT = (X[:200], Y[:200]), (X[200:], Y[200:])
KINDS = ("L1", "L2", "proximal L1", "weight decay", "max-norm", "dropout")
STRENGTHS = {"dropout": (0.2, 0.6), "max-norm": (0.5, 2.0)} | dict.fromkeys(
    KINDS[:4], (1e-3, 1e-1)
)
EPOCHS, RATE = 3, 0.2


def build(rate=0.0, optimizer=None):
    hidden = layers.Dense(16, activation="tanh", name="hidden")
    dropout = [layers.Dropout(rate)] if rate else []
    model = keras.Sequential([layers.Input((12,)), hidden, *dropout, layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(RATE), loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def grid():
    return strength_map(
        build,
        DATA,
        KINDS,
        STRENGTHS,
        seeds=(0, 1),
        epochs=EPOCHS,
        batch_size=20,
        validation_data=HELD_OUT,
    )


def separately(kind, strength, seed, batches):
    """The same by Keras alone: one model, its own penalty, one fit."""
    keras.utils.set_random_seed(seed)
    optimizer = None
    if kind == "weight decay":
        optimizer = keras.optimizers.SGD(RATE, weight_decay=strength)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = build(optimizer=optimizer)
    if kind in ("L1", "L2"):
        set_penalty(model, getattr(regularizers, kind)(strength))
    elif kind == "max-norm":
        set_constraint(model, keras.constraints.MaxNorm(1 / strength))
    elif kind == "proximal L1":
        kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    for x, y in batches:
        model.train_on_batch(x, y)
        if kind == "proximal L1":
            for kernel in kernels:  # soft thresholding, in NumPy
                value = kernel.numpy()
                less = np.maximum(np.abs(value) - np.float32(RATE * strength), 0)
                kernel.assign(np.sign(value) * less)
    return model


@pytest.fixture(scope="module")
def in_order():
    """The map over batches in a known order, from a dataset."""
    dataset = tf.data.Dataset.from_tensor_slices(DATA).batch(20)
    batches = [(x.numpy(), y.numpy()) for x, y in dataset] * EPOCHS
    kinds = KINDS[:5]
    found = strength_map(build, dataset, kinds, STRENGTHS, (0,), epochs=EPOCHS)
    return found, batches


@pytest.mark.parametrize("kind", ["none", *KINDS[:5]])
def test_each_variant_trains_as_keras_does_alone(kind, in_order):
    grid, batches = in_order
    for strength in grid.strengths[kind]:
        model = separately(kind, strength, 0, batches)
        wanted = model.get_weights()
        found = grid.weights(kind, strength, 0)
        for mine, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine, other, rtol=2e-4, atol=2e-5)


def test_what_is_measured_is_what_the_weights_say(grid):
    assert grid.kinds == KINDS
    assert not grid.interrupted
    for kind, strengths in grid.strengths.items():
        for i, strength in enumerate(strengths):
            for j, seed in enumerate(grid.seeds):
                weights = grid.weights(kind, strength, seed)
                kernels = [w for w in weights if w.ndim == 2]
                numbers = np.concatenate([k.ravel() for k in kernels])
                norm = grid.values["norm"][kind][i, j]
                assert norm == pytest.approx(np.linalg.norm(numbers), rel=1e-5)
                zeros = grid.values["sparsity"][kind][i, j]
                assert zeros == np.mean(numbers == 0)


def test_data_loss_is_the_loss_without_the_penalty(grid):
    model = build()
    for kind in ("L1", "L2", "none"):
        weights = grid.weights(kind, grid.strengths[kind][-1], 1)
        model.set_weights([w for w in weights if w.ndim])  # without dropout's rate
        loss, accuracy = model.evaluate(*HELD_OUT, verbose=0)
        found = {name: values[kind][-1, 1] for name, values in grid.values.items()}
        assert found["val_data_loss"] == pytest.approx(loss, rel=1e-4)
        assert found["val_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    strongest = grid.values["penalty"]["L2"][-1]
    assert (strongest > 0).all()
    assert not grid.values["penalty"]["none"].any()


def test_only_the_proximal_step_gives_true_zeros(grid):
    sparsity = {kind: values.max() for kind, values in grid.values["sparsity"].items()}
    assert sparsity.pop("proximal L1") > 0.2
    assert not any(sparsity.values())


def test_max_norm_and_dropout_do_what_they_say(grid):
    kernel = grid.weights("max-norm", 2.0, 0)[0]
    assert np.linalg.norm(kernel, axis=0).max() <= 0.5 + 1e-6
    weak, strong = grid.values["data_loss"]["dropout"].mean(axis=1)
    assert strong > weak


def test_the_table_prints_every_kind(grid):
    text = str(grid)
    for kind in KINDS:
        assert kind in text
    assert "Median over 2 seeds, lowest to highest in brackets." in text
    assert "<table" in grid._repr_html_()
    columns = grid.to_dict()
    assert len(columns["seed"]) == 2 * (1 + 2 * len(KINDS))
    assert set(columns) >= {"kind", "strength", "val_accuracy", "data_loss", "norm"}


def test_the_picture_has_a_column_per_kind(grid):
    figure = grid.plot()
    assert isinstance(figure, matplotlib.figure.Figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title for title in titles if title] == list(KINDS)
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), grid.spread("accuracy", "L1")[1])
    with pytest.raises(ValueError, match="`kinds` must name some of"):
        grid.plot(kinds=["L3"])


def test_a_file_keeps_what_was_measured(grid, tmp_path):
    grid.save(tmp_path / "grid.npz")
    loaded = load_strength_grid(tmp_path / "grid.npz")
    assert isinstance(loaded, StrengthGrid)
    assert str(loaded) == str(grid)
    assert loaded.plot() is not None
    with pytest.raises(KeyError, match="a file holds the measured values only"):
        loaded.weights("L1", 1e-3, 0)
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match="must name a file that StrengthGrid"):
        load_strength_grid(tmp_path / "other.npz")


def test_a_kind_of_ones_own_and_one_that_diverges():
    own = {"tiny and huge": lambda s: regularizers.L2(1e-6 if s < 1 else 1e30)}
    grid = strength_map(build, DATA, own, (0.5, 2.0), (0,), batch_size=50)
    accuracy = grid.values["accuracy"]["tiny and huge"][:, 0]
    assert np.isfinite(accuracy[0])
    assert np.isnan(accuracy[1])
    assert grid.plot() is not None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"penalties": ["L3"]}, ValueError, "`penalties` must name kinds among"),
        ({"penalties": {"a": lambda _s: 3}}, TypeError, "that return a regularizer"),
        ({"strengths": (-1.0,)}, ValueError, "finite numbers >= 0.*for L2"),
        ({"strengths": (0.0,)}, ValueError, "at least one above 0"),
        ({"penalties": "dropout", "strengths": (1.0,)}, ValueError, r"in \[0, 1\)"),
        ({"seeds": ()}, ValueError, "`seeds` must be different ints"),
        ({"seeds": (1, 1)}, ValueError, "`seeds` must be different ints"),
        ({"build": keras.Sequential}, ValueError, "a compiled keras.Model"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, error, message):
    arguments = {"build": build, "data": DATA, "penalties": ["L2"]} | changes
    with pytest.raises(error, match=message):
        strength_map(**arguments)

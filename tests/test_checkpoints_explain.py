"""What a file would bring back is told before it is loaded, and then it is so."""

import hashlib
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.models import state_of
from workbench import checkpoints
from workbench.clipping import AutoClip

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 3)).astype("float32"), RNG.normal(size=(24, 1))
ALWAYS_LOST = ("random states", "callbacks and History", "place in the data")


def net(optimizer="adam", *, units=4, built=True, optimizer_built=False, seed=3):
    keras.utils.set_random_seed(seed)
    first = [layers.Input((3,))] if built else []
    model = keras.Sequential(
        [*first, layers.Dense(units), layers.Dropout(0.5), layers.Dense(1)]
    )
    model.compile(optimizer, "mse", run_eagerly=True)
    if optimizer_built:
        model.optimizer.build(model.trainable_variables)
    return model


def trained(optimizer="adam", callbacks=(), **arguments):
    model = net(optimizer, **arguments)
    model.fit(X, Y, batch_size=8, callbacks=list(callbacks), verbose=0)
    return model


def told(filepath, model):
    """The fate and the reason of each part; explaining changes nothing."""
    before = [digest(path) for path in files_of(filepath)], copy_of(model)
    report = checkpoints.explain_restore(filepath, model)
    assert before[0] == [digest(path) for path in files_of(filepath)]
    for mine, wanted in zip(copy_of(model), before[1], strict=True):
        np.testing.assert_array_equal(mine, wanted)
    return {part: (fate, why) for part, fate, why in report.items}


def copy_of(model):
    if not model.built:
        return []
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    return [v.numpy().copy() for v in variables]


def files_of(filepath):
    return sorted(p for p in filepath.parent.rglob("*") if p.is_file())


def digest(path):
    return path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def rate_of(model):
    return float(model.optimizer.learning_rate)


# Files of Keras


@pytest.fixture(params=["model.keras", "model.weights.h5"])
def saved(request, tmp_path):
    """A trained model, and the file it is saved in."""
    model = trained()
    path = tmp_path / request.param
    (model.save if request.param.endswith(".keras") else model.save_weights)(path)
    return model, path


def test_a_keras_file_into_a_model_with_an_optimizer(saved):
    model, path = saved
    other = net(keras.optimizers.Adam(0.5), optimizer_built=True, seed=9)
    fates = told(path, other)
    assert [fates[part][0] for part in ("weights", "optimizer")] == ["kept", "kept"]
    assert fates["learning rate"] == (
        "kept",
        "0.001 of the file replaces 0.5 of this model",
    )
    assert {fates[part][0] for part in ALWAYS_LOST} == {"lost"}
    dropout = next(w for w in other.variables if "seed" in w.path).numpy()
    other.load_weights(path)
    pairs = zip(model.weights, other.weights, strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)
    assert int(other.optimizer.iterations) == 3
    assert rate_of(other) == pytest.approx(0.001)
    np.testing.assert_array_equal(
        next(w for w in other.variables if "seed" in w.path).numpy(), dropout
    )


def test_a_keras_file_into_a_model_whose_optimizer_is_not_built(saved):
    _, path = saved
    other = net(keras.optimizers.Adam(0.5))
    fates = told(path, other)
    assert fates["weights"][0] == "kept"
    assert fates["optimizer"][0] == "lost"
    assert "not built" in fates["optimizer"][1]
    assert fates["learning rate"] == (
        "lost",
        "0.5 of this model stays, and begins anew",
    )
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        other.load_weights(path)
    assert rate_of(other) == 0.5
    assert int(other.optimizer.iterations) == 0


def test_a_schedule_in_place_of_a_number(saved):
    _, path = saved
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    other = net(keras.optimizers.Adam(schedule), optimizer_built=True)
    fates = told(path, other)
    assert fates["optimizer"][0] == "lost"
    assert "a schedule has one array less" in fates["optimizer"][1]
    assert "the schedule of this model" in fates["learning rate"][1]
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        other.load_weights(path)
    assert int(other.optimizer.iterations) == 0


def test_models_that_a_keras_file_does_not_fit(saved):
    _, path = saved
    other = net(units=5)
    fates = told(path, other)
    assert fates["weights"][0] == "refused"
    assert "(3, 5), there (3, 4)" in fates["weights"][1]
    with pytest.raises(ValueError, match="shape"):
        other.load_weights(path)
    other = net(built=False)
    assert told(path, other)["weights"][0] == "refused"
    with pytest.raises(ValueError, match="built"):
        other.load_weights(path)


def wrapped():
    return AutoClip(10).wrap(keras.optimizers.Adam(0.02))


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.02))


@pytest.mark.parametrize("optimizer", [wrapped, scaled])
def test_optimizers_within_optimizers(optimizer, tmp_path):
    model = trained(optimizer())
    model.save_weights(tmp_path / "model.weights.h5")
    other = net(optimizer(), optimizer_built=True, seed=9)
    other.optimizer.inner_optimizer.learning_rate = 0.5
    fates = told(tmp_path / "model.weights.h5", other)
    assert fates["optimizer"][0] == "kept"
    assert fates["learning rate"][1].startswith("0.02 of the file replaces 0.5")
    other.load_weights(tmp_path / "model.weights.h5")
    pairs = zip(model.optimizer.variables, other.optimizer.variables, strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)


def test_weights_alone(tmp_path):
    net().save_weights(tmp_path / "model.weights.h5")
    other = net(optimizer_built=True)
    fates = told(tmp_path / "model.weights.h5", other)
    assert fates["optimizer"][0] == "lost"
    assert "had not done a step" in fates["optimizer"][1]
    bare = net()
    bare.optimizer = None
    bare.save_weights(tmp_path / "bare.weights.h5")
    fates = told(tmp_path / "bare.weights.h5", other)
    assert fates["optimizer"] == ("lost", "the file has none")
    uncompiled = keras.Model(other.inputs, other.outputs)
    trained().save_weights(tmp_path / "other.weights.h5")
    report = checkpoints.explain_restore(tmp_path / "other.weights.h5", uncompiled)
    assert ("optimizer", "lost", "the model is not compiled") in report.items


class PowerCutError(Exception):
    """Stands in for a process that ends."""


def cut_after(steps):
    left = iter(range(steps))

    def step(batch, logs):
        if next(left, None) is None:
            raise PowerCutError

    return keras.callbacks.LambdaCallback(on_train_batch_begin=step)


def test_the_folder_of_a_backup(tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)

    with pytest.raises(PowerCutError):
        trained(callbacks=[backup(), cut_after(2)])
    other = net(keras.optimizers.Adam(0.5), seed=9)
    fates = told(tmp_path / "backup", other)
    assert [fates[part][0] for part in ("weights", "optimizer")] == ["kept", "kept"]
    assert fates["learning rate"][1].startswith("0.001 of the file replaces 0.5")
    epoch = "0 epochs done; the 2 steps of the next are trained a second time"
    assert fates["number of the epoch"] == ("kept", epoch)
    assert {fates[part][0] for part in ALWAYS_LOST} == {"lost"}
    other.fit(X, Y, batch_size=8, callbacks=[backup()], verbose=0)
    assert int(other.optimizer.iterations) == 2 + 3
    assert rate_of(other) == pytest.approx(0.001)


# Checkpoints of TensorFlow


class InList(keras.Model):
    """A model whose only layer is in a list."""

    def __init__(self):
        super().__init__()
        self.stack = [layers.Dense(1, use_bias=False)]
        self(X)

    def call(self, x):
        return self.stack[0](x)


def test_a_checkpoint_of_tensorflow(tmp_path):
    model = trained()
    data = iter(tf.data.Dataset.range(9))
    inner = keras.Model(model.inputs, model.outputs)
    for name, parts, optimizer, place in (
        ("weights", {"model": inner}, "lost", "lost"),
        ("all", {"model": model, "optimizer": model.optimizer}, "kept", "lost"),
        ("data", {"model": model, "iterator": data}, "kept", "kept"),
    ):
        prefix = tf.train.Checkpoint(**parts).save(tmp_path / name / "ckpt")
        for filepath in (tmp_path / name, tmp_path / name / prefix.split("/")[-1]):
            fates = told(filepath, net(seed=9))
            assert fates["weights"][0] == "kept"
            assert fates["optimizer"][0] == optimizer, name
            assert fates["place in the data"][0] == place
            assert fates["random states"][0] == "lost"
            assert fates["callbacks and History"][0] == "lost"
        assert told(tmp_path / name, net(units=7))["weights"][0] == "lost"
    # TensorFlow finds no layers in a list.
    in_list = tf.train.Checkpoint(model=InList()).save(tmp_path / "list" / "ckpt")
    fates = told(pathlib.Path(in_list), InList())
    assert fates["weights"] == ("lost", "an array of shape (3, 1) is not in the file")
    other = net(seed=9)
    checkpoint = tf.train.Checkpoint(model=other, optimizer=other.optimizer)
    checkpoint.restore(tf.train.latest_checkpoint(tmp_path / "all")).expect_partial()
    pairs = zip(model.weights, other.weights, strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)


# Our own


def fit(model, folder, *, epochs=1, **arguments):
    return checkpoints.fit(
        model, (X, Y), filepath=folder, epochs=epochs, batch_size=8, **arguments
    )


@pytest.fixture
def folder(tmp_path):
    """The checkpoints of two epochs of three steps, one each other step."""
    callbacks = [keras.callbacks.ReduceLROnPlateau("loss", 0.1, 0, min_delta=99)]
    model = net()
    fit(model, tmp_path / "run", epochs=2, save_every=2, callbacks=callbacks)
    assert rate_of(model) == pytest.approx(1e-4)
    return tmp_path / "run"


def test_a_folder_of_fit_loses_nothing(folder):
    other = net(keras.optimizers.Adam(0.5), seed=9)
    fates = told(folder, other)
    assert {fate for fate, _ in fates.values()} == {"kept"}
    assert set(ALWAYS_LOST) < set(fates)
    assert {"weights", "optimizer", "learning rate", "metrics"} < set(fates)
    assert fates["learning rate"][1] == "0.0001 of the file replaces 0.5 of this model"
    assert "ReduceLROnPlateau" in fates["callbacks and History"][1]
    assert "2 epochs and 0 steps" in fates["place in the data"][1]
    middle = checkpoints.list_checkpoints(folder)[0]
    assert "0 epochs and 2 steps" in told(middle.path, other)["place in the data"][1]
    report = checkpoints.explain_restore(folder, other)
    assert report.lost == ()
    assert "place in the data" in str(report)
    assert "<table" in report._repr_html_()


def test_another_model_than_that_of_a_folder_is_refused(folder):
    for other, words in (
        (net("sgd"), "another model"),
        (net(units=5), "another model"),
        (keras.Sequential(net().layers), "not compiled"),
    ):
        report = checkpoints.explain_restore(folder, other)
        ((_, fate, why),) = report.items
        assert fate == "refused"
        assert words in why
        with pytest.raises(ValueError, match="`model`"):
            fit(other, folder, epochs=2)


def test_damage_in_a_folder_is_told(folder):
    paths = [c.path for c in checkpoints.list_checkpoints(folder)]
    for count, path in enumerate(reversed(paths), 1):
        (path / "manifest.json").write_text("{}")
        fates = told(folder, net())
        damaged = [part for part in fates if part.startswith("checkpoint 0")]
        assert len(damaged) == count
        assert {fates[part][0] for part in damaged} == {"lost"}
        assert ("weights" in fates) == (count < len(paths))
        assert "damaged" in told(path, net())[f"checkpoint {path.name}"][1]


# What cannot be explained


def test_what_is_no_file_of_a_training_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "missing.keras"):
        with pytest.raises(ValueError, match="`filepath` must be a folder of"):
            checkpoints.explain_restore(path, net())


def test_state_is_what_the_report_promises(folder):
    """What counts as kept is there, bit for bit, after the call that restores it."""
    straight = net()
    callbacks = [keras.callbacks.ReduceLROnPlateau("loss", 0.1, 0, min_delta=99)]
    history = fit(straight, folder.parent / "straight", epochs=3, callbacks=callbacks)
    other = net(seed=9)
    callbacks = [keras.callbacks.ReduceLROnPlateau("loss", 0.1, 0, min_delta=99)]
    assert fit(other, folder, epochs=3, callbacks=callbacks).history == history.history
    pairs = zip(state_of(straight).values(), state_of(other).values(), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)

"""Interrupted again and again, training ends in the bits of one that was not."""

import contextlib
import random
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from workbench import checkpoints
from workbench.checkpoints.disk import Disk

EPOCHS, STEPS, BATCH_SIZE = 3, 3, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 6)).astype("float32")
Y = RNG.integers(0, 3, 22)


class InterruptedHereError(Exception):
    """Stands in for whatever ends a process."""


class Interrupt(keras.callbacks.Callback):
    """Raises after so many steps; remembers nothing."""

    def __init__(self, steps):
        super().__init__()
        self._left = steps

    def get_state(self):
        return None

    def set_state(self, state):
        pass

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if self._left == 0:
            raise InterruptedHereError


def net(seed=3, *, first=(), built=True, run_eagerly=True, **arguments):
    """A small net; step by step it needs no time to be traced."""
    keras.utils.set_random_seed(seed)
    stack = [*([keras.Input((6,))] if built else []), *first]
    stack += [layers.Dense(8, "tanh", name="hidden"), layers.Dropout(0.4, name="drop")]
    stack += [layers.Dense(3, name="logits")]
    return compiled(keras.Sequential(stack), run_eagerly=run_eagerly, **arguments)


def compiled(model, **arguments):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.1, 0.9), loss, metrics=["accuracy"], **arguments
    )
    return model


def fit(model, data, folder, **arguments):
    arguments = {
        "epochs": EPOCHS,
        "save_every": 2,
        "batch_size": BATCH_SIZE,
        **arguments,
    }
    return checkpoints.fit(model, data, filepath=folder, **arguments)


def straight_and_in_parts(
    tmp_path, *, build=net, data=None, callbacks=list, parts=(4, 3), **others
):
    """Trains once in one go, once with interruptions; returns both `(model, History)`.

    `data` and `callbacks` are functions that make them anew, as a new process would.
    """
    results = []
    for name, steps in (("straight", ()), ("parts", parts)):
        for seed, count in enumerate((*steps, 0)):
            keras.utils.set_random_seed(5)
            material = data() if data else (X, Y)
            model = build(3 if not seed else 90 + seed)
            made = [*callbacks(), *([Interrupt(count)] if count else [])]
            with contextlib.suppress(InterruptedHereError):
                history = fit(
                    model, material, tmp_path / name, callbacks=made, **others
                )
            for callback in made:  # the end of a process closes its files
                if isinstance(callback, keras.callbacks.CSVLogger):
                    callback.csv_file.close()
        results.append((model, history))
    return results


def assert_equal(results):
    (model, wanted), (other, history) = results
    assert history.history == wanted.history
    assert history.epoch == wanted.epoch
    for mine, theirs in zip(variables_of(other), variables_of(model), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def variables_of(model):
    return [v.numpy() for v in (*model.variables, *model.optimizer.variables)]


# Models


def test_several_steps_at_once(tmp_path):
    def build(seed):
        return net(seed, run_eagerly=False, steps_per_execution=3)

    assert_equal(straight_and_in_parts(tmp_path, build=build))


class Noisy(layers.Layer):
    """Adds noise of TensorFlow's own generator, which Keras does not list."""

    def __init__(self):
        super().__init__()
        self.generator = tf.random.Generator.from_seed(1)
        self.count = tf.Variable(0)

    def call(self, x, training=False):
        if training:
            self.count.assign_add(1)
            return x + 0.1 * self.generator.normal(tf.shape(x))
        return x


def test_variables_of_tensorflow_in_layers(tmp_path):
    results = straight_and_in_parts(
        tmp_path, build=lambda seed: net(seed, first=[Noisy()])
    )
    assert_equal(results)
    assert int(results[1][0].layers[0].count) == EPOCHS * STEPS


# Data


class Batches(keras.utils.PyDataset):
    """Batches that a call of `on_epoch_end` changes, and NumPy's global state."""

    def __init__(self):
        super().__init__()
        self._shift = 0

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        part = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
        noise = np.random.normal(size=6)  # noqa: NPY002
        return X[part] + self._shift + noise, Y[part]

    def on_epoch_end(self):
        self._shift += 1

    def get_state(self):
        return self._shift

    def set_state(self, state):
        self._shift = state


class Samples:
    """Samples by index, with augmentation from `random`."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index] * np.float32(random.random()), Y[index]


@pytest.mark.parametrize("kind", [Batches, Samples])
def test_data_with_length_and_indexing(kind, tmp_path):
    assert_equal(straight_and_in_parts(tmp_path, data=kind))


def test_nested_arrays_with_weights(tmp_path):
    def build(seed):
        keras.utils.set_random_seed(seed)
        a, b = keras.Input((6,), name="a"), keras.Input((2,), name="b")
        both = layers.Concatenate()([a, b])
        model = keras.Model({"a": a, "b": b}, layers.Dense(3)(both))
        return compiled(model, run_eagerly=True)

    def data():
        return {"a": X, "b": X[:, :2]}, Y, np.linspace(0, 1, len(X))

    assert_equal(straight_and_in_parts(tmp_path, build=build, data=data))


def test_a_generator_is_read_again(tmp_path):
    def data():
        spec = tf.TensorSpec([6], tf.float32), tf.TensorSpec([], tf.int64)
        pairs = list(zip(X, Y, strict=True))
        dataset = tf.data.Dataset.from_generator(lambda: pairs, output_signature=spec)
        return dataset.batch(BATCH_SIZE)

    with pytest.warns(UserWarning, match="a generator is read again"):
        assert_equal(straight_and_in_parts(tmp_path, data=data, steps_per_epoch=STEPS))


# Callbacks


def test_callbacks_of_keras_together(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    log, best = folder / "log.csv", folder / "best.weights.h5"

    def callbacks():
        return [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=2, min_delta=9.0),
            keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True),
            keras.callbacks.CSVLogger(log),
            keras.callbacks.ModelCheckpoint(
                best, mode="max", save_best_only=True, save_weights_only=True
            ),
            keras.callbacks.LambdaCallback(),
        ]

    kept = []

    def loaded():
        model = net(50)
        model.optimizer.build(model.trainable_variables)
        model.load_weights(best)  # the bytes have names that Keras numbers through
        return [value.tobytes() for value in variables_of(model)]

    def data():
        if log.exists():
            kept.append((log.read_text(), loaded()))
        return X, Y

    results = straight_and_in_parts(
        tmp_path,
        data=data,
        callbacks=callbacks,
        parts=(4, 3, 4),  # the last time, the plateau has waited once
        epochs=4,
        validation_data=(X[:8], Y[:8]),
    )
    assert_equal(results)
    assert (log.read_text(), loaded()) == kept[0]
    assert kept[0][0].count("\n") == 1 + 4
    rates = results[0][1].history["learning_rate"]
    assert rates == pytest.approx([0.09, 0.081, 0.0729, 0.032805])


def test_a_stop_by_a_callback_is_the_end(tmp_path):
    def callbacks():
        return [
            keras.callbacks.EarlyStopping(
                "loss", min_delta=9.0, patience=1, restore_best_weights=True
            )
        ]

    results = straight_and_in_parts(tmp_path, callbacks=callbacks, epochs=5)
    assert_equal(results)
    assert results[0][1].epoch == [0, 1]
    other = net(77)
    history = fit(other, (X, Y), tmp_path / "parts", callbacks=callbacks(), epochs=9)
    assert_equal([results[0], (other, history)])


class Seen(keras.callbacks.Callback):
    """Writes down what it is told."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def get_state(self):
        return self.calls

    def set_state(self, state):
        self.calls = state

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"begin {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append({"batch": batch, **logs})

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"end {epoch} of {self.params}")


def test_callbacks_of_a_model_that_is_not_built_are_told_the_same(tmp_path):
    kept = []

    def build(seed):
        return net(seed, built=False)

    def callbacks():
        kept.append(Seen())
        return [kept[-1]]

    assert_equal(straight_and_in_parts(tmp_path, build=build, callbacks=callbacks))
    assert kept[-1].calls == kept[0].calls
    assert len(kept[0].calls) == EPOCHS * (2 + 2 * STEPS)


# What is told, and what is refused


class Counts(keras.callbacks.Callback):
    """Remembers something, and cannot say it."""

    def __init__(self):
        super().__init__()
        self.count = 0


class Changing(keras.utils.PyDataset):
    """May change at the end of an epoch, and cannot say how."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[:20], Y[:20]

    def on_epoch_end(self):
        pass


def test_what_is_not_exact_is_told(tmp_path):
    tf.random.set_seed(None)
    unseeded = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(9).batch(20)
    for data, callbacks, words in (
        ((X, Y), [Counts()], "callback Counts: what it remembers"),
        (Changing(), [], "Changing.on_epoch_end may change the data"),
        (unseeded, [], "shuffles without a seed"),
    ):
        session = checkpoints.Session(
            net(), data, filepath=tmp_path / words[:5], epochs=1, callbacks=callbacks
        )
        with pytest.warns(UserWarning, match=words), session:
            pass


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epochs": 0}, "`epochs` must be an int >= 1 .passes over the data."),
        ({"save_every": 0}, "`save_every` must be an int >= 1 .steps."),
        ({"keep": 0}, "`keep` must be an int >= 1 .checkpoints."),
        ({"batch_size": 0}, "`batch_size` must be >= 1 .samples."),
        ({"seed": -1}, "`seed` must be an int, 0 <= seed"),
        ({"on_error": "pray"}, '`on_error` must be "continue" or "stop"'),
        ({"validation_split": 0.1}, "`validation_split` is not for an exact run"),
        ({"steps_per_epoch": 3}, "`steps_per_epoch` is for a tf.data.Dataset"),
        (
            {"callbacks": [keras.callbacks.BackupAndRestore("somewhere")]},
            "must not hold another callback that restores",
        ),
    ],
)
def test_bad_arguments(changed, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        fit(net(), (X, Y), tmp_path / "run", **changed)
    assert not (tmp_path / "run").exists()


def test_bad_models_and_data(tmp_path):
    with pytest.raises(ValueError, match="`model` must be a compiled"):
        fit(keras.Sequential([layers.Dense(3)]), (X, Y), tmp_path)
    with pytest.raises(TypeError, match="`data` must be arrays"):
        fit(net(), iter(()), tmp_path)
    with pytest.raises(ValueError, match="one and the same length"):
        fit(net(), (X, Y[:-1]), tmp_path)
    with pytest.raises(ValueError, match="`steps_per_execution` of `compile` must"):
        fit(net(steps_per_execution=2), (X, Y), tmp_path)
    unknown = tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: y > 0)
    with pytest.raises(ValueError, match="how many batches make an epoch"):
        fit(net(), unknown.batch(5), tmp_path)
    with pytest.raises(ValueError, match="`class_weight` is for arrays"):
        fit(net(), Samples(), tmp_path, class_weight={0: 2.0})


def test_fewer_epochs_than_have_begun_are_refused(tmp_path):
    fit(net(), (X, Y), tmp_path, epochs=2)
    with pytest.raises(ValueError, match="`epochs` must be >= 2"):
        fit(net(), (X, Y), tmp_path, epochs=1)


# Trouble with the disk


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A training without trouble: model and History."""
    model = net()
    return model, fit(model, (X, Y), tmp_path_factory.mktemp("straight"))


class Failing(Disk):
    """Refuses to write after some operations."""

    left, error = 0, None

    def write_bytes(self, path, content):
        Failing.left -= 1
        if Failing.left < 0:
            raise OSError(*Failing.error, str(path))
        super().write_bytes(path, content)


TROUBLE = [(28, "No space left on device"), (30, "Read-only file system")]


@pytest.mark.parametrize("error", TROUBLE, ids=["full", "read-only"])
@pytest.mark.parametrize("on_error", ["continue", "stop"])
def test_a_disk_that_fails(on_error, error, tmp_path, straight, monkeypatch):
    monkeypatch.setattr("workbench.checkpoints.store.Disk", Failing)
    monkeypatch.setattr(Failing, "left", 5)  # two checkpoints, of two such files each
    monkeypatch.setattr(Failing, "error", error)
    if on_error == "continue":
        with pytest.warns(UserWarning, match=f"{error[1]}.*goes on without it"):
            history = fit(net(), (X, Y), tmp_path / "run")
        assert history.history == straight[1].history
    else:
        with pytest.raises(OSError, match=f"{error[1]}.*untouched; training was st"):
            fit(net(), (X, Y), tmp_path / "run", on_error="stop")
    assert [c.steps for c in checkpoints.list_checkpoints(tmp_path / "run")] == [0, 2]
    monkeypatch.undo()
    other = net(9)
    history = fit(other, (X, Y), tmp_path / "run")
    assert_equal([straight, (other, history)])


@pytest.mark.parametrize("on_error", ["continue", "stop"])
@pytest.mark.parametrize("way", ["deleted", "a file now"])
def test_a_folder_that_goes_away_in_the_middle(way, on_error, tmp_path, straight):
    folder, seen = tmp_path / "run", []

    def take_away(epoch, logs):
        shutil.rmtree(folder, ignore_errors=True)
        if way == "a file now" and not folder.exists():
            folder.write_text("something else")

    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=take_away),
        keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: seen.append(batch)
        ),
    ]
    reason = "No such file" if way == "deleted" else "Not a directory"
    model = net()
    if on_error == "continue":
        with pytest.warns(UserWarning, match=f"{reason}.*goes on without it"):
            history = fit(model, (X, Y), folder, callbacks=callbacks)
        assert_equal([straight, (model, history)])
    else:
        with pytest.raises(OSError, match=f"{reason}.*training was stopped"):
            fit(model, (X, Y), folder, callbacks=callbacks, on_error="stop")
        assert STEPS <= len(seen) < EPOCHS * STEPS
    # The folder is free again, for whoever makes it anew.
    if folder.is_file():
        folder.unlink()
    assert len(fit(net(), (X, Y), folder, epochs=1).epoch) == 1

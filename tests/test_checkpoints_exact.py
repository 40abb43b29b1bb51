"""Interrupted again and again, training ends in the bits of one that was not."""

import contextlib
import random
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.models import compiled, mlp, mlp_with_batch_norm, mlp_with_dropout, state_of
from workbench import checkpoints
from workbench.checkpoints.disk import Disk
from workbench.checkpoints.feeding import ArrayFeed
from workbench.checkpoints.pipeline import PipelineFeed
from workbench.clipping import AutoClip


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


def make(build=mlp, optimizer="adam", **arguments):
    """A function that builds and compiles, from a fresh optimizer each time."""

    def begin(seed):
        chosen = optimizer() if callable(optimizer) else optimizer
        return compiled(build, chosen, seed=seed, **arguments)

    return begin


def straight_and_in_parts(tmp_path, begin, data, *, callbacks=list, **arguments):
    """Trains once in one go, once with interruptions; returns both `(model, History)`.

    `data` and `callbacks` are functions that make them anew, as a new process would.
    """
    arguments = {"epochs": 3, "save_every": 2, "batch_size": 20, **arguments}
    results = []
    for name, steps in (("straight", ()), ("parts", (1, 5, 4, 7, 3))):
        for seed, count in enumerate((*steps, 0)):
            keras.utils.set_random_seed(5)
            material = data()
            model = begin(3 if not seed else 90 + seed)
            with contextlib.suppress(InterruptedHereError):
                history = checkpoints.fit(
                    model,
                    material,
                    filepath=tmp_path / name,
                    callbacks=[*callbacks(), *([Interrupt(count)] if count else [])],
                    **arguments,
                )
        results.append((model, history))
    return results


def assert_equal(results):
    (model, wanted), (other, history) = results
    assert history.history == wanted.history
    assert history.epoch == wanted.epoch
    pairs = zip(state_of(other).items(), state_of(model).values(), strict=True)
    for (name, mine), theirs in pairs:
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


def digits_of(digits, count=130):
    return digits[0][:count], digits[1][:count]


# Models and optimizers


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(make(mlp_with_dropout), id="dropout"),
        pytest.param(
            make(mlp_with_batch_norm, lambda: keras.optimizers.SGD(0.1, 0.9)), id="norm"
        ),
        pytest.param(
            make(optimizer=lambda: keras.optimizers.Adam(use_ema=True)), id="ema"
        ),
        pytest.param(
            make(optimizer=lambda: AutoClip(10).wrap(keras.optimizers.Adam())),
            id="clipping by the past",
        ),
        pytest.param(make(mlp_with_dropout, run_eagerly=True), id="eager"),
    ],
)
def test_models(begin, tmp_path, digits):
    results = straight_and_in_parts(tmp_path, begin, lambda: digits_of(digits))
    assert_equal(results)


def test_several_steps_at_once(tmp_path, digits):
    begin = make(steps_per_execution=3)
    data = digits_of(digits, 110)  # six steps
    assert_equal(straight_and_in_parts(tmp_path, begin, lambda: data))


def test_a_model_that_is_not_built_yet(tmp_path, digits):
    def build():
        return keras.Sequential([layers.Flatten(), layers.Dense(10)])

    data = digits_of(digits)
    assert_equal(straight_and_in_parts(tmp_path, make(build), lambda: data))


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


def test_variables_of_tensorflow_in_layers(tmp_path, digits):
    layer = []

    def build():
        layer[:] = [Noisy()]
        return mlp(*layer)

    data = digits_of(digits)
    results = straight_and_in_parts(tmp_path, make(build), lambda: data)
    assert_equal(results)
    assert int(layer[0].count) == 21


# Data


class Batches(keras.utils.PyDataset):
    """Batches that a call of `on_epoch_end` changes, and NumPy's global state."""

    def __init__(self, x, y):
        super().__init__()
        self._x, self._y, self._shift = x, y, 0

    def __len__(self):
        return 6

    def __getitem__(self, index):
        part = slice(index * 20, index * 20 + 20)
        noise = np.random.normal(size=(28, 28))  # noqa: NPY002
        return self._x[part] + self._shift + noise, self._y[part]

    def on_epoch_end(self):
        self._shift += 1

    def get_state(self):
        return self._shift

    def set_state(self, state):
        self._shift = state


class Samples:
    """Samples by index, with augmentation from `random`."""

    def __init__(self, x, y):
        self._x, self._y = x, y

    def __len__(self):
        return len(self._x)

    def __getitem__(self, index):
        x = np.asarray(self._x[index], "float32") * random.random()  # noqa: S311
        return x, self._y[index]


def nested(x, y):
    return ({"a": x, "b": x[:, :2]}, y, np.linspace(0, 1, len(x)))


def two_inputs():
    a = keras.Input((28, 28), name="a")
    b = keras.Input((2, 28), name="b")
    both = layers.Concatenate(axis=1)([a, b])
    return keras.Model({"a": a, "b": b}, layers.Dense(10)(layers.Flatten()(both)))


@pytest.mark.parametrize("kind", [Batches, Samples])
def test_data_with_length_and_indexing(kind, tmp_path, digits):
    def data():
        return kind(*digits_of(digits))

    assert_equal(straight_and_in_parts(tmp_path, make(), data))


def test_nested_arrays_with_weights(tmp_path, digits):
    def data():
        return nested(*digits_of(digits))

    assert_equal(straight_and_in_parts(tmp_path, make(two_inputs), data))


def test_a_tf_data_set_and_validation(tmp_path, digits):
    def data():
        dataset = tf.data.Dataset.from_tensor_slices(digits_of(digits))
        return dataset.shuffle(50, seed=2).batch(20).prefetch(2)

    validation = digits_of(digits, 40)
    results = straight_and_in_parts(tmp_path, make(), data, validation_data=validation)
    assert_equal(results)
    assert len(results[0][1].history["val_loss"]) == 3


def test_a_generator_is_read_again(tmp_path, digits):
    x, y = digits_of(digits)

    def data():
        spec = tf.TensorSpec([28, 28], tf.float32), tf.TensorSpec([], tf.int64)
        pairs = [(x[i], y[i]) for i in range(130)]
        dataset = tf.data.Dataset.from_generator(lambda: pairs, output_signature=spec)
        return dataset.batch(20)

    with pytest.warns(UserWarning, match="a generator is read again"):
        assert_equal(straight_and_in_parts(tmp_path, make(), data, steps_per_epoch=7))


@pytest.mark.parametrize(
    "pipeline",
    [
        pytest.param(lambda d: d.shuffle(8, seed=3).batch(3), id="shuffle"),
        pytest.param(lambda d: d.cache().shuffle(9, seed=1).batch(3), id="cache"),
        pytest.param(lambda d: d.shuffle(8, seed=3).take(15).batch(3), id="take"),
        pytest.param(lambda d: d.shuffle(8, seed=3).repeat(2).batch(3), id="repeat"),
        pytest.param(
            lambda d: d.shuffle(8, seed=3).map(lambda v: v * 2).batch(3).prefetch(2),
            id="map",
        ),
    ],
)
def test_a_pipeline_goes_on_from_any_step(pipeline):
    def feed():
        tf.random.set_seed(7)
        return PipelineFeed(pipeline(tf.data.Dataset.range(20)))

    def read(epoch, step, state):
        place, states, batches = feed(), [], []
        steps = place.steps_per_epoch
        stream = iter(place.dataset(epoch, step, state))
        for done in range(epoch * steps + step, 3 * steps):
            if done % steps == 0:
                place.begin_epoch()
            states.append((*divmod(done, steps), place.capture()))
            batches.append(next(stream).numpy().tolist())
        return batches, states

    wanted, states = read(0, 0, None)
    assert len({str(batch) for batch in wanted}) > len(wanted) / 2
    for done, place in enumerate(states):
        assert read(*place)[0] == wanted[done:]


def test_each_epoch_has_every_sample_once():
    feed = ArrayFeed((np.arange(50), np.arange(50)), 8, seed=3, shuffle=True)
    batches = [x.numpy() for x, _ in feed.dataset(1, 2, None).take(5 + 7)]
    rest, epoch = np.concatenate(batches[:5]), np.concatenate(batches[5:])
    assert sorted(epoch) == list(range(50))
    assert len(set(rest)) == 50 - 16


# Callbacks


def test_callbacks_of_keras(tmp_path, digits):
    folder = tmp_path / "files"
    folder.mkdir()
    validation = digits_of(digits, 40)

    def callbacks():
        return [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=9.0),
            keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True),
            keras.callbacks.CSVLogger(folder / "log.csv"),
            keras.callbacks.ModelCheckpoint(
                folder / "best.weights.h5", save_best_only=True, save_weights_only=True
            ),
            keras.callbacks.LambdaCallback(),
        ]

    logs = []

    def data():
        if (folder / "log.csv").exists():
            logs.append((folder / "log.csv").read_text())
        return digits_of(digits)

    results = straight_and_in_parts(
        tmp_path, make(), data, callbacks=callbacks, validation_data=validation
    )
    assert_equal(results)
    assert (folder / "log.csv").read_text() == logs[0]
    assert logs[0].count("\n") == 4
    rates = results[0][1].history["learning_rate"]
    assert rates == pytest.approx([9e-4, 8.1e-4, 3.645e-4])


def test_a_stop_by_a_callback_is_the_end(tmp_path, digits):
    def callbacks():
        return [keras.callbacks.EarlyStopping("loss", min_delta=9.0, patience=1)]

    data = digits_of(digits)
    results = straight_and_in_parts(
        tmp_path, make(), lambda: data, callbacks=callbacks, epochs=5
    )
    assert_equal(results)
    assert results[0][1].epoch == [0, 1]
    model = make()(77)
    arguments = {"filepath": tmp_path / "parts", "epochs": 9, "batch_size": 20}
    history = checkpoints.fit(model, data, callbacks=callbacks(), **arguments)
    assert_equal([results[0], (model, history)])


def test_an_interrupt_is_not_the_end(tmp_path, digits):
    data = digits_of(digits)
    arguments = {"filepath": tmp_path / "run", "epochs": 3, "batch_size": 20, "seed": 4}
    session = checkpoints.Session(make()(1), data, **arguments)
    halt = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 3 and session.interrupt()
    )
    session = checkpoints.Session(make()(1), data, callbacks=[halt], **arguments)
    with session:
        session.fit()
    newest = checkpoints.list_checkpoints(tmp_path / "run")[-1]
    assert (newest.epoch, newest.step, newest.finished) == (0, 4, False)
    model = make()(2)
    parts = model, checkpoints.fit(model, data, **arguments)
    model = make()(1)
    arguments["filepath"] = tmp_path / "straight"
    assert_equal([(model, checkpoints.fit(model, data, **arguments)), parts])


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


def test_callbacks_are_told_the_same(tmp_path, digits):
    kept = []

    def callbacks():
        kept.append(Seen())
        return [kept[-1]]

    data = digits_of(digits)
    straight_and_in_parts(tmp_path, make(), lambda: data, callbacks=callbacks)
    assert kept[-1].calls == kept[0].calls
    assert len(kept[0].calls) == 3 * (2 + 2 * 7)


def test_global_random_states_go_on(tmp_path, digits):
    draws = []

    def data():
        draws.append((random.random(), np.random.random()))  # noqa: NPY002, S311
        return digits_of(digits)

    def drawn():
        uniform = float(keras.random.uniform(())), float(tf.random.uniform(()))
        return random.random(), np.random.random(), *uniform  # noqa: NPY002, S311

    arguments = {"epochs": 1, "batch_size": 20, "save_every": 2}
    found = []
    for name, count in (("a", 0), ("b", 5), ("b", 0)):
        keras.utils.set_random_seed(len(found) + count)
        callbacks = [Interrupt(count)] if count else []
        model = make()(3 if name == "a" or count else 50)
        with contextlib.suppress(InterruptedHereError):
            checkpoints.fit(
                model,
                data(),
                filepath=tmp_path / name,
                callbacks=callbacks,
                **arguments,
            )
            found.append(drawn())
    assert found[0] == found[1]


# What is told, and what is refused


def test_what_is_not_exact_is_told(tmp_path, digits):
    class Counts(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.count = 0

    class Changing(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return digits[0][:20], digits[1][:20]

        def on_epoch_end(self):
            pass

    tf.random.set_seed(None)
    unseeded = tf.data.Dataset.from_tensor_slices(digits_of(digits, 40)).shuffle(9)
    for data, callbacks, words in (
        (digits_of(digits, 40), [Counts()], "callback Counts: what it remembers"),
        (Changing(), [], "Changing.on_epoch_end may change the data"),
        (unseeded.batch(20), [], "shuffles without a seed"),
    ):
        folder = tmp_path / words[:5]
        with pytest.warns(UserWarning, match=words):
            checkpoints.fit(
                make()(1), data, filepath=folder, epochs=1, callbacks=callbacks
            )


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
def test_bad_arguments(changed, words, tmp_path, digits):
    arguments = {"filepath": tmp_path / "run", "epochs": 1, **changed}
    with pytest.raises(ValueError, match=words):
        checkpoints.fit(make()(1), digits_of(digits), **arguments)
    assert not (tmp_path / "run").exists()


def test_bad_models_and_data(tmp_path, digits):
    def fit(model, data, **arguments):
        checkpoints.fit(model, data, filepath=tmp_path, epochs=1, **arguments)

    data = digits_of(digits)
    with pytest.raises(ValueError, match="`model` must be a compiled"):
        fit(mlp(), data)
    with pytest.raises(TypeError, match="`data` must be arrays"):
        fit(make()(1), iter(()))
    with pytest.raises(ValueError, match="one and the same length"):
        fit(make()(1), (data[0], data[1][:-1]))
    with pytest.raises(ValueError, match="`steps_per_execution` of `compile` must"):
        fit(make(steps_per_execution=2)(1), data)
    unknown = tf.data.Dataset.from_tensor_slices(data).filter(lambda x, y: y > 0)
    with pytest.raises(ValueError, match="how many batches make an epoch"):
        fit(make()(1), unknown.batch(5))
    with pytest.raises(ValueError, match="`class_weight` is for arrays"):
        fit(make()(1), Samples(*data), class_weight={0: 2.0})


def test_fewer_epochs_than_have_begun_are_refused(tmp_path, digits):
    data = digits_of(digits)
    checkpoints.fit(make()(1), data, filepath=tmp_path, epochs=2)
    with pytest.raises(ValueError, match="`epochs` must be >= 2"):
        checkpoints.fit(make()(1), data, filepath=tmp_path, epochs=1)


# Trouble with the disk


class Full(Disk):
    """Has no room after some operations."""

    left = 0

    def write_bytes(self, path, content):
        Full.left -= 1
        if Full.left < 0:
            raise OSError(28, "No space left on device", str(path))
        super().write_bytes(path, content)


@pytest.mark.parametrize("on_error", ["continue", "stop"])
def test_a_full_disk(on_error, tmp_path, digits, monkeypatch):
    data = digits_of(digits)
    model = make()(3)
    wanted = checkpoints.fit(
        model, data, filepath=tmp_path / "straight", epochs=3, save_every=2
    )
    monkeypatch.setattr("workbench.checkpoints.store.Disk", Full)
    monkeypatch.setattr(Full, "left", 5)  # two checkpoints, of two such files each
    arguments = {"filepath": tmp_path / "full", "epochs": 3, "save_every": 2}
    if on_error == "continue":
        with pytest.warns(UserWarning, match="No space left on device.*goes on"):
            history = checkpoints.fit(make()(3), data, **arguments)
        assert history.history == wanted.history
    else:
        with pytest.raises(OSError, match="training was stopped"):
            checkpoints.fit(make()(3), data, on_error="stop", **arguments)
    assert [c.steps for c in checkpoints.list_checkpoints(tmp_path / "full")] == [0, 2]
    monkeypatch.undo()
    other = make()(9)
    history = checkpoints.fit(other, data, **arguments)
    assert_equal([(model, wanted), (other, history)])


def test_a_folder_that_is_deleted_while_training_goes_on(tmp_path, digits):
    data = digits_of(digits)
    delete = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: shutil.rmtree(
            tmp_path / "run", ignore_errors=True
        )
    )
    with pytest.warns(UserWarning, match="No such file or directory.*goes on"):
        history = checkpoints.fit(
            make()(3),
            data,
            filepath=tmp_path / "run",
            epochs=3,
            save_every=2,
            callbacks=[delete],
        )
    assert len(history.history["loss"]) == 3


# Branches


def test_a_branch_goes_on_from_its_checkpoint(tmp_path, digits):
    data = digits_of(digits)
    arguments = {"epochs": 2, "batch_size": 20, "save_every": 4, "keep": 9}
    model = make()(3)
    wanted = checkpoints.fit(model, data, filepath=tmp_path / "run", **arguments)
    middle = checkpoints.list_checkpoints(tmp_path / "run")[1]
    copy = checkpoints.branch(middle, tmp_path / "branch")
    assert (copy.steps, copy.metrics) == (middle.steps, middle.metrics)
    with pytest.raises(ValueError, match="must hold no checkpoint yet"):
        checkpoints.branch(middle, tmp_path / "branch")
    other = make()(8)
    history = checkpoints.fit(other, data, filepath=tmp_path / "branch", **arguments)
    assert_equal([(model, wanted), (other, history)])

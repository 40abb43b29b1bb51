"""A run: the same bits as fit, steered from outside, and clean ends."""

import _thread
import gc
import threading
import time
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.models import (
    cnn,
    compiled,
    lstm,
    mlp,
    mlp_with_batch_norm,
    mlp_with_dropout,
    state_of,
)
from tests.waiting import wait_for
from workbench.training import Run, load_records

SECONDS = 60


def cosine():
    return keras.optimizers.schedules.CosineDecay(0.05, 60)


class AtStep(keras.callbacks.Callback):
    """Calls something in the training thread after a step, counted from 1."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.action()


def assert_equal_states(model, other):
    # Names are numbered through; order is what both share.
    for (path, a), b in zip(
        state_of(model).items(), state_of(other).values(), strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=path)


# The same bits


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum-cosine": lambda: keras.optimizers.SGD(cosine(), momentum=0.9),
    "adam-clip": lambda: keras.optimizers.Adam(1e-3, global_clipnorm=1.0),
    "adamw-cosine-ema": lambda: keras.optimizers.AdamW(cosine(), use_ema=True),
}


@pytest.mark.parametrize(
    ("build", "optimizer"),
    [
        *((mlp, name) for name in OPTIMIZERS),
        (mlp_with_dropout, "adam-clip"),
        (cnn, "momentum-cosine"),
        (cnn, "adamw-cosine-ema"),
        (lstm, "sgd"),
        (lstm, "adamw-cosine-ema"),
    ],
)
def test_an_untouched_run_has_the_bits_of_fit(build, optimizer, digits):
    x, y = digits
    plain = compiled(build, OPTIMIZERS[optimizer]())
    history = plain.fit(x, y, epochs=2, validation_data=(x, y), verbose=0)
    model = compiled(build, OPTIMIZERS[optimizer]())
    run = Run(model, (x, y), epochs=2, validation_data=(x, y)).start()
    rates = run.wait(SECONDS).history.pop("learning_rate")
    assert rates == run.records.learning_rate[[19, 39]].tolist()
    assert run.history.history == history.history
    assert_equal_states(model, plain)


def test_batch_norm_has_the_bits_of_fit_under_adam(digits):
    plain = compiled(mlp_with_batch_norm, keras.optimizers.Adam())
    plain.fit(*digits, verbose=0)
    model = compiled(mlp_with_batch_norm, keras.optimizers.Adam())
    Run(model, digits).start().wait(SECONDS)
    assert_equal_states(model, plain)


def test_batch_norm_under_sgd_differs_in_the_last_bit_at_most(digits):
    x, y = (array[:96] for array in digits)
    plain = compiled(mlp_with_batch_norm, keras.optimizers.SGD(0.05, momentum=0.9))
    plain.fit(x, y, verbose=0)
    model = compiled(mlp_with_batch_norm, keras.optimizers.SGD(0.05, momentum=0.9))
    Run(model, (x, y)).start().wait(SECONDS)
    for a, b in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_a_fit_after_the_run_goes_on_as_after_a_fit(digits):
    plain = compiled(mlp, keras.optimizers.Adam())
    model = compiled(mlp, keras.optimizers.Adam())
    keras.utils.set_random_seed(5)
    plain.fit(*digits, verbose=0)
    second = plain.fit(*digits, verbose=0).history
    keras.utils.set_random_seed(5)
    Run(model, digits).start().wait(SECONDS)
    assert model.fit(*digits, verbose=0).history == second
    assert_equal_states(model, plain)


def test_the_dtype_policy_of_the_cell_holds_in_the_run(digits):
    seen = []

    class Asks(layers.Layer):
        def call(self, x):
            seen.append(keras.config.dtype_policy().name)
            return x

    model = compiled(lambda: mlp(Asks()), "sgd")
    seen.clear()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        Run(model, digits).start().wait(SECONDS)
    finally:
        keras.config.set_dtype_policy("float32")
    assert set(seen) == {"mixed_bfloat16"}


# Data and models of every kind


class Unbuilt(keras.Model):
    """Its variables are made at the first step, in the training thread."""

    def __init__(self):
        super().__init__()
        self.recurrent = layers.SimpleRNN(4)
        self.head = layers.Dense(10)

    def call(self, x):
        return self.head(self.recurrent(x))


def test_a_model_built_in_the_run_leaves_nothing_behind_in_this_thread(digits):
    model = compiled(Unbuilt, "sgd")
    # Such a model leaves a list of what waits in this thread, empty now.
    Unbuilt()(np.zeros((1, 28, 28), "float32"))
    run = Run(model, digits, epochs=1).start()
    run.wait(SECONDS)
    assert model.built
    with keras.StatelessScope():
        pass  # initializes what waits in this thread
    assert np.isfinite(model.get_weights()[0]).all()


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 64

    def __getitem__(self, index):
        return self.x[64 * index :][:64], self.y[64 * index :][:64]


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset", "weights", "unknown length"])
def test_data_of_every_kind(kind, digits):
    x, y = digits
    weights = np.linspace(0, 1, len(x), dtype="float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(64)
    data, steps = {
        "tf.data": (dataset, 10),
        "PyDataset": (Batches(x, y), 10),
        "weights": ((x, y, weights), 20),
        "unknown length": (dataset.filter(lambda *_: True), 10),
    }[kind]
    model = compiled(mlp, "sgd")
    with warnings.catch_warnings():
        # Keras warns that it learns the length in the first epoch.
        warnings.simplefilter("ignore", UserWarning)
        run = Run(model, data, epochs=2, shuffle=kind != "PyDataset").start()
        run.wait(SECONDS)
    assert len(run.records) == 2 * steps
    assert np.isfinite(run.records.loss).all()


class OwnStep(keras.Model):
    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.traces = 0

    def call(self, x):
        return self.net(x)

    def train_step(self, data):
        self.traces += 1
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(
                    y, self(x, training=True), from_logits=True
                )
            )
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"own": loss}


def test_a_train_step_of_ones_own_is_recorded_too(digits):
    model = OwnStep()
    model.compile(keras.optimizers.SGD(0.1))
    run = Run(model, digits, epochs=2).start()
    history = run.wait(SECONDS).history
    assert set(history) == {"own", "learning_rate"}
    assert np.isnan(run.records.loss).all()  # it never calls compute_loss
    assert (run.records.gradient_norm > 0).all()
    assert run.problem is None


class StepInside(keras.Sequential):
    """Its step is in a function of its own, which is traced once."""

    def train_step(self, data):
        if not hasattr(self, "inner"):
            self.inner = tf.function(super().train_step)
        return self.inner(data)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_step_in_a_function_of_its_own_is_recorded_too(run_eagerly, digits):
    data = tuple(array[:256] for array in digits)
    plain = Run(compiled(mlp, "sgd"), data).start()
    plain.wait(SECONDS)

    def build():
        return StepInside(mlp().layers)

    model = compiled(build, "sgd", run_eagerly=run_eagerly)
    model.optimizer.build(model.trainable_variables)
    run = Run(model, data).start()
    run.wait(SECONDS)
    assert len(run.records) == len(plain.records) > 1
    for name in ("loss", "gradient_norm", "learning_rate"):
        expected = getattr(plain.records, name)
        np.testing.assert_allclose(getattr(run.records, name), expected, rtol=1e-5)


@pytest.mark.parametrize("steps_per_execution", [3, 7])
def test_several_steps_per_execution_keep_one_row_per_step(steps_per_execution, digits):
    one = Run(compiled(mlp, "sgd"), digits, epochs=2).start()
    one.wait(SECONDS)
    model = compiled(mlp, "sgd", steps_per_execution=steps_per_execution)
    many = Run(model, digits, epochs=2).start()
    many.wait(SECONDS)
    np.testing.assert_allclose(many.records.loss, one.records.loss, rtol=1e-5)


# Live values


@pytest.mark.parametrize("rate", [0.01, cosine()], ids=["number", "schedule"])
def test_a_new_rate_holds_from_the_next_step_and_retraces_nothing(rate, digits):
    traces = []

    class Counts(layers.Layer):
        def call(self, x):
            traces.append(1)
            return x

    model = compiled(lambda: mlp(Counts()), keras.optimizers.SGD(rate))
    traces.clear()
    counts = []
    run = Run(
        model,
        digits,
        callbacks=[
            AtStep(4, lambda: counts.append(len(traces))),
            AtStep(5, lambda: setattr(run, "learning_rate", 0.5)),
            AtStep(9, lambda: run.set("learning_rate", 0.25)),
            AtStep(13, lambda: run.set("learning_rate", None)),
            AtStep(20, lambda: counts.append(len(traces))),
        ],
    ).start()
    run.wait(SECONDS)
    rates = run.records.learning_rate
    np.testing.assert_array_equal(rates[5:9], np.float32(0.5))
    np.testing.assert_array_equal(rates[9:13], np.float32(0.25))
    untouched = [*range(5), *range(13, 20)]
    expected = [float(rate(i)) if callable(rate) else rate for i in untouched]
    np.testing.assert_allclose(rates[untouched], expected, rtol=1e-6)
    assert counts[0] == counts[1]
    assert [change.step for change in run.changes] == [6, 10, 14]
    assert run.changes[1].old == 0.5
    assert run.changes[1].new == 0.25


def test_the_new_rate_is_the_one_that_moves_the_weights(digits):
    weights = []
    run = Run(
        model := compiled(mlp, keras.optimizers.SGD(cosine())),
        digits,
        callbacks=[
            AtStep(5, lambda: run.set("learning_rate", 0)),
            AtStep(5, lambda: weights.append(model.get_weights())),
        ],
    ).start()
    run.wait(SECONDS)
    for before, after in zip(weights[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_rate_can_be_asked_for_from_another_thread_at_any_time(digits):
    run = Run(compiled(mlp, keras.optimizers.SGD(cosine())), digits).start()
    seen = []
    while run.state == "running":  # tracing too
        seen.append(run.learning_rate)
    run.wait(SECONDS)
    assert len(seen) > 10
    assert np.isfinite(seen).all()


def test_what_the_optimizer_holds_afterwards(digits):
    number = compiled(mlp, keras.optimizers.SGD(0.1))
    schedule = compiled(mlp, keras.optimizers.SGD(cosine()))
    for model in (number, schedule):
        run = Run(model, digits)
        run.learning_rate = 0.5
        run.start().wait(SECONDS)
    assert float(number.optimizer.learning_rate.numpy()) == 0.5
    assert float(schedule.optimizer.learning_rate) == pytest.approx(float(cosine()(20)))


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused(value, digits):
    run = Run(compiled(mlp, "sgd"), digits)
    with pytest.raises(ValueError, match=r"`learning_rate` must be .* Received"):
        run.learning_rate = value


def test_an_unknown_name_is_refused_with_the_known_ones(digits):
    run = Run(compiled(mlp, "sgd"), digits)
    with pytest.raises(ValueError, match=r"'weight_decay'\].*'momentom'"):
        run.set("momentom", 0.9)


# Pause, resume, stop


def test_pause_stands_still_resume_moves_stop_ends(digits):
    model = compiled(mlp, "sgd")
    run = Run(model, digits, epochs=10_000).start()
    wait_for(lambda: len(run.records) > 3)
    run.pause()
    wait_for(lambda: run.state == "paused")
    step = len(run.records)
    time.sleep(0.2)
    assert len(run.records) == step
    run.resume()
    wait_for(lambda: len(run.records) > step)
    run.stop()
    run.wait(SECONDS)
    assert run.state == "stopped"
    assert model.predict(digits[0][:4], verbose=0).shape == (4, 10)
    assert len(run.history.history["loss"]) >= 1


def test_no_step_is_done_between_pause_and_stop(digits):
    at_seven = AtStep(7, None)
    run = Run(compiled(mlp, "sgd"), digits, epochs=100, callbacks=[at_seven])
    at_seven.action = run.pause
    run.start()
    wait_for(lambda: run.state == "paused")
    run.stop()
    run.wait(SECONDS)
    assert len(run.records) == 7


def test_pausing_changes_no_bit(digits):
    plain = compiled(mlp_with_dropout, "adam")
    plain.fit(*digits, verbose=0)
    model = compiled(mlp_with_dropout, "adam")
    at_seven = AtStep(7, None)
    run = Run(model, digits, callbacks=[at_seven])
    at_seven.action = run.pause
    run.start()
    wait_for(lambda: run.state == "paused")
    run.resume()
    run.wait(SECONDS)
    assert_equal_states(model, plain)


def test_an_interrupt_ends_after_the_step_and_is_raised(digits):
    model = compiled(mlp, "sgd")
    run = Run(model, digits, epochs=10_000).start()
    wait_for(lambda: len(run.records) > 3)
    gc.disable()  # Python loses what is raised while it collects
    try:
        threading.Timer(0.2, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            run.wait(SECONDS)
    finally:
        gc.enable()
        run.stop()
    assert run.state == "stopped"
    assert_no_run_thread()


def assert_no_run_thread():
    assert not [t for t in threading.enumerate() if t.name == "workbench-run"]


def test_what_training_raises_is_raised_by_wait(digits):
    model = compiled(mlp, "sgd")
    attributes = set(vars(model))

    def fail():
        raise OSError("disk full")

    run = Run(model, digits, callbacks=[AtStep(3, fail)]).start()
    with pytest.raises(OSError, match="disk full"):
        run.wait(SECONDS)
    assert run.state == "failed"
    assert len(run.records) == 3
    # What fit itself leaves when it raises.
    assert set(vars(model)) - attributes <= {"history", "_eval_epoch_iterator"}
    assert_no_run_thread()


def test_wait_says_when_the_time_is_over(digits):
    run = Run(compiled(mlp, "sgd"), digits, epochs=10_000).start()
    with pytest.raises(TimeoutError, match="goes on"):
        run.wait(0.1)
    run.stop()
    run.wait(SECONDS)


def test_wait_returns_no_sooner_than_validation_has_ended(digits):
    run = Run(compiled(mlp, "sgd"), digits, validation_data=digits).start()
    assert "val_loss" in run.wait(SECONDS).history


# NaN


def poisoned(digits, batch):
    x = digits[0].copy()
    x[32 * batch] = np.nan
    return x, digits[1]


def test_a_bad_batch_pauses_and_wait_says_where(digits):
    model = compiled(mlp, "sgd")
    run = Run(model, poisoned(digits, 4), shuffle=False).start()
    with pytest.raises(FloatingPointError, match=r"step 5: the input batch .*resume"):
        run.wait(SECONDS)
    assert run.state == "paused"
    run.resume()
    run.wait(SECONDS)
    assert run.problem is None
    assert len(run.records) == 20
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_bad_step_among_several_per_execution_is_numbered_right(digits):
    model = compiled(mlp, "sgd", steps_per_execution=4)
    run = Run(model, poisoned(digits, 5), shuffle=False).start()
    with pytest.raises(FloatingPointError, match="step 6: "):
        run.wait(SECONDS)
    run.stop()
    run.wait(SECONDS)


# Misuse and clean ends


def test_two_runs_of_one_model_at_once_are_refused(digits):
    model = compiled(mlp, "sgd")
    run = Run(model, digits, epochs=10_000).start()
    with pytest.raises(RuntimeError, match="Another run trains this model"):
        Run(model, digits).start()
    run.stop()
    run.wait(SECONDS)
    Run(model, digits).start().wait(SECONDS)


def test_two_models_at_once_get_the_bits_of_each_alone(digits):
    alone = [compiled(build, "sgd") for build in (mlp, lstm)]
    for model in alone:
        model.fit(*digits, shuffle=False, verbose=0)
    together = [compiled(build, "sgd") for build in (mlp, lstm)]
    runs = [Run(model, digits, shuffle=False).start() for model in together]
    for run in runs:
        run.wait(SECONDS)
    for model, other in zip(together, alone, strict=True):
        assert_equal_states(model, other)


def test_a_run_starts_once(digits):
    run = Run(compiled(mlp, "sgd"), digits).start()
    with pytest.raises(RuntimeError, match="starts once"):
        run.start()
    run.wait(SECONDS)
    with pytest.raises(RuntimeError, match=r"starts once.*finished"):
        run.start()
    with pytest.raises(RuntimeError, match=r"model\.optimizer"):
        run.learning_rate = 0.1
    with pytest.raises(RuntimeError, match="Only a running run"):
        run.pause()
    run.stop()
    assert run.state == "finished"


def test_a_model_deleted_while_it_trains_ends_well(digits):
    model = compiled(mlp, "sgd")
    run = Run(model, digits).start()
    del model
    gc.collect()
    run.wait(SECONDS)
    assert len(run.records) == 20


def test_a_run_nobody_waits_for_does_not_keep_python_from_ending():
    import subprocess
    import sys

    code = (
        "import keras, numpy as np\n"
        "from workbench.training import Run\n"
        "m = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])\n"
        "m.compile('sgd', 'mse')\n"
        "Run(m, (np.ones((64, 4)), np.ones(64)), epochs=10**6).start()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=SECONDS, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, r"`epochs` must be >= 1.*epochs=0"),
        ({"batch_size": 0}, r"`batch_size` must be >= 1.*batch_size=0"),
        ({"y": 1}, r"`y` belongs into `data"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message, digits):
    with pytest.raises(ValueError, match=message):
        Run(compiled(mlp, "sgd"), digits, **arguments)


def test_a_model_that_is_not_compiled_is_refused(digits):
    with pytest.raises(ValueError, match=r"model\.compile"):
        Run(mlp(), digits)


def test_a_model_under_an_unknown_strategy_is_refused(digits):
    model = compiled(mlp, "sgd")
    model._distribute_strategy = type("Two", (), {"num_replicas_in_sync": 2})()
    with pytest.raises(ValueError, match="a model under Two"):
        Run(model, digits)


def test_a_run_not_started_cannot_be_waited_for(digits):
    with pytest.raises(RuntimeError, match=r"start\(\)"):
        Run(compiled(mlp, "sgd"), digits).wait()


# What is left behind


def test_progress_counts_and_prints(digits):
    run = Run(compiled(mlp, "sgd"), digits, epochs=2)
    assert str(run.progress) == "ready: step 0 of ?, epoch 0 of 2"
    run.start().wait(SECONDS)
    assert repr(run) == "<Run finished: step 40 of 40, epoch 2 of 2>"
    assert run.progress.logs["accuracy"] == run.history.history["accuracy"][-1]
    assert run.metrics["accuracy"][-1] == (40, run.history.history["accuracy"][-1])


def test_records_survive_a_file(tmp_path, digits):
    run = Run(compiled(mlp, "sgd"), digits)
    run.learning_rate = 0.5
    run.start().wait(SECONDS)
    run.save(tmp_path / "run.npz")
    saved = load_records(tmp_path / "run.npz")
    for name in ("step", "loss", "learning_rate", "gradient_norm", "seconds"):
        np.testing.assert_array_equal(
            getattr(saved.records, name), getattr(run.records, name)
        )
    assert saved.changes == run.changes
    assert saved.history == run.history.history
    assert "step 1: learning_rate" in str(saved)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "not.npz").write_bytes(b"something else")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name in ("not.npz", "other.npz"):
        with pytest.raises(ValueError, match=r"`filepath` must be .*Run\.save"):
            load_records(tmp_path / name)


def test_a_model_saved_during_the_run_loads_without_the_workbench(tmp_path, digits):
    path = tmp_path / "model.keras"
    model = compiled(mlp, keras.optimizers.SGD(cosine()))
    saved = []
    run = Run(
        model,
        digits,
        callbacks=[
            AtStep(10, lambda: model.save(path)),
            AtStep(10, lambda: saved.append(state_of(model))),
        ],
    )
    run.learning_rate = 0.5
    run.start().wait(SECONDS)
    loaded = keras.models.load_model(path)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for a, b in zip(saved[0].values(), state_of(loaded).values(), strict=True):
        np.testing.assert_array_equal(a, b)

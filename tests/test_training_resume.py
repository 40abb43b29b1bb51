"""A run with a folder of checkpoints: stopped or killed, it ends as if it were not."""

import dataclasses
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.models import compiled, mlp, state_of
from tests.test_training import SECONDS, assert_equal_states, cosine
from tests.waiting import wait_for
from workbench import checkpoints
from workbench.checkpoints import list_checkpoints
from workbench.clipping import AutoClip, ByGlobalNorm
from workbench.regularization import set_penalty
from workbench.training import Run
from workbench.widgets import TrainingMonitor

STEPS = 60  # three epochs of twenty


def mlp_with_dropout():
    """Little to trace, and seeds that count on."""
    return mlp(layers.Dropout(0.3))


class AtSteps(keras.callbacks.Callback):
    """Does something in the training thread after steps of the whole training."""

    def __init__(self, actions):
        super().__init__()
        self.run, self.actions = None, actions

    def on_train_batch_end(self, batch, logs=None):
        action = self.actions.get(len(self.run.records))
        if action:
            action(self.run)

    def get_state(self):
        """It remembers nothing that training changes."""

    def set_state(self, state):
        """Never called, since there is no state."""


def make(folder, data, *, optimizer=None, build=mlp_with_dropout, at=None, **arguments):
    """A run on a new model, which calls `at[step](run)` after these steps."""
    steps = AtSteps(at or {})
    model = compiled(build, optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    arguments = {"epochs": 3, "validation_data": data, **arguments}
    callbacks = [*arguments.pop("callbacks", ()), steps]
    steps.run = Run(model, data, filepath=folder, callbacks=callbacks, **arguments)
    return steps.run


def record_of(run):
    """All that a run tells, but for times: dict name -> what compares with `==`."""
    told = {
        f"records.{field.name}": getattr(run.records, field.name).tobytes()
        for field in dataclasses.fields(run.records)
        if field.name != "seconds"
    }
    for field in dataclasses.fields(run.layers) if run.layers else ():
        if field.name != "paths":
            told[f"layers.{field.name}"] = getattr(run.layers, field.name).tobytes()
    progress = run.progress
    return told | {
        "changes": run.changes,
        "history": run.history.history,
        "epoch": run.history.epoch,
        "progress": (progress.step, progress.total_steps, progress.epoch),
        "logs": progress.logs,
    }


def assert_same(run, other):
    assert_equal_states(run.model, other.model)
    assert record_of(run) == record_of(other)


def stop(run):
    run.stop()


# The same bits


def test_it_trains_as_checkpoints_fit_does(digits, tmp_path):
    run = make(tmp_path / "run", digits).start()
    rates = run.wait(SECONDS).history.pop("learning_rate")
    model = compiled(mlp_with_dropout, keras.optimizers.SGD(0.05, momentum=0.9))
    history = checkpoints.fit(
        model, digits, filepath=tmp_path / "fit", epochs=3, validation_data=digits
    )
    assert_equal_states(run.model, model)
    assert run.history.history == history.history
    np.testing.assert_array_equal(rates, run.records.learning_rate[19::20])


@pytest.fixture(scope="module")
def straight(digits, tmp_path_factory):
    """A run that nobody stops."""
    run = make(tmp_path_factory.mktemp("straight"), digits).start()
    run.wait(SECONDS)
    return run


def test_a_stopped_run_goes_on_at_its_next_step(digits, tmp_path, straight):
    for step in (1, 20, 33):  # the first, the last of an epoch, one in the middle
        stopped = make(tmp_path, digits, at={step: stop}).start()
        stopped.wait(SECONDS)
        assert stopped.state == "stopped"
        assert len(stopped.records) == step
        assert list_checkpoints(tmp_path)[-1].steps == step
    again = make(tmp_path, digits).start()
    again.wait(SECONDS)
    assert again.state == "finished"
    assert_same(again, straight)


def test_the_same_run_goes_on_too(digits, tmp_path, straight):
    run = make(tmp_path, digits, at={7: stop, 40: stop})
    for steps in (7, 40, STEPS):
        assert run.can_start
        run.start().wait(SECONDS)
        assert len(run.records) == steps
    assert_same(run, straight)
    with pytest.raises(RuntimeError, match="this one is finished"):
        run.start()


def test_more_epochs_go_on_and_a_finished_run_gives_its_record(
    digits, tmp_path, straight
):
    make(tmp_path, digits, epochs=2).start().wait(SECONDS)
    for _ in range(2):
        again = make(tmp_path, digits).start()
        again.wait(SECONDS)
        assert_same(again, straight)


def test_stopped_in_validation_nothing_is_trained_twice(digits, tmp_path, straight):
    class InValidation(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            run.stop()

        get_state = AtSteps.get_state
        set_state = AtSteps.set_state

    run = make(tmp_path, digits, callbacks=[InValidation()]).start()
    run.wait(SECONDS)
    assert len(run.records) == 20
    again = make(tmp_path, digits).start()
    again.wait(SECONDS)
    assert_same(again, straight)


def test_many_stops_from_another_thread(digits, tmp_path, straight):
    run = make(tmp_path, digits)
    for steps in (3, 26, 45):
        run.start()
        wait_for(lambda limit=steps: len(run.records) >= limit)
        run.stop()
        run.wait(SECONDS)
        if run.state == "finished":
            break
    if run.can_start:
        run.start().wait(SECONDS)
    assert_same(run, straight)


# What is set by hand comes back


def rate(run):
    run.learning_rate = 0.005


def momentum(run):
    run.set("momentum", 0.5)


def back(run):
    for name in ("learning_rate", "momentum"):
        run.set(name, None)


def penalized():
    model = mlp_with_dropout()
    set_penalty(model, keras.regularizers.L2(1e-3))
    return model


def threshold_penalty_and_rate(run):
    run.set("clip", 0.3)
    run.set("penalty", 1e-2)
    run.learning_rate = 0.005


def schedule_and_decay(run):
    run.set("learning_rate", cosine())
    run.set("weight_decay", 0.5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"clip": AutoClip(50, 20), "at": {9: rate, 14: momentum, 44: back}},
        {
            "optimizer": lambda: keras.optimizers.Adam(cosine()),
            "build": penalized,
            "clip": ByGlobalNorm(0.7),
            "at": {
                9: threshold_penalty_and_rate,
                44: lambda run: run.set("learning_rate", None),
            },
        },
        {
            "optimizer": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1),
            "at": {9: schedule_and_decay},
        },
    ],
    ids=["numbers and the past of a clip", "over a schedule", "a schedule"],
)
def test_what_was_set_by_hand_comes_back(digits, tmp_path, arguments):
    optimizer = arguments.get("optimizer", lambda: None)
    at = arguments["at"]

    def run_in(name, at):
        changed = {**arguments, "optimizer": optimizer(), "at": at}
        changed["validation_data"] = None
        return make(tmp_path / name, digits, **changed)

    straight = run_in("straight", at).start()
    straight.wait(SECONDS)
    stopped = run_in("stopped", {**at, 17: stop, 33: stop})
    for _ in range(2):  # the second time it is the same run, with what was set
        stopped.start().wait(SECONDS)
    again = run_in("stopped", at)
    again.start().wait(SECONDS)
    assert len(again.changes) == len(straight.changes) > 1
    assert_same(again, straight)


def test_callbacks_and_schedules_go_on(digits, tmp_path):
    def run_in(name, at=None):
        plateau = keras.callbacks.ReduceLROnPlateau("loss", 0.5, 0, min_delta=10)
        return make(tmp_path / name, digits, callbacks=[plateau], at=at)

    straight = run_in("straight").start()
    straight.wait(SECONDS)
    assert [change.by for change in straight.changes] == ["callback"] * 2
    run_in("stopped", {33: stop}).start().wait(SECONDS)
    again = run_in("stopped").start()
    again.wait(SECONDS)
    assert_same(again, straight)


# Killed for real

CHILD = """
import os, sys
sys.path[:0] = {path!r}
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from tests.test_training_resume import three_lives
three_lives({folder!r})
"""


def digest_of(run):
    """SHA-256 over weights, optimizer and record."""
    digest = hashlib.sha256()
    for array in state_of(run.model).values():
        digest.update(array.tobytes())
    for name, value in sorted(record_of(run).items()):
        digest.update(name.encode())
        digest.update(value if isinstance(value, bytes) else repr(value).encode())
    return digest.hexdigest()


def long_run(folder, kill_at=None):
    """The same cells, today and tomorrow."""
    from workbench import data

    (x, y), _ = data.load_mnist()
    at = {25: rate}
    if kill_at:
        at[kill_at] = lambda run: os.kill(os.getpid(), signal.SIGKILL)
    return make(folder, (x[:640], y[:640]), save_every=7, clip=ByGlobalNorm(1.0), at=at)


def live(folder, kill_at=None):
    """Forks a process that runs, and tells the digest if it lives to the end."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run = long_run(folder, kill_at).start()
        run.wait()
        told = {"digest": digest_of(run), "steps": len(run.records)}
        pathlib.Path(folder, "told.json").write_text(json.dumps(told))
        code = 0
    finally:
        os._exit(code)


def three_lives(folder):
    """One kills itself, one is killed from outside, one lives to the end.

    TensorFlow is imported and has run nothing, so a fork of it is as good as new.
    """
    pid = live(folder, kill_at=33)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert 20 <= list_checkpoints(folder)[-1].steps < 33
    pid = live(folder)
    try:
        wait_for(lambda: list_checkpoints(folder)[-1].steps >= 34)
    finally:
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert os.waitpid(live(folder), 0)[1] == 0


def test_a_killed_process_changes_nothing(tmp_path):
    folder = tmp_path / "killed"
    root = pathlib.Path(__file__).parents[1]
    code = CHILD.format(path=[str(root)], folder=str(folder))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as lives:
        straight = long_run(tmp_path / "straight").start()
        straight.wait(SECONDS)
        _, err = lives.communicate(timeout=3 * SECONDS)
    assert lives.returncode == 0, err
    told = json.loads((folder / "told.json").read_text())
    assert told == {"digest": digest_of(straight), "steps": STEPS}


# What goes wrong is told


def test_bad_arguments_are_told_at_once(digits, tmp_path):
    model = compiled(mlp, "sgd")
    with pytest.raises(ValueError, match="`save_every` is about checkpoints"):
        Run(model, digits, save_every=5)
    with pytest.raises(ValueError, match="`keep` must be an int >= 1"):
        Run(model, digits, filepath=tmp_path, keep=0)
    with pytest.raises(ValueError, match="validation_split"):
        Run(model, digits, filepath=tmp_path, validation_split=0.1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_free_again_later(digits, tmp_path):
    first = make(tmp_path, digits, epochs=10_000).start()
    wait_for(lambda: len(first.records) > 0)
    second = make(tmp_path, digits, epochs=10_000).start()
    with pytest.raises(RuntimeError, match="`filepath` is in use by another run"):
        second.wait(SECONDS)
    assert second.state == "failed"
    assert second.can_start
    first.stop()
    first.wait(SECONDS)
    done = len(first.records)
    second.start()
    wait_for(lambda: len(second.records) > done)
    second.stop()
    second.wait(SECONDS)
    np.testing.assert_array_equal(second.records.loss[:done], first.records.loss)


def test_another_model_is_refused_by_name(digits, tmp_path):
    make(tmp_path, digits, at={5: stop}).start().wait(SECONDS)
    other = make(tmp_path, digits, build=mlp).start()
    with pytest.raises(ValueError, match="`model` is not the one of the checkpoints"):
        other.wait(SECONDS)


def test_a_bad_batch_pauses_and_the_run_goes_on_after_it(digits, tmp_path):
    x, y = digits[0].copy(), digits[1]
    x[300] = np.nan
    run = Run(
        compiled(mlp, "sgd"), (x, y), filepath=tmp_path, epochs=2, shuffle=False
    ).start()
    with pytest.raises(FloatingPointError, match="step 10: the input batch"):
        run.wait(SECONDS)
    run.stop()
    run.ended.wait(SECONDS)
    again = Run(
        compiled(mlp, "sgd"), (x, y), filepath=tmp_path, epochs=2, shuffle=False
    ).start()
    with pytest.raises(FloatingPointError, match="step 30: the input batch"):
        again.wait(SECONDS)
    again.resume()
    again.wait(SECONDS)
    assert len(again.records) == 40
    np.testing.assert_array_equal(
        np.flatnonzero(np.isnan(again.records.gradient_norm)), [9, 29]
    )


def test_a_dataset_goes_on_as_well(digits, tmp_path):
    def run_in(name, at=None):
        dataset = tf.data.Dataset.from_tensor_slices(digits).shuffle(640, seed=4)
        return make(
            tmp_path / name, dataset.batch(32), at=at, validation_data=None, build=mlp
        )

    straight = run_in("straight").start()
    straight.wait(SECONDS)
    run_in("stopped", {33: stop}).start().wait(SECONDS)
    again = run_in("stopped").start()
    again.wait(SECONDS)
    assert_same(again, straight)


def test_nothing_stays_behind(digits, tmp_path):
    run = make(tmp_path, digits, at={5: stop}).start()
    run.wait(SECONDS)
    before = set(vars(run.model))
    wait_for(
        lambda: (
            not [t for t in threading.enumerate() if t.name.startswith("workbench-")]
        )
    )
    assert not {"train_step", "compute_loss"} & before
    run.model.fit(*digits, verbose=0)
    assert isinstance(run.model.layers[1], layers.Dense)


# In the panel


def test_the_monitor_goes_on_where_the_run_was_stopped(digits, tmp_path, straight):
    run = make(tmp_path, digits, at={33: stop})
    monitor = TrainingMonitor(run)
    try:
        monitor._start.click()
        wait_for(lambda: monitor.state == "stopped")
        wait_for(lambda: monitor._start.description == "Continue")
        assert not monitor._start.disabled
        monitor._start.click()
        wait_for(lambda: monitor.state == "finished")
        assert monitor.error == ""
        wait_for(lambda: "over 60 steps" in monitor._plot.value)
        assert monitor._start.disabled
        assert_same(run, straight)
    finally:
        monitor.close()


def test_the_monitor_of_the_next_day_shows_the_whole_record(digits, tmp_path, straight):
    make(tmp_path, digits, at={33: stop}).start().wait(SECONDS)
    monitor = TrainingMonitor(make(tmp_path, digits))
    try:
        assert "goes on after step 33" in monitor._text.value
        monitor._start.click()
        wait_for(lambda: monitor.state == "finished")
        wait_for(lambda: "over 60 steps" in monitor._plot.value)
        assert monitor.step == STEPS
        assert_same(monitor.run, straight)
    finally:
        monitor.close()

"""The monitor from Python: traits do what the mouse does, and it ends cleanly."""

import math
import pathlib
import re
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from tests.models import compiled, mlp
from tests.test_training import SECONDS, AtStep, cosine, poisoned
from tests.waiting import wait_for
from workbench.training import Run
from workbench.widgets import TrainingMonitor


@pytest.fixture
def make():
    """Makes runs with their monitors; ends and closes them afterwards."""
    made = []

    def make_monitor(data, optimizer="sgd", **arguments):
        run = Run(compiled(mlp, optimizer), data, **arguments)
        made.append(TrainingMonitor(run))
        return run, made[-1]

    yield make_monitor
    for monitor in made:
        monitor.run.stop()
        if monitor.run.state != "ready":
            monitor.run.ended.wait(SECONDS)
        monitor.close()


def test_the_last_state_is_shown_however_fast_the_run(make, digits):
    run, monitor = make(digits, epochs=3, validation_data=digits)
    run.start().wait(SECONDS)
    wait_for(lambda: monitor.state == "finished")
    wait_for(lambda: "over 60 steps" in monitor._plot.value)
    assert monitor.step == monitor.total_steps == 60
    assert monitor.logs["val_loss"] == run.history.history["val_loss"][-1]
    assert "Finished · step 60 of 60 · epoch 3 of 3" in monitor._text.value
    assert "accuracy" in monitor._numbers.value


def test_the_trait_sets_the_rate_and_the_slider_follows(make, digits):
    run, monitor = make(digits, epochs=10_000)
    run.start()
    monitor.learning_rate = 0.02
    wait_for(lambda: run.changes)
    assert run.changes[0].new == 0.02
    assert monitor._rate.value == pytest.approx(0.02)
    monitor._rate.value = 0.05  # what the mouse does
    wait_for(lambda: len(run.changes) == 2)
    assert run.changes[1].new == pytest.approx(0.05)


def test_a_wish_in_the_middle_of_a_refresh_is_not_lost(make, digits, monkeypatch):
    run, monitor = make(digits, epochs=10_000)
    wish = threading.Thread(target=setattr, args=(monitor, "learning_rate", 0.02))

    def read_while_the_reader_wishes(self):
        if wish.ident is None and threading.current_thread() is monitor._thread:
            wish.start()
            wish.join(0.2)
        return self._control.pause_requested

    asked = property(read_while_the_reader_wishes)
    monkeypatch.setattr(Run, "pause_requested", asked)
    run.start()
    wait_for(lambda: run.changes)
    assert run.changes[0].new == 0.02
    wait_for(lambda: monitor.learning_rate == pytest.approx(0.02))


@pytest.mark.parametrize("rate", [3e-3, 1e-3, 1e-9, 0.0])
def test_a_page_that_sends_back_what_it_shows_changes_nothing(make, digits, rate):
    run, monitor = make(digits, keras.optimizers.SGD(rate), epochs=3)
    slider = monitor._rate
    steps = round((math.log10(slider.value) - slider.min) / slider.step)
    slider.value = 10 ** (slider.min + steps * slider.step)
    run.start().wait(SECONDS)
    assert run.changes == ()
    wait_for(lambda: slider.value == pytest.approx(max(rate, 10**slider.min)))


def test_an_answer_of_the_page_that_comes_late_changes_nothing(make, digits):
    _, monitor = make(digits, keras.optimizers.SGD(0.1))
    monitor.learning_rate = 0.07
    monitor.learning_rate = 0.004  # shown before the page has answered the first
    monitor._rate.value = 10**-1.15  # 0.07, rounded to a step of the slider
    assert monitor.learning_rate == pytest.approx(0.004)
    assert monitor._rate.value == pytest.approx(0.004)
    monitor._rate.value = 10**-1.15  # the same once more is the mouse
    assert monitor.learning_rate == pytest.approx(10**-1.15)


def test_the_trait_follows_a_schedule_without_changing_it(make, digits):
    run, monitor = make(digits, keras.optimizers.SGD(cosine()), epochs=3)
    run.start().wait(SECONDS)
    wait_for(lambda: monitor.learning_rate == pytest.approx(0.0, abs=1e-8))
    assert run.changes == ()
    expected = [float(cosine()(step)) for step in range(60)]
    np.testing.assert_allclose(
        run.records.learning_rate, expected, rtol=1e-5, atol=1e-9
    )


def test_give_back_returns_the_rate_to_the_schedule(make, digits):
    run, monitor = make(digits, keras.optimizers.SGD(cosine()), epochs=10_000)
    run.start()
    monitor.learning_rate = 0.5
    wait_for(lambda: run.changes)
    monitor._reset.click()
    wait_for(lambda: len(run.changes) == 2)
    assert run.changes[1].new is None


def test_pause_by_trait_and_by_button(make, digits):
    run, monitor = make(digits, epochs=10_000)
    monitor._start.click()
    wait_for(lambda: len(run.records) > 3)
    monitor.paused = True
    wait_for(lambda: run.state == "paused")
    wait_for(lambda: monitor._pause.value and monitor._pause.description == "Resume")
    monitor._pause.value = False
    wait_for(lambda: run.state == "running")
    run.pause()  # by somebody else: the panel follows
    wait_for(lambda: monitor.paused)
    monitor._stop.click()
    wait_for(lambda: monitor.state == "stopped")


def test_a_bad_batch_is_explained_in_the_panel(make, digits):
    run, monitor = make(poisoned(digits, 4), shuffle=False)
    run.start()
    wait_for(lambda: "step 5: the input batch" in monitor._error_view.value)
    wait_for(lambda: monitor.paused)
    monitor.paused = False
    wait_for(lambda: monitor.state == "finished")


def test_what_training_raises_is_shown(make, digits):
    def fail():
        raise OSError("disk <full>")

    run, monitor = make(digits, callbacks=[AtStep(3, fail)])
    run.start()
    wait_for(lambda: "OSError: disk &lt;full&gt;" in monitor._error_view.value)
    assert monitor.state == "failed"


def test_an_error_in_a_callback_is_shown_and_cleared(make, digits):
    run, monitor = make(digits)
    monitor.learning_rate = -1
    assert "`learning_rate` must be" in monitor._error_view.value
    assert 'role="alert"' in monitor._error_view.value
    monitor.learning_rate = 0.1
    assert monitor._error_view.value == ""
    assert run.state == "ready"


def test_the_slider_reaches_every_rate_of_the_run(make, digits):
    _, monitor = make(digits, keras.optimizers.SGD(1e-9))
    assert 10**monitor._rate.min <= 1e-9
    assert monitor._rate.value == pytest.approx(1e-9)


def test_it_shows_a_picture_where_there_is_no_kernel(make, digits):
    run, monitor = make(digits)
    run.start().wait(SECONDS)
    bundle = monitor._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR")
    assert bundle["text/plain"] == "TrainingMonitor(run)"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_drawing_takes_two_percent_of_the_time_at_most(make, digits):
    run, monitor = make(digits, epochs=10_000)
    run.start()
    wait_for(lambda: len(run.records) > 50)
    costs = []
    beat = monitor._beat

    def timed_beat():
        begin = time.thread_time()
        rest = beat()
        costs.append(time.thread_time() - begin)
        return rest

    monitor._beat = timed_beat
    begin = time.perf_counter()
    time.sleep(8)
    seconds = time.perf_counter() - begin
    assert len(costs) >= 3
    # The beat under way at each end counts whole: one drawing of grace.
    assert sum(costs) - max(costs) <= 0.03 * seconds


def test_closed_monitors_leave_nothing():
    """20 MB for 500 are 2 MB for 50; in a process of its own, which holds still."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.panels", "50"],
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(
        r"([+-][\d.]+) MiB, ([+-]\d+) comms, ([+-]\d+) threads", done.stdout
    )
    memory, comms, threads = map(float, found.groups())
    assert (comms, threads) == (0, 0)
    assert memory < 2

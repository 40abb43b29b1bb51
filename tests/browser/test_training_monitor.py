"""The monitor, driven by a mouse in JupyterLab while a real model trains."""

import time

import pytest

from tests.browser.lab import PANEL, button, copy_notebook, wait_for

NAME = "10_your_own_model.ipynb"


@pytest.fixture(scope="module")
def panel(lab):
    """The notebook run up to its panel, and the panel on the page."""
    # So long that no machine ends it before the last of these tests stops it.
    longer = ("3 * EPOCHS", "300 * EPOCHS")
    until = "monitor = TrainingMonitor(run)"
    copy_notebook(NAME, lab.folder, until=until, replace=longer)
    lab.open(NAME)
    lab.run_all()
    lab.screenshot("monitor_ready")
    assert lab.errors() == []
    return lab.page.locator(PANEL).first


def steps(lab):
    return lab.evaluate("len(run.records)")


def test_start_moves_bar_curves_and_numbers(lab, panel):
    button(panel, "Start").click()
    wait_for(lambda: steps(lab) > 20)
    image = panel.locator("img")
    before = image.get_attribute("src")
    wait_for(lambda: image.get_attribute("src") != before)
    wait_for(lambda: panel.get_by_text("accuracy 0.").count())
    assert "Loss, metrics, learning rate" in image.get_attribute("alt")
    lab.screenshot("monitor_running")


def test_the_slider_changes_the_rate_of_the_next_step(lab, panel):
    old = lab.evaluate("run.learning_rate")
    handle = panel.locator(".noUi-handle").first
    # Ten would do, but for one that meets the schedule's own next rate on its way.
    for _ in range(14):
        handle.press("ArrowLeft")

    def has_come_to_rest():
        before = lab.evaluate("monitor._rate.value")
        lab.page.wait_for_timeout(500)  # the page sends one key's change after another
        return before < old / 3 and lab.evaluate("monitor._rate.value") == before

    wait_for(has_come_to_rest)
    last = wait_for(
        lambda: lab.evaluate(
            "run.changes and run.changes[-1].new == monitor.learning_rate"
            " and (run.changes[-1].step, run.changes[-1].new)"
        )
    )
    step = last[0]
    wait_for(lambda: steps(lab) > step)
    used = lab.evaluate(f"run.records.learning_rate[{step - 1}:{step + 1}].tolist()")
    assert used == pytest.approx([last[1]] * 2, rel=1e-6)
    assert lab.evaluate("monitor.learning_rate") == pytest.approx(last[1], rel=1e-6)


def test_pause_stops_the_counter_and_resume_moves_it(lab, panel):
    button(panel, "Pause").click()
    wait_for(lambda: lab.evaluate("run.state") == "paused")
    stood = steps(lab)
    time.sleep(1)
    assert steps(lab) == stood
    wait_for(
        lambda: f"Paused · step {stood}" in panel.get_by_role("status").inner_text()
    )
    lab.screenshot("monitor_paused")
    button(panel, "Resume").click()
    wait_for(lambda: steps(lab) > stood)


def test_stop_ends_with_a_usable_model(lab, panel):
    button(panel, "Stop").click()
    wait_for(lambda: lab.evaluate("run.state") == "stopped")
    wait_for(lambda: "Stopped" in panel.get_by_role("status").inner_text())
    _, accuracy = lab.evaluate("run.model.evaluate(x_test, y_test, verbose=0)")
    assert accuracy > 0.8
    assert lab.evaluate("history.history['val_accuracy'][-1]") > 0.97
    assert button(panel, "Start").is_disabled()


def test_the_last_state_is_what_is_shown(lab, panel):
    done = steps(lab)
    wait_for(lambda: f"step {done} of" in panel.get_by_role("status").inner_text())
    wait_for(lambda: f"over {done} steps" in panel.locator("img").get_attribute("alt"))


def test_no_request_leaves_the_machine(lab, panel):
    assert lab.requests_outside() == []

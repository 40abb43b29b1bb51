"""Clip Lab, driven by a mouse in JupyterLab while a copy of a model trains."""

import time

import pytest

from tests.browser.lab import PANEL, button, wait_for

NAME = "clip_lab.ipynb"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

from workbench import data
from workbench.widgets.clip_lab import ClipLab


def build(rate, length=20):
    keras.utils.set_random_seed(4)
    layers = [keras.layers.SimpleRNN(20), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((length, 2)), *layers])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


my_model, my_data = build(0.2), data.sample_adding_problem(4000, 20)
weights = [weight.tolist() for weight in my_model.get_weights()]
"""
LAB = """
lab = ClipLab(my_model, my_data, epochs=1000, batch_size=20)
lab
"""


@pytest.fixture(scope="module")
def panel(lab):
    """A notebook with Clip Lab on a net that explodes, and the panel on its page."""
    lab.run_notebook(NAME, SETUP, LAB)
    lab.show("clip_lab_ready")
    return lab.page.locator(PANEL).first


def status(panel):
    return panel.get_by_role("status").inner_text()


def test_nan_is_told_in_words_with_a_way_on(lab, panel):
    button(panel, "Start").click()
    alert = panel.get_by_role("alert").first
    alert.wait_for()
    text = alert.inner_text()
    assert "NaN or Inf at step" in text
    assert "The gradient had exploded" in text
    wait_for(lambda: "Paused" in status(panel))
    wait_for(lambda: "Inf at step" in panel.locator("img").get_attribute("alt"))
    lab.show("clip_lab_nan")
    button(panel, "and start again").click()
    wait_for(lambda: lab.evaluate("len(lab.run.records)") > 30)
    assert lab.evaluate("lab.method") == "by global norm"
    wait_for(lambda: panel.get_by_role("alert").count() == 0)


def test_the_slider_acts_on_the_next_step_of_the_running_training(lab, panel):
    old = lab.evaluate("lab.threshold")
    handle = panel.locator(".noUi-handle").first
    for _ in range(20):
        handle.press("ArrowLeft")
    # The page sends what it can; the last value counts.
    wait_for(lambda: lab.evaluate("lab.threshold") < old / 2)
    time.sleep(1)
    step, new = wait_for(
        lambda: lab.evaluate(
            "lab.run.changes[-1].new == lab.threshold"
            " and (lab.run.changes[-1].step, lab.run.changes[-1].new)"
        )
    )
    wait_for(lambda: lab.evaluate("len(lab.run.records)") > step + 200)
    assert lab.evaluate("lab.run.state") == "running"
    first = lab.evaluate("lab.run.changes[0].step")
    norms = "max((r.norm_after[{}].astype('float64') ** 2).sum(1) ** 0.5)"
    within = "(lambda r: {})(lab.run.layers)"
    before = lab.evaluate(within.format(norms.format(f"r.step < {first}")))
    after = lab.evaluate(within.format(norms.format(f"r.step >= {step}")))
    assert before == pytest.approx(old, rel=1e-3)
    assert after == pytest.approx(new, rel=1e-3)
    assert lab.evaluate("lab.threshold") == pytest.approx(new, rel=1e-6)
    wait_for(lambda: "of the steps clipped" in status(panel))
    image = panel.locator("img").first
    shown = image.get_attribute("src")
    wait_for(lambda: image.get_attribute("src") != shown)
    lab.show("clip_lab_running")


def test_pause_resume_and_stop(lab, panel):
    button(panel, "Pause").click()
    wait_for(lambda: lab.evaluate("lab.run.state") == "paused")
    stood = lab.evaluate("len(lab.run.records)")
    time.sleep(0.5)
    assert lab.evaluate("len(lab.run.records)") == stood
    button(panel, "Resume").click()
    wait_for(lambda: lab.evaluate("len(lab.run.records)") > stood)
    button(panel, "Stop").click()
    wait_for(lambda: "Stopped" in status(panel))
    wait_for(lambda: button(panel, "Stop").is_disabled())
    wait_for(lambda: not button(panel, "Start").is_disabled())


def test_methods_train_side_by_side(lab, panel):
    lab.evaluate("lab._arguments.update(epochs=1)")
    panel.get_by_role("listbox").select_option(
        ["no clipping", "by norm", "by global norm", "ZClip"]
    )
    wait_for(lambda: lab.evaluate("len(lab.chosen)") == 4)
    button(panel, "Compare methods").click()
    wait_for(lambda: panel.locator("table").count())
    rows = panel.locator("table tbody tr")
    wait_for(lambda: rows.count() == 4)
    assert "diverged" in rows.first.inner_text()
    assert "finished" in rows.nth(1).inner_text()
    wait_for(lambda: panel.locator("img").count() == 2)
    lab.page.locator(f"{PANEL} table").evaluate("node => node.scrollIntoView()")
    lab.screenshot("clip_lab_compared")


def test_the_model_itself_is_as_it_was(lab, panel):
    same = "[w.tolist() for w in my_model.get_weights()] == weights"
    assert lab.evaluate(same)
    assert lab.evaluate("lab.error") == ""


def test_no_request_leaves_the_machine(lab, panel):
    assert lab.requests_outside() == []

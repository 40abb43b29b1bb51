"""Schedule Studio, driven by a mouse in JupyterLab while a copy of a model trains."""

import pytest

from tests.browser.lab import PANEL, button, wait_for

NAME = "schedule_studio.ipynb"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

from workbench import data
from workbench.widgets import ScheduleStudio

keras.utils.set_random_seed(0)
hidden = [keras.layers.Flatten(), keras.layers.Dense(64, "tanh")]
my_model = keras.Sequential([keras.Input((28, 28)), *hidden, keras.layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
sgd = keras.optimizers.SGD(0.1, momentum=0.9)
my_model.compile(sgd, loss, metrics=["accuracy"])
(x, y), _ = data.load_mnist()
weights = [weight.tolist() for weight in my_model.get_weights()]
"""
STUDIO = """
studio = ScheduleStudio(my_model, (x[:1600], y[:1600]), epochs=400)
studio
"""


@pytest.fixture(scope="module")
def panel(lab):
    """A notebook with the panel, and the panel on its page."""
    lab.run_notebook(NAME, SETUP, STUDIO)
    lab.show("schedule_studio_ready")
    return lab.page.locator(PANEL).first


def picture(panel):
    return panel.locator("img").first.get_attribute("src")


def fill(panel, label, value):
    field = panel.get_by_label(label, exact=True)
    field.fill(value)
    field.press("Tab")


def test_an_edited_schedule_is_previewed(lab, panel):
    before = picture(panel)
    panel.get_by_label("Schedule", exact=True).select_option("exponential decay")
    wait_for(lambda: lab.evaluate("studio.schedule") == "exponential decay")
    wait_for(lambda: picture(panel) != before)
    before = picture(panel)
    fill(panel, "decay_steps", "2500")
    wait_for(lambda: lab.evaluate("studio.settings['decay_steps']") == 2500)
    wait_for(lambda: picture(panel) != before)
    image = panel.locator("img").first
    assert "exponential decay, the one that is used" in image.get_attribute("alt")
    lab.show("schedule_studio_edited")


def test_what_is_impossible_is_told_and_taken_back(lab, panel):
    fill(panel, "initial_learning_rate", "-1")
    alert = panel.get_by_role("alert").first
    alert.wait_for()
    assert "`schedule` must give finite rates" in alert.inner_text()
    field = panel.get_by_label("initial_learning_rate", exact=True)
    wait_for(lambda: field.input_value() == "0.1")
    lab.show("schedule_studio_refused")
    fill(panel, "decay_rate", "0.9")
    wait_for(lambda: lab.evaluate("studio.settings['decay_rate']") == 0.9)
    wait_for(lambda: panel.get_by_role("alert").count() == 0)


def test_the_training_follows_what_is_edited(lab, panel):
    button(panel, "Start").click()
    wait_for(lambda: lab.evaluate("studio.step") > 20)
    fill(panel, "initial_learning_rate", "0.02")
    step = wait_for(
        lambda: lab.evaluate("bool(studio.run.changes) and studio.run.changes[-1].step")
    )
    wait_for(lambda: lab.evaluate("studio.branches[-1].step") > step + 5)
    rates = lab.evaluate("studio.branches[-1].series('learning_rate').tolist()")
    assert rates[step - 2] == pytest.approx(0.1 * 0.9 ** ((step - 2) / 2500), rel=1e-4)
    assert rates[step] == pytest.approx(0.02 * 0.9 ** (step / 2500), rel=1e-4)
    before = picture(panel)
    wait_for(lambda: picture(panel) != before)
    lab.show("schedule_studio_training")


def test_the_slider_decides_the_rate_by_hand(lab, panel):
    handle = panel.locator(".noUi-handle").first
    for _ in range(10):
        handle.press("ArrowRight")
    wait_for(lambda: lab.evaluate("studio.run.changes[-1].schedule") == "")
    wait_for(
        lambda: lab.evaluate(
            "abs(studio.run.changes[-1].new / studio.learning_rate - 1) < 1e-6"
        )
    )
    assert lab.evaluate("studio.learning_rate") > 0.022
    button(panel, "Give back").click()
    kind = "studio.run.changes[-1].schedule"
    wait_for(lambda: lab.evaluate(kind) == "ExponentialDecay")


def test_going_back_draws_both_ways(lab, panel):
    button(panel, "Stop").click()
    wait_for(lambda: "Stopped" in panel.get_by_role("status").inner_text())
    handles = panel.locator(".noUi-handle")
    handles.last.press("Home")
    for _ in range(12):
        handles.last.press("ArrowRight")
    wait_for(lambda: lab.evaluate("studio.rewind_step") == 12)
    fill(panel, "then with rate (0: as it was)", "0.5")
    wait_for(lambda: lab.evaluate("studio.rewind_rate") == 0.5)
    button(panel, "Go back").click()
    wait_for(lambda: lab.evaluate("len(studio.branches)") == 2)
    wait_for(lambda: lab.evaluate("studio.branches[-1].step") > 40)
    button(panel, "Stop").click()
    wait_for(lambda: "went back at step 12" in panel.get_by_role("status").inner_text())
    wait_for(lambda: lab.evaluate("studio.state") == "stopped")
    drawn = f"{lab.evaluate('studio.step')} steps in 2 branches"
    wait_for(lambda: drawn in panel.locator("img").first.get_attribute("alt"))
    same = "(lambda a, b: (a[:13] == b[:13]).all() and (a[13:30] != b[13:30]).all())"
    losses = "studio.branches[0].series('loss'), studio.branches[1].series('loss')"
    assert lab.evaluate(f"bool({same}({losses}))")
    lab.show("schedule_studio_branches")


def test_the_model_itself_is_as_it_was(lab, panel):
    same = "[w.tolist() for w in my_model.get_weights()] == weights"
    assert lab.evaluate(same)
    assert lab.evaluate("studio.error") == ""


def test_no_request_leaves_the_machine(lab, panel):
    assert lab.requests_outside() == []

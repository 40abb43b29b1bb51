"""Strength Map, driven by a mouse in JupyterLab while a copy of a model trains."""

import pytest

from tests.browser.lab import PANEL, button, wait_for

NAME = "strength_map.ipynb"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

from workbench import data
from workbench.widgets import StrengthMap

keras.utils.set_random_seed(0)
hidden = [keras.layers.Flatten(), keras.layers.Dense(64, "tanh")]
my_model = keras.Sequential([keras.Input((28, 28)), *hidden, keras.layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
my_model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
(x, y), held_out = data.load_mnist()
"""
MAP = """
panel = StrengthMap(my_model, (x[:1500], y[:1500]), epochs=1000, seeds=(0, 1),
                    strengths={"L1": (1e-4, 1e-2), "L2": (1e-3, 1e-1)},
                    validation_data=held_out)
panel
"""


@pytest.fixture(scope="module")
def panel(lab):
    """A notebook with the panel, and the panel on its page."""
    lab.run_notebook(NAME, SETUP, MAP)
    return lab.page.locator(PANEL).first


def test_a_strength_moved_during_a_run_is_paid_by_the_next_step(lab, panel):
    button(panel, "Start").click()
    wait_for(lambda: lab.evaluate("panel.run is not None and panel.step") > 20)
    old = lab.evaluate("panel.strength")
    handle = panel.locator(".noUi-handle").first
    for _ in range(20):
        handle.press("ArrowRight")
    # The page sends what it can; the last value counts.
    wait_for(lambda: lab.evaluate("panel.strength") > 2 * old)
    new = wait_for(
        lambda: lab.evaluate(
            "bool(panel.run.changes) and"
            " abs(panel.run.changes[-1].new / panel.strength - 1) < 1e-6"
            " and panel.strength"
        )
    )
    step = lab.evaluate("panel.run.changes[-1].step")
    wait_for(lambda: lab.evaluate("len(panel.run.records)") > step + 20)
    # The norms after a step are what the next step pays for.
    paid, norms = lab.evaluate(
        "(lambda r: (float(r.penalty[{0}]), r.norms[{0} - 1].tolist()))"
        "(panel._recorder.records)".format(step - 1)
    )
    assert paid == pytest.approx(new * sum(n**2 for n in norms), rel=1e-3)
    assert "penalty" in panel.get_by_role("status").inner_text()
    image = panel.locator("img").first
    shown = image.get_attribute("src")
    wait_for(lambda: image.get_attribute("src") != shown)
    lab.show("strength_map_running")
    button(panel, "Stop").click()
    wait_for(lambda: "Stopped" in panel.get_by_role("status").inner_text())


def test_the_map_is_drawn_on_the_page(lab, panel):
    lab.evaluate("panel._arguments.update(epochs=2)")
    button(panel, "Draw the map").click()
    wait_for(lambda: panel.locator("img").count() == 2)
    assert "L1, L2, dropout" in panel.locator("img").nth(1).get_attribute("alt")
    assert lab.evaluate("panel.error") == ""
    panel.locator("img").nth(1).evaluate("node => node.scrollIntoView()")
    lab.screenshot("strength_map_drawn")

"""The activation explorer, driven by a mouse in JupyterLab."""

import pytest

from tests.browser.lab import wait_for

NAME = "activation_explorer.ipynb"
ROOT = ".workbench-tiles"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

import numpy as np

from workbench import data
from workbench.widgets import ActivationExplorer

keras.utils.set_random_seed(0)
(digits, _), _ = data.load_mnist()
cnn = keras.Sequential(
    [
        keras.Input((28, 28)),
        keras.layers.Reshape((28, 28, 1), name="image"),
        keras.layers.Conv2D(8, 3, activation="relu", name="conv"),
        keras.layers.MaxPool2D(name="pool"),
        keras.layers.Conv2D(16, 3, activation="relu", name="deeper"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(10, name="logits"),
    ]
)
"""
CNN = """
panel = ActivationExplorer(cnn, digits[:300])
panel
"""
SEQUENCES = """
lstm = keras.Sequential(
    [keras.Input((40, 6)), keras.layers.LSTM(16, return_sequences=True, name="lstm"),
     keras.layers.Dense(4, name="dense")]
)
time = np.sin(np.arange(40)[:, None] / np.arange(2, 8))
steps = ActivationExplorer(lstm, np.stack([time, -time]).astype("float32"))
steps.layer = "lstm"
steps
"""
ATTENTION = """
words = keras.Input((12,), dtype="int32", name="words")
x = keras.layers.Embedding(50, 16, name="embedding")(words)
attended = keras.layers.MultiHeadAttention(4, 4, name="attention")(x, x)
x = keras.layers.LayerNormalization(name="norm")(x + attended)
x = x + keras.layers.Dense(16, name="project")(
    keras.layers.Dense(64, activation="gelu", name="expand")(x))
block = keras.Model(words, x)
tokens = np.arange(48, dtype="int32").reshape(4, 12)
heads = ActivationExplorer(block, tokens)
heads.layer = "attention/attention_scores"
heads
"""
BAD = """
class Bad(keras.layers.Layer):
    def call(self, x):
        field = np.arange(3600, dtype="float32").reshape(1, 30, 30, 4) % 7
        field[0, 3, 4, 1], field[0, 5, 6, 2] = np.nan, 1e6
        return keras.ops.convert_to_tensor(field) + 0 * keras.ops.sum(x)


model = keras.Sequential([keras.Input((2,)), Bad(name="bad")])
bad = ActivationExplorer(model, np.ones((1, 2), "float32"))
bad
"""


@pytest.fixture(scope="module")
def page(lab):
    """A notebook with explorers of a CNN, an LSTM, a transformer, a bad layer."""
    lab.run_notebook(NAME, SETUP, CNN, SEQUENCES, ATTENTION, BAD)
    return lab.page


@pytest.fixture
def explorer(page, request):
    """The place in the page of the explorer of number `request.param`."""
    place = page.locator(ROOT).nth(request.param)
    place.evaluate("node => node.scrollIntoView({block: 'center'})")
    return place


CNN_PLACE, LSTM_PLACE, ATTENTION_PLACE, BAD_PLACE = (
    pytest.mark.parametrize("explorer", [i], indirect=True) for i in range(4)
)


def item(explorer, key):
    return explorer.locator(f'[role="treeitem"][data-key="{key}"]')


def choose(lab, explorer, panel, key):
    """Clicks a layer and waits until it is drawn."""
    before = explorer.get_attribute("data-drawn")
    item(explorer, key).click()
    wait_for(lambda: explorer.get_attribute("data-drawn") != before)
    assert lab.evaluate(f"{panel}.layer") == key


def place_of(lab, explorer, panel, unit, row, column):
    """Where a value lies on the canvas, in CSS pixels from its corner."""
    (units, rows, columns), across = lab.evaluate(
        f"({panel}._view.canvas.shape, {panel}._view.canvas.layout_columns)"
    )
    box = explorer.locator("canvas").bounding_box()
    size = box["width"] / (across * columns)
    tall = box["height"] / (-(-units // across) * rows)
    x = ((unit % across) * columns + column + 0.5) * size
    return {"x": x, "y": ((unit // across) * rows + row + 0.5) * tall}


def pixel(explorer, place):
    """The colour that is drawn there, `[red, green, blue]`."""
    return explorer.locator("canvas").evaluate(
        """(canvas, place) => {
            const ratio = canvas.width / canvas.getBoundingClientRect().width;
            const at = [place.x * ratio, place.y * ratio].map(Math.floor);
            const context = canvas.getContext("2d");
            return [...context.getImageData(...at, 1, 1).data].slice(0, 3);
        }""",
        place,
    )


def expected(lab, panel, unit, row, column):
    """The colour that Python gives the value, and the value."""
    code = (
        "(lambda r: (__import__('workbench.plots.tiles').plots.tiles.colorize("
        "r.maps.values[0], r.limits({0}.scale)[0], signed=r.limits({0}.scale)[1])"
        "[{1}].tolist(), float(r.maps.values[0][{1}])))({0}._reading)"
    )
    return lab.evaluate(code.format(panel, f"{unit}, {row}, {column}"))


@CNN_PLACE
def test_another_layer_is_drawn_as_python_colors_it(lab, page, explorer):
    choose(lab, explorer, "panel", "pool")
    for scale in ("unit", "global", "layer"):
        before = explorer.get_attribute("data-drawn")
        page.get_by_role("button", name=scale).first.click()
        wait_for(lambda: explorer.get_attribute("data-drawn") != before)  # noqa: B023
        assert lab.evaluate("panel.scale") == scale
        for where in ((0, 6, 5), (3, 4, 7), (7, 8, 6)):
            color, _ = expected(lab, "panel", *where)
            assert pixel(explorer, place_of(lab, explorer, "panel", *where)) == color
    lab.screenshot("activations_cnn")


@CNN_PLACE
def test_hover_says_index_and_value(lab, page, explorer):
    choose(lab, explorer, "panel", "conv")
    place = place_of(lab, explorer, "panel", 5, 12, 10)
    explorer.locator("canvas").hover(position=place)
    status = explorer.get_by_role("status")
    wait_for(lambda: "channel 5, row 12, column 10:" in status.inner_text())
    wait_for(lambda: "about" not in status.inner_text())
    _, value = expected(lab, "panel", 5, 12, 10)
    shown = float(status.inner_text().rsplit(":", 1)[1])
    assert shown == pytest.approx(value, rel=1e-5, abs=1e-9)


@CNN_PLACE
def test_a_click_on_a_unit_finds_its_strongest_inputs(lab, page, explorer):
    choose(lab, explorer, "panel", "deeper")
    place = place_of(lab, explorer, "panel", 9, 5, 5)
    explorer.locator("canvas").click(position=place)
    wait_for(lambda: len(lab.evaluate("panel.strongest")) == 8)
    assert lab.evaluate("panel.unit") == 9
    peaks = lab.evaluate(
        "keras.Model(cnn.inputs, cnn.layers[3].output)(digits[:300]).numpy()"
        "[..., 9].max((1, 2)).tolist()"
    )
    found = lab.evaluate("panel.strongest")
    assert [value for _, value in found] == pytest.approx(
        sorted(peaks)[:-9:-1], rel=1e-5
    )
    best = max(range(300), key=peaks.__getitem__)
    lab.screenshot("activations_strongest")
    page.get_by_role("button", name=f"{best}: ").first.click()
    wait_for(lambda: lab.evaluate("panel.image") == best)


@CNN_PLACE
def test_training_and_input_are_taken_over(lab, page, explorer):
    before = explorer.get_attribute("data-drawn")
    page.get_by_role("checkbox", name="As in training").first.check()
    wait_for(lambda: lab.evaluate("panel.training"))
    wait_for(lambda: explorer.get_attribute("data-drawn") != before)
    before = explorer.get_attribute("data-drawn")
    page.locator(".noUi-handle").first.press("ArrowRight")
    wait_for(lambda: explorer.get_attribute("data-drawn") != before)
    assert lab.evaluate("panel.error") == ""


@LSTM_PLACE
def test_a_sequence_is_a_row_for_each_unit(lab, page, explorer):
    choose(lab, explorer, "steps", "lstm/lstm_cell[1][1]")
    where = 7, 0, 25
    place = place_of(lab, explorer, "steps", *where)
    color, _ = expected(lab, "steps", *where)
    assert pixel(explorer, place) == color
    explorer.locator("canvas").hover(position=place)
    status = explorer.get_by_role("status")
    wait_for(lambda: status.inner_text().startswith("unit 7, step 25:"))
    lab.screenshot("activations_lstm")
    item(explorer, "lstm").locator(".fold").click()
    assert not item(explorer, "lstm/lstm_cell[1][1]").is_visible()


@ATTENTION_PLACE
def test_attention_scores_are_a_map_for_each_head(lab, page, explorer):
    choose(lab, explorer, "heads", "norm")
    choose(lab, explorer, "heads", "attention/attention_scores")
    place = place_of(lab, explorer, "heads", 2, 3, 4)
    explorer.locator("canvas").hover(position=place)
    status = explorer.get_by_role("status")
    wait_for(lambda: "head 2, query 3, key 4:" in status.inner_text())
    assert item(explorer, "attention/softmax").get_attribute("aria-disabled")
    lab.screenshot("activations_attention")


@BAD_PLACE
def test_nan_and_outliers_have_colors_of_their_own(lab, page, explorer):
    nan = pixel(explorer, place_of(lab, explorer, "bad", 1, 3, 4))
    beyond = pixel(explorer, place_of(lab, explorer, "bad", 2, 5, 6))
    assert (nan, beyond) == ([255, 0, 255], [0, 229, 255])
    legend = explorer.locator(".scale").inner_text()
    assert "1 NaN" in legend
    assert "1 outlier" in legend
    lab.screenshot("activations_bad")


def test_no_request_leaves_the_machine(lab, page):
    assert lab.requests_outside() == []

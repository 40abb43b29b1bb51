"""Tests of ActivationExplorer and of what it draws, driven from Python."""

import base64
import re
import threading

import keras
import nbformat
import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances
from keras import layers
from nbconvert import HTMLExporter

from tests import models
from tests.waiting import wait_for
from workbench import data
from workbench.activations import capture
from workbench.activations.maps import maps_of, outputs_of
from workbench.activations.strongest import strongest_inputs, unit_peaks
from workbench.plots import tiles
from workbench.plots.activations import (
    plot_output,
    plot_overlays,
    plot_tiles,
    to_picture,
)
from workbench.widgets import activation_reading
from workbench.widgets.activation_explorer import ActivationExplorer
from workbench.widgets.activation_view import list_layers


@pytest.fixture(scope="module")
def digits():
    (x, _), _ = data.load_mnist()
    return x[:70]


@pytest.fixture(scope="module")
def cnn():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Reshape((28, 28, 1), name="image"),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.MaxPool2D(name="pool"),
            layers.Conv2D(16, 3, activation="relu", name="deeper"),
            layers.Flatten(name="flat"),
            layers.Dense(10, name="logits"),
        ]
    )


@pytest.fixture
def make_panel(closed_after):
    return lambda *args, **kwargs: closed_after(ActivationExplorer(*args, **kwargs))


def shown(panel):
    """The maps as the page gets them, `(units, rows, columns)`, roughly."""
    canvas = panel._view.canvas
    codes = np.frombuffer(canvas.codes, "uint8").reshape(canvas.shape)
    assert codes.max() < tiles.NUM_COLORS
    low, high = (
        np.frombuffer(canvas.limits, "float32").reshape(-1, 2).T[:, :, None, None]
    )
    return low + (high - low) * codes / (tiles.NUM_COLORS - 1)


def matches(panel, values):
    """Whether the page gets these values, to half a color."""
    step = np.ptp(np.frombuffer(panel._view.canvas.limits, "float32")) / 252
    return np.abs(shown(panel) - values).max() <= 0.51 * step


# Maps


@pytest.mark.parametrize(
    ("shape", "kind", "maps", "names"),
    [
        ((2,), "", (2, 1, 1, 1), ("unit", "", "")),
        ((2, 5), "Dense", (2, 5, 1, 1), ("unit", "", "")),
        ((2, 7, 5), "LSTM", (2, 5, 1, 7), ("unit", "", "step")),
        ((2, 7, 5), "input", (2, 1, 7, 5), ("input", "row", "column")),
        ((2, 7, 6, 5), "Conv2D", (2, 5, 7, 6), ("channel", "row", "column")),
        ((2, 3, 7, 6, 5), "Conv3D", (2, 5, 21, 6), ("channel", "row", "column")),
        ((2, 3, 7, 6), "attention scores", (2, 3, 7, 6), ("head", "query", "key")),
        ((2, 7, 6), "attention scores", (2, 1, 7, 6), ("head", "query", "key")),
        ((2, 3, 4, 7, 6), "attention scores", (2, 3, 28, 6), ("head", "query", "key")),
    ],
)
def test_outputs_are_arranged_by_unit(shape, kind, maps, names):
    array = np.arange(np.prod(shape), dtype="float64").reshape(shape)
    found = maps_of(array, kind)
    assert (found.values.shape, found.names) == (maps, names)
    assert found.values.dtype == "float32"
    assert found.values.flags.c_contiguous
    assert sorted(found.values.ravel()) == sorted(array.ravel())
    assert found.is_sequence == (names[2] == "step")
    assert bool(found.note) == (len(shape) > 4)


def test_a_map_holds_what_the_layer_put_out():
    array = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    values = maps_of(array, "Conv2D").values
    for channel in range(3):
        np.testing.assert_array_equal(values[:, channel], array[..., channel])
    deep = np.random.default_rng(0).normal(size=(1, 2, 4, 5, 3)).astype("float32")
    values = maps_of(deep, "Conv3D").values
    np.testing.assert_array_equal(values[0, 1, 4:], deep[0, 1, :, :, 1])


def test_numbers_of_every_kind_are_drawn_and_others_refused():
    assert maps_of(np.array(3)).values.tolist() == [[[[3.0]]]]
    assert maps_of(np.array([[True, False]])).values.ravel().tolist() == [1.0, 0.0]
    found = maps_of(np.array([[3 + 4j]]))
    assert (found.values.ravel().tolist(), found.note != "") == ([5.0], True)
    half = keras.ops.convert_to_numpy(keras.ops.ones((1, 2), "bfloat16"))
    assert maps_of(half).values.ravel().tolist() == [1.0, 1.0]
    with pytest.raises(TypeError, match="must hold numbers to be drawn"):
        maps_of(np.array([["a"]]))


# Colors and places


def test_limits_of_ordinary_values_are_their_ends():
    values = np.random.default_rng(0).random((5, 20, 20)).astype("float32")
    assert tiles.find_limits(values) == (values.min(), values.max())
    values -= 0.3
    assert tiles.find_limits(values) == (-values.max(), values.max())
    each = tiles.find_unit_limits(values)
    np.testing.assert_array_equal(each[:, 1], np.abs(values).max((1, 2)))
    np.testing.assert_array_equal(each[:, 0], -each[:, 1])


def test_an_outlier_does_not_stretch_the_scale():
    values = np.random.default_rng(0).random(1000).astype("float32")
    values[[3, 4, 5]] = 1e6, np.inf, np.nan
    low, high = tiles.find_limits(values)
    assert low >= 0
    assert 1 < high <= 3
    # Ten values are too few to tell what is ordinary.
    assert tiles.find_limits(np.float32([0, 0, 1e6])) == (0, 1e6)


def test_zeros_do_not_make_outliers_of_the_rest():
    values = np.zeros((4, 50, 50), "float32")
    values[:, ::5, ::5] = np.random.default_rng(0).exponential(size=(4, 10, 10))
    colors = tiles.colorize(values, tiles.find_unit_limits(values), signed=False)
    assert not (colors == tiles.OUTLIER_COLOR).all(-1).any()


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("value", [0.0, 2.0, np.nan])
def test_constant_and_unknown_values_have_limits(value, signed):
    low, high = tiles.find_limits(np.full(200, value, "float32"), signed=signed)
    assert np.isfinite([low, high]).all()
    assert low < high


def test_global_limits_hold_every_layer():
    arrays = [np.float32([0, 1]), np.float32([[-3, 2]]), np.float32([5, 6])]
    assert tiles.find_common_limits(arrays) == (-6.0, 6.0, True)
    assert tiles.find_common_limits([arrays[0], arrays[2]]) == (0.0, 6.0, False)


def test_colors_are_those_of_matplotlib_and_marks_stand_out():
    import matplotlib as mpl

    values = np.float32([0, 0.25, 1, np.nan, 2, -1]).reshape(1, 1, 6)
    colors = tiles.colorize(values, np.float32([[0, 1]]), signed=False)[0, 0]
    table = mpl.colormaps["viridis"]
    for color, share in zip(colors, (0.0, 0.25, 1.0), strict=False):
        np.testing.assert_allclose(color / 255, table(share)[:3], atol=0.02)
    assert colors[3:].tolist() == [
        list(tiles.NAN_COLOR),
        list(tiles.OUTLIER_COLOR),
        list(tiles.OUTLIER_COLOR),
    ]


def test_codes_are_spread_evenly_and_zero_is_in_the_middle():
    limits = np.float32([[-2, 2], [0, 1]])
    values = np.float32([[[-2, 0, 2, 2.1, np.nan]], [[0, 0.5, 1, -np.inf, np.inf]]])
    assert tiles.encode(values, limits).tolist() == [
        [[0, 126, 252, tiles.OUTLIER_CODE, tiles.NAN_CODE]],
        [[0, 126, 252, tiles.OUTLIER_CODE, tiles.OUTLIER_CODE]],
    ]
    middle = tiles.color_table(True)[126]
    assert (middle > 240).all()


def test_tiles_lie_beside_and_below_one_another():
    pictures = np.arange(5, dtype="uint8")[:, None, None, None] * np.ones(
        (1, 2, 3, 3), "uint8"
    )
    whole = tiles.tile(pictures, 2)
    assert whole.shape == (6, 6, 3)
    for i in range(5):
        place = whole[2 * (i // 2) : 2 * (i // 2) + 2, 3 * (i % 2) : 3 * (i % 2) + 3]
        assert (place == i).all()
    assert (whole[4:, 3:] == 255).all()


@pytest.mark.parametrize(("units", "columns"), [(1, 1), (4, 2), (12, 4), (512, 26)])
def test_square_maps_fill_the_room(units, columns):
    maps = maps_of(np.zeros((1, 8, 8, units), "float32"))
    assert tiles.count_columns(maps) == columns
    assert tiles.count_columns(maps_of(np.zeros((1, 9, units)))) == 1


def test_thumbnails_of_pictures_only():
    for shape in ((28, 28), (28, 28, 1), (20, 30, 3), (300, 300)):
        picture = tiles.thumbnail(np.random.default_rng(0).random(shape))
        assert picture.startswith(b"\x89PNG")
    assert tiles.thumbnail(np.zeros(4)) is None
    assert tiles.thumbnail(np.zeros((40, 6))) is None  # a sequence
    assert tiles.thumbnail(np.zeros((4, 4, 2))) is None
    assert tiles.thumbnail(np.full((2, 2), "a")) is None


# The strongest inputs


def test_strongest_inputs_are_those_of_numpy(cnn, digits):
    inner = keras.Model(cnn.inputs[0], cnn.layers[1].output)
    peaks = inner(digits).numpy().max((1, 2))
    found = unit_peaks(cnn, digits, "conv", batch_size=32)
    np.testing.assert_allclose(found, peaks, rtol=1e-5, atol=1e-7)
    best = strongest_inputs(cnn, digits, "conv", 3, count=4)
    assert [i for i, _ in best] == np.argsort(-peaks[:, 3], kind="stable")[:4].tolist()


def test_strongest_inputs_of_states_and_of_bad_names(digits):
    keras.utils.set_random_seed(0)
    model = models.lstm()
    name = next(n for n in outputs_of(capture(model, digits[:1])) if "cell" in n)
    path = name.split("[")[0]
    peaks = unit_peaks(model, digits, f"{path}[1][0]")
    states = capture(model, digits)[path][1][0]
    np.testing.assert_allclose(peaks, states.max(1), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="nearest are"):
        strongest_inputs(model, digits, "lsmt", 0)
    with pytest.raises(ValueError, match="`layer` must be one of"):
        strongest_inputs(model, digits, path, 0)
    with pytest.raises(ValueError, match="`unit` must be >= 0 and below 32"):
        strongest_inputs(model, digits, f"{path}[0]", 32)


# The panel


def test_layer_and_image_show_what_the_model_computes(cnn, digits, make_panel):
    panel = make_panel(cnn, digits)
    assert panel.layer == "conv"
    for layer, image in (("conv", 0), ("pool", 0), ("pool", 7)):
        panel.layer, panel.image = layer, image
        expected = capture(cnn, digits[image : image + 1], layer)[layer][0]
        assert matches(panel, np.moveaxis(expected, -1, 0))
        assert panel._view.canvas.layer == layer
    panel.layer = "flat"
    assert shown(panel).shape == (1936, 1, 1)
    assert panel.error == ""


def test_scales_are_of_the_unit_the_layer_or_all_layers(cnn, digits, make_panel):
    panel = make_panel(cnn, digits)
    limits = {}
    for scale in tiles.SCALES:
        panel.scale = scale
        limits[scale] = np.frombuffer(panel._view.canvas.limits, "float32")
    maps = np.moveaxis(panel.outputs[panel.layer].array[0], -1, 0)
    units = limits["unit"].reshape(-1, 2)
    np.testing.assert_array_equal(units[:, 0], maps.min((1, 2)))
    np.testing.assert_array_equal(limits["layer"], [maps.min(), maps.max()])
    low, high = limits["global"]
    assert low == -high  # the logits are signed
    assert high >= max(np.abs(o.array).max() for o in panel.outputs.values())


def test_training_lets_dropout_act_and_leaves_no_trace(make_panel):
    keras.utils.set_random_seed(0)
    drop, norm = layers.Dropout(0.5), layers.BatchNormalization()
    model = keras.Sequential([keras.Input((40,)), drop, norm])
    before = [value.copy() for value in model.get_weights()]
    panel = make_panel(model, np.ones((3, 40), "float32"))
    panel.layer = drop.name
    values = panel._reading
    assert (values.maps.values == 1).all()
    panel.training = True
    assert set(np.unique(values.maps.values)) == {0.0, 2.0}
    assert set(np.unique(shown(panel))) == {0.0, 2.0}
    panel.training = False
    assert (values.maps.values == 1).all()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not model.compiled


def test_a_unit_finds_its_strongest_inputs_in_the_background(cnn, digits, make_panel):
    panel = make_panel(cnn, digits, batch_size=16)
    panel.layer = "deeper"
    panel.unit = 5
    wait_for(lambda: panel.strongest)
    expected = strongest_inputs(cnn, digits, "deeper", 5, count=8)
    assert [i for i, _ in panel.strongest] == [i for i, _ in expected]
    slot = panel._view.slots[0]
    assert bytes(slot.image.value).startswith(b"\x89PNG")
    slot.button.click()
    assert panel.image == expected[0][0]
    panel.layer = "conv"
    assert (panel.unit, panel.strongest) == (None, ())


def test_what_the_page_sends_is_taken_over(cnn, digits, make_panel):
    panel = make_panel(cnn, digits)
    panel._view.canvas.set_state({"layer": "logits"})
    panel._view.canvas.set_state({"unit": 9})
    assert (panel.layer, panel.unit) == ("logits", 9)
    panel._view.image.value = 3
    panel._view.scale.value = "unit"
    panel._view.training.value = True
    assert (panel.image, panel.scale, panel.training) == (3, "unit", True)


def test_the_page_is_told_the_value_it_asks_for(cnn, digits, make_panel):
    panel = make_panel(cnn, digits)
    canvas, sent = panel._view.canvas, []
    canvas.send = sent.append
    ask = {"ask": [3, 10, 12], "version": canvas.version}
    canvas._handle_custom_msg(ask, [])
    (answer,) = sent
    value = panel.outputs["conv"].array[0, 10, 12, 3]
    assert float(answer["text"]) == pytest.approx(value, rel=1e-5)
    assert answer["place"] == [3, 10, 12]
    panel.layer = "logits"
    canvas._handle_custom_msg(ask, [])  # what the page showed before
    assert len(sent) == 1


def test_refresh_sees_new_weights(make_panel, digits):
    keras.utils.set_random_seed(0)
    model = models.mlp()
    panel = make_panel(model, digits)
    panel.layer = "logits"
    panel.unit = 2
    wait_for(lambda: panel.strongest)
    model.get_layer("logits").bias.assign(np.full(10, 100.0))
    panel._view.again.click()
    assert shown(panel).min() > 50
    wait_for(lambda: panel.strongest)
    assert panel.strongest[0][1] > 50


def test_a_large_layer_is_shown_in_pages(cnn, digits, make_panel, monkeypatch):
    monkeypatch.setattr(activation_reading, "MOST_VALUES", 26 * 26 * 3)
    panel = make_panel(cnn, digits)
    whole = np.moveaxis(panel.outputs["conv"].array[0], -1, 0)
    assert matches(panel, whole[:3])
    panel.page = 2
    assert matches(panel, whole[6:])
    assert panel._view.canvas.first == 6
    panel.unit = 1
    assert panel.page == 0
    with pytest.raises(ValueError, match=r"`page` must be >= 0 and below 3"):
        panel.page = 3


def test_several_inputs_structures_and_missing_layers_are_listed(make_panel):
    class Odd(keras.Model):
        def __init__(self):
            super().__init__()
            self.used = layers.Dense(2, name="used")
            self.idle = layers.Dense(2, name="idle")
            self.idle.build((None, 3))

        def call(self, inputs):
            return self.used(inputs["a"]) + inputs["b"]

    x = {"a": np.ones((4, 3), "float32"), "b": np.ones((4, 2), "float32")}
    panel = make_panel(Odd(), x)
    lines = {line["key"]: line for line in panel._reading.lines}
    assert not lines["idle"]["shown"]
    assert "not called" in lines["idle"]["title"]
    assert panel.layer == "used"
    with pytest.raises(ValueError, match="`layer` must be one of"):
        panel.layer = "idle"


def test_the_tree_follows_the_paths():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="a")], name="in")
    outer = keras.Sequential([keras.Input((3,)), inner, layers.Dense(1, name="b")])
    outputs = outputs_of(capture(outer, np.ones((1, 3))))
    lines = list_layers(outputs, {"c": "why not"})
    assert [(r["key"], r["depth"], r["shown"], r["parent"]) for r in lines] == [
        ("in", 0, True, True),
        ("in/a", 1, True, False),
        ("b", 0, True, False),
        ("c", 0, False, False),
    ]


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("layer", "conv_2", r"nearest are \['conv'"),
        ("image", 70, r"`image` must be >= 0 and below 70 \(inputs\)"),
        ("image", -1, "Received: image=-1"),
        ("unit", 8, r"`unit` must be >= 0 and below 8 \(units of conv\)"),
        ("scale", "none", r"`scale` must be one of \['unit', 'layer', 'global'\]"),
    ],
)
def test_bad_values_are_refused(cnn, digits, make_panel, trait, value, message):
    panel = make_panel(cnn, digits)
    before = getattr(panel, trait)
    with pytest.raises(ValueError, match=message):
        setattr(panel, trait, value)
    assert getattr(panel, trait) == before


def test_bad_arguments_are_refused_and_leave_nothing(cnn, digits):
    before = set(_instances)
    for x, message in (
        (digits[:0], "of at least one input"),
        ([digits, digits[:3]], r"Received: lengths \[3, 70\]"),
        (digits[:, :5], "`x` must fit the model's inputs"),
        (iter([digits]), "take a batch of a dataset"),
    ):
        with pytest.raises(ValueError, match=message):
            ActivationExplorer(cnn, x)
    with pytest.raises(ValueError, match="`batch_size` must be >= 1"):
        ActivationExplorer(cnn, digits, batch_size=0)
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        ActivationExplorer(layers.Dense(3), digits)
    assert set(_instances) == before


def test_an_error_in_the_background_appears(cnn, digits, make_panel):
    panel = make_panel(cnn, digits)

    def broken(*_arguments, **_more):
        raise RuntimeError("out of order")

    panel._reading.peaks = broken
    panel.unit = 0
    wait_for(lambda: panel.error)
    assert panel.error == "RuntimeError: out of order"
    assert "could not be found" in panel._view.found.value
    panel.scale = "unit"
    assert panel.error == ""


def test_a_search_that_nobody_waits_for_ends(cnn, digits, make_panel):
    panel = make_panel(cnn, digits)
    begun, go_on = threading.Event(), threading.Event()
    ended = []
    peaks = panel._reading.peaks

    def slow(layer, *, training, progress):
        if layer == "conv":
            begun.set()
            assert go_on.wait(60)
            try:
                progress(0.5)
            except Exception as error:
                ended.append(type(error).__name__)
                raise
        return peaks(layer, training=training, progress=progress)

    panel._reading.peaks = slow
    panel.unit = 1
    assert begun.wait(60)
    panel.layer = "logits"
    panel.unit = 2
    go_on.set()
    wait_for(lambda: panel.strongest)
    assert ended == ["_EndedError"]
    assert panel.strongest[0] == strongest_inputs(cnn, digits, "logits", 2, count=1)[0]
    assert panel.error == ""


def test_close_ends_everything(cnn, digits):
    before = (set(_instances), threading.active_count())
    panel = ActivationExplorer(cnn, digits)
    panel.unit = 0
    panel.close()
    wait_for(lambda: threading.active_count() == before[1])
    assert set(_instances) == before[0]
    panel.close()


@pytest.mark.parametrize("layer", ["input_layer", "conv", "flat", "logits"])
def test_repr_is_stable_and_the_bundle_holds_a_picture(cnn, digits, make_panel, layer):
    panel = make_panel(cnn, digits)
    names = list(panel.outputs)
    panel.layer = names[0] if layer == "input_layer" else layer
    assert repr(panel) == "ActivationExplorer(model, x)"
    picture = base64.b64decode(panel._repr_mimebundle_()["image/png"])
    assert picture.startswith(b"\x89PNG")


def test_a_saved_page_shows_the_picture(cnn, digits, make_panel):
    bundle = make_panel(cnn, digits)._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=bundle)
    cell = nbformat.v4.new_code_cell("panel", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    shown = re.findall(r'<img[^>]* src="data:image/png;base64,([^"]+)"', page)
    assert [text.strip() for text in shown] == [bundle["image/png"]]
    # No script waits for a kernel in its place.
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] not in page


def test_the_picture_shows_the_maps_and_names_the_layer(cnn, digits, make_panel):
    panel = make_panel(cnn, digits)
    maps, (limits, signed) = panel._reading.maps, panel._reading.limits("layer")
    lines = ["input", "$conv", "dense"]
    figure = plot_tiles(maps, limits, signed=signed, title="a_b", lines=lines, chosen=1)
    left, right = figure.axes[:2]
    assert [text.get_text() for text in left.texts] == lines
    columns = tiles.count_columns(maps)
    expected = tiles.tile(
        tiles.colorize(maps.values[0], limits, signed=signed), columns
    )
    np.testing.assert_array_equal(right.images[0].get_array(), expected)
    assert to_picture(figure).startswith(b"\x89PNG")


def test_an_output_is_drawn_by_channel_step_or_head():
    rng = np.random.default_rng(0)
    for shape, kind, size in (
        ((2, 6, 5, 4), "Conv2D", (12, 10)),
        ((2, 9, 4), "LSTM", (4, 9)),
        ((2, 3, 6, 6), "attention scores", (12, 12)),
        ((2, 7), "Dense", (2, 4)),
        ((), "", (1, 1)),
    ):
        for scale in ("layer", "unit"):
            figure = plot_output(rng.normal(size=shape), kind, scale=scale, title="t")
            assert figure.axes[0].images[0].get_array().shape[:2] == size
            # A scale bar beside the maps, where all of them share one.
            assert len(figure.axes) == (2 if scale == "layer" or shape == () else 1)
    with pytest.raises(ValueError, match="`scale` must be 'layer' or 'unit'"):
        plot_output(np.zeros((1, 2)), scale="global")


def test_heat_lies_over_its_image():
    images = np.random.default_rng(0).random((3, 8, 8))
    figure = plot_overlays(images, {"a": images, "b": 1 - images})
    counts = [len(axis.images) for axis in figure.axes]
    assert counts == [1, 1, 1, 2, 2, 2, 2, 2, 2]
    np.testing.assert_array_equal(figure.axes[7].images[1].get_array(), 1 - images[1])


def test_script_and_style_are_shipped_and_fetch_nothing():
    from workbench.widgets.tile_canvas import TileCanvas

    assert "export default" in TileCanvas._esm
    for text in (TileCanvas._esm, TileCanvas._css):
        assert "http" not in text
        assert "import" not in text.replace("important", "")

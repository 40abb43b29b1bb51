"""Tests of FormatTable, driven from Python as the mouse would."""

import base64
import threading

import keras
import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances

from tests import hostile
from tests.waiting import wait_for
from workbench.plots.formats import (
    BAD,
    FAIR,
    GOOD,
    NEUTRAL,
    cell_color,
    plot_graph,
    plot_report,
)
from workbench.widgets.format_table import FormatTable

QUICK = (".keras", ".npz")


def small_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def folder(tmp_path):
    """A folder with an honest model, a hostile one, and what is no model."""
    small_model().save(tmp_path / "good.keras")
    config = hostile.sequential(hostile.PAYLOADS["lambda"])
    path = tmp_path / "bad <b>.keras"
    path.write_bytes(hostile.zipped(hostile.keras_members(config)))
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "inner").mkdir()
    np.savez(tmp_path / "inner" / "w.npz", a=np.ones(2))
    return tmp_path


@pytest.fixture
def make_panel(folder, closed_after):
    return lambda *args, **kwargs: closed_after(FormatTable(folder, *args, **kwargs))


def test_offers_the_model_files_of_the_folder(make_panel):
    panel = make_panel()
    labels = [label for label, _ in panel._view.found.options]
    assert labels == ["choose …", "bad <b>.keras", "good.keras", "inner/w.npz"]


def test_choosing_a_file_looks_into_it(make_panel, folder):
    panel = make_panel()
    panel._view.found.value = str(folder / "good.keras")
    assert panel.filepath == str(folder / "good.keras")
    assert panel.report.kind == "Keras model (.keras)"
    assert "Nothing was found that speaks against" in panel._view.banner.value
    assert "structure: Sequential" in panel._view.report.value


def test_a_hostile_file_is_shown_in_red_and_escaped(make_panel, folder):
    panel = make_panel()
    panel.filepath = str(folder / "bad <b>.keras")
    assert "reasons not to load it. It was not loaded." in panel._view.banner.value
    assert "#8c1d18" in panel._view.banner.value
    assert "<b>.keras" not in panel._view.report.value
    assert "&lt;b&gt;.keras" in panel._view.report.value
    assert panel._view.filepath.value == panel.filepath


def test_errors_are_shown_and_cleared(make_panel, folder):
    panel = make_panel()
    panel._view.look.click()
    assert "`filepath` must name a file" in panel.error
    panel.filepath = "nowhere"
    assert "FileNotFoundError" in panel.error
    panel.filepath = str(folder / "good.keras")
    assert panel.error == ""
    panel._on_click("compare")
    assert "`model` must be given" in panel.error


def test_compares_formats_in_the_background(make_panel, folder):
    model = small_model()
    before = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    panel = make_panel(model)
    panel.chosen = QUICK
    assert panel._view.chosen.value == QUICK
    panel._view.compare.click()
    assert panel.comparing
    wait_for(lambda: not panel.comparing)
    assert panel.error == ""
    assert [result.name for result in panel.comparison.results] == list(QUICK)
    assert panel.compared == 1.0
    assert "Measured 2 formats." in panel._view.text.value
    table = panel._view.table.value
    assert table.count("<tr>") == 3
    assert GOOD in table
    assert BAD in table
    labels = [label for label, _ in panel._view.found.options]
    assert "compared-1/model.keras" in labels
    after = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    panel.compare()
    wait_for(lambda: not panel.comparing)
    assert (folder / "compared-2" / "model.keras").is_file()


def test_what_goes_wrong_in_the_background_is_shown(make_panel):
    panel = make_panel(keras.Sequential([keras.layers.Dense(2)]))
    panel.chosen = QUICK
    panel.compare()
    wait_for(lambda: not panel.comparing)
    assert "`model` must be a built keras.Model" in panel.error
    assert panel.comparison is None


def test_bad_arguments_are_refused_and_leave_nothing(make_panel, folder):
    with pytest.raises(ValueError, match="`folder` must be a folder that exists"):
        FormatTable(folder / "nowhere")
    panel = make_panel(small_model())
    with pytest.raises(ValueError, match="`chosen` must name formats among"):
        panel.chosen = (".tar",)
    panel.chosen = ()
    with pytest.raises(ValueError, match=r"must name a format\. Received: chosen=\(\)"):
        panel.compare()


def test_close_ends_everything(folder):
    before = (set(_instances), threading.active_count())
    panel = FormatTable(folder, small_model())
    panel.compare()
    panel.close()
    wait_for(lambda: threading.active_count() == before[1])
    assert set(_instances) == before[0]
    panel.close()


def test_repr_is_stable_and_the_bundle_holds_a_picture(make_panel, folder):
    panel = make_panel()
    assert repr(panel) == "FormatTable(folder)"
    assert "image/png" not in panel._repr_mimebundle_()
    panel.filepath = str(folder / "bad <b>.keras")
    picture = base64.b64decode(panel._repr_mimebundle_()["image/png"])
    assert picture.startswith(b"\x89PNG")


def test_the_picture_says_what_the_report_says(make_panel, folder):
    panel = make_panel()
    panel.filepath = str(folder / "good.keras")
    (text,) = plot_report(panel.report).texts
    assert "Risks: none found" in text.get_text()


def test_colors_follow_what_came_back():
    expected = {
        "equal": GOOD,
        "off by 1e-07": GOOD,
        "off by 1e-03": FAIR,
        "lost": BAD,
        "fails": BAD,
        "not compared": NEUTRAL,
        "-": NEUTRAL,
    }
    assert {text: cell_color(text) for text in expected} == expected


def test_a_graph_is_drawn_with_an_arrow_for_each_edge(tmp_path):
    from workbench import formats

    formats.freeze(small_model(), tmp_path / "g.pb")
    nodes = formats.list_nodes(tmp_path / "g.pb")
    report = formats.inspect_file(tmp_path / "g.pb")
    (axes,) = plot_graph(report, nodes).axes
    drawn = [text.get_text() for text in axes.texts if text.get_text()]
    assert sorted(drawn) == sorted(node.op for node in nodes)
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == sum(len(node.takes) for node in nodes)
    with pytest.raises(ValueError, match="`nodes` must be 1 to 200 operations"):
        plot_graph(report, [])
    with pytest.raises(ValueError, match="`filepath` must be a GraphDef"):
        formats.list_nodes(__file__)

"""The format table, driven by a mouse in JupyterLab."""

import re

import pytest

from tests import hostile
from tests.browser.lab import PANEL, wait_for

NAME = "format_table.ipynb"
ROW = re.compile(r"^(\.keras|\.npz|SavedModel)")
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

from workbench.widgets.format_table import FormatTable

keras.utils.set_random_seed(1)
layers = [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
model = keras.Sequential(layers)
model.compile("sgd", "mse")
weights = [weight.tolist() for weight in model.get_weights()]
"""
TABLE = """
table = FormatTable("files", model)
table
"""


@pytest.fixture(scope="module")
def panel(lab):
    """A notebook with the table on a folder that holds a hostile file."""
    files = lab.folder / "files"
    files.mkdir()
    config = hostile.sequential(hostile.dense(), hostile.PAYLOADS["lambda"])
    (files / "bad.keras").write_bytes(hostile.zipped(hostile.keras_members(config)))
    lab.run_notebook(NAME, SETUP, TABLE)
    return lab.page.locator(PANEL).first


def test_a_hostile_file_is_looked_into(lab, panel):
    panel.get_by_role("combobox").select_option("bad.keras")
    wait_for(lambda: panel.get_by_text("not to load it").count())
    wait_for(lambda: panel.get_by_text("runs Python code that the file").count())
    assert lab.evaluate("table.report.is_harmless") is False
    lab.screenshot("format_table_hostile")


def test_a_path_that_leads_nowhere_is_said_to(lab, panel):
    field = panel.get_by_role("textbox")
    field.fill("files/nowhere.keras")
    field.press("Enter")
    wait_for(lambda: panel.get_by_role("alert").count() == 1)
    assert "must name a file" in panel.get_by_role("alert").inner_text()


def test_formats_are_compared_on_the_readers_model(lab, panel):
    panel.get_by_role("listbox").select_option([".keras", ".npz", "SavedModel"])
    wait_for(lambda: lab.evaluate("len(table.chosen)") == 3)
    panel.get_by_role("button", name="Compare formats").click()
    wait_for(lambda: panel.get_by_text("Measured 3 formats.").count(), seconds=120)
    rows = panel.locator("table tbody tr", has_text=ROW)
    wait_for(lambda: rows.count() == 3)
    assert "equal" in rows.first.inner_text()
    panel.get_by_text("Measured 3 formats.").evaluate("n => n.scrollIntoView()")
    lab.screenshot("format_table_compared")
    same = "[w.tolist() for w in model.get_weights()] == weights"
    assert lab.evaluate(same)


def test_what_was_written_can_be_looked_into(lab, panel):
    panel.get_by_role("combobox").select_option("compared-1/model.keras")
    wait_for(lambda: panel.get_by_text("Nothing was found that speaks").count())
    assert panel.get_by_role("alert").count() == 0
    panel.evaluate("node => node.scrollIntoView()")
    lab.screenshot("format_table")


def test_no_request_leaves_the_machine(lab, panel):
    assert lab.requests_outside() == []

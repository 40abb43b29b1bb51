"""Answers in JupyterLab: whatever they do, "Run All" goes on below them."""

import nbformat
import pytest

from tests.browser.lab import ROOT

NAME = "answers.ipynb"
OPEN = """
import os

os.environ["WORKBENCH_PROGRESS"] = "progress.txt"
from workbench.course import open_exercises

open_exercises("04_clipping", seconds=2)
"""
ANSWERS = {
    "explode_at_1000 = explode_at_0_001 = longest_step = 5": "more of them explode",
    "": "is empty",
    "longest_step = 1 / 0": "Line 1: ZeroDivisionError: division by zero",
    "while True:\n    pass": "took too long",
    "import time\ntime.sleep(3600)": "took too long",
    "while True: print('again and again')": "took too long",
    "explode_at_1000, explode_at_0_001, longest_step = 10, 0, 2e-4": "1 is right",
}


# From the model, since the page holds only the cells that are in sight.
OUTPUTS = """() => jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === "code")
    .map(cell => JSON.stringify(cell.model.outputs.toJSON()))"""


@pytest.fixture(scope="module")
def answered(lab):
    """A notebook with good and bad answers that was run from top to bottom."""
    notebook = nbformat.read(ROOT / "notebooks" / "04_clipping.ipynb", 4)
    question = next(c for c in notebook.cells if c.source.startswith("### 1. Predict"))
    cells = [nbformat.v4.new_code_cell(OPEN.strip())]
    cells += [nbformat.v4.new_markdown_cell(question.source)]
    cells += [nbformat.v4.new_code_cell(f"%%answer 1\n{answer}") for answer in ANSWERS]
    cells += [nbformat.v4.new_code_cell("after = 'the end'")]
    notebook.cells = cells
    nbformat.write(notebook, lab.folder / NAME)
    lab.open(NAME)
    lab.run_all()
    return lab


def test_run_all_goes_on_below_every_answer(answered):
    assert answered.errors() == []
    assert answered.evaluate("after") == "the end"
    answered.screenshot("exercises")
    texts = answered.page.evaluate(OUTPUTS)[1:-1]
    for text, says in zip(texts, ANSWERS.values(), strict=True):
        assert says in text


def test_what_was_passed_lies_beside_the_notebook(answered):
    assert "04_clipping 1" in (answered.folder / "progress.txt").read_text()


def test_hints_are_folded_and_open_by_keyboard(answered):
    hint = answered.page.locator("details").first
    assert not hint.evaluate("node => node.open")
    hint.locator("summary").focus()
    answered.page.keyboard.press("Enter")
    assert hint.evaluate("node => node.open")
    assert "longer than it is" in hint.inner_text()

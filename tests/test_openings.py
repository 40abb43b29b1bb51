"""What all notebooks open with: the picture, and a cell that brings the workbench."""

import importlib.util
import os
import pathlib
import re
import sys
import types

import nbformat
import pytest

from book import openings

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda p: p.name)
def test_notebooks_open_alike(path):
    """`python -m book.openings` has nothing to do."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    openings.complete(notebook, path)
    assert nbformat.writes(notebook) + "\n" == text


def run_first_cell(path, monkeypatch, *, missing):
    """Runs the cell without doing what it asks for; returns what it asks for."""
    asked = []
    shell = types.SimpleNamespace(
        run_line_magic=lambda name, line: asked.append(f"%{name} {line}"),
        system=lambda line: asked.append(f"!{line}"),
    )
    with monkeypatch.context() as patched:
        patched.setattr(os, "chdir", lambda folder: asked.append(f"cd {folder}"))
        if missing:
            patched.setattr(importlib.util, "find_spec", lambda name: None)
        exec(openings.install(path), {"get_ipython": lambda: shell})  # noqa: S102
    return asked


@pytest.mark.parametrize("path", [NOTEBOOKS[4], SOLUTIONS[4]], ids=["one", "solution"])
def test_the_first_cell_brings_what_is_missing(path, monkeypatch, tmp_path):
    monkeypatch.chdir(path.parent)
    assert run_first_cell(path, monkeypatch, missing=False) == []
    up = "../.." if path in SOLUTIONS else ".."
    here = run_first_cell(path, monkeypatch, missing=True)
    assert here == [f"%pip install -q {up}"]
    monkeypatch.chdir(tmp_path)
    colab = types.ModuleType("google.colab")
    enabled = []
    colab.output = types.SimpleNamespace(
        enable_custom_widget_manager=lambda: enabled.append(True)
    )
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    clone, change, install = run_first_cell(path, monkeypatch, missing=True)
    assert clone == f"!git clone -q --depth 1 {openings.address()}"
    name = openings.address().rpartition("/")[2]
    assert change == f"cd {name}/{path.parent.relative_to(ROOT).as_posix()}"
    assert install == here[0]
    assert enabled == [True]


def test_the_address_stands_in_one_place():
    text = (ROOT / "README.md").read_text()
    owner, name = openings.address().split("/")[-2:]
    found = re.findall(r"(?:/gh/|/github/|github\.com/)([^/]+)/([^/)]+)", text)
    assert len(found) == 2  # Binder and Colab
    assert set(found) == {(owner, name)}


@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda p: p.name)
def test_each_notebook_opens_with_its_picture(path):
    number = int(path.name[:2])
    opening = nbformat.read(path, 4).cells[0].source
    assert opening.endswith(openings.picture(number))
    assert re.findall(r"data/\d\d_idea", opening) == [f"data/{number:02d}_idea"]

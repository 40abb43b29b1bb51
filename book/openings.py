"""Puts into each notebook what all of them open with; run again it changes nothing.

Usage: python -m book.openings

A picture of the idea under the title, and a first code cell that brings the workbench
where it is missing. The address it comes from stands in pyproject.toml.
"""

import pathlib
import re
import tomllib

import nbformat

from book import ideas

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
CELL = "install"
INSTALL = """\
# Brings the workbench where it is missing, as in Colab; elsewhere this does nothing.
import importlib.util
import os
import pathlib
import sys

if importlib.util.find_spec("workbench") is None:
    shell = get_ipython()
    if not pathlib.Path("{up}/pyproject.toml").exists():
        address = "{address}"
        shell.system(f"git clone -q --depth 1 {{address}}")
        os.chdir("{name}/{folder}")
    shell.run_line_magic("pip", "install -q {up}")
if "google.colab" in sys.modules:
    from google.colab import output

    output.enable_custom_widget_manager()\
"""


def address():
    """The address of the repository, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["urls"]["Source"]


def install(path):
    """The source of the first code cell of the notebook at `path`."""
    folder = path.parent.relative_to(ROOT)
    return INSTALL.format(
        up="/".join([".."] * len(folder.parts)),
        address=address(),
        name=address().rpartition("/")[2],
        folder=folder.as_posix(),
    )


def picture(number):
    """The picture of a notebook, as HTML."""
    return (
        f'<img src="data/{number:02d}_idea.svg" width="480" alt="{ideas.ALT[number]}">'
    )


def complete(notebook, path):
    """Puts picture and cell where they belong.

    Args:
        notebook: `nbformat.NotebookNode`, changed in place.
        path: Path it has in the repository.
    """
    number = int(path.name[:2])
    if number and path.parent == NOTEBOOKS:
        opening = notebook.cells[0]
        text = re.sub(r'\n*<img src="data/\d\d_idea[^\n]*', "", opening.source)
        opening.source = f"{text.rstrip()}\n\n{picture(number)}"
    cells = [cell for cell in notebook.cells if cell.id != CELL]
    first = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
    cell = nbformat.v4.new_code_cell(install(path), id=CELL, execution_count=1)
    cell.metadata["tags"] = ["remove-cell"]  # the book needs no workbench
    notebook.cells = [*cells[:first], cell, *cells[first:]]
    _number(notebook.cells)


def _number(cells):
    """Numbers the code cells that ran as if they had run from top to bottom."""
    code = (cell for cell in cells if cell.get("execution_count"))
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count


def main():
    """Completes all notebooks."""
    for path in [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")]:
        before = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(before, as_version=4)
        complete(notebook, path)
        after = nbformat.writes(notebook) + "\n"
        if after != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Makes the exercises of a notebook, and its solutions, from one source.

A source is `notebooks/exercises/NN_name.py`, in the percent format that JupyterLab
(with jupytext), VS Code and others open as a notebook. Its cells, by their titles:

    setup       code that the solutions begin with
    1. Title    markdown, the question of exercise 1; what follows belongs to it
    hint        markdown, twice: a small one, then a large one
    start       code, what the student finds in the answer cell
    answer      code, the reference
    why         markdown, the explanation in the solutions
    shown       code in the solutions, after the explanation
    wrong       code, a wrong answer; `says` is a part of what the check says to it

Usage: python tests/make_exercises.py [notebooks/exercises/04_clipping.py …]
"""

import dataclasses
import pathlib
import re
import sys

import jupytext
import nbformat

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = ROOT / "notebooks" / "exercises"

INTRODUCTION = (
    "## Exercises\n\nRun the next cell first. Then write your answer into the cell "
    "below a question and run it: it says what is not right yet, as often as you "
    "like. Two hints are folded below each question. All answers, and why they are "
    "right, are in [solutions/{name}.ipynb](solutions/{name}.ipynb): try first."
)
OPEN = """\
from workbench.course import open_exercises

open_exercises("{name}"{options})"""
TRY_FIRST = (
    "Try first: a prediction that was wrong teaches more than one that was read."
)


@dataclasses.dataclass
class Exercise:
    """One exercise of a source.

    Attributes:
        title: str, such as "1. Predict: far too high".
        question: str, markdown.
        hints: List of str, markdown.
        start: str, the code of the empty answer.
        answer: str, the code of the reference.
        solution: List of (kind, source), what follows the reference in the solutions.
        wrong: List of (code, part of what the check says).
    """

    title: str
    question: str
    hints: list = dataclasses.field(default_factory=list)
    start: str = ""
    answer: str = ""
    solution: list = dataclasses.field(default_factory=list)
    wrong: list = dataclasses.field(default_factory=list)

    @property
    def number(self):
        return int(self.title.partition(".")[0])


@dataclasses.dataclass
class Source:
    """A file of exercises: its name, the solutions' setup, and the exercises."""

    name: str
    setup: list
    exercises: list


def read(path):
    """Reads one source.

    Args:
        path: Path of a file in `notebooks/exercises`.

    Returns:
        `Source`.
    """
    source = Source(path.stem, [], [])
    for cell in jupytext.read(path, fmt="py:percent").cells:
        title, text = cell.metadata.get("title", ""), cell.source.strip("\n")
        if title == "setup":
            source.setup.append((cell.cell_type, text))
        elif re.match(r"\d+\. ", title):
            source.exercises.append(Exercise(title, text))
        elif title == "hint":
            source.exercises[-1].hints.append(text)
        elif title in ("start", "answer"):
            setattr(source.exercises[-1], title, text)
        elif title in ("why", "shown"):
            source.exercises[-1].solution.append((cell.cell_type, text))
        elif title == "wrong":
            source.exercises[-1].wrong.append((text, cell.metadata["says"]))
        else:
            raise ValueError(f"{path.name} has a cell with no known title: {title!r}")
    return source


def _cell(kind, text, identity, **metadata):
    make = nbformat.v4.new_markdown_cell
    if kind == "code":
        make = nbformat.v4.new_code_cell
    return make(text, id=identity, metadata=metadata)


def _question(exercise):
    hints = [
        f"<details><summary>Hint {number}</summary>\n\n{hint}\n\n</details>"
        for number, hint in enumerate(exercise.hints, 1)
    ]
    return "\n\n".join([f"### {exercise.title}", exercise.question, *hints])


def _answer(exercise, text):
    return f"%%answer {exercise.number}\n{text}"


def student_cells(source):
    """Returns the cells of the section "Exercises" of the student's notebook."""
    cells = [
        _cell("markdown", INTRODUCTION.format(name=source.name), "exercises"),
        _cell("code", OPEN.format(name=source.name, options=""), "exercises-open"),
    ]
    for exercise in source.exercises:
        name = f"exercise-{exercise.number}"
        text = _answer(exercise, exercise.start)
        cells.append(_cell("markdown", _question(exercise), name))
        cells.append(_cell("code", text, f"{name}-answer", start=text))
    return cells


def solution_cells(source, title):
    """Returns all cells of the solutions, whose notebook has this title."""
    opened = OPEN.format(name=source.name, options=", keep=False")
    cells = [
        ("markdown", f"# Solutions to {title}\n\n{TRY_FIRST}"),
        ("markdown", "## Setup"),
        *source.setup,
        ("code", opened),
    ]
    for exercise in source.exercises:
        cells.append(("markdown", f"## {exercise.title}\n\n{exercise.question}"))
        cells.append(("code", _answer(exercise, exercise.answer)))
        cells.extend(exercise.solution)
    return [_cell(*cell, f"cell-{i:02d}") for i, cell in enumerate(cells)]


def title_of(notebook):
    """Returns the short title of a notebook, such as "4. Clipping"."""
    first = notebook.cells[0].source.splitlines()[0]
    return first.removeprefix("# ").partition(":")[0]


def _before_exercises(notebook):
    cells = []
    for cell in notebook.cells:
        text, heading, _ = cell.source.partition("## Exercises")
        cell.source = text.strip("\n") if heading else text
        cells += [cell] if cell.source else []
        if heading:
            return cells
    raise ValueError("a notebook must have the heading ## Exercises")


def made(source):
    """Makes both notebooks, without writing them.

    Cells that did not change keep their outputs.

    Args:
        source: `Source`.

    Returns:
        dict of path to notebook.
    """
    student = SOURCES.parent / f"{source.name}.ipynb"
    solutions = SOURCES.parent / "solutions" / student.name
    notebook = nbformat.read(student, 4)
    title, before = title_of(notebook), _before_exercises(notebook)
    result = {}
    for path, kept, cells in (
        (student, before, student_cells(source)),
        (solutions, [], solution_cells(source, title)),
    ):
        notebook = nbformat.read(path if path.exists() else student, 4)
        stored = {c.source: c for c in notebook.cells if c.cell_type == "code"}
        if not kept:  # the solutions keep what all notebooks open with
            cells[2:2] = [c for c in notebook.cells if c.id == "install"]
        for cell in cells:
            if cell.cell_type == "code" and cell.source in stored:
                cell.outputs = stored[cell.source].outputs
                cell.execution_count = stored[cell.source].execution_count
        notebook.cells = kept + cells
        result[path] = notebook
    return result


def main(arguments):
    """Makes the notebooks of the named sources, or of all."""
    paths = [pathlib.Path(name).resolve() for name in arguments]
    for path in paths or sorted(SOURCES.glob("*.py")):
        for notebook_path, notebook in made(read(path)).items():
            nbformat.write(notebook, notebook_path)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Each exercise accepts its reference and tells wrong answers what is wrong."""

import ast
import functools
import os
import pathlib
import re

import nbformat
import pytest

from tests import make_exercises
from workbench.course import Exercises
from workbench.course.checks import NOTEBOOKS

SOURCES = {
    path.stem: make_exercises.read(path)
    for path in sorted(make_exercises.SOURCES.glob("*.py"))
}
INNER = (ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)
CASES = [
    pytest.param(name, exercise, id=f"{name}-{exercise.number}")
    for name, source in SOURCES.items()
    for exercise in source.exercises
]


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """What exercises write lies elsewhere, and the folder is as before afterwards."""
    monkeypatch.chdir(tmp_path)


@functools.cache
def after_setup(name):
    """The names that the setup gives, and the folder that it leaves."""
    namespace = {"__name__": "__main__"}
    for kind, code in SOURCES[name].setup:
        if kind == "code":
            exec(compile(code, f"<setup of {name}>", "exec"), namespace)  # noqa: S102
    return namespace, pathlib.Path.cwd()


def mark(name, exercise, code):
    names, place = after_setup(name)
    os.chdir(place)
    return Exercises(name, seconds=120).mark(exercise.number, code, dict(names))


@pytest.mark.parametrize(("name", "exercise"), CASES)
def test_the_reference_is_right_and_the_start_is_not(name, exercise):
    verdict = mark(name, exercise, exercise.answer)
    assert verdict.is_right, str(verdict)
    assert not mark(name, exercise, exercise.start).is_right


@pytest.mark.parametrize(("name", "exercise"), CASES)
def test_wrong_answers_are_told_what_is_wrong(name, exercise):
    codes = [code for code, _ in exercise.wrong]
    assert len({*codes, exercise.start, exercise.answer}) >= 5 + 2
    for code, says in exercise.wrong:
        verdict = mark(name, exercise, code)
        assert verdict.state in ("wrong", "error"), f"{code}\n{verdict}"
        assert says in verdict.text, f"{code}\n{verdict}"


@pytest.mark.parametrize("name", SOURCES)
def test_each_notebook_has_its_kinds_of_exercises(name):
    exercises = SOURCES[name].exercises
    titles = [exercise.title for exercise in exercises]
    kinds = {title.split()[1] for title in titles}
    assert kinds == {"Predict:", "Change:", "Explain:", "Diagnose:"}
    assert [e.number for e in exercises] == list(range(1, len(exercises) + 1))
    assert sorted(Exercises(name).checks) == [e.number for e in exercises]
    for exercise in exercises:
        assert len(exercise.hints) == 2
        assert exercise.solution[0][0] == "markdown"


def assigned(code):
    """The names that code gives a value to at its top level."""
    names, rest = set(), list(ast.parse(code).body)
    while rest:
        node = rest.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, INNER):
            rest += ast.iter_child_nodes(node)
    return names


@pytest.mark.parametrize("name", SOURCES)
def test_answers_take_no_name_from_the_notebook(name):
    """Else a cell above, run again after an answer, would do something else."""
    path = make_exercises.SOURCES.parent / f"{name}.ipynb"
    cells = nbformat.read(path, 4).cells
    codes = [c.source for c in cells if c.cell_type == "code"]
    above = "\n".join(c for c in codes if "%" not in c.partition("\n")[0])
    above = "\n".join(line for line in above.split("\n") if " = %" not in line)
    for exercise in SOURCES[name].exercises:
        taken = assigned(f"{exercise.start}\n{exercise.answer}") & assigned(above) - {
            "_"
        }
        assert not taken, (exercise.title, taken)


@pytest.mark.parametrize("name", SOURCES)
def test_notebooks_are_made_from_their_source(name):
    """Stale: run `make notebooks`."""
    for path, notebook in make_exercises.made(SOURCES[name]).items():
        stored = nbformat.read(path, 4)
        parts = [
            [(c.cell_type, c.source, c.metadata, c.id) for c in n.cells]
            for n in (stored, notebook)
        ]
        assert parts[0] == parts[1], path.name


@pytest.mark.parametrize("name", SOURCES)
def test_a_notebook_opens_with_a_question_and_ends_with_the_answer(name):
    path = make_exercises.SOURCES.parent / f"{name}.ipynb"
    texts = [c.source for c in nbformat.read(path, 4).cells]
    title, question = texts[0].split("\n\n")[:2]
    assert title.startswith("# ")
    assert re.fullmatch(r'> ".+\?.*"', question)
    summary = next(text for text in texts if "## Summary" in text)
    assert "\n| published | with | today |\n" in summary
    answer = re.sub("`[^`]*`", "", summary.partition("**The answer.** ")[2])
    assert len(re.findall(r"\.(?:\s|$)", answer)) == 3


def test_every_notebook_with_exercises_is_known_to_the_index():
    assert tuple(SOURCES) == NOTEBOOKS


def test_a_cell_that_is_nothing_is_refused(tmp_path):
    source = tmp_path / "04_clipping.py"
    source.write_text("# %% hnit [markdown]\n# Look.\n")
    with pytest.raises(ValueError, match="no known title: 'hnit'"):
        make_exercises.read(source)

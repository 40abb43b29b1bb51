"""The engine of the exercises: any answer gets an answer, and the notebook goes on."""

import contextlib
import signal
import threading

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from tests import make_exercises
from workbench.course import (
    Exercises,
    Wrong,
    answering,
    open_exercises,
    read_progress,
    reset,
)
from workbench.course.asking import function, letters, number
from workbench.course.checks import NOTEBOOKS
from workbench.course.limits import TimeIsUp, call_within
from workbench.course.progress import passed, progress_file, remember

NAME = "04_clipping"


def double(twice, *, three=3):
    """A check: `twice` must be a function that doubles."""
    if twice(three) != 2 * three:
        raise Wrong(f"twice(3) gave {twice(three)}.")
    return "It doubles."


@pytest.fixture
def exercises():
    found = Exercises(NAME, seconds=30)
    found.checks = {1: double}
    return found


def mark(exercises, source, **names):
    return exercises.mark(1, source, {"three": 3} | names)


RIGHT = "twice = lambda number: 2 * number"

# Answers


def test_a_right_answer_is_told_what_it_shows(exercises):
    verdict = mark(exercises, RIGHT)
    assert verdict.is_right
    assert str(verdict) == "✓ Exercise 1 is right.\nIt doubles."
    assert "<b>✓ Exercise 1 is right.</b>" in verdict._repr_html_()


def test_a_wrong_answer_is_told_what_is_wrong(exercises):
    verdict = mark(exercises, "twice = lambda number: number")
    assert (verdict.state, verdict.text) == ("wrong", "twice(3) gave 3.")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "   \n",
        "# nothing yet",
        "twice = ...",
        "other = 3",
        "def twice(number): ...",
        'def twice(number):\n    """Doubles."""\n',
        "def twice(number):\n    pass",
    ],
)
def test_an_empty_answer_is_asked_for(exercises, source):
    verdict = mark(exercises, source)
    assert verdict.state == "open"
    assert "`twice`" in verdict.text


def test_an_answer_of_earlier_does_not_count(exercises):
    names = {"twice": lambda number: 2 * number, "three": 3}
    assert exercises.mark(1, "other = 3", names).state == "open"


def test_an_answer_stays_in_the_notebook_and_the_rest_too(exercises):
    names = {"three": 3, "kept": [1]}
    assert exercises.mark(1, RIGHT, names).is_right
    assert names["twice"](4) == 8
    assert names["kept"] == [1]


@pytest.mark.parametrize(
    ("source", "text", "line"),
    [
        ("x = 1\nx = = 2", "Line 2 is not Python", "x = = 2"),
        ("twice = [", "is not Python", "twice = ["),
        ("x = 0\ntwice = 1 / x", "Line 2: ZeroDivisionError", "twice = 1 / x"),
        ("raise KeyError", "Line 1: KeyError", "raise KeyError"),
        ("exit(3)", "SystemExit: 3", "exit(3)"),
        ("twice = build_it(2)", "run the cells above first", "twice = build_it(2)"),
        ("def twice(n):\n    return n.no", "Line 2: AttributeError", "return n.no"),
        ("def f():\n    f()\nf()", "Line 2: RecursionError", "f()"),
        ("twice = 3", "The check cannot use your answer: TypeError", ""),
        ("twice = lambda: 3", "The check cannot use your answer: TypeError", ""),
    ],
)
def test_an_error_is_told_with_its_line(exercises, source, text, line):
    verdict = exercises.mark(1, source, {"three": 3, "exit": __import__("sys").exit})
    assert verdict.state == "error"
    assert text in verdict.text
    assert verdict.line == line
    assert len(verdict.text) < 500


def test_a_long_message_is_cut(exercises):
    verdict = mark(exercises, "raise ValueError('long ' * 1000)")
    assert len(verdict.text) < 400


def test_the_value_of_the_last_line_is_shown(exercises):
    shown = []
    exercises.mark(1, f"{RIGHT}\ntwice(4)", {"three": 3}, shown.append)
    assert shown == [8]


def test_what_the_check_needs_of_the_notebook_is_named(exercises):
    exercises.checks = {1: lambda answer, *, the_model: None}
    text = exercises.mark(1, "answer = 1", {}).text
    assert "`the_model`" in text
    assert "Run the cells above first" in text


def test_no_such_notebook_and_no_such_time():
    with pytest.raises(ValueError, match="Received: notebook='11_none'"):
        Exercises("11_none")
    with pytest.raises(ValueError, match="Received: seconds=0"):
        Exercises(NAME, seconds=0)


# Limits


@pytest.mark.parametrize(
    "source",
    [
        "while True:\n    pass",
        "while True:\n    try:\n        1 / 0\n    except:\n        pass",
        "import time\ntime.sleep(3600)",
        "import threading\nthreading.Event().wait()",
        "def twice(number):\n    while True:\n        number += 1",
        "import itertools\nfor _ in itertools.count(): pass",
        "try:\n    while True: pass\nexcept KeyboardInterrupt:\n    twice = 3",
    ],
)
def test_an_endless_answer_is_stopped(exercises, source):
    exercises.seconds = 0.3
    verdict = mark(exercises, source)
    assert verdict.state == "time"
    assert "seconds=1.2" in verdict.text
    exercises.seconds = 30
    assert mark(exercises, RIGHT).is_right  # and the notebook goes on


def test_a_wait_is_stopped_where_an_event_loop_had_its_way(exercises):
    exercises.seconds = 0.3
    source = "import threading\nthreading.Event().wait()"
    signal.siginterrupt(signal.SIGINT, False)  # as asyncio does
    assert mark(exercises, source).state == "time"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as others do
    try:
        assert mark(exercises, source).state == "time"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_endless_answer_does_not_flood_the_page(exercises, capsys):
    exercises.seconds = 0.5
    assert mark(exercises, "while True: print('on and on')").state == "time"
    assert len(capsys.readouterr().out) < 21_000


def test_the_stop_button_stops(exercises):
    with pytest.raises(KeyboardInterrupt):
        mark(exercises, "import signal; signal.raise_signal(signal.SIGINT)")


def test_no_interrupt_comes_after_the_block():
    for _ in range(200):
        with contextlib.suppress(TimeIsUp):
            call_within(0.001, lambda: sum(range(20_000)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_there_is_no_limit():
    results = []

    def work():
        call_within(0.001, lambda: threading.Event().wait(0.05))
        results.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == ["done"]


# What checks ask for


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.array([3.0])])
def test_one_number_is_taken_in_any_form(value):
    assert number("n", value) == 3.0


@pytest.mark.parametrize("value", ["3", None, [3], np.ones(2), True, 3j])
def test_what_is_not_one_number_is_refused(value):
    with pytest.raises(Wrong, match=r"`n` must be one number \(steps\). Received: n="):
        number("n", value, "steps")


def test_a_function_is_taken():
    assert function("f", abs) is abs
    with pytest.raises(Wrong, match="`f` must be a function"):
        function("f", 3)


STATEMENTS = {"a": None, "b": "Look again.", "c": None}


@pytest.mark.parametrize("value", ["ac", "CA", "a, c", ["a", "c"], {"c", "a"}])
def test_letters_are_taken_in_any_form(value):
    letters("true", value, STATEMENTS)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("abc", r"b\) does not hold. Look again."),
        ("a", "not all that does"),
        ("", "must be letters"),
        ("ax", "must be letters"),
        (3, "Received: true=3"),
        ([1], "must be letters"),
    ],
)
def test_letters_that_do_not_fit_are_told(value, says):
    with pytest.raises(Wrong, match=says):
        letters("true", value, STATEMENTS)


def test_one_letter_means_one():
    one = {"a": "No.", "b": None}
    letters("cause", "b", one)
    with pytest.raises(Wrong, match="You chose 2"):
        letters("cause", "ab", one)


# Progress


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_PROGRESS", raising=False)
    return tmp_path


def test_what_was_passed_is_remembered_in_plain_lines(folder):
    assert passed(NAME) == set()
    for exercise in (2, 1, 2):
        remember(NAME, exercise)
    assert passed(NAME) == {1, 2}
    lines = (folder / "progress.txt").read_text().split("\n")
    assert [line for line in lines if line] == [f"{NAME} 2", f"{NAME} 1"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0\xff\xfe\n",
        f"{NAME} 1\n{NAME} two\n{NAME}\n12\n".encode(),
        f"{NAME} 1\n{NAME} 2".encode(),  # cut off
        f"{NAME} 1\n{NAME[:5]}".encode(),
        b"{" * 100_000,
    ],
)
def test_damage_costs_the_damaged_lines_only(folder, damage):
    (folder / "progress.txt").write_bytes(damage)
    before = passed(NAME)
    remember(NAME, 4)
    assert passed(NAME) == before | {4}
    assert 4 in read_progress().done[NAME]


def test_two_notebooks_write_at_the_same_time(folder):
    def write(name):
        for exercise in range(1, 41):
            remember(name, exercise)

    threads = [threading.Thread(target=write, args=(f"{i}_x",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(passed(f"{i}_x") == set(range(1, 41)) for i in range(4))


def test_the_file_may_lie_elsewhere(folder, monkeypatch):
    monkeypatch.setenv("WORKBENCH_PROGRESS", str(folder / "mine.txt"))
    remember(NAME, 1)
    assert progress_file() == folder / "mine.txt"
    assert (folder / "mine.txt").exists()


def test_the_table_names_what_is_open(folder):
    every = sorted(Exercises(NAME).checks)
    remember(NAME, 1)
    remember(NAME, 99)  # an exercise that there is not
    text = str(read_progress())
    left = ", ".join(map(str, every[1:]))
    assert f"1 of {len(every)}" in text
    assert left in text
    assert text.count("0 of ") == len(NOTEBOOKS) - 1


def test_a_notebook_is_put_back(folder):
    source = make_exercises.SOURCES.parent / f"{NAME}.ipynb"
    notebook = nbformat.read(source, 4)
    for cell in notebook.cells:
        if "start" in cell.metadata:
            cell.source = f"{cell.source[:9]}\nmine = 'ä'"
    nbformat.write(notebook, folder / source.name)
    remember(NAME, 1)
    remember("05_other", 2)
    assert reset(NAME) == len(Exercises(NAME).checks)
    found, wanted = nbformat.read(folder / source.name, 4), nbformat.read(source, 4)
    assert [c.source for c in found.cells] == [c.source for c in wanted.cells]
    assert passed(NAME) == set()
    assert passed("05_other") == {2}
    with pytest.raises(FileNotFoundError, match="Received: notebook='none'"):
        reset("none")


# The magic


@pytest.fixture
def shell(folder, monkeypatch):
    # IPython warns where an environment is active that is not the one it runs in.
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    made = InteractiveShell()
    monkeypatch.setattr(answering, "get_ipython", lambda: made)
    made.shown = []
    monkeypatch.setattr(answering, "display", made.shown.append)
    open_exercises(NAME)
    return made


def run(shell, cell):
    result = shell.run_cell(cell)
    assert result.success
    return shell.shown[-1]


ALMOST = "%%answer 1\nexplode_at_1000, explode_at_0_001 = 10, 0\n"


def test_a_cell_is_answered_and_remembered(shell):
    assert run(shell, f"{ALMOST}longest_step = 1").state == "wrong"
    assert passed("04_clipping") == set()
    verdict = run(shell, f"{ALMOST}longest_step = 0.2 * 0.001")
    assert verdict.is_right
    assert verdict.note == "1 of 5 exercises of this notebook done."
    assert passed("04_clipping") == {1}
    assert shell.user_ns["longest_step"] == 0.2 * 0.001


def test_every_cell_goes_on(shell):
    for cell, state in (
        ("%%answer 1", "open"),
        ("%%answer 1\n\n", "open"),
        ("%%answer 1\n# later", "open"),
        ("%%answer 1\n1 / 0", "error"),
        ("%%answer 1\n)", "error"),
    ):
        assert run(shell, cell).state == state
    for cell in ("%%answer 9\nx = 1", "%%answer", "%%answer two\nx = 1"):
        assert "must be followed by the number of an exercise: 1, 2" in str(
            run(shell, cell)
        )
    assert run(shell, "%%answer 1\n%time x = 3\n").state == "open"


def test_solutions_are_not_the_readers_progress(shell):
    open_exercises(NAME, keep=False)
    assert run(shell, f"{ALMOST}longest_step = 0.2 * 0.001").note == ""
    assert passed(NAME) == set()


def test_a_folder_that_cannot_be_written_is_told(shell, folder):
    (folder / "progress.txt").mkdir()
    verdict = run(shell, f"{ALMOST}longest_step = 0.2 * 0.001")
    assert verdict.is_right
    assert "could not be written down" in verdict.note
    assert read_progress().done[NAME] == ()


def test_outside_a_notebook_it_says_where_to_go():
    with pytest.raises(RuntimeError, match="must be called in a notebook"):
        open_exercises(NAME)

"""Runs one answer, with limits, and lets its check judge it."""

import ast
import importlib
import inspect
import re
import traceback

from workbench.course import checks
from workbench.course.limits import TimeIsUp, call_within, print_limit
from workbench.course.verdicts import Verdict, Wrong
from workbench.logs import quiet

_LONGEST_MESSAGE = 300
_LONGEST_PRINT = 20_000


class Exercises:
    """The exercises of one notebook.

    A check is a function `exercise_N` of the module in `workbench.course.checks`. Its
    positional parameters are the names that the answer has to give a value to, its
    keyword-only parameters names of the notebook that it needs. It raises `Wrong`, or
    returns what the right answer shows.

    Args:
        notebook: str, the notebook's name without its ending, such as "04_clipping".
        seconds: float > 0, how long an answer and its check may take.

    Raises:
        ValueError: If there is no such notebook, or `seconds` is not positive.
    """

    def __init__(self, notebook, *, seconds=30.0):
        if notebook not in checks.NOTEBOOKS:
            raise ValueError(
                f"`notebook` must be one of {', '.join(checks.NOTEBOOKS)}. Received: "
                f"notebook={notebook!r}"
            )
        if not seconds > 0:
            raise ValueError(
                f"`seconds` must be > 0 (seconds). Received: seconds={seconds}"
            )
        self.notebook, self.seconds = notebook, seconds
        with quiet():  # TensorFlow comes with it, if this is the first cell to run
            name = notebook.partition("_")[2]
            module = importlib.import_module(f"{checks.__name__}.{name}")
        found = {re.fullmatch(r"exercise_(\d+)", name): name for name in vars(module)}
        self.checks = {
            int(match[1]): getattr(module, name)
            for match, name in found.items()
            if match
        }

    def mark(self, number, source, namespace, show=None):
        """Runs an answer and judges it. Whatever the answer does, this returns.

        Only the reader's own interrupt is passed on.

        Args:
            number: int, the number of the exercise.
            source: str, the answer, Python code.
            namespace: dict, the names that the code runs in, as in a notebook.
            show: Function that is given the value of the last line, or None.

        Returns:
            `Verdict`.
        """
        check = self.checks[number]
        wanted, needed = _names_of(check)
        for name in wanted:  # what an earlier answer left is not this one's
            namespace.pop(name, None)
        file = f"<answer {number}>"
        try:
            tree = ast.parse(source, file)
        except SyntaxError as error:
            text = f"Line {error.lineno} is not Python: {error.msg}"
            return Verdict(number, "error", text, (error.text or "").strip())
        if not tree.body:
            return Verdict(number, "open", f"The cell is empty. {_asked_for(wanted)}")
        empty = [name for name in _left_open(tree) if name in wanted]

        def run_and_judge():
            with print_limit(_LONGEST_PRINT):
                value = _run(tree, file, namespace)
                if value is not None and show:
                    show(value)
                given = {name: namespace.get(name, ...) for name in wanted}
                missing = empty + [name for name in wanted if given[name] is ...]
                if missing:
                    return Verdict(number, "open", _asked_for(missing))
                return self._judge(number, check, given, namespace, needed)

        try:
            return call_within(self.seconds, run_and_judge)
        except TimeIsUp:
            text = f"It ran for {self.seconds:g} seconds. Is there a loop that never "
            text += "ends? If your machine is slow, give `open_exercises` more "
            text += f"time: seconds={4 * self.seconds:g}"
            return Verdict(number, "time", text)
        except (Exception, SystemExit) as error:  # noqa: BLE001, answers raise anything
            text, line = _explain(error, file, source)
            return Verdict(number, "error", text, line)

    def _judge(self, number, check, given, namespace, needed):
        missing = [name for name in needed if name not in namespace]
        if missing:
            text = f"The check needs `{missing[0]}` of this notebook. Run the cells "
            return Verdict(number, "error", text + "above first.")
        try:
            text = check(**given, **{name: namespace[name] for name in needed})
        except Wrong as wrong:
            return Verdict(number, "wrong", str(wrong))
        return Verdict(number, "right", text or "")


def _names_of(check):
    parameters = inspect.signature(check).parameters.values()
    needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return [p.name for p in parameters if p.name not in needed], needed


def _asked_for(names):
    *first, last = (f"`{name}`" for name in names)
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"Give {listed} a value in place of the three dots."


def _left_open(tree):
    """The names of functions whose body is three dots, or nothing but a docstring."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and all(
            isinstance(line, ast.Pass)
            or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            for line in node.body
        ):
            yield node.name


def _run(tree, file, namespace):
    """Runs code as a cell is run; gives the value of its last line, or None."""
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, file, "exec"), namespace)  # noqa: S102, the reader's own code
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), file, "eval"), namespace)  # noqa: S307


def _explain(error, file, source):
    """What stopped an answer, in a line or two, and the line of code it was."""
    text = f"{type(error).__name__}: {error}".strip().removesuffix(":")
    text = re.sub(r"\n\s*\n", "\n", text)
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[:_LONGEST_MESSAGE]} …"
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, NameError):
        text += "\nIf it is a name of this notebook, run the cells above first."
    if not numbers:
        return f"The check cannot use your answer: {text}", ""
    return f"Line {numbers[-1]}: {text}", source.splitlines()[numbers[-1] - 1].strip()

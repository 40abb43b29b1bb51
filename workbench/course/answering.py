"""The cell magic `%%answer N` of a notebook."""

import dataclasses

from IPython import get_ipython
from IPython.display import display

from workbench.course.marking import Exercises
from workbench.course.progress import passed, remember
from workbench.course.verdicts import Verdict


def open_exercises(notebook, *, keep=True, seconds=30.0):
    """Lets cells that begin with `%%answer N` answer the exercises of a notebook.

    Such a cell never stops "Run All": a wrong answer, an error and a loop without
    end are told below the cell, and the notebook goes on.

    Args:
        notebook: str, the notebook's name without its ending, such as "04_clipping".
        keep: Whether passed exercises are kept in `progress.txt` beside the notebook
            (or in the file that the environment variable `WORKBENCH_PROGRESS` names).
        seconds: float > 0, how long an answer and its check may take.

    Raises:
        RuntimeError: If this is not called in a notebook.
        ValueError: If there is no such notebook, or `seconds` is not positive.
    """
    shell = get_ipython()
    if shell is None:
        raise RuntimeError(
            "`open_exercises` must be called in a notebook; open notebooks/"
            f"{notebook}.ipynb and run it there. Received: no notebook"
        )
    exercises = Exercises(notebook, seconds=seconds)

    def answer(line, cell):
        if line.strip() not in map(str, exercises.checks):
            every = ", ".join(map(str, sorted(exercises.checks)))
            text = f"`%%answer` must be followed by the number of an exercise: {every}."
            display(Verdict(0, "error", f"{text} Received: %%answer {line}".strip()))
            return
        source = shell.transform_cell(cell)
        number = int(line)
        verdict = exercises.mark(number, source, shell.user_ns, display)
        if verdict.is_right and keep:
            verdict = dataclasses.replace(verdict, note=_keep(exercises, number))
        display(verdict)

    shell.register_magic_function(answer, "cell", "answer")
    if _with_a_body not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(_with_a_body)


def _with_a_body(lines):
    """Gives an empty answer a line, since IPython raises at a magic without a body."""
    empty = lines and lines[0].startswith("%%answer") and not "".join(lines[1:]).strip()
    return [f"{lines[0].rstrip()}\n", "# empty\n"] if empty else lines


def _keep(exercises, number):
    try:
        remember(exercises.notebook, number)
    except OSError as error:
        return f"It could not be written down, so 00_index will not know it: {error}"
    done = len(passed(exercises.notebook) & set(exercises.checks))
    return f"{done} of {len(exercises.checks)} exercises of this notebook done."

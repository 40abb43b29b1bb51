"""Which exercises were passed: a plain file of lines beside the notebooks.

Each line names a notebook and the number of an exercise, and is written at once, so
two notebooks may write at the same time and a damaged line costs that line only.
"""

import dataclasses
import os
import pathlib
import re

from workbench.course import checks
from workbench.course.marking import Exercises
from workbench.files import atomic_write
from workbench.reports import Note, Report, Table

_LINE = re.compile(r"(\w+) (\d{1,3})")


def progress_file():
    """Returns the path of the file: `WORKBENCH_PROGRESS`, or `progress.txt` here."""
    return pathlib.Path(os.environ.get("WORKBENCH_PROGRESS") or "progress.txt")


def passed(notebook):
    """Reads which exercises of a notebook were passed.

    Args:
        notebook: str, such as "04_clipping".

    Returns:
        set of int. Lines that make no sense are passed over; without a file it is
        empty.
    """
    try:
        text = progress_file().read_bytes().decode("utf-8", "replace")
    except OSError:
        return set()
    lines = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {int(line[2]) for line in lines if line and line[1] == notebook}


def remember(notebook, number):
    """Notes that an exercise was passed.

    Args:
        notebook: str, such as "04_clipping".
        number: int.

    Raises:
        OSError: If the file cannot be written.
    """
    if number in passed(notebook):
        return
    # One write at the end of the file; the line break before it closes a line that
    # was cut off.
    with progress_file().open("ab", buffering=0) as file:
        file.write(f"\n{notebook} {number}\n".encode())


def forget(notebook):
    """Takes the lines of one notebook out of the file; other lines stay.

    Args:
        notebook: str, such as "04_clipping".
    """
    path = progress_file()
    if not path.is_file():
        return
    start = f"{notebook} ".encode()
    lines = path.read_bytes().splitlines(keepends=True)
    with atomic_write(path) as file:
        file.writelines(line for line in lines if not line.startswith(start))


@dataclasses.dataclass(frozen=True, repr=False)
class Progress(Report):
    """What the reader has done.

    Attributes:
        done: dict of notebook to tuple of int, the exercises that were passed.
        exercises: dict of notebook to tuple of int, all that it has.
    """

    done: dict
    exercises: dict

    def __repr__(self):
        return str(self)

    def blocks(self):
        """Returns one table: notebook, how many are done, and which are open."""
        rows = []
        for notebook, numbers in self.exercises.items():
            done = self.done[notebook]
            left = ", ".join(str(n) for n in numbers if n not in done)
            rows.append((notebook, f"{len(done)} of {len(numbers)}", left or "none"))
        total = sum(map(len, self.done.values()))
        every = sum(map(len, self.exercises.values()))
        columns = ("notebook", "exercises done", "still open")
        note = f"{total} of {every} exercises done."
        return [Table(columns, tuple(rows)), Note(note)]


def read_progress():
    """Reads what the reader has done in each notebook.

    Returns:
        `Progress`, which prints as a table.
    """
    every = {name: tuple(sorted(Exercises(name).checks)) for name in checks.NOTEBOOKS}
    done = {
        name: tuple(sorted(passed(name) & set(numbers)))
        for name, numbers in every.items()
    }
    return Progress(done, every)

"""The notebooks as a course: answers are run, checked, and remembered.

A notebook opens its exercises with `open_exercises("04_clipping")`. From then on a
cell that begins with `%%answer 2` is the reader's answer to exercise 2: it is run in
the notebook's own names with a time limit, and the check says what is wrong with it.
"""

from workbench.course.answering import open_exercises
from workbench.course.marking import Exercises
from workbench.course.progress import read_progress
from workbench.course.resetting import reset
from workbench.course.verdicts import Verdict, Wrong

__all__ = [
    "Exercises",
    "Verdict",
    "Wrong",
    "open_exercises",
    "read_progress",
    "reset",
]

"""What a check says to an answer."""

import dataclasses
import re

from workbench.reports import Code, Heading, Note, Report

_HEADINGS = {
    "right": "✓ Exercise {} is right.",
    "wrong": "✗ Exercise {}: not yet.",
    "open": "○ Exercise {} waits for your answer.",
    "error": "✗ Exercise {}: your code stopped with an error.",
    "time": "✗ Exercise {}: your code took too long and was stopped.",
}


class Wrong(Exception):  # noqa: N818, it is no error but an answer to an answer
    """Raised by a check: what is wrong with an answer, never what would be right."""


@dataclasses.dataclass(frozen=True, repr=False)
class Verdict(Report):
    """What is said to one answer.

    Attributes:
        exercise: int, the number of the exercise in its notebook.
        state: "right", "wrong", "open" (not answered), "error" or "time".
        text: str, what is wrong, or what the right answer shows.
        line: str, the line of the answer that stopped, or "".
        note: str, a line of small print, such as how many are done, or "".
    """

    exercise: int
    state: str
    text: str = ""
    line: str = ""
    note: str = ""

    def __repr__(self):
        return str(self)

    @property
    def is_right(self):
        """Whether the answer was accepted."""
        return self.state == "right"

    def _repr_html_(self):
        # The text is escaped by now, and what stands in backticks is code.
        return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", super()._repr_html_())

    def blocks(self):
        """Returns heading, text, line and note as blocks of a report."""
        blocks = [Heading(_HEADINGS[self.state].format(self.exercise))]
        blocks += [Note(line) for line in self.text.splitlines() if line]
        blocks += [Code(self.line)] if self.line else []
        blocks += [Note(self.note)] if self.note else []
        return blocks

"""What a preflight finds, and how it reads."""

import dataclasses

from workbench.reports import Heading, Note, Report


@dataclasses.dataclass(frozen=True)
class Concern(Report):
    """One thing that is otherwise on several devices.

    Attributes:
        code: str, a short name that stays, such as `"global-clipnorm"`.
        what: str, what is the case.
        effect: str, what happens.
        remedy: str, what to do.
        fails: bool, whether training fails; else it goes on and gives other numbers.
    """

    code: str
    what: str
    effect: str
    remedy: str
    fails: bool = False

    def blocks(self):
        """Returns the concern as a heading and two notes."""
        kind = "Fails" if self.fails else "Differs"
        yield Heading(f"{kind}: {self.what}")
        yield Note(self.effect)
        yield Note(f"Remedy: {self.remedy}")


class Preflight(Report, list):
    """A list of `Concern`, what fails first, empty when nothing is known."""

    __slots__ = ()

    def __repr__(self):
        return f"Preflight({[concern.code for concern in self]})"

    def blocks(self):
        """Returns all concerns, or one line."""
        if not self:
            yield Note(
                "Nothing is known that would fail or differ under this strategy."
            )
        for concern in self:
            yield from concern.blocks()

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
        refused: bool, whether `training.Run` and `experiments.compare` say so before
            the first step.
        argument: str, the argument of theirs that it is about.
    """

    code: str
    what: str
    effect: str
    remedy: str
    fails: bool = False
    refused: bool = False
    argument: str = "model"

    def blocks(self):
        """Returns the concern as a heading and two notes."""
        kind = "Fails" if self.fails else "Differs"
        yield Heading(f"{kind}: {self.what}")
        yield Note(self.effect)
        yield Note(f"Remedy: {self.remedy}")
        if self.refused:
            yield Note("`Run` and `compare` refuse it.")


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

    def check(self, data="data"):
        """Raises ValueError for the first concern that `Run` and `compare` refuse.

        Args:
            data: str, the argument that the data was.
        """
        for concern in self:
            if concern.refused:
                argument = data if concern.argument == "data" else concern.argument
                raise ValueError(
                    f"`{argument}` must go with the strategy. {concern.effect} "
                    f"Remedy: {concern.remedy} Received: {concern.what}"
                )

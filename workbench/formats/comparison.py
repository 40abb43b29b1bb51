"""What each format kept of a model, as a record that prints."""

import dataclasses
import pathlib

from workbench.reports import Note, Report, Table, format_bytes


@dataclasses.dataclass(frozen=True)
class FormatResult:
    """What came back from one format.

    Attributes:
        name: str.
        outputs: float, the largest difference of the outputs, or None without any.
        weights: The same of the weights.
        optimizer: The same of the optimizer's variables; None where none came back.
        next_step: The same of the weights after one more training step; None where
            the model cannot train.
        needs: str, what is needed besides the file.
        size: int, bytes.
        save_seconds: float.
        load_seconds: float, None where nothing was loaded.
        error: str, what went wrong, in the next step or before, else "".
        filepath: `pathlib.Path` of what was written.
        has_weights: bool, whether it holds weights, compared or not.
    """

    name: str
    outputs: float | None = None
    weights: float | None = None
    optimizer: float | None = None
    next_step: float | None = None
    needs: str = ""
    size: int | None = None
    save_seconds: float | None = None
    load_seconds: float | None = None
    error: str = ""
    filepath: pathlib.Path | None = None
    has_weights: bool = True


@dataclasses.dataclass(frozen=True)
class FormatComparison(Report):
    """What each format kept of a model.

    Attributes:
        results: Tuple of `FormatResult`.
        notes: Tuple of str, what could not be measured and why.
    """

    results: tuple
    notes: tuple = ()

    def __getitem__(self, name):
        return next(result for result in self.results if result.name == name)

    def blocks(self):
        """Returns the table and the notes."""
        columns = (
            *("format", "outputs", "weights", "optimizer", "next step", "needs"),
            *("size", "save", "load"),
        )
        yield Table(columns, tuple(_row(result) for result in self.results))
        for result in self.results:
            if result.error:
                yield Note(f"{result.name}: {result.error}")
        yield from (Note(note) for note in self.notes)


def _row(result):
    names = ("outputs", "weights", "optimizer", "next_step")
    gaps = [_describe(getattr(result, name)) for name in names]
    if result.error and result.outputs is None:
        gaps = ["failed", "-", "-", "-"]
    elif result.error:
        gaps[3] = "fails"
    elif result.has_weights and result.weights is None:
        gaps[1] = "not compared"
    seconds = tuple(
        "-" if value is None else f"{value:.2f} s"
        for value in (result.save_seconds, result.load_seconds)
    )
    size = "-" if result.size is None else format_bytes(result.size)
    return (result.name, *gaps, result.needs or "-", size, *seconds)


def _describe(gap):
    if gap is None:
        return "lost"
    if gap == 0:
        return "equal"
    return "others" if gap == float("inf") else f"off by {gap:.0e}"

"""What looking into a file found, as frozen records that print."""

import dataclasses

from workbench.reports import Heading, Note, Report, Table, format_bytes

_SHOWN_WEIGHTS = 12
_SHOWN_RISKS = 20


@dataclasses.dataclass(frozen=True)
class Risk:
    """One reason not to load a file.

    Attributes:
        name: str, what to name in `load_model(…, trust=[name])` to load all the same;
            "" where no trust helps, as for a file that is damaged.
        where: str, the place in the file.
        text: str, what loading would do.
    """

    name: str
    where: str
    text: str


@dataclasses.dataclass(frozen=True)
class Weight:
    """An array in a file.

    Attributes:
        name: str, its path or name there.
        shape: Tuple of int, None for an axis of any length.
        dtype: str such as "float32".
    """

    name: str
    shape: tuple
    dtype: str


@dataclasses.dataclass(frozen=True)
class FileReport(Report):
    """What a model file is, keeps, loses, and would do.

    Attributes:
        filepath: str.
        kind: str, what kind of file it is by its content, such as "Keras model".
        size: int, bytes on disk, of all its files.
        keeps: Tuple of str, what can be had back from it.
        loses: Tuple of str, what a training needs that is not in it.
        risks: Tuple of `Risk`, empty when nothing speaks against loading it.
        versions: dict name -> str, what wrote it.
        weights: Tuple of `Weight`.
        inputs: Tuple of str, names to feed, where the file has them.
        outputs: Tuple of str, names to fetch.
        notes: Tuple of str, what else is worth knowing.
        modules: Tuple of str, modules of the workbench whose classes it names.
    """

    filepath: str
    kind: str
    size: int
    keeps: tuple = ()
    loses: tuple = ()
    risks: tuple = ()
    versions: dict = dataclasses.field(default_factory=dict)
    weights: tuple = ()
    inputs: tuple = ()
    outputs: tuple = ()
    notes: tuple = ()
    modules: tuple = ()

    @property
    def is_harmless(self):
        """Whether nothing was found that speaks against loading it; bool."""
        return not self.risks

    def blocks(self):
        """Returns the report as headings, notes and tables."""
        yield Heading(f"{self.filepath}: {self.kind}, {format_bytes(self.size)}")
        if self.versions:
            yield Note("Written by " + _join(self.versions.items(), "{} {}") + ".")
        yield from (Note(note) for note in self.notes)
        rows = [("keeps", line) for line in self.keeps]
        rows += [("loses", line) for line in self.loses]
        for label, names in (("inputs", self.inputs), ("outputs", self.outputs)):
            if names:
                rows.append((label, _shorten(", ".join(names))))
        if rows:
            yield Table(("", "what"), tuple(rows))
        yield from self._risk_blocks()
        yield from self._weight_blocks()

    def _risk_blocks(self):
        if not self.risks:
            yield Heading("Risks: none found")
            return
        yield Heading(f"Risks: {len(self.risks)}")
        yield Table(
            ("what loading would do", "where", "to trust"),
            tuple(
                (_shorten(r.text), _shorten(r.where, 48), _shorten(r.name or "-", 48))
                for r in self.risks[:_SHOWN_RISKS]
            ),
        )
        if len(self.risks) > _SHOWN_RISKS:
            yield Note(f"and {len(self.risks) - _SHOWN_RISKS} more.")

    def _weight_blocks(self):
        if not self.weights:
            return
        yield Heading(f"Arrays: {len(self.weights)}")
        yield Table(
            ("name", "shape", "dtype"),
            tuple(
                (_shorten(w.name, 72), describe_shape(w.shape), w.dtype)
                for w in self.weights[:_SHOWN_WEIGHTS]
            ),
        )
        if len(self.weights) > _SHOWN_WEIGHTS:
            yield Note(f"and {len(self.weights) - _SHOWN_WEIGHTS} more: `.weights`.")


def describe_shape(shape):
    """Writes a shape as people do: "(3, 4)", "(?, 4)", "()" for a number."""
    if shape is None:
        return "?"
    return "(" + ", ".join("?" if n is None else str(n) for n in shape) + ")"


def _join(pairs, pattern):
    return ", ".join(pattern.format(*pair) for pair in pairs)


def _shorten(text, length=96):
    # Names come from the file: no line breaks, no escape sequences of a terminal.
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= length else f"{text[: length - 1]}…"

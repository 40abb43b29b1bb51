"""How much of a vocabulary a file of vectors has, as a report."""

import dataclasses

from workbench.reports import Heading, Note, Report, Table

_SHOWN = 8


@dataclasses.dataclass(frozen=True, repr=False)
class Coverage(Report):
    """Which words of a vocabulary have a vector in the file.

    Attributes:
        found: Tuple of str, words with a vector of the file.
        missing: Tuple of str, words without one; how they begin is `oov`.
        unreachable: Tuple of str, words that no text can ever give, since the
            vocabulary's layer changes or splits them: those of the vocabulary, then
            those of the file.
        special: Tuple of str, padding and unknown words.
        oov: str, how missing words begin.
    """

    found: tuple
    missing: tuple
    unreachable: tuple
    special: tuple
    oov: str

    def __repr__(self):
        names = ("found", "missing", "unreachable")
        counts = (f"{len(getattr(self, name)):,} {name}" for name in names)
        return f"<Coverage: {', '.join(counts)}>"

    @property
    def share(self):
        """Float in [0, 1], found among found and missing."""
        count = len(self.found) + len(self.missing)
        return len(self.found) / count if count else 0.0

    def blocks(self):
        """Returns the report's content."""
        rows = (
            ("found", self.found, "the file's vector"),
            ("missing", self.missing, f"begin as {self.oov}"),
            ("unreachable", self.unreachable, "no text ever gives them"),
            ("special", self.special, "padding is zero"),
        )
        table = Table(
            ("words", "number", "what", "first"),
            tuple((n, f"{len(w):,}", what, _first(w)) for n, w, what in rows),
        )
        return [
            Heading("Coverage"),
            Note(f"{self.share:.1%} of the words are found."),
            table,
        ]


def _first(words):
    more = " …" if len(words) > _SHOWN else ""
    return " ".join(repr(word) for word in words[:_SHOWN]) + more

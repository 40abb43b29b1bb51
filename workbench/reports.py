"""Frozen records rendered once as a small tree, then to text or to HTML.

A report is a frozen dataclass with a method `blocks()`; `Report` gives it `str()`
for terminals and `_repr_html_` for notebooks, from that one description.
"""

import dataclasses
import html
import textwrap

_TEXT_WIDTH = 88


@dataclasses.dataclass(frozen=True)
class Heading:
    """A line that names what follows."""

    text: str


@dataclasses.dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str


@dataclasses.dataclass(frozen=True)
class Code:
    """A line to copy, which is never folded."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under column names; every cell is text.

    Attributes:
        columns: Column names, tuple of str of length C.
        rows: Tuple of rows, each a tuple of C str.
    """

    columns: tuple
    rows: tuple


class Report:
    """Base of the records that print well in a terminal and in a notebook."""

    __slots__ = ()

    def blocks(self):
        """Returns the report's content.

        Returns:
            Sequence of `Heading`, `Note`, `Code` and `Table`, in reading order.
        """
        raise NotImplementedError

    def __str__(self):
        return render_text(self.blocks())

    def _repr_html_(self):
        return render_html(self.blocks())


def _text_table(table):
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def render_text(blocks):
    """Renders blocks for a terminal.

    Args:
        blocks: Iterable of `Heading`, `Note`, `Code` and `Table`.

    Returns:
        str, blocks separated by an empty line after each table and before headings.
    """
    parts = []
    for block in blocks:
        match block:
            case Heading():
                parts.append(("\n" if parts else "") + block.text)
            case Note():
                parts.append(textwrap.fill(block.text, _TEXT_WIDTH))
            case Code():
                parts.append(f"    {block.text}")
            case Table():
                parts.append(_text_table(block))
    return "\n".join(parts)


def _html_table(table):
    def cells(row, tag):
        style = ' style="text-align:left"'
        return "".join(f"<{tag}{style}>{html.escape(cell)}</{tag}>" for cell in row)

    head = f"<thead><tr>{cells(table.columns, 'th')}</tr></thead>"
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def render_html(blocks):
    """Renders blocks for a notebook; everything that came in as text is escaped.

    Args:
        blocks: Iterable of `Heading`, `Note`, `Code` and `Table`.

    Returns:
        str, an HTML fragment without scripts or links.
    """
    parts = []
    for block in blocks:
        match block:
            case Heading():
                parts.append(f"<p><b>{html.escape(block.text)}</b></p>")
            case Note():
                parts.append(f"<p>{html.escape(block.text)}</p>")
            case Code():
                parts.append(f"<pre>{html.escape(block.text)}</pre>")
            case Table():
                parts.append(_html_table(block))
    return "\n".join(parts)


def format_bytes(count):
    """Formats a number of bytes in binary units.

    Args:
        count: int, bytes, or None when it is not known.

    Returns:
        str such as `"15.8 GiB"`, or `"unknown"`.
    """
    if count is None:
        return "unknown"
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_seconds(seconds):
    """Formats a duration for people.

    Args:
        seconds: float, seconds.

    Returns:
        str such as `"42 s"`, `"3 min 05 s"` or `"2 h 07 min"`.
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

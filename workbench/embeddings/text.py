"""Vectors as text: GloVe, and word2vec and fastText with their line of counts."""

import collections
import re
import warnings

import numpy as np
import polars as pl

from workbench.embeddings.text_rows import count_numbers, parse_rows

_CHUNK = 1 << 22
_LOOK = 1 << 16  # bytes, and
_LAST = 20  # lines, that the last number is compared with
_VOTES = 200  # lines, that the number of dimensions is told from
_BOM = b"\xef\xbb\xbf"
_HEADER = re.compile(rb"(\d{1,19})[ \t]+(\d{1,19})[ \t\r]*")


class Layout:
    """What the first lines say.

    Attributes:
        start: int, the byte where the rows begin.
        line: int, the number of the first row's line, from 1.
        rows: int that a header promises, None without a header.
        dimensions: int, numbers in each row.
    """

    def __init__(self, source):
        self.start = 3 if source.read(0, 3) == _BOM else 0
        self.line, self.rows, self.dimensions = 1, None, None
        lines = self._first_lines(source)
        header = _HEADER.fullmatch(lines[0])
        counts = [count_numbers(text) for text in lines]
        if header:  # a word and one number would be a strange vector
            self.rows, self.dimensions = int(header[1]), int(header[2])
            self.start += len(lines[0]) + 1
            self.line, counts = 2, counts[1:]
            self._check_header(counts, source)
        votes = collections.Counter(counts).most_common()
        # Between equals the larger: too many would read numbers as part of a word.
        most = max(count for count, number in votes if number == votes[0][1])
        if self.dimensions is None:
            self.dimensions = most
        elif most != self.dimensions:
            raise ValueError(
                f"{source.title}: line 1 (byte 0) promises {self.dimensions} "
                f"numbers in a row, the rows have {most}; correct the first line"
            )
        if not self.dimensions:
            line = lines[self.line - 1][:60].decode("utf-8", "backslashreplace")
            raise ValueError(
                f"{source.title}: line {self.line} (byte {self.start}): no numbers at "
                f"the end of {line!r}; rows must be a word and numbers"
            )

    def _first_lines(self, source):
        head = source.read(self.start, _LOOK)
        while b"\n" not in head and len(head) + self.start < source.size:
            if len(head) >= 1 << 24:
                raise ValueError(
                    f"{source.title}: line 1 (byte 0) has more than {len(head)} "
                    "bytes; this is no text of words and numbers"
                )
            head = source.read(self.start, 4 * len(head))
        lines = head.split(b"\n")
        whole = self.start + len(head) == source.size
        if not lines[-1] or (len(lines) > 1 and not whole):
            lines.pop()
        if len(lines) > 2 and whole:
            lines.pop()  # a file that was cut must not vote with its stump
        return lines[:_VOTES]

    def _check_header(self, counts, source):
        least = self.rows * (2 * self.dimensions + 1)
        if self.rows == 0 or self.dimensions == 0 or not counts:
            raise ValueError(
                f"{source.title}: line 1 (byte 0) promises {self.rows} rows of "
                f"{self.dimensions} numbers, and there is nothing to read"
            )
        if least > source.size + 1:
            raise ValueError(
                f"{source.title}: line 1 (byte 0) promises {self.rows} rows of "
                f"{self.dimensions} numbers, at least {least} bytes; the file has "
                f"{source.size}: it may be truncated, or the first line is wrong"
            )


def read_text(source, sink, to_utf8, progress):
    """Reads all rows of a text.

    Args:
        source: `Source`.
        sink: `Sink`, takes the rows.
        to_utf8: `ToUtf8`, what to do with bytes that are no UTF-8.
        progress: `Progress` over the bytes, or None.

    Raises:
        ValueError: With line and byte, what was found and what to do.
    """
    layout = Layout(source)
    place, line = layout.start, layout.line
    while place < source.size and sink.room != 0:
        data = _lines_from(source, place)
        size = len(data)
        if place + size == source.size:
            _warn_of_cut(source, data)
            # Empty lines at the very end mean nothing.
            data = data.rstrip(b"\r\n") + b"\n"
        if data != b"\n":
            data = _first_lines(data, sink.room)
            line += _read_chunk(source, layout, place, line, data, sink, to_utf8)
        place += size
        if progress is not None:
            progress.add(size)
    _check_count(source, layout, sink, line)


def _first_lines(data, count):
    """Leaves out rows that nobody asked for: they need not be right."""
    if count is None or data.count(b"\n") <= count:
        return data
    return b"".join(line + b"\n" for line in data.split(b"\n", count)[:count])


def _warn_of_cut(source, data):
    """A number that was cut is a number still: what speaks for it must be said."""
    lines = data.split(b"\n")[-_LAST:]
    if len(lines) < _LAST or not lines[-1]:
        return
    shortest = min(len(n) for line in lines[:-1] for n in line.split()[1:] or [b""])
    last = lines[-1].split()[-1:]
    if last and len(last[0]) < shortest:
        warnings.warn(
            f"{source.title} ends without a newline, in {last[0].decode('latin-1')!r}, "
            "shorter than any number before it; the file may be truncated.",
            stacklevel=5,
        )


def _lines_from(source, place):
    size = _CHUNK
    while True:
        data = source.read(place, size)
        if place + len(data) >= source.size:
            return data
        end = data.rfind(b"\n")
        if end >= 0:
            return data[: end + 1]
        size *= 4


def _check_count(source, layout, sink, line):
    held = line - layout.line
    if not held:
        raise ValueError(f"{source.title}: no rows after line {layout.line - 1}")
    if layout.rows is not None and sink.room != 0 and held != layout.rows:
        raise ValueError(
            f"{source.title}: the header promises {layout.rows} rows, the file holds "
            f"{held}; the file may be truncated, or correct its first line"
        )


def _read_chunk(source, layout, place, line, data, sink, to_utf8):
    """Reads whole lines, quickly if that is sure to be right; returns their number."""
    rows = _quick(_plain(data, to_utf8), layout.dimensions)
    if rows is None:
        try:
            rows = parse_rows(data, layout.dimensions, line, place, to_utf8)
        except ValueError as error:
            raise ValueError(f"{source.title}: {error}") from error
    sink.add(*rows)
    return len(rows[2])


def _plain(data, to_utf8):
    """Returns the same rows with single spaces only; None where it takes more care."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    if b" \n" in data:
        data = data.replace(b" \n", b"\n")
    if b"\r" in data or data.startswith(_BOM):
        return None
    if b"\t" in data:
        if b" " in data:
            return None
        data = data.replace(b"\t", b" ")
    try:
        return to_utf8.whole(data)
    except UnicodeDecodeError:
        return None


def _quick(data, dimensions):
    """Parses rows with polars; None where it may differ from the exact reading."""
    if not data:
        return None
    schema = {"word": pl.String} | dict.fromkeys(
        map(str, range(dimensions)), pl.Float32
    )
    try:
        frame = pl.read_csv(
            data,
            separator=" ",
            has_header=False,
            quote_char=None,
            schema=schema,
            missing_columns="raise",
            extra_columns="raise",
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    words = frame.get_column("word")
    values = frame.drop("word")
    if len(frame) != lines or words.null_count():
        return None
    if any(column.null_count() for column in values.iter_columns()):
        return None
    matrix = values.to_numpy(order="c")
    if not np.isfinite(matrix.sum(dtype="float64")):
        return None
    lengths = words.str.len_bytes().to_numpy()
    blob = words.str.join("").item().encode()
    return blob, lengths, matrix


class ToUtf8:
    """Turns words into UTF-8, or says which bytes are none.

    Args:
        encoding: str, of the file.
        errors: "strict", "replace" or "ignore".
    """

    def __init__(self, encoding, errors):
        self.encoding, self.errors = encoding, errors
        self._is_utf8 = encoding == "utf-8"

    def __call__(self, word, where):
        """Returns a word in UTF-8.

        Args:
            word: bytes.
            where: str, its place, for the error.
        """
        try:
            return word.decode(self.encoding, self.errors).encode()
        except UnicodeDecodeError as error:
            bad = word[error.start : error.start + 4]
            raise ValueError(
                f"{where}: invalid {self.encoding.upper()} {bad[:1].hex()} in the word "
                f"{word[:40].decode('ascii', 'backslashreplace')!r}; pass "
                'encoding="latin-1" or what the file has, or errors="replace"'
            ) from error

    def whole(self, data):
        """Returns many lines in UTF-8.

        Raises:
            UnicodeDecodeError: If there is anything else; one by one tells which.
        """
        if self._is_utf8:
            # polars looks for itself.
            return data
        return data.decode(self.encoding, "strict").encode()

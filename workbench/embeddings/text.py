"""Vectors as text: GloVe, and word2vec and fastText with their line of counts."""

import collections
import concurrent.futures
import os
import warnings

import numpy as np
import polars as pl

from workbench.embeddings.text_layout import BOM, Layout
from workbench.embeddings.text_rows import parse_rows

_CHUNK = 1 << 22
# polars uses one core for most of what it does with one chunk.
_THREADS = min(4, os.cpu_count() or 1)
_LAST = 20  # lines, that the last number is compared with
_NEWLINE, _SPACE = b"\n "


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
    line = layout.line
    # Rows that nobody asked for need not be right: with a limit, one by one.
    ahead = 0 if sink.room is not None else 2 * _THREADS
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        parts = _in_order(
            pool,
            lambda part: _quick(_plain(part[-1], to_utf8), layout.dimensions),
            _parts(source, layout.start, sink),
            ahead,
        )
        for (place, size, data), parsed in parts:
            if data != b"\n":
                rows = parsed.result() or _exact(
                    source, layout, line, place, data, to_utf8
                )
                sink.add(*rows)
                line += len(rows[2])
            if progress is not None:
                progress.add(size)
    _check_count(source, layout, sink, line)


def _in_order(pool, function, items, ahead):
    """Yields `(item, future)`; works on so many items before they are asked for."""
    begun = collections.deque()
    for item in items:
        begun.append((item, pool.submit(function, item)))
        if len(begun) > ahead:
            yield begun.popleft()
    yield from begun


def _parts(source, place, sink):
    """Yields `(place, bytes in the file, whole lines)`."""
    while place < source.size and sink.room != 0:
        data = _lines_from(source, place)
        size = len(data)
        if place + size == source.size:
            _warn_of_cut(source, data)
            # Empty lines at the very end mean nothing.
            data = data.rstrip(b"\r\n") + b"\n"
        yield place, size, _first_lines(data, sink.room)
        place += size


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
            stacklevel=8,
        )


def _lines_from(source, place):
    size = _CHUNK
    while place + size < source.size:
        end = source.rfind(b"\n", place, place + size)
        if end >= 0:
            return source.read(place, end + 1 - place)
        size *= 4
    return source.read(place, size)


def _check_count(source, layout, sink, line):
    held = line - layout.line
    if not held:
        raise ValueError(f"{source.title}: no rows after line {layout.line - 1}")
    if layout.rows is not None and sink.room != 0 and held != layout.rows:
        raise ValueError(
            f"{source.title}: the header promises {layout.rows} rows, the file holds "
            f"{held}; the file may be truncated, or correct its first line"
        )


def _exact(source, layout, line, place, data, to_utf8):
    """Reads whole lines byte by byte."""
    try:
        return parse_rows(data, layout.dimensions, line, place, to_utf8)
    except ValueError as error:
        raise ValueError(f"{source.title}: {error}") from error


def _plain(data, to_utf8):
    """Returns the same rows with single spaces only; None where it takes more care."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    if _has_space_before_newline(data):
        data = data.replace(b" \n", b"\n")
    if b"\r" in data or data.startswith(BOM):
        return None
    if b"\t" in data:
        if b" " in data:
            return None
        data = data.replace(b"\t", b" ")
    try:
        return to_utf8.whole(data)
    except UnicodeDecodeError:
        return None


def _has_space_before_newline(data):
    # bytes.find takes many times as long for two bytes as for one.
    codes = np.frombuffer(data, np.uint8)
    return bool((codes[np.flatnonzero(codes == _NEWLINE) - 1] == _SPACE).any())


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

    def is_done(self, data):
        """Says whether bytes are what words in UTF-8 must be."""
        try:
            return self._is_utf8 and data.decode() is not None
        except UnicodeDecodeError:
            return False

    def whole(self, data):
        """Returns many lines in UTF-8.

        Raises:
            UnicodeDecodeError: If there is anything else; one by one tells which.
        """
        if self._is_utf8:
            # polars looks for itself.
            return data
        return data.decode(self.encoding, "strict").encode()

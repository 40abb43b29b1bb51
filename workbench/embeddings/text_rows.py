"""Rows of text read exactly, byte by byte: for what a quick parser cannot be sure of.

A row is a word and D numbers, with one space or tab between. The last D fields are the
numbers, whatever stands before them is the word.
"""

import re

import numpy as np

NUMBER = re.compile(
    rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)", re.IGNORECASE
)
_LARGEST = float(np.finfo("float32").max) * (1 + 2.0**-25)


def parse_rows(data, dimensions, line, byte, decode):
    """Reads rows.

    Args:
        data: bytes, whole lines.
        dimensions: int, numbers in each row.
        line: int, number of the first line, from 1.
        byte: int, its place in the file.
        decode: Function `(bytes, where) -> bytes`, a word to UTF-8.

    Returns:
        `(blob, lengths, values)` as `Sink.add` takes them; values float32.

    Raises:
        ValueError: If a row is none; names line and byte, what was found and what to
            do.
    """
    words, rows = [], []
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for text in lines:
        where = f"line {line} (byte {byte})"
        word, numbers = _split(text, dimensions, where)
        words.append(decode(word, where))
        rows.append(_numbers(numbers, where))
        line += 1
        byte += len(text) + 1
    values = np.array(rows, "float32").reshape(-1, dimensions)
    return b"".join(words), np.array([len(word) for word in words], np.int64), values


def _split(text, dimensions, where):
    # The original word2vec writes a space after the last number.
    text = text.rstrip(b" \t\r")
    fields = re.split(rb"[ \t]", text)
    if len(fields) <= dimensions:
        _refuse_short(fields, dimensions, where)
    numbers = fields[-dimensions:]
    return text[: len(text) - sum(map(len, numbers)) - dimensions], numbers


def _refuse_short(fields, dimensions, where):
    if fields == [b""]:
        raise ValueError(
            f"{where}: an empty line, expected a word and {dimensions} numbers"
        )
    count = len(fields) - 1
    raise ValueError(
        f"{where}: {count} number{'s' * (count != 1)}, expected {dimensions}; the file "
        "may be truncated: get it again, or pass `limit` to read only what is before"
    )


def _numbers(fields, where):
    for place, field in enumerate(fields, 1):
        if not NUMBER.fullmatch(field):
            shown = field[:40].decode("utf-8", "backslashreplace")
            raise ValueError(
                f"{where}: {shown!r} is no number (number {place} of {len(fields)}); a "
                "word may hold spaces, its numbers have one space or tab between"
            )
    values = [float(field) for field in fields]
    for field, value in zip(fields, values, strict=True):
        if abs(value) >= _LARGEST and field.strip(b"+-")[:1].isdigit():
            raise ValueError(
                f"{where}: {field.decode()} is too large for float32, which ends at "
                "3.40282e+38"
            )
    return values


def count_numbers(text):
    """Counts the numbers at the end of a line, all fields but the first at most."""
    fields = re.split(rb"[ \t]", text.rstrip(b" \t\r"))
    count = 0
    for field in reversed(fields[1:]):
        if not NUMBER.fullmatch(field):
            break
        count += 1
    return count

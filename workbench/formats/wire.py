"""Protocol buffers, field by field, without their classes and within limits.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from workbench.formats.sources import BytesSource, DamagedError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_SMALL = 2**18
_LONGEST_HEADER = 20  # two varints


def varint(data, at):
    """Decodes a variable-length number.

    Args:
        data: bytes.
        at: int, where it begins.

    Returns:
        `(value, end)`.

    Raises:
        DamagedError: If it does not end.
    """
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            break
    raise DamagedError("a number in it does not end")


def fields(source, start, end, budget):
    """Yields the fields of a message.

    Args:
        source: `Source`.
        start: int, where the message begins.
        end: int, where it ends.
        budget: `Budget`.

    Yields:
        `(number, wire type, value)`: an int, or `(start, end)` for `LENGTH`.

    Raises:
        DamagedError: If it is not a message.
    """
    small = end - start <= _SMALL
    data, base = (source.read(start, end - start), start) if small else (b"", 0)
    position = start
    while position < end:
        budget.check()
        if not small:
            data, base = (
                source.read(position, min(_LONGEST_HEADER, end - position)),
                position,
            )
        key, at = varint(data, position - base)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise DamagedError("it is no message: a field has the number 0")
        if kind == VARINT:
            value, at = varint(data, at)
            position = base + at
        elif kind == LENGTH:
            length, at = varint(data, at)
            value = base + at, base + at + length
            position = value[1]
        elif kind in (FIXED32, FIXED64):
            width = 4 if kind == FIXED32 else 8
            value = int.from_bytes(source.read(base + at, width), "little")
            position = base + at + width
        else:
            raise DamagedError(f"it is no message: a field has the type {kind}")
        if position > end:
            raise DamagedError("a field reaches beyond its message")
        yield number, kind, value


def message(data, budget):
    """Yields the fields of a small message, values of `LENGTH` as bytes.

    Args:
        data: bytes.
        budget: `Budget`.

    Yields:
        `(number, value)`.
    """
    for number, kind, value in fields(BytesSource(data), 0, len(data), budget):
        yield number, data[value[0] : value[1]] if kind == LENGTH else value


def text(source, span, longest=4096):
    """Reads a string.

    Args:
        source: `Source`.
        span: `(start, end)`.
        longest: int, bytes; what is longer is cut.

    Returns:
        str.
    """
    start, end = span
    return source.read(start, min(end - start, longest)).decode("utf-8", "replace")


def signed(value):
    """Reads a varint as int64."""
    return value - 2**64 if value >= 2**63 else value

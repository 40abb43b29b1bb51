"""The messages in an HDF5 object's header: shapes, types, layouts, links, attributes.

Source: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, part IV
"""

import dataclasses

from workbench.formats.sources import DamagedError

UNDEFINED = 2**64 - 1
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT = 1, 2, 3, 6, 7, 8
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO = 11, 12, 16, 17, 21
SHARED = 2
HARD, SOFT = 0, 1
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)
_STRING, _VARIABLE = 3, 9
_MOST_AXES = 32


@dataclasses.dataclass
class Datatype:
    """A type of numbers or strings.

    Attributes:
        name: str such as "float32".
        size: int, bytes of one.
        is_string: bool, of fixed length.
        is_variable: bool, a string kept elsewhere in the file.
    """

    name: str
    size: int
    is_string: bool = False
    is_variable: bool = False


@dataclasses.dataclass
class Layout:
    """Where the numbers of an array are.

    Attributes:
        kind: `COMPACT`, `CONTIGUOUS`, `CHUNKED` or `VIRTUAL`.
        stored: int, bytes in the file, or None if that is not in the message.
        chunks: int, where the tree of chunks is, or None.
        axes: int, of a chunk, with the one of a number's bytes.
    """

    kind: int
    stored: int | None = None
    chunks: int | None = None
    axes: int = 0


@dataclasses.dataclass
class Attribute:
    """A named value of an object.

    Attributes:
        name: str.
        datatype: `Datatype`, None if it is shared with other objects.
        shape: Tuple of int.
        data: bytes.
    """

    name: str
    datatype: Datatype | None
    shape: tuple
    data: bytes


def number(data, at, width):
    """Reads a number of `width` bytes at `at`; DamagedError beyond the end."""
    if at + width > len(data):
        raise DamagedError("a message in it is too short")
    return int.from_bytes(data[at : at + width], "little")


def dataspace(data):
    """Reads a shape: a tuple of int, `()` for one number or none."""
    version, axes = number(data, 0, 1), number(data, 1, 1)
    if version not in (1, 2) or axes > _MOST_AXES:
        raise DamagedError("a shape in it is of no known kind")
    begin = 8 if version == 1 else 4
    return tuple(number(data, begin + 8 * i, 8) for i in range(axes))


def datatype(data):
    """Reads a `Datatype`."""
    kind, size = number(data, 0, 1) & 15, number(data, 4, 4)
    bits = number(data, 1, 1)
    if kind == 0:
        sign = "" if bits & 8 else "u"
        return Datatype(f"{sign}int{8 * size}", size)
    if kind == 1:
        brain = size == 2 and len(data) > 13 and number(data, 13, 1) == 8
        return Datatype("bfloat16" if brain else f"float{8 * size}", size)
    if kind == _STRING:
        return Datatype("str", size, is_string=True)
    if kind == _VARIABLE:
        text = bits & 15 == 1
        return Datatype("str" if text else "list", size, is_variable=text)
    names = {8: "bool", 6: "compound", 10: "array"}
    return Datatype(names.get(kind, f"type {kind}"), size)


def layout(data):
    """Reads a `Layout`."""
    version = number(data, 0, 1)
    if version in (1, 2):
        axes, kind = number(data, 1, 1), number(data, 2, 1)
        address = number(data, 8, 8) if kind else None
        if kind == CONTIGUOUS:
            return Layout(kind, None if address != UNDEFINED else 0)
        return Layout(kind, chunks=address, axes=axes)
    kind = number(data, 1, 1)
    if version not in (3, 4, 5) or kind > VIRTUAL:
        raise DamagedError("an array in it is laid out in no known way")
    if kind == COMPACT:
        return Layout(kind, number(data, 2, 2))
    if kind == CONTIGUOUS:
        there = number(data, 2, 8) != UNDEFINED
        return Layout(kind, number(data, 10, 8) if there else 0)
    if kind == CHUNKED and version == 3:
        return Layout(kind, chunks=number(data, 3, 8), axes=number(data, 2, 1))
    return Layout(kind)


def filters(data):
    """Reads the numbers of the filters that an array went through."""
    version, count = number(data, 0, 1), number(data, 1, 1)
    at, found = 8 if version == 1 else 2, []
    for _ in range(count):
        kind = number(data, at, 2)
        named = version == 1 or kind >= 256
        length = number(data, at + 2, 2) if named else 0
        at += 4 if named else 2
        values = number(data, at + 2, 2)
        at += 4 + length + 4 * values
        if version == 1:
            at += -length % 8 + 4 * (values % 2)
        found.append(kind)
    return found


def link(data):
    """Reads a link.

    Returns:
        `(name, kind, address)`; the address of what it leads to if it is `HARD`.
    """
    flags, at = number(data, 1, 1), 2
    kind = HARD
    if flags & 8:
        kind, at = number(data, at, 1), at + 1
    at += 8 if flags & 4 else 0
    at += 1 if flags & 16 else 0
    width = 1 << (flags & 3)
    length, at = number(data, at, width), at + width
    if at + length > len(data):
        raise DamagedError("a name in it is too long")
    name = data[at : at + length].decode("utf-8", "replace")
    return name, kind, number(data, at + length, 8) if kind == HARD else None


def is_dense(kind, data):
    """Says whether links or attributes are kept in a heap, not in the header."""
    flags, at = number(data, 1, 1), 2
    if flags & 1:
        at += 8 if kind == LINK_INFO else 2
    return number(data, at, 8) != UNDEFINED


def attribute(data):
    """Reads an `Attribute`."""
    version, flags = number(data, 0, 1), number(data, 1, 1)
    if version not in (1, 2, 3):
        raise DamagedError("an attribute in it is of no known kind")
    sizes = [number(data, at, 2) for at in (2, 4, 6)]
    at, parts = 9 if version == 3 else 8, []
    for size in sizes:
        if at + size > len(data):
            raise DamagedError("an attribute in it is cut off")
        parts.append(data[at : at + size])
        at += size + (-size % 8 if version == 1 else 0)
    name = parts[0].split(b"\0")[0].decode("utf-8", "replace")
    shared = version > 1 and flags & 3
    return Attribute(
        name,
        None if shared else datatype(parts[1]),
        () if shared else dataspace(parts[2]),
        data[at:],
    )

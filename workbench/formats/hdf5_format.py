"""HDF5 read by its specification: objects, links and attributes, no arrays.

The HDF5 library trusts what a file says: with bytes changed it can be made to crash.
So it is not used here.

Source: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import dataclasses

from workbench.formats import hdf5_messages as messages
from workbench.formats.hdf5_messages import UNDEFINED, number
from workbench.formats.sources import DEEPEST, DamagedError, RefusedError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_MESSAGES = 20_000
_LARGEST_HEADER = 2**24


@dataclasses.dataclass
class Header:
    """An object: a group, an array or a type.

    Attributes:
        found: List of `(kind, flags, data)`, its messages.
    """

    found: list

    def first(self, kind):
        """Returns the data of the first message of a kind, or None."""
        return next((data for k, _, data in self.found if k == kind), None)

    def all(self, kind):
        """Returns the data of all messages of a kind."""
        return [data for k, _, data in self.found if k == kind]

    def is_shared(self, kind):
        """Whether a message only refers to another object."""
        return any(k == kind and flags & messages.SHARED for k, flags, _ in self.found)

    @property
    def is_array(self):
        """Whether this is an array; bool."""
        return self.first(messages.LAYOUT) is not None

    @property
    def is_group(self):
        """Whether this is a group; bool."""
        kinds = {kind for kind, _, _ in self.found}
        return bool(kinds & {messages.SYMBOL_TABLE, messages.LINK_INFO, messages.LINK})


class File:
    """An HDF5 file.

    Attributes:
        root: int, the address of the outermost group.
        is_spread: bool, whether it is one of several files that belong together.

    Args:
        source: `Source`.
        start: int, where its signature is.
        budget: `Budget`.
    """

    def __init__(self, source, start, budget):
        self._source, self._budget = source, budget
        version = self._number(start + 8, 1)
        old = version in (0, 1)
        if version > 3:
            raise RefusedError(f"it is HDF5 with a superblock of version {version}")
        widths = source.read(start + (13 if old else 9), 2)
        if widths != b"\x08\x08":
            raise RefusedError("it is HDF5 with addresses that are not 8 bytes long")
        at = start + {0: 24, 1: 28}.get(version, 12)
        self._base = self._number(at, 8)
        if self._base not in (0, start):
            raise DamagedError("it begins at another place than it says")
        # As the library does: an embedded file is moved to where it was found.
        self._base = start
        self.is_spread = old and self._number(at + 24, 8) != UNDEFINED
        self.root = self._number(at + (40 if old else 24), 8)

    def _number(self, at, width):
        return int.from_bytes(self._source.read(at, width), "little")

    def _read(self, address, count):
        if address == UNDEFINED:
            raise DamagedError("an object in it has no place")
        return self._source.read(self._base + address, count)

    # Headers

    def header(self, address):
        """Reads the header of an object: `Header`."""
        new = self._read(address, 4) == b"OHDR"
        first = self._new_chunk(address) if new else self._old_chunk(address)
        found, todo, seen = [], [first], set()
        while todo:
            at, size, step = todo.pop()
            if at in seen or size > _LARGEST_HEADER:
                raise DamagedError("the header of an object leads back to itself")
            seen.add(at)
            for kind, flags, data in self._messages(self._read(at, size), step):
                found.append((kind, flags, data))
                if len(found) > _MOST_MESSAGES:
                    raise RefusedError("an object has too many messages")
                if kind == messages.CONTINUATION:
                    todo.append(self._continuation(data, new, step))
        return Header(found)

    def _old_chunk(self, address):
        if self._read(address, 1) != b"\1":
            raise DamagedError("an object in it has no header")
        return address + 16, number(self._read(address + 8, 4), 0, 4), 8

    def _new_chunk(self, address):
        flags = number(self._read(address + 5, 1), 0, 1)
        at = address + 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
        width = 1 << (flags & 3)
        size = number(self._read(at, width), 0, width)
        return at + width, size, 6 if flags & 4 else 4

    def _continuation(self, data, new, step):
        at, size = number(data, 0, 8), number(data, 8, 8)
        if not new:
            return at, size, step
        if self._read(at, 4) != b"OCHK" or size < 8:
            raise DamagedError("the header of an object does not go on")
        return at + 4, size - 8, step

    def _messages(self, data, step):
        at = 0
        while at + step <= len(data):
            self._budget.check()
            if step == 8:
                kind, size, flags = (
                    number(data, at, 2),
                    number(data, at + 2, 2),
                    data[at + 4],
                )
            else:
                kind, size, flags = data[at], number(data, at + 1, 2), data[at + 3]
            at += step
            if at + size > len(data):
                raise DamagedError("a message reaches beyond its header")
            yield kind, flags, data[at : at + size]
            at += size

    # Groups

    def links(self, header):
        """Yields the links of a group as `hdf5_messages.link` gives them."""
        for data in header.all(messages.LINK):
            yield messages.link(data)
        for data in header.all(messages.SYMBOL_TABLE):
            tree, heap = number(data, 0, 8), number(data, 8, 8)
            yield from self._tree(tree, self._heap(heap), DEEPEST)

    def _heap(self, address):
        data = self._read(address, 32)
        if data[:4] != b"HEAP":
            raise DamagedError("the names of a group are missing")
        return number(data, 24, 8), number(data, 8, 8)

    def _tree(self, address, heap, depth):
        self._budget.check()
        mark = self._read(address, 8)
        if mark[:4] == b"SNOD":
            yield from self._leaf(address, number(mark, 6, 2), heap)
            return
        if mark[:4] != b"TREE" or mark[4] != 0 or depth == 0:
            raise DamagedError("the list of a group is damaged")
        count = number(mark, 6, 2)
        data = self._read(address + 24, 16 * count + 8)
        for i in range(count):
            yield from self._tree(number(data, 16 * i + 8, 8), heap, depth - 1)

    def _leaf(self, address, count, heap):
        data = self._read(address + 8, 40 * count)
        for at in range(0, 40 * count, 40):
            self._budget.check()
            name = self._name(number(data, at, 8), heap)
            kind = messages.SOFT if number(data, at + 16, 4) == 2 else messages.HARD
            yield name, kind, number(data, at + 8, 8)

    def _name(self, offset, heap):
        start, size = heap
        if offset >= size:
            raise DamagedError("a name is not where it should be")
        data = self._read(start + offset, min(size - offset, 4096))
        return data.split(b"\0")[0].decode("utf-8", "replace")

    # Arrays and attributes

    def stored_in_chunks(self, layout):
        """Adds up the bytes of the chunks of an array; the file's where unknown."""
        if layout.chunks is None:
            return self._source.size
        if layout.chunks == UNDEFINED:
            return 0
        return self._chunks(layout.chunks, layout.axes, DEEPEST)

    def _chunks(self, address, axes, depth):
        self._budget.check()
        mark = self._read(address, 8)
        if mark[:4] != b"TREE" or mark[4] != 1 or depth == 0:
            raise DamagedError("the list of an array's chunks is damaged")
        count, step = number(mark, 6, 2), 16 + 8 * axes
        data, total = self._read(address + 24, step * count), 0
        for at in range(0, step * count, step):
            if mark[5]:
                child = number(data, at + step - 8, 8)
                total += self._chunks(child, axes, depth - 1)
            else:
                total += number(data, at, 4)
        return total

    def text(self, attribute, limit):
        """Reads an attribute that is one string.

        Args:
            attribute: `hdf5_messages.Attribute`.
            limit: int, bytes.

        Returns:
            str, or None if it is something else.

        Raises:
            RefusedError: If it is longer than `limit`.
        """
        if attribute.datatype is None:
            raise RefusedError(f"the attribute {attribute.name} has a shared type")
        if attribute.datatype.is_variable:
            data = self._heap_object(attribute.data, limit)
        elif attribute.datatype.is_string:
            data = attribute.data[: attribute.datatype.size]
        else:
            return None
        return data.split(b"\0")[0].decode("utf-8", "replace")

    def _heap_object(self, reference, limit):
        length, address = number(reference, 0, 4), number(reference, 4, 8)
        wanted = number(reference, 12, 4)
        if length > limit:
            raise RefusedError(f"an attribute of {length} bytes is too large")
        if length == 0:
            return b""
        mark = self._read(address, 16)
        if mark[:4] != b"GCOL":
            raise DamagedError("a text is not where it should be")
        at, end = address + 16, address + number(mark, 8, 8)
        while at + 16 <= end:
            self._budget.check()
            entry = self._read(at, 16)
            index, size = number(entry, 0, 2), number(entry, 8, 8)
            if index == wanted:
                return self._read(at + 16, min(length, size))
            if index == 0:
                break
            at += 16 + size + -size % 8
        raise DamagedError("a text is not where it should be")

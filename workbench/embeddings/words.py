"""The words of a file: UTF-8 bytes in one array, found by hash, mapped from disk."""

import collections.abc
import itertools

import numpy as np

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BLOCKS = 8  # of 8 bytes; the rest of a longer word counts with its end only
_STEP = 1 << 16  # words at a time


class Words(collections.abc.Sequence):
    """Words by row, without a Python object for each.

    Args:
        blob: uint8 array, the words in UTF-8, one after another.
        offsets: int64 `(N + 1,)`, where in the blob each word begins and ends.
        hashes: uint64 `(N,)`, sorted; None to make it when it is first needed.
        order: int64 `(N,)`, the row of each hash.
    """

    def __init__(self, blob, offsets, hashes=None, order=None):
        self.blob, self.offsets = blob, offsets
        self._hashes, self._order = hashes, order

    @classmethod
    def of(cls, words):
        """Packs words.

        Args:
            words: Iterable of str.

        Returns:
            `Words`.
        """
        encoded = [word.encode("utf-8", "surrogatepass") for word in words]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets_of(lengths))

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        count = len(self)
        if not -count <= row < count:
            raise IndexError(f"There are {count} words. Received: row={row}")
        return self._bytes(row % count).decode("utf-8", "surrogatepass")

    def __iter__(self):
        for start in range(0, len(self), _STEP):
            offsets = self.offsets[start : start + _STEP + 1]
            data = self.blob[offsets[0] : offsets[-1]].tobytes()
            ends = (offsets - offsets[0]).tolist()
            for begin, end in itertools.pairwise(ends):
                yield data[begin:end].decode("utf-8", "surrogatepass")

    def __contains__(self, word):
        return isinstance(word, str) and self.rows([word])[0] >= 0

    def __eq__(self, other):
        return isinstance(other, Words) and (
            np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.blob, other.blob)
        )

    __hash__ = None

    def __repr__(self):
        first = ", ".join(map(repr, self[:3]))
        return f"<{len(self):,} words: {first}{', …' if len(self) > 3 else ''}>"

    def index(self, value, start=0, stop=None):
        """Returns the first row of a word.

        Raises:
            ValueError: If it is not there.
        """
        if isinstance(value, str):
            row = int(self.rows([value])[0])
            if row >= start and (stop is None or row < stop):
                return row
        raise ValueError(f"{value!r} is not among the {len(self):,} words")

    def rows(self, words):
        """Finds many words at once.

        Args:
            words: Sequence of str.

        Returns:
            int64 `(len(words),)`, the first row of each, -1 where there is none.
        """
        asked = words if isinstance(words, Words) else Words.of(words)
        hashes, order = self.lookup_arrays()
        wanted = _hash(asked.blob, asked.offsets)
        places = np.searchsorted(hashes, wanted)
        found = np.full(len(asked), -1, np.int64)
        hits = np.flatnonzero(places < len(hashes))
        hits = hits[hashes[places[hits]] == wanted[hits]]
        for i in hits.tolist():
            place, word = int(places[i]), asked._bytes(i)
            # Words of equal hash lie side by side, the first row first.
            while place < len(hashes) and hashes[place] == wanted[i]:
                row = int(order[place])
                if self._bytes(row) == word:
                    found[i] = row
                    break
                place += 1
        return found

    def starting_with(self, text, count):
        """Finds the first rows whose word begins with a text.

        Args:
            text: str.
            count: Positive int, rows at most.

        Returns:
            int64 array, ascending.
        """
        wanted = text.encode("utf-8", "surrogatepass")
        rows = np.flatnonzero(np.diff(self.offsets) >= len(wanted))
        for i, byte in enumerate(wanted):
            rows = rows[self.blob[self.offsets[rows] + i] == byte]
        return rows[:count]

    def duplicates(self):
        """Returns the rows whose word stands in an earlier row, int64, ascending."""
        hashes, order = self.lookup_arrays()
        equal = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        rows = [
            int(order[i])
            for i in equal.tolist()
            if self._is_repeated(int(i), hashes, order)
        ]
        return np.array(sorted(rows), np.int64)

    def _is_repeated(self, place, hashes, order):
        word = self._bytes(int(order[place]))
        before = place - 1
        while before >= 0 and hashes[before] == hashes[place]:
            if self._bytes(int(order[before])) == word:
                return True
            before -= 1
        return False

    def lookup_arrays(self):
        """Returns `(hashes, order)`, see `Words`; made once."""
        if self._hashes is None:
            hashes = _hash(self.blob, self.offsets)
            order = np.argsort(hashes, kind="stable")
            self._hashes, self._order = hashes[order], order
        return self._hashes, self._order

    def take(self, rows):
        """Returns the `Words` of some rows."""
        return Words.of(self[int(row)] for row in rows)

    def head(self, count):
        """Returns the first `count` as `Words` over the same memory."""
        if count >= len(self):
            return self
        return Words(self.blob, self.offsets[: count + 1])

    def _bytes(self, row):
        return self.blob[self.offsets[row] : self.offsets[row + 1]].tobytes()


def offsets_of(lengths):
    """Returns where words of these lengths begin and end, int64 `(N + 1,)`."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _hash(blob, offsets):
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for start in range(0, len(hashes), _STEP):
        part = offsets[start : start + _STEP + 1]
        # Eight more bytes, so that a block may begin at the last.
        data = np.zeros(part[-1] - part[0] + 8, np.uint8)
        data[:-8] = blob[part[0] : part[-1]]
        hashes[start : start + _STEP] = _hash_part(data, part - part[0])
    return hashes


def _hash_part(data, offsets):
    blocks = np.lib.stride_tricks.sliding_window_view(data, 8)
    begins, lengths = offsets[:-1], np.diff(offsets)
    hashes = lengths.astype(np.uint64) * _MULTIPLIER
    for i in range(_BLOCKS):
        rows = np.flatnonzero(lengths > 8 * i)
        if not len(rows):
            return hashes
        hashes[rows] = _mixed(
            hashes[rows], blocks, begins[rows] + 8 * i, rows, i, lengths
        )
    rows = np.flatnonzero(lengths > 8 * _BLOCKS)
    ends = begins[rows] + lengths[rows] - 8
    block = np.ascontiguousarray(blocks[ends]).view("<u8")[:, 0]
    hashes[rows] = _scrambled(hashes[rows] ^ block)
    return hashes


def _mixed(hashes, blocks, places, rows, number, lengths):
    block = np.ascontiguousarray(blocks[places]).view("<u8")[:, 0]
    left = np.minimum(lengths[rows] - 8 * number, 8).astype(np.uint64)
    # What follows the word is not part of it.
    mask = np.uint64(2**64 - 1) >> (np.uint64(64) - np.uint64(8) * left)
    return _scrambled(hashes ^ (block & mask))


def _scrambled(values):
    values = values * _MULTIPLIER
    return values ^ (values >> np.uint64(29))

"""Vectors for words that nobody trained, from the n-grams of their letters."""

import numpy as np

_PRIME, _BASIS = np.uint32(16777619), np.uint32(2166136261)


class Subwords:
    """A table of words and of hashed n-grams, as fastText keeps it.

    Args:
        table: `Mapped`, `(words + buckets, D)`; the n-grams follow the words.
        words: int, rows of words.
        buckets: int, rows of n-grams.
        shortest, longest: int, letters of an n-gram.

    Source:
        Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information",
        and `Dictionary::computeSubwords` of fastText.
    """

    def __init__(self, table, *, words, buckets, shortest, longest):
        self.table, self.words, self.buckets = table, words, buckets
        self.shortest, self.longest = shortest, longest

    def check(self):
        """Raises a ValueError if the n-grams would lie outside the table."""
        if self.longest and self.words + self.buckets > self.table.shape[0]:
            raise ValueError(
                f"{self.buckets} buckets of n-grams do not fit into a table of "
                f"{self.table.shape[0]} rows; the file is damaged, get it again"
            )

    def describe(self):
        """Returns the numbers that it was made with, for JSON."""
        return {
            "words": self.words,
            "buckets": self.buckets,
            "shortest": self.shortest,
            "longest": self.longest,
        }

    def vector(self, word):
        """Makes a vector for a word that is not in the table.

        Args:
            word: str.

        Returns:
            float32 `(D,)`, the mean of its n-grams; None if it has none.
        """
        rows, _ = self.rows([word.encode("utf-8", "surrogatepass")])
        if not len(rows):
            return None
        return np.asarray(self.table.open()[rows]).mean(axis=0, dtype="float32")

    def compose(self, words, table, first):
        """Makes the vectors of words that are in the table.

        Args:
            words: List of bytes.
            table: float32 `(words + buckets, D)`.
            first: int, the row of the first of them.

        Returns:
            float32 `(len(words), D)`, the mean of each word's row and its n-grams.
        """
        sums = np.array(table[first : first + len(words)], "float32")
        # `</s>` is the end of a line, and stands for itself.
        rows, counts = self.rows([b"" if word == b"</s>" else word for word in words])
        if not len(rows):
            return sums
        numbers = np.asarray(table[rows])
        some = np.flatnonzero(counts)
        begins = np.cumsum(counts) - counts
        sums[some] += np.add.reduceat(numbers, begins[some], axis=0, dtype="float32")
        return sums / (counts[:, None] + 1).astype("float32")

    def rows(self, words):
        """Finds the rows of the n-grams of words.

        Args:
            words: List of bytes; an empty one has none.

        Returns:
            `(rows, counts)`: int64, the rows of all, those of one word together, and
            int64 `(len(words),)`, how many each has.
        """
        nothing = np.zeros(0, np.int64), np.zeros(len(words), np.int64)
        if not self.longest or not self.buckets:
            return nothing
        texts = [b"<%b>" % word if word else b"" for word in words]
        owners = np.repeat(np.arange(len(words)), [len(text) for text in texts])
        data = np.frombuffer(b"".join(texts), np.uint8)
        # Letters begin where no byte 10xxxxxx is.
        starts = np.flatnonzero((data & 0xC0) != 0x80)
        if not len(starts):
            return nothing
        hashes, who, place = self._hashes(data, starts, owners[starts])
        order = np.lexsort((place, who))
        counts = np.bincount(who, minlength=len(words))
        return self.words + (hashes[order].astype(np.int64) % self.buckets), counts

    def _hashes(self, data, starts, owners):
        """Hashes all n-grams: each gets one letter more at a time."""
        # fastText takes bytes as signed, so those above 127 flip the high bits too.
        signed = data.view(np.int8).astype(np.int32).view(np.uint32)
        ends = np.append(starts[1:], len(data))
        edge = np.append(owners[1:] != owners[:-1], True)
        edge |= np.append(True, owners[1:] != owners[:-1])
        values = np.full(len(starts), _BASIS)
        alive = np.arange(len(starts))
        found = []
        for length in range(1, self.longest + 1):
            last = alive + length - 1
            inside = last < len(starts)
            inside[inside] &= owners[last[inside]] == owners[alive[inside]]
            alive, values, last = alive[inside], values[inside], last[inside]
            _append_letter(values, signed, starts[last], ends[last])
            if length >= self.shortest:
                # `<` and `>` alone are no n-grams.
                chosen = ~edge[alive] if length == 1 else slice(None)
                found.append(
                    (values[chosen].copy(), owners[alive[chosen]], alive[chosen])
                )
        if not found:
            return (np.zeros(0, np.int64),) * 3
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _append_letter(values, signed, begins, ends):
    for i in range(int((ends - begins).max(initial=0))):
        rows = np.flatnonzero(begins + i < ends)
        values[rows] = (values[rows] ^ signed[begins[rows] + i]) * _PRIME

"""What the first lines of a text of vectors say about all of them."""

import collections
import re

from workbench.embeddings.text_rows import count_numbers

BOM = b"\xef\xbb\xbf"
_LOOK = 1 << 16  # bytes, and
_VOTES = 200  # lines, that the number of dimensions is told from
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
        self.start = 3 if source.read(0, 3) == BOM else 0
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

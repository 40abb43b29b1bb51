"""Vectors in the binary format of the original word2vec.

A line `N D`, then N times: the word, a space, D float32; with or without a newline
after each.
"""

import re

import numpy as np

from workbench.embeddings.text_rows import count_numbers

_HEADER = re.compile(rb"(\d{1,19})[ \t]+(\d{1,19})[ \t\r]*\n")
_LONGEST = 1 << 14  # bytes of a word
_BLOCK = 1 << 13  # rows at a time
_LARGEST_DIMENSIONS = 1 << 24
_LOOK = 1 << 16
_NEWLINE = ord("\n")
_CONTROL = bytes(b for b in range(32) if b not in b"\t\r")


def read_header(source):
    """Returns `(bytes of the header, rows, dimensions)`, or None without a header."""
    match = _HEADER.match(source.read(0, 64))
    return match and (match.end(), int(match[1]), int(match[2]))


def is_binary(source):
    """Says whether what follows the header are numbers in bytes, not in text."""
    header = read_header(source)
    if header is None:
        return False
    begin, rows, dimensions = header
    end = source.find(b" ", begin, begin + _LONGEST)
    if end < 0 or not rows or not 0 < dimensions < _LARGEST_DIMENSIONS:
        return False
    line = source.read(begin, _LOOK).split(b"\n", 1)[0]
    count = count_numbers(line)
    has_control = line.strip(b"\r").translate(None, _CONTROL) != line.strip(b"\r")
    return count != dimensions and (not count or has_control)


def read_binary(source, sink, to_utf8, progress):
    """Reads all records; see `read_text` for the arguments.

    Raises:
        ValueError: If the records do not fill the file exactly.
    """
    begin, rows, dimensions = read_header(source)
    least = rows * (4 * dimensions + 1)
    if least > source.size - begin:
        raise ValueError(
            f"{source.title}: the header promises {rows} rows of {dimensions} numbers, "
            f"at least {least} bytes; the file has {source.size - begin} after it: it "
            "may be truncated, get it again"
        )
    wanted = rows if sink.room is None else min(rows, sink.room)
    place, newline, done = begin, None, 0
    while done < wanted:
        count = min(_BLOCK, wanted - done)
        if newline is None:
            newline = _ends_with_newline(source, place, dimensions)
        words, begins, place = _find_records(
            source, place, dimensions, count, done, rows, newline
        )
        blob, lengths = _in_utf8(words, to_utf8, source, begins, done)
        sink.add(blob, lengths, _gather(source, begins, dimensions))
        done += count
        if progress is not None:
            progress.add(place - begin)
            begin = place
    if done == rows:
        _check_end(source, place, rows)


def _ends_with_newline(source, place, dimensions):
    space = source.find(b" ", place, place + _LONGEST)
    return source.read(space + 1 + 4 * dimensions, 1) == b"\n"


def _find_records(source, place, dimensions, count, done, rows, newline):
    """Returns the words, where in the map their numbers begin, and the next place."""
    data, start = source.data, source.start
    end = start + source.size
    size = 4 * dimensions
    step = 1 + size + newline
    place += start
    words, begins = [], []
    find = data.find
    for i in range(count):
        space = find(b" ", place, place + _LONGEST)
        if space < 0 or space + 1 + size > end:
            # One that ends where it should not makes all that follow wrong.
            _checked(source, words, begins, dimensions, done, newline)
            space = -1 if space >= end else space
            _refuse_cut(source, place - start, done + i, rows, dimensions, space)
        words.append(data[place:space])
        begins.append(space)
        place = space + step
    begins = _checked(source, words, begins, dimensions, done, newline)
    return words, begins, min(place, end) - start


def _checked(source, words, spaces, dimensions, done, newline):
    """Returns where numbers begin, if all end as the first did."""
    begins = np.array(spaces, np.int64) + 1
    after = begins + 4 * dimensions
    after = after[after < source.start + source.size]
    different = (np.frombuffer(source.data, np.uint8)[after] == _NEWLINE) != newline
    if different.any():
        i = int(different.argmax())
        place = spaces[i] - len(words[i]) - source.start
        _refuse_mixed(source, place, done + i, newline)
    return begins


def _in_utf8(words, to_utf8, source, begins, done):
    """Returns the words in UTF-8, one after another, and the bytes of each."""
    if not to_utf8.is_done(b"\n".join(words)):
        places = (begins - 1 - source.start).tolist()
        words = [
            to_utf8(word, f"record {done + i + 1} at byte {place - len(word)}")
            for i, (word, place) in enumerate(zip(words, places, strict=True))
        ]
    return b"".join(words), np.array([len(word) for word in words], np.int64)


def _refuse_cut(source, place, number, rows, dimensions, space):
    what = (
        f"no space after a word within {_LONGEST} bytes"
        if space < 0 and source.size - place > _LONGEST
        else f"fewer than the {dimensions} numbers that the header promises"
    )
    raise ValueError(
        f"{source.title}: the header promises {rows} rows, the file holds {number}: "
        f"record {number + 1} at byte {place} has {what}; the file may be "
        "truncated, or a word holds a space, which this format cannot carry"
    )


def _refuse_mixed(source, place, number, newline):
    have = "a newline" if newline else "no newline"
    raise ValueError(
        f"{source.title}: record {number + 1} at byte {place} does not end where it "
        f"should: those before it have {have} after their numbers. The number of "
        "dimensions may be wrong, or a word holds a space, which this format cannot "
        "carry; convert the file to text"
    )


def _check_end(source, place, rows):
    # The last newline may be missing, or be there alone.
    left = source.read(place, source.size)
    if left.strip(b"\r\n") and source.size > place:
        raise ValueError(
            f"{source.title}: the header promises {rows} rows, and {len(left)} bytes "
            f"are left at byte {place}; correct the first line, or a word holds a "
            "space, which this format cannot carry"
        )


def _gather(source, begins, dimensions):
    """Copies rows that begin at any byte, float32 `(n, D)`."""
    first, last = int(begins[0]), int(begins[-1]) + 4 * dimensions
    data = np.frombuffer(source.data, np.uint8, last - first, first)
    begins = begins - first
    rows = np.empty((len(begins), dimensions), "<f4")
    for shift in range(4):
        chosen = np.flatnonzero(begins % 4 == shift)
        if not len(chosen):
            continue
        whole = (len(data) - shift) // 4
        numbers = data[shift : shift + 4 * whole].view("<f4")
        windows = np.lib.stride_tricks.sliding_window_view(numbers, dimensions)
        rows[chosen] = windows[begins[chosen] // 4]
    return rows

"""fastText's `.bin`: words, and the n-grams that make vectors for any word.

Source:
    Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information"; the
    layout is that of `FastText::saveModel`, version 12.
"""

import struct

import numpy as np

from workbench.embeddings.sinks import Mapped
from workbench.embeddings.subwords import Subwords

MAGIC = bytes.fromhex("BA164F2F")
_ARGUMENTS = struct.Struct("<12id")
_COUNTS = struct.Struct("<iiiqq")
_SUPERVISED, _BLOCK = 3, 1 << 8
_LONGEST = 1 << 14


def read_fasttext(source, sink, to_utf8, progress):
    """Reads the vectors of all words; see `read_text` for the arguments.

    Returns:
        `Subwords`, which make vectors for other words; None if there are none.

    Raises:
        ValueError: If it is damaged, quantized or a classifier.
    """
    version = int.from_bytes(source.read(4, 4), "little")
    if version != 12:
        raise ValueError(
            f"{source.title}: fastText version {version} at byte 4, only 12 is known; "
            "load and save it with the current fastText"
        )
    arguments, words, lengths, place = _read_dictionary(source, to_utf8)
    table = _read_table(source, place, arguments, len(words))
    subwords = Subwords(
        table,
        words=len(words),
        buckets=arguments["buckets"],
        shortest=arguments["shortest"],
        longest=arguments["longest"],
    )
    subwords.check()
    rows = table.open()
    count = len(words) if sink.room is None else min(len(words), sink.room)
    for start in range(0, count, _BLOCK):
        part = words[start : min(start + _BLOCK, count)]
        values = subwords.compose(part, rows, first=start)
        sink.add(b"".join(part), lengths[start : start + len(part)], values)
        if progress is not None:
            progress.add(len(part) * source.size // max(count, 1))
    return subwords if subwords.buckets and subwords.longest else None


def _unpack(source, layout, place, what):
    data = source.read(place, layout.size)
    if len(data) < layout.size:
        raise _cut(source, place, what)
    return layout.unpack(data), place + layout.size


def _cut(source, place, what):
    return ValueError(
        f"{source.title}: the file ends in {what} at byte {place}; it may be "
        "truncated, get it again"
    )


def _read_dictionary(source, to_utf8):
    values, place = _unpack(source, _ARGUMENTS, 8, "the arguments")
    model, buckets, shortest, longest = values[7:11]
    (size, count, labels, _, pruned), place = _unpack(
        source, _COUNTS, place, "the counts of words"
    )
    if model == _SUPERVISED or labels > 0:
        raise ValueError(
            f"{source.title}: a fastText classifier (supervised, {labels} labels), not "
            "vectors of words; use the .bin of `fasttext skipgram` or `cbow`"
        )
    if pruned >= 0:
        raise ValueError(
            f"{source.title}: a quantized fastText model (.ftz, pruned to {pruned} "
            "n-grams), whose numbers are not kept; use the .bin it was made from"
        )
    # A word has at least its NUL, a count and a type.
    if size != count or size <= 0 or 10 * size > source.size or values[0] <= 0:
        raise ValueError(
            f"{source.title}: {size} entries, {count} words of {values[0]} numbers at "
            f"byte {place}, in a file of {source.size} bytes; it is damaged"
        )
    sane = shortest >= 0 and 0 <= longest < 256 and buckets >= 0
    if not sane or (longest and not buckets):
        raise ValueError(
            f"{source.title}: n-grams of {shortest} to {longest} signs in {buckets} "
            "buckets at byte 44; it is damaged, get it again"
        )
    words, place = _read_words(source, place, size, to_utf8)
    lengths = np.array([len(word) for word in words], np.int64)
    arguments = {
        "dimensions": values[0],
        "buckets": buckets,
        "shortest": shortest,
        "longest": longest,
    }
    return arguments, words, lengths, place


def _read_words(source, place, count, to_utf8):
    words = []
    for i in range(count):
        end = source.find(b"\0", place, place + _LONGEST)
        if end < 0 or end + 10 > source.size:
            raise _cut(source, place, f"word {i + 1} of {count}")
        where = f"word {i + 1} at byte {place}"
        words.append(to_utf8(source.read(place, end - place), where))
        if source.read(end + 9, 1) != b"\0":
            raise ValueError(
                f"{source.title}: {where} is no word but a label; a classifier has no "
                "vectors of words"
            )
        place = end + 10
    return words, place


def _read_table(source, place, arguments, words):
    if source.read(place, 1) != b"\0":
        raise ValueError(
            f"{source.title}: a quantized fastText model (byte {place} is not 0), "
            "whose numbers are not kept; use the .bin it was made from"
        )
    (rows, columns), place = _unpack(
        source, struct.Struct("<qq"), place + 1, "the size of the table"
    )
    expected = words + (arguments["buckets"] if arguments["longest"] else 0)
    # Models without n-grams keep their empty buckets.
    fits = rows in (expected, words + arguments["buckets"])
    if not fits or columns != arguments["dimensions"]:
        raise ValueError(
            f"{source.title}: the table is {rows} x {columns} at byte {place - 16}, "
            f"expected {expected} x {arguments['dimensions']}; it is damaged, get it "
            "again"
        )
    if 4 * rows * columns > source.size - place:
        raise _cut(source, place, f"the table of {rows} x {columns} numbers")
    return Mapped(source.file, (rows, columns), "<f4", source.start + place)

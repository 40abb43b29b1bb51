"""Unpacks snappy blocks, which old checkpoints are made of.

Source: https://github.com/google/snappy/blob/main/format_description.txt
"""

from workbench.formats.sources import DamagedError
from workbench.formats.wire import varint


def decompress(data, limit):
    """Unpacks a block.

    Args:
        data: bytes.
        limit: int, the largest result in bytes.

    Returns:
        bytes.

    Raises:
        DamagedError: If the block contradicts itself or is larger than `limit`.
    """
    size, at = varint(data, 0)
    if size > limit:
        raise DamagedError(f"a packed block claims {size} bytes")
    result = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = (tag >> 2) + 1
            if length > 60:
                width = length - 60
                length = int.from_bytes(data[at : at + width], "little") + 1
                at += width
            result += data[at : at + length]
            at += length
        else:
            length, offset, at = _copy(data, tag, at)
            if not 0 < offset <= len(result):
                raise DamagedError("a packed block points outside itself")
            for _ in range(length):
                result.append(result[-offset])
        if len(result) > size:
            raise DamagedError("a packed block unpacks to more than it says")
    if len(result) != size:
        raise DamagedError("a packed block unpacks to less than it says")
    return bytes(result)


def _copy(data, tag, at):
    if tag & 3 == 1:
        low = data[at] if at < len(data) else 0
        return ((tag >> 2) & 7) + 4, ((tag >> 5) << 8) | low, at + 1
    width = 2 if tag & 3 == 2 else 4
    return (tag >> 2) + 1, int.from_bytes(data[at : at + width], "little"), at + width

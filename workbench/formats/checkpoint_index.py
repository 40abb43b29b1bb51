"""TensorFlow checkpoints: the sorted table that lists their arrays.

Source: tensorflow/tsl/lib/io/format.cc, tensorflow/core/protobuf/tensor_bundle.proto,
tensorflow/core/util/saved_tensor_slice.proto
"""

import math
import re

from workbench.formats import wire
from workbench.formats.graph_binary import first_text, read_shape
from workbench.formats.graph_records import DTYPES
from workbench.formats.snappy import decompress
from workbench.formats.sources import BytesSource, DamagedError, FileSource

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_LARGEST_BLOCK = 2**24
_WIDTHS = {
    **dict.fromkeys(("uint8", "int8", "bool", "qint8", "quint8"), 1),
    **dict.fromkeys(("int16", "uint16", "bfloat16", "float16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32", "qint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    "complex128": 16,
}
_OPTIMIZER = re.compile(
    r"optimizer|OPTIMIZER_SLOT|(/|^)(Adam|Adam_1|Momentum|RMSProp|Adagrad|Ftrl)(_\d+)?"
    r"(/|$)|beta[12]_power|/ExponentialMovingAverage$"
)
_INTERNAL = "_CHECKPOINTABLE_OBJECT_GRAPH"


def is_table(source):
    """Says whether a source ends as such a table does."""
    if source.size < _FOOTER:
        return False
    return source.read(source.size - 8, 8) == MAGIC


def entries(source, budget):
    """Yields the pairs of a table.

    Args:
        source: `Source`.
        budget: `Budget`.

    Yields:
        `(key, value)`, both bytes.
    """
    footer = source.read(source.size - _FOOTER, _FOOTER)
    _, at = wire.varint(footer, 0)
    _, at = wire.varint(footer, at)
    offset, at = wire.varint(footer, at)
    size, at = wire.varint(footer, at)
    for _, handle in _block(source, offset, size, budget):
        start, at = wire.varint(handle, 0)
        length, at = wire.varint(handle, at)
        yield from _block(source, start, length, budget)


def _block(source, offset, size, budget):
    if size > _LARGEST_BLOCK:
        raise DamagedError(f"a block of {size} bytes is none of a checkpoint's")
    data = source.read(offset, size + 1)
    data, kind = data[:-1], data[-1]
    if kind == 1:
        data = decompress(data, _LARGEST_BLOCK)
    elif kind != 0:
        raise DamagedError(f"a block is packed in a way that is not known ({kind})")
    if len(data) < 4:
        raise DamagedError("a block is too short")
    restarts = int.from_bytes(data[-4:], "little")
    end = len(data) - 4 - 4 * restarts
    if end < 0:
        raise DamagedError("a block is too short")
    at, key = 0, b""
    while at < end:
        budget.check()
        shared, at = wire.varint(data, at)
        fresh, at = wire.varint(data, at)
        length, at = wire.varint(data, at)
        if shared > len(key) or at + fresh + length > end:
            raise DamagedError("an entry reaches beyond its block")
        key = key[:shared] + data[at : at + fresh]
        at += fresh
        yield key, data[at : at + length]
        at += length


def inspect(source, look, prefix=None):
    """Looks into the index of a checkpoint, or one of the old single files.

    Args:
        source: `Source` of the table.
        look: `Look`.
        prefix: Path without `.index`, to find the files with the numbers; None for
            a table on its own.
    """
    pairs = entries(source, look.budget)
    key, value = next(pairs, (None, b""))
    if key != b"":
        raise DamagedError("the table does not begin as a checkpoint does")
    fields = dict(wire.message(value, look.budget))
    if isinstance(fields.get(1), bytes):
        look.kind = "TensorFlow checkpoint, version 1 (one file)"
        _read_old(value, look)
    else:
        look.kind = "TensorFlow checkpoint"
        ends = _read_new(pairs, look)
        if prefix is None:
            look.notes.append("The numbers are in the .data files beside this index.")
        else:
            _check_shards(prefix, int(fields.get(1, 1)), ends, look)
    _describe(look)


def _read_old(value, look):
    inner = BytesSource(value)
    for number, kind, span in wire.fields(inner, 0, inner.size, look.budget):
        if number != 1 or kind != wire.LENGTH:
            continue
        for part, part_kind, slices in wire.fields(inner, *span, look.budget):
            if part == 1 and part_kind == wire.LENGTH:
                name = first_text(inner, slices, look.budget)
                shape, dtype = (), "unknown"
                for field, _, item in wire.fields(inner, *slices, look.budget):
                    if field == 2:
                        shape = read_shape(inner, item, look.budget)
                    elif field == 3:
                        dtype = DTYPES.get(item, str(item))
                look.add_weight(name, shape, dtype)


def _read_new(pairs, look):
    """Returns dict shard -> where its last array ends."""
    ends = {}
    for key, value in pairs:
        name = key.decode("utf-8", "replace")
        dtype, shape, shard, offset, size = "unknown", (), 0, 0, 0
        inner = BytesSource(value)
        for number, kind, item in wire.fields(inner, 0, inner.size, look.budget):
            if number == 1:
                dtype = DTYPES.get(item, str(item))
            elif number == 2 and kind == wire.LENGTH:
                shape = read_shape(inner, item, look.budget)
            elif number == 3:
                shard = item
            elif number == 4:
                offset = wire.signed(item)
            elif number == 5:
                size = wire.signed(item)
        _check_entry(name, (dtype, shape, offset, size), look)
        ends[shard] = max(ends.get(shard, 0), offset + size)
        if name == _INTERNAL:
            continue
        look.add_weight(name, shape, dtype)
    return ends


def _check_entry(name, entry, look):
    dtype, shape, offset, size = entry
    if min(offset, size) < 0 or shape is None or None in shape:
        look.risk("", name[:200], "has a size that cannot be")
    elif dtype in _WIDTHS and size not in (0, math.prod(shape) * _WIDTHS[dtype]):
        text = f"claims {math.prod(shape)} numbers in {size} bytes"
        look.risk("", name[:200], text)


def _check_shards(prefix, count, ends, look):
    if not 0 < count < 100_000:
        raise DamagedError(f"it claims to be in {count} files")
    for shard in range(min(count, 2000)):
        path = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{count:05d}")
        if not path.is_file():
            look.risk("", path.name, "is missing: the numbers are in it")
        elif path.is_symlink():
            look.risk("", path.name, "is a link, which would be followed")
        elif path.stat().st_size < ends.get(shard, 0):
            look.risk("", path.name, "is shorter than the index says")


def _is_slot(name):
    # Keras's optimizers list the weights too, and may come first.
    return bool(_OPTIMIZER.search(name)) and "/_trainable_variables/" not in name


def _describe(look):
    slots = [w for w in look.weights if _is_slot(w.name)]
    rest = [w for w in look.weights if not _is_slot(w.name)]
    numbers = sum(math.prod(n or 0 for n in w.shape or ()) for w in rest)
    look.keeps.append(f"weights: {len(rest)} arrays, {numbers} numbers")
    if slots:
        look.keeps.append(f"optimizer state: {len(slots)} arrays")
    else:
        look.loses.append("optimizer state: its slots and step count")
    look.loses += [
        "structure: build the same model, then restore",
        "random state, unless the checkpoint was given it",
    ]


def inspect_prefix(prefix, look):
    """Looks into `PREFIX.index` and checks the files with the numbers."""
    path = prefix.with_name(f"{prefix.name}.index")
    with FileSource(path) as source:
        if not is_table(source):
            raise DamagedError(f"{path.name} is no index of a checkpoint")
        inspect(source, look, prefix)

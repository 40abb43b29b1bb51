"""Files of arrays: safetensors, and NumPy's `.npy` and `.npz`."""

import ast
import math
import re

from workbench.formats import pickles
from workbench.formats.look import Look, read_json
from workbench.formats.sources import LARGEST_JSON, DamagedError

NPY = b"\x93NUMPY"
_LARGEST_HEADER = 2**16
_SIZES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F4", "F6_E2M3", "F6_E3M2"), None),
}
_PLAIN = re.compile(r"[<>|=]?[?bBhHiIlLqQefdgFDGSUVOmM]\d*(\[\w+\])?")


def is_safetensors(source):
    """Says whether a source begins as a safetensors file does."""
    if source.size < 10:
        return False
    head = source.read(0, 9)
    return int.from_bytes(head[:8], "little") < 2**40 and head[8:9] == b"{"


def inspect_safetensors(source, look):
    """Looks into a safetensors file.

    Source: https://github.com/huggingface/safetensors#format
    """
    look.kind = "safetensors"
    length = int.from_bytes(source.read(0, 8), "little")
    if 8 + length > source.size:
        raise DamagedError(f"its header claims {length} bytes, and there are fewer")
    header = read_json(source.read(8, min(length, LARGEST_JSON + 1)), look, "header")
    spans, numbers = [], 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape, dtype, span = _entry(name, entry)
        look.add_weight(name, shape, dtype)
        numbers += math.prod(shape)
        bits = _SIZES.get(dtype)
        if bits is not None and math.prod(shape) * bits != 8 * (span[1] - span[0]):
            look.risk("", name[:200], "claims another size than it has")
        spans.append((*span, name))
    _check_spans(sorted(spans), source.size - 8 - length, look)
    look.keeps.append(f"weights: {len(look.weights)} arrays, {numbers} numbers")
    look.loses += [
        "structure: only names, shapes and numbers",
        "optimizer, rate, loss, random state",
    ]


def _entry(name, entry):
    try:
        shape, span = tuple(entry["shape"]), tuple(entry["data_offsets"])
        ok = all(isinstance(n, int) and 0 <= n < 2**63 for n in (*shape, *span))
        dtype = entry["dtype"]
    except (KeyError, TypeError):
        raise DamagedError(f"the entry {name[:60]!r} is incomplete") from None
    if not ok or len(span) != 2 or not isinstance(dtype, str):
        raise DamagedError(f"the entry {name[:60]!r} is none")
    return shape, dtype, span


def _check_spans(spans, size, look):
    end = 0
    for start, stop, name in spans:
        if start != end or stop < start:
            look.risk("", name[:200], "overlaps another array, or leaves a gap")
        end = max(end, stop)
    if end != size:
        look.risk("", "data", f"are {size} bytes where the header claims {end}")


def inspect_npy(source, look, name="array"):
    """Looks into an array of NumPy's."""
    look.kind = "NumPy array (.npy)"
    version = source.read(6, 2)
    width = 2 if version[0] == 1 else 4
    if version[0] not in (1, 2, 3):
        raise DamagedError(f"it is of version {version[0]}, which is not known")
    length = int.from_bytes(source.read(8, width), "little")
    if length > _LARGEST_HEADER:
        raise DamagedError(f"its header of {length} bytes is too long")
    text = source.read(8 + width, length).decode("latin-1")
    try:
        header = ast.literal_eval(text.strip())
        shape = tuple(int(n) for n in header["shape"])
        descr = header["descr"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise DamagedError("its header is none of NumPy's") from None
    look.add_weight(name, shape, str(descr)[:40])
    start = 8 + width + length
    if _has_objects(descr):
        _check_objects(source, start, look, name)
        return
    if isinstance(descr, str) and _PLAIN.fullmatch(descr):
        size = math.prod(shape) * _item_size(descr)
        if size > source.size - start:
            look.risk("", name, f"claims {size} bytes, and there are fewer")


def _has_objects(descr):
    if isinstance(descr, str):
        return "O" in descr
    if isinstance(descr, list | tuple):
        return any(_has_objects(part) for field in descr for part in _parts(field))
    return False


def _parts(field):
    return field[1:2] if isinstance(field, tuple | list) else (field,)


def _item_size(descr):
    match = re.search(r"([a-zA-Z?])(\d+)", descr)
    if not match:
        return 1
    return int(match[2]) * (4 if match[1] == "U" else 1)


def _check_objects(source, start, look, name):
    from workbench.formats.sources import PartSource  # noqa: PLC0415

    inner = Look(outer=look, prefix=f"{name}: ")
    look.risk("pickle", name, "holds Python objects, which NumPy unpickles")
    pickles.inspect(PartSource(source, start, source.size - start), inner)
    look.take_risks(inner)


def inspect_npz(archive, look):
    """Looks into arrays in a zip archive."""
    look.kind = "NumPy arrays (.npz)"
    for name in sorted(archive.names):
        if not name.endswith(".npy"):
            look.risk("", name[:200], "is no array")
            continue
        source = archive.source(name)
        if source.head(6) != NPY:
            look.risk("", name[:200], "is no array; NumPy may unpickle it")
            continue
        inspect_npy(source, look, name.removesuffix(".npy"))
    look.kind = "NumPy arrays (.npz)"
    numbers = sum(math.prod(w.shape) for w in look.weights)
    look.keeps.append(f"weights: {len(look.weights)} arrays, {numbers} numbers")
    look.loses += [
        "structure: only names, shapes and numbers",
        "optimizer, rate, loss, random state",
    ]

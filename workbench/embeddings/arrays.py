"""Matrices that bring no words, or bring them as an array: .npy, .npz, safetensors."""

import ast
import json
import math
import re

import numpy as np

from workbench.embeddings.sinks import Mapped
from workbench.embeddings.sources import member

NPY = b"\x93NUMPY"
_LARGEST_HEADER = 1 << 20
_FLOAT = re.compile(r"[<>=|]?f[248]")
_TEXT = re.compile(r"[<>=|]?[US]\d+")
_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_npy(source):
    """Reads the header of a .npy.

    Args:
        source: `Source`.

    Returns:
        `(descr, shape, fortran_order, start)`: str, tuple of int, bool and the byte
        where the numbers begin.

    Raises:
        ValueError: If it is damaged, or holds Python objects.
    """
    version = source.read(6, 1)
    width = 2 if version == b"\x01" else 4
    if version not in (b"\x01", b"\x02", b"\x03"):
        raise ValueError(f"{source.title}: no known version of .npy at byte 6")
    length = int.from_bytes(source.read(8, width), "little")
    start = 8 + width + length
    if length > _LARGEST_HEADER or start > source.size:
        raise ValueError(f"{source.title}: the header of {length} bytes is cut")
    try:
        header = ast.literal_eval(source.read(8 + width, length).decode().strip())
        descr, shape = header["descr"], tuple(header["shape"])
        fortran = bool(header["fortran_order"])
        is_exact = set(header) == {"descr", "shape", "fortran_order"}
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        raise ValueError(
            f"{source.title}: the header at byte {8 + width} is none of NumPy's; the "
            "file is damaged"
        ) from None
    if not is_exact or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{source.title}: no array has the shape {str(shape)[:80]}")
    if not isinstance(descr, str) or not (
        _FLOAT.fullmatch(descr) or _TEXT.fullmatch(descr)
    ):
        raise ValueError(
            f"{source.title}: an array of {str(descr)[:40]}, expected numbers with a "
            "point (float32) or text; save it as such, without pickle"
        )
    size = math.prod(shape) * _item_size(descr)
    if size > source.size - start:
        raise ValueError(
            f"{source.title}: {shape} numbers need {size} bytes, the file has "
            f"{source.size - start} after byte {start}; it may be truncated"
        )
    return descr, tuple(shape), fortran, start


def _item_size(descr):
    count = int(re.search(r"\d+", descr)[0])
    return 4 * count if "U" in descr else count


def matrix_of_npy(source):
    """Finds the matrix of a .npy.

    Returns:
        `Mapped`, or an array where the numbers cannot be used in place.

    Raises:
        ValueError: If it is no matrix of numbers.
    """
    descr, shape, fortran, start = read_npy(source)
    if not _FLOAT.fullmatch(descr):
        raise ValueError(f"{source.title}: an array of text, expected numbers")
    return _matrix(source, descr, shape, start, fortran=fortran)


def _matrix(source, descr, shape, start, *, fortran=False):
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"{source.title}: an array of shape {shape}, expected (words, dimensions)"
        )
    if fortran:
        rows, columns = shape
        return (
            Mapped(source.file, (columns, rows), descr, source.start + start).open().T
        )
    return Mapped(source.file, shape, descr, source.start + start)


def read_npz(source, name, folder):
    """Finds the matrix of an .npz, and its words if it has an array of text.

    Args:
        source: `Source` of the archive.
        name: str, the array, or None for the only matrix.
        folder: See `open_source`.

    Returns:
        `(matrix, words)`: as of `matrix_of_npy`; list of str or None.

    Raises:
        ValueError: If it is damaged, or there is no matrix or more than one.
    """
    parts = {
        info.filename.removesuffix(".npy"): member(source, source.archive, info, folder)
        for info in source.archive.infolist()
    }
    headers = {key: read_npy(part) for key, part in parts.items()}
    matrices = [
        k for k, h in headers.items() if _FLOAT.fullmatch(h[0]) and len(h[1]) == 2
    ]
    chosen = choose(source.title, "arrays", matrices, name)
    count = headers[chosen][1][0]
    for key, (descr, shape, _, start) in headers.items():
        if _TEXT.fullmatch(descr) and shape == (count,):
            return matrix_of_npy(parts[chosen]), _text(parts[key], descr, count, start)
    return matrix_of_npy(parts[chosen]), None


def _text(source, descr, count, start):
    data = source.read(start, count * _item_size(descr))
    if not _item_size(descr):
        return [""] * count
    array = np.frombuffer(data, descr)
    try:
        words = array.tolist() if "U" in descr else [word.decode() for word in array]
        "".join(words).encode()
    except (UnicodeError, ValueError) as error:
        raise ValueError(f"{source.title}: the words are no text: {error}") from error
    return words


def choose(title, kind, names, name):
    """Returns the name that is asked for, or the only one.

    Raises:
        ValueError: If it is not there, or there are several to choose from.
    """
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return name
    if not names:
        raise ValueError(f"{title}: no matrix of numbers among its {kind}")
    raise ValueError(
        f"`name` must be one of the {len(names)} {kind} in {title} that are matrices: "
        f"{', '.join(names[:10])}. Received: name={name!r}"
    )


def is_safetensors(source):
    """Says whether it begins as safetensors does: a length, and JSON of that length."""
    length = int.from_bytes(source.read(0, 8), "little")
    return 2 <= length <= source.size - 8 and source.read(8, 1) == b"{"


def read_safetensors(source, name):
    """Finds the matrix of a safetensors file.

    Args:
        source: `Source`.
        name: str, the tensor, or None for the only matrix.

    Returns:
        `Mapped`.

    Raises:
        ValueError: If it is damaged, or there is no matrix or more than one.
    """
    length = int.from_bytes(source.read(0, 8), "little")
    try:
        header = json.loads(source.read(8, length))
        tensors = {k: v for k, v in header.items() if k != "__metadata__"}
        entries = {
            key: (v["dtype"], tuple(v["shape"]), tuple(v["data_offsets"]))
            for key, v in tensors.items()
        }
        matrices = [k for k, v in entries.items() if len(v[1]) == 2 and v[0] in _DTYPES]
        title = f"{source.title} (tensors {', '.join(entries)[:80]})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{source.title}: the header of {length} bytes is none of safetensors: "
            f"{type(error).__name__} {error}; the file is damaged"
        ) from error
    chosen = choose(title, "tensors", matrices, name)
    kind, shape, offsets = entries[chosen]
    whole = [n for n in (*shape, *offsets) if type(n) is int and n >= 0]
    size = math.prod(shape) * int(kind[1:]) // 8 if len(whole) == 4 else -1
    if len(whole) < 4 or offsets[1] - offsets[0] != size:
        raise ValueError(
            f"{source.title}: {chosen} has a shape that does not fit its bytes"
        )
    if 8 + length + offsets[1] > source.size:
        raise ValueError(
            f"{source.title}: {chosen} ends at byte {8 + length + offsets[1]}, the "
            f"file at {source.size}; it may be truncated"
        )
    return _matrix(source, _DTYPES[kind], shape, 8 + length + offsets[0])

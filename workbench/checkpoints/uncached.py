"""Writes a safetensors file past the system's page cache.

To find and fill pages for a file that nobody reads soon costs many times the CPU of
the write itself, and CPU is what training has too little of.
"""

import contextlib
import errno
import json
import mmap
import os

import numpy as np

with contextlib.suppress(ImportError):  # not on Windows, which has no such flag
    import fcntl

_PAST_CACHE = getattr(os, "O_DIRECT", 0)  # Linux alone has it
_CHUNK = 4 << 20  # bytes; what goes to the disk at once
_BLOCK = 4096  # bytes; no disk asks for coarser writes
DTYPES = {  # what NumPy calls them -> what safetensors does
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
}


def write_safetensors(path, tensors):
    """Writes arrays into a safetensors file, without a sync.

    Args:
        path: path of the file; one that exists is overwritten.
        tensors: dict name -> contiguous array.

    Raises:
        OSError: If the disk is full, or the file cannot be written.
        TypeError: If safetensors knows no such dtype.

    Source:
        https://github.com/huggingface/safetensors#format
    """
    # Wide numbers first, so that each lies where its width asks for.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize)
    pieces = [_header(ordered), *(_bytes_of(array) for _, array in ordered)]
    with contextlib.closing(_File(path)) as file:
        for piece in pieces:
            file.write(piece)
        file.finish()


def _header(ordered):
    entries, begin = {}, 0
    for name, array in ordered:
        if array.dtype.name not in DTYPES:
            raise TypeError(
                "A checkpoint holds arrays of the dtypes that safetensors knows: "
                f"{', '.join(DTYPES)}. Received: {name} of dtype {array.dtype.name}"
            )
        entries[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, begin + array.nbytes],
        }
        begin += array.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return np.frombuffer(len(text).to_bytes(8, "little") + text, "uint8")


def _bytes_of(array):
    return array.reshape(-1).view("uint8")


class _File:
    """A file written in whole blocks, from memory that lies as the disk wants it."""

    def __init__(self, path):
        self._chunk = np.frombuffer(mmap.mmap(-1, _CHUNK), "uint8")
        self._filled = 0
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(path, flags | _PAST_CACHE, 0o666)
        except OSError:
            # Some file systems, such as those in memory, know no other way.
            self._file = os.open(path, flags, 0o666)

    def write(self, piece):
        """Takes bytes, a uint8 array; they go to the disk chunk by chunk."""
        begin = 0
        while begin < len(piece):
            end = min(len(piece), begin + _CHUNK - self._filled)
            filled = self._filled + end - begin
            self._chunk[self._filled : filled] = piece[begin:end]
            self._filled, begin = filled, end
            if filled == _CHUNK:
                self._flush()

    def finish(self):
        """Writes what is left, and cuts the file to its size."""
        size = self._size + self._filled
        self._filled += -self._filled % _BLOCK
        self._flush()
        os.truncate(self._file, size)

    def close(self):
        """Closes the file."""
        os.close(self._file)

    def _flush(self):
        begin = 0
        while begin < self._filled:
            begin += self._write(self._chunk[begin : self._filled])
        self._size += self._filled
        self._filled = 0

    def _write(self, block):
        try:
            return os.write(self._file, block)
        except OSError as error:
            if error.errno != errno.EINVAL or not _PAST_CACHE:
                raise
            # The file system takes no such blocks; with a plain flag it takes all.
            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~_PAST_CACHE)
            return os.write(self._file, block)

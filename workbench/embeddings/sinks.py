"""Where rows go while a file is read: a file with a matrix, and its words."""

import itertools
import pathlib
import tempfile

import numpy as np

from workbench.embeddings.words import Words, offsets_of

HEADER = 128  # bytes before the numbers of our .npy: a multiple of 64
_LARGEST = {"float16": 65504.0, "float32": float(np.finfo("float32").max)}


class TemporaryFile:
    """A binary file without a name, closed when nobody uses it any more.

    Args:
        folder: path, or None for the system's own.
    """

    def __init__(self, folder=None):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, see __del__

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __del__(self):
        self._file.close()


class Mapped:
    """A matrix in a file, which every user maps for itself.

    Args:
        file: path or open binary file.
        shape: `(N, D)`.
        dtype: NumPy dtype.
        offset: int, bytes before the first number.
    """

    def __init__(self, file, shape, dtype, offset):
        self.file, self.shape, self.offset = file, shape, offset
        self.dtype = np.dtype(dtype)

    def open(self):
        """Maps it anew, copy-on-write: changes stay in this one mapping."""
        return np.memmap(
            self.file, self.dtype, mode="c", offset=self.offset, shape=self.shape
        )

    def head(self, count):
        """Returns the first `count` rows."""
        rows, columns = self.shape
        return Mapped(self.file, (min(count, rows), columns), self.dtype, self.offset)


class Sink:
    """Takes rows in the order of the file and writes them down.

    Args:
        file: Binary file open for writing and reading.
        dtype: "float32" or "float16".
        limit: int, rows, or None.
        only: Frozen set of bytes, the words to keep, or None.
    """

    def __init__(self, file, dtype, limit=None, only=None):
        self._file, self._dtype = file, np.dtype(dtype)
        self._limit, self._only = limit, only
        self._blobs, self._lengths = [], []
        self.rows = self.seen = 0
        self.dimensions = None
        file.write(bytes(HEADER))

    @property
    def room(self):
        """How many more rows of the file are wanted, None for all."""
        return None if self._limit is None else self._limit - self.seen

    def add(self, blob, lengths, values):
        """Takes rows.

        Args:
            blob: bytes, their words in UTF-8, one after another.
            lengths: int array `(n,)`, bytes of each word.
            values: float array `(n, D)`.

        Raises:
            ValueError: If a number is too large for the dtype.
        """
        self.dimensions = values.shape[1]
        room, first = self.room, self.seen
        self.seen += len(values)
        if room is not None and room < len(values):
            self.seen = self._limit
            values, lengths = values[:room], lengths[:room]
            blob = blob[: int(lengths.sum())]
        if self._only is not None:
            blob, lengths, values = self._chosen(blob, lengths, values)
        written = self._cast(values, first)
        if written.size:
            self._file.write(memoryview(np.ascontiguousarray(written)).cast("B"))
        self._blobs.append(bytes(blob))
        self._lengths.append(np.asarray(lengths, np.int64))
        self.rows += len(written)

    def _chosen(self, blob, lengths, values):
        ends = offsets_of(lengths).tolist()
        words = [blob[a:b] for a, b in itertools.pairwise(ends)]
        keep = [i for i, word in enumerate(words) if bytes(word) in self._only]
        blob = b"".join(bytes(words[i]) for i in keep)
        return blob, np.asarray(lengths)[keep], values[keep]

    def _cast(self, values, first):
        if values.dtype == self._dtype:
            return values
        with np.errstate(over="ignore"):
            cast = values.astype(self._dtype)
        if not np.isfinite(cast).all():
            lost = np.argwhere(~np.isfinite(cast) & np.isfinite(values))
            if len(lost):
                row, column = lost[0]
                raise ValueError(
                    f"`dtype` must be able to hold every number, {self._dtype} ends at "
                    f"{_LARGEST[self._dtype.name]:g}: row {first + row} has "
                    f"{values[row, column]:g} in column {column}. "
                    f"Received: dtype={self._dtype.name}"
                )
        return cast

    def finish(self):
        """Writes the header.

        Returns:
            `(shape, Words)`.
        """
        shape = (self.rows, self.dimensions or 0)
        self._file.seek(0)
        self._file.write(npy_header(shape, self._dtype))
        self._file.flush()
        blob = np.frombuffer(b"".join(self._blobs), np.uint8)
        lengths = [np.zeros(0, np.int64), *self._lengths]
        return shape, Words(blob, offsets_of(np.concatenate(lengths)))


def npy_header(shape, dtype):
    """Returns the `HEADER` bytes that make what follows a .npy file."""
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape})
    text = text.ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.encode()


def write_array(filepath, array):
    """Writes a .npy file that `np.load` can map.

    Args:
        filepath: path.
        array: Contiguous array of one axis.
    """
    with pathlib.Path(filepath).open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)

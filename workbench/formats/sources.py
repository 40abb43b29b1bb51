"""Bytes of a file, read in pieces and within limits."""

import io
import os
import time

# A file that needs more than this is refused, not read.
CPU_SECONDS = 0.8
LARGEST_READ = 48 * 2**20
LARGEST_JSON = 8 * 2**20
LARGEST_UNPACKED = 64 * 2**20
MOST_PARTS = 200_000
DEEPEST = 64

_WINDOW = 2**15


class RefusedError(ValueError):
    """A file that is beyond what is looked into; the text says why."""


class DamagedError(ValueError):
    """A file whose content contradicts itself; the text says where."""


class Budget:
    """The time that looking into one file may take.

    It counts this thread's own processor time, so that a busy machine finds what an
    idle one finds.
    """

    def __init__(self, seconds=CPU_SECONDS):
        self._end = time.thread_time() + seconds
        self._parts = 0

    def check(self):
        """Counts a part of the file.

        Raises:
            RefusedError: If there are too many, or the time is up.
        """
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise RefusedError(f"it has more than {MOST_PARTS} parts")
        if not self._parts % 64 and time.thread_time() > self._end:
            raise RefusedError("looking through it takes too long")


class Source:
    """Bytes that can be read from any place.

    Attributes:
        size: int, bytes in all.
    """

    size = 0

    def __init__(self):
        self._window = b""
        self._start = 0

    def _fetch(self, offset, count):
        raise NotImplementedError

    def read(self, offset, count):
        """Reads bytes.

        Args:
            offset: int >= 0.
            count: int >= 0.

        Returns:
            bytes of length `count`.

        Raises:
            DamagedError: If they reach beyond the end.
            RefusedError: If they are more than is read at once.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise DamagedError(
                f"it ends at byte {self.size}, and {count} bytes at {offset} are needed"
            )
        if count > LARGEST_READ:
            raise RefusedError(f"a part of {count} bytes is too large to look into")
        begin = offset - self._start
        if begin >= 0 and begin + count <= len(self._window):
            return self._window[begin : begin + count]
        if count > _WINDOW:
            return self._fetch(offset, count)
        self._window = self._fetch(offset, min(_WINDOW, self.size - offset))
        self._start = offset
        return self._window[:count]

    def head(self, count):
        """Reads the first bytes, fewer where there are fewer."""
        return self.read(0, min(count, self.size))


class FileSource(Source):
    """A file on disk, only ever read.

    Args:
        path: Path of a regular file.
    """

    def __init__(self, path):
        super().__init__()
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.size = os.fstat(self._descriptor).st_size

    def _fetch(self, offset, count):
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        data = os.read(self._descriptor, count)
        if len(data) < count:
            raise DamagedError("it became shorter while it was read")
        return data

    def close(self):
        """Closes the file."""
        os.close(self._descriptor)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class BytesSource(Source):
    """Bytes in memory.

    Args:
        data: bytes.
    """

    def __init__(self, data):
        super().__init__()
        self._data = data
        self.size = len(data)

    def _fetch(self, offset, count):
        return self._data[offset : offset + count]


class PartSource(Source):
    """A stretch of another source.

    Args:
        whole: `Source`.
        offset: int, where it begins.
        size: int, bytes.
    """

    def __init__(self, whole, offset, size):
        super().__init__()
        if offset + size > whole.size:
            raise DamagedError("a part reaches beyond the end of the file")
        self._whole = whole
        self._offset = offset
        self.size = size

    def _fetch(self, offset, count):
        return self._whole.read(self._offset + offset, count)


class SourceFile(io.RawIOBase):
    """A source as a file object that can be read and not written.

    Args:
        source: `Source`.
    """

    def __init__(self, source):
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self):
        """Returns True."""
        return True

    def seekable(self):
        """Returns True."""
        return True

    def tell(self):
        """Returns the position."""
        return self._position

    def seek(self, offset, whence=io.SEEK_SET):
        """Moves the position and returns it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(
            whence, self._source.size
        )
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer):
        """Fills a buffer as far as there are bytes and returns their number."""
        left = max(0, self._source.size - self._position)
        count = min(len(buffer), left, LARGEST_READ)
        buffer[:count] = self._source.read(self._position, count)
        self._position += count
        return count

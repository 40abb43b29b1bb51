"""The bytes of a vector file: plain, or out of .gz or .zip, mapped into memory."""

import gzip
import mmap
import pathlib
import zipfile
import zlib

from workbench.embeddings.sinks import TemporaryFile

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_CHUNK = 1 << 20
# What unpacks to more is no file of vectors: text packs to a third.
_LARGEST_RATIO = 50
_SMALL = 1 << 28  # bytes
_HIDDEN = ("__MACOSX/", ".")


class Source:
    """Bytes that are read in place.

    Attributes:
        title: str, names it in errors.
        data: Map or bytes of the whole file; index and slice it.
        start, size: int, where in `data` the content begins, and how long it is.
        file: path or open file that holds `data`.
        archive: `zipfile.ZipFile` where the content is an archive with a meaning of
            its own, else None.

    Args:
        title, file, start, size: See above; size None for all that is there.
    """

    def __init__(self, title, file, start=0, size=None, archive=None):
        self.title, self.file, self.archive = title, file, archive
        if hasattr(file, "fileno"):
            self.data = _mapped(file)
        else:
            with pathlib.Path(file).open("rb") as opened:
                self.data = _mapped(opened)
        length = len(self.data)
        self.start = start
        self.size = length - start if size is None else size
        if start + self.size > length:
            raise ValueError(f"{title} is cut: the file ends at byte {length}")

    def read(self, start, size):
        """Returns bytes from `start` of the content, fewer at its end."""
        begin = self.start + start
        return self.data[begin : min(begin + size, self.start + self.size)]

    def find(self, wanted, start, end=None):
        """Returns where in the content bytes are found next, -1 for nowhere."""
        end = self.size if end is None else min(end, self.size)
        found = self.data.find(wanted, self.start + start, self.start + end)
        return found - self.start if found >= 0 else -1

    def rfind(self, wanted, start, end):
        """Returns where in the content bytes are found last, -1 for nowhere."""
        end = min(end, self.size)
        found = self.data.rfind(wanted, self.start + start, self.start + end)
        return found - self.start if found >= 0 else -1

    def part(self, title, start, size):
        """Returns a `Source` of a part of this one."""
        return Source(title, self.file, self.start + start, size)


def _mapped(file):
    length = file.seek(0, 2)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if length else b""


def open_source(filepath, name=None, folder=None):
    """Opens a file, and what is packed in it.

    Args:
        filepath: path of a file.
        name: str, the member of a .zip, or None for its only one.
        folder: path, where what must be unpacked lies until nobody uses it any more;
            None for the system's own.

    Returns:
        `Source`.

    Raises:
        ValueError: If it is damaged, or has several members and no name is given.
    """
    path = pathlib.Path(filepath)
    source = Source(path.name, path)
    head = source.read(0, 4)
    if head[:2] == _GZIP:
        return _gunzip(path, folder)
    if head == _ZIP:
        return _unzip(path, source, name, folder)
    return source


def _gunzip(path, folder):
    packed = path.stat().st_size
    file = TemporaryFile(folder)
    try:
        with gzip.open(path) as opened:
            _copy(opened, file, packed, path.name)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path.name} is damaged as a .gz: {error}; get the file again. "
            f"Received: filepath={path}"
        ) from error
    return Source(path.name, file)


def _copy(opened, file, packed, title):
    most = max(_SMALL, _LARGEST_RATIO * packed)
    done = 0
    while chunk := opened.read(_CHUNK):
        done += len(chunk)
        if done > most:
            raise ValueError(
                f"{title} unpacks to more than {most} bytes from {packed}; unpack it "
                "yourself if you trust it"
            )
        file.write(chunk)
    file.flush()


def _unzip(path, source, name, folder):
    try:
        archive = zipfile.ZipFile(path)
        names = [info.filename for info in archive.infolist()]
        if "config.json" in names or (names and all(n.endswith(".npy") for n in names)):
            # A Keras model, or an .npz: their readers choose what they need.
            source.archive = archive
            return source
        info = archive.getinfo(_choose(path, names, name))
        return member(source, archive, info, folder)
    except _ZIP_ERRORS as error:
        raise ValueError(
            f"{path.name} is damaged as a .zip: {error}; get the file again. "
            f"Received: filepath={path}"
        ) from error


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,  # encrypted
)


def _choose(path, names, name):
    files = [n for n in names if not n.endswith("/") and not n.startswith(_HIDDEN)]
    if name is None and len(files) == 1:
        return files[0]
    if name in files:
        return name
    raise ValueError(
        f"`name` must be one of the {len(files)} files in {path.name}: "
        f"{', '.join(files[:10])}. Received: name={name!r}"
    )


def member(source, archive, info, folder):
    """Returns a `Source` of a member of an archive, in place if it is not packed.

    Args:
        source: `Source` of the archive.
        archive: `zipfile.ZipFile`.
        info: `zipfile.ZipInfo` of the member.
        folder: See `open_source`.

    Returns:
        `Source`.

    Raises:
        ValueError: If it is damaged.
    """
    title = f"{source.title}: {info.filename}"
    try:
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
            _check_sum(archive, info)
            header = source.read(info.header_offset, 30)
            skip = 30 + sum(
                int.from_bytes(header[i : i + 2], "little") for i in (26, 28)
            )
            return source.part(title, info.header_offset + skip, info.file_size)
        file = TemporaryFile(folder)
        with archive.open(info) as opened:
            _copy(opened, file, info.compress_size, title)
        return Source(title, file)
    except _ZIP_ERRORS as error:
        raise ValueError(f"{title} is damaged: {error}; get the file again") from error


def _check_sum(archive, info):
    with archive.open(info) as opened:
        while opened.read(_CHUNK):
            pass

"""Zip archives: what unpacking them would do, and Keras models in them."""

import re
import zipfile
import zlib

from workbench.formats import hdf5, keras_config
from workbench.formats.look import Look, read_json
from workbench.formats.sources import (
    LARGEST_JSON,
    LARGEST_UNPACKED,
    BytesSource,
    DamagedError,
    PartSource,
    RefusedError,
    SourceFile,
)

_MOST_MEMBERS = 20_000
_LARGEST_RATIO = 100
_SMALL = 2**20
_LINK = 0o120000
_END = b"PK\x05\x06"
_WEIGHTS = re.compile(r"[^/]*\.weights\.h5|model\.weights\.json")
_KNOWN = re.compile(
    r"config\.json|metadata\.json|assets(/.*)?|__MACOSX/.*|\.DS_Store|[^/]*\.weights\.h5"
    r"|model\.weights\.json|quantization_config\.json"
)


def is_zip(source):
    """Says whether Python would open it as a zip archive."""
    if source.head(4) == b"PK\x03\x04":
        return True
    tail = source.read(max(0, source.size - 66_000), min(66_000, source.size))
    return _END in tail and zipfile.is_zipfile(SourceFile(source))


class Archive:
    """A zip archive, checked member by member before anything is unpacked.

    Args:
        source: `Source`.
        look: `Look`, takes the risks.
    """

    def __init__(self, source, look):
        self._source, self._look = source, look
        try:
            self._zip = zipfile.ZipFile(SourceFile(source))
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise DamagedError(f"the archive is damaged: {error}") from None
        self.members = self._zip.infolist()
        if len(self.members) > _MOST_MEMBERS:
            raise RefusedError(f"it has {len(self.members)} members")
        self._check()

    @property
    def names(self):
        """Set of str, the members' names."""
        return {member.filename for member in self.members}

    def _check(self):
        seen = set()
        for member in self.members:
            self._look.budget.check()
            for text in _problems(member):
                self._look.risk("", member.orig_filename[:200], text)
            key = member.filename.rstrip("/").lower()
            if key in seen:
                text = "is there twice; programs differ in which one they take"
                self._look.risk("", member.filename[:200], text)
            seen.add(key)
        total = sum(member.file_size for member in self.members)
        packed = max(sum(member.compress_size for member in self.members), 1)
        if total > _SMALL and (total > _LARGEST_RATIO * packed):
            text = f"unpacks to {total} bytes from {packed}: would fill memory or disk"
            self._look.risk("", "archive", text)
        self._check_hidden()

    def _check_hidden(self):
        # What stands in the file but not in its list is what another program may see.
        listed = {member.header_offset for member in self.members}
        if self.members and min(listed) > 0:
            text = "has bytes before the archive: it can be two kinds of file at once"
            self._look.risk("", "archive", text)
        for member in self.members:
            header = self._source.read(member.header_offset, 30)
            length = int.from_bytes(header[26:28], "little")
            name = self._source.read(member.header_offset + 30, length)
            if header[:4] != b"PK\x03\x04" or name != _raw_name(member):
                text = "has another name in its own header than in the list"
                self._look.risk("", member.filename[:200], text)

    def read(self, name, limit=LARGEST_JSON):
        """Unpacks a member within limits.

        Args:
            name: str.
            limit: int, bytes.

        Returns:
            bytes.
        """
        member = self._zip.getinfo(name)
        if member.file_size > limit:
            raise RefusedError(
                f"{name} has {member.file_size} bytes, too many to look through"
            )
        try:
            with self._zip.open(member) as opened:
                data = opened.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise DamagedError(f"{name} is damaged: {error}") from None
        except RuntimeError:  # what zipfile raises for a password
            raise RefusedError(f"{name} is encrypted") from None
        if len(data) > limit:
            raise RefusedError(f"{name} unpacks to more than it says")
        return data

    def source(self, name):
        """Returns a `Source` of a member, in place where it is not compressed."""
        member = self._zip.getinfo(name)
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            return BytesSource(self.read(name, LARGEST_UNPACKED))
        header = self._source.read(member.header_offset, 30)
        skip = int.from_bytes(header[26:28], "little")
        skip += int.from_bytes(header[28:30], "little")
        start = member.header_offset + 30 + skip
        return PartSource(self._source, start, member.file_size)

    def starts(self):
        """Set of int, where the contents of members that are not compressed begin."""
        found = set()
        for member in self.members:
            header = self._source.read(member.header_offset, 30)
            skip = int.from_bytes(header[26:28], "little")
            skip += int.from_bytes(header[28:30], "little")
            found.add(member.header_offset + 30 + skip)
        return found


def _raw_name(member):
    encoding = "utf-8" if member.flag_bits & 0x800 else "cp437"
    return member.orig_filename.encode(encoding, "surrogateescape")


def _problems(member):
    """Yields what speaks against unpacking a member."""
    name = member.orig_filename
    parts = re.split(r"[\\/]", name)
    if name.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", name):
        yield "would be unpacked to a place of its own choice"
    elif ".." in parts:
        yield "would be unpacked outside the folder"
    if "\\" in name:
        yield "has a backslash in its name, which Windows takes as a folder"
    if "\0" in name or not name.isprintable():
        yield "has signs in its name that do not show"
    if (member.external_attr >> 16) & 0o170000 == _LINK:
        yield "is a link, which would lead outside"
    if member.flag_bits & 1:
        yield "is encrypted and cannot be looked into"
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > _SMALL and ratio > _LARGEST_RATIO:
        yield f"unpacks to {member.file_size} bytes from {member.compress_size}"


def inspect_keras(archive, look):
    """Looks into a `.keras` archive."""
    look.kind = "Keras model (.keras)"
    if "metadata.json" in archive.names:
        metadata = read_json(archive.read("metadata.json"), look, "metadata.json")
        read_metadata(metadata, look)
    config = read_json(archive.read("config.json"), look, "config.json")
    read_config(config, look)
    weights = sorted(name for name in archive.names if _WEIGHTS.fullmatch(name))
    if not any(name.endswith(".h5") for name in weights):
        look.risk("", "archive", "has no weights: the archive is incomplete")
    for name in weights:
        if name.endswith(".json"):
            keras_config.walk(read_json(archive.read(name), look, name), look, name)
            continue
        inner = Look(outer=look, prefix=f"{name}: ")
        source = archive.source(name)
        if hdf5.find_signature(source) != 0:
            raise DamagedError(f"{name} is not HDF5")
        hdf5.inspect(source, inner)
        take_weights(inner, look)
    for name in sorted(archive.names):
        if not _KNOWN.fullmatch(name) and not name.endswith("/"):
            look.risk("", name[:200], "is no part of a Keras model")


def read_metadata(metadata, look):
    """Reads the versions of a Keras 3 model."""
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if version is None:
        return
    look.versions["Keras"] = str(version)[:40]
    major = re.match(r"\d+", str(version))
    if major and int(major[0]) > 3:
        look.risk("", "metadata.json", f"was written by Keras {version}, newer than 3")


def read_config(config, look):
    """Walks and describes the config of a Keras 3 model."""
    if not isinstance(config, dict) or "class_name" not in config:
        raise DamagedError("config.json does not describe a model")
    keras_config.walk(config, look, "config.json")
    keras_config.describe(config, look)


def take_weights(inner, look):
    """Takes over what a look into the weights of a model found."""
    look.weights += inner.weights
    look.keeps += inner.keeps
    look.loses += [line for line in inner.loses if not line.startswith("structure")]
    look.take_risks(inner)

"""What was read once, kept on disk under the hash of the file's content.

Each entry is a folder: `matrix.npy`, the words in four small arrays, `meta.json`. It
gets its name by one rename when it is whole.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import threading
import time

import numpy as np

from workbench.embeddings.sinks import HEADER, Mapped, write_array
from workbench.embeddings.words import Words
from workbench.files import atomic_write, sync

_FORMAT = 1
_PARTS = ("blob", "offsets", "hashes", "order")
_SECOND = 10**9  # nanoseconds


def default_folder():
    """Returns where entries lie unless another folder is named."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "tensorflow-workbench" / "embeddings"


class Cache:
    """A folder of entries.

    Args:
        folder: path, made if need be.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "files").mkdir(parents=True, exist_ok=True)

    def find(self, filepath, options):
        """Looks for an entry.

        Args:
            filepath: path of the file.
            options: JSON dict, how it is read.

        Returns:
            `(Mapped, Words, meta)`, or None.
        """
        digest = self._digest_if_known(filepath)
        if digest is None:
            return None
        return self._open(self.folder / _key(digest, options))

    def _open(self, entry):
        try:
            meta = json.loads((entry / "meta.json").read_text())
            if meta["format"] != _FORMAT:
                return None
            for name, size in meta["sizes"].items():
                if (entry / name).stat().st_size != size:
                    return None
            arrays = [np.load(entry / f"{name}.npy", mmap_mode="r") for name in _PARTS]
        except (OSError, ValueError, KeyError):
            return None
        matrix = entry / "matrix.npy"
        mapped = Mapped(matrix, tuple(meta["shape"]), meta["dtype"], HEADER)
        return mapped, Words(*map(np.asarray, arrays)), meta

    def _digest_if_known(self, filepath):
        now = _signature(filepath)
        records = [self._record_of(filepath), *(self.folder / "files").glob("*.json")]
        for i, path in enumerate(records):
            try:
                record = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            # Within a second a file can change and keep its times.
            if i == 0 and record["signature"] == now and record["is_settled"]:
                return record["digest"]
            if record["signature"][0] == now[0]:
                # Another file, or another time, and perhaps the same content.
                return self.remember(filepath, Hasher(filepath).digest())
        return None

    def remember(self, filepath, hashed):
        """Writes down the hash of a file.

        Args:
            filepath: path.
            hashed: `(digest, signature, when)`, as of `Hasher.digest`.

        Returns:
            str, the digest.
        """
        digest, signature, when = hashed
        record = {
            "digest": digest,
            "signature": signature,
            "is_settled": when - signature[2] > _SECOND,
        }
        with atomic_write(self._record_of(filepath)) as file:
            file.write(json.dumps(record).encode())
        return digest

    def _record_of(self, filepath):
        name = hashlib.sha256(os.fsencode(pathlib.Path(filepath).resolve()))
        return self.folder / "files" / f"{name.hexdigest()[:32]}.json"

    @contextlib.contextmanager
    def new_entry(self):
        """Makes a temporary folder inside, which is removed unless it is kept."""
        part = pathlib.Path(tempfile.mkdtemp(dir=self.folder, prefix=".part-"))
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def keep(self, part, filepath, hasher, options, content, meta):
        """Gives a new entry its name.

        Args:
            part: path of the temporary folder, which holds `matrix.npy`.
            filepath: path of the file it was read from.
            hasher: `Hasher` of the file.
            options: See `find`.
            content: `(shape, Words)`, shape `(N, D)`.
            meta: JSON dict, kept with it.

        Returns:
            As of `find`.
        """
        shape, words = content
        arrays = (words.blob, words.offsets, *words.lookup_arrays())
        for name, array in zip(_PARTS, arrays, strict=True):
            write_array(part / f"{name}.npy", np.ascontiguousarray(array))
        sizes = {path.name: path.stat().st_size for path in part.iterdir()}
        meta = {**meta, "format": _FORMAT, "shape": shape, "sizes": sizes}
        (part / "meta.json").write_text(json.dumps(meta))
        for path in part.iterdir():
            sync(path)
        digest = self.remember(filepath, hasher.digest())
        entry = self.folder / _key(digest, options)
        if self._open(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process was quicker
                part.rename(entry)
        return self._open(entry)


class Hasher(threading.Thread):
    """Hashes a file beside whatever else reads it.

    Args:
        filepath: path.
    """

    def __init__(self, filepath):
        super().__init__(daemon=True, name="workbench-hash")
        self._path, self._result, self._error = filepath, None, None
        self.start()

    def run(self):
        """Reads the file."""
        try:
            before = _signature(self._path)
            with pathlib.Path(self._path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._result = digest, before, time.time_ns()
            if _signature(self._path) != before:
                self._error = OSError("the file changed while it was read")
        except OSError as error:
            self._error = error

    def digest(self):
        """Waits; returns `(digest, signature, when)`."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._result


def _signature(filepath):
    found = pathlib.Path(filepath).stat()
    return [
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        found.st_dev,
    ]


def _key(digest, options):
    text = json.dumps([digest, options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]

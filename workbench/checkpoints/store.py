"""A folder of checkpoints on disk: written durably, found valid or passed over.

Each checkpoint is a folder of three files: `tensors.safetensors`; `manifest.json`,
which has a SHA-256 of the former's header and of each tensor; and `manifest.sha256`,
which has that of the manifest, in the format of `sha256sum`. Weights that a checkpoint
only names have their SHA-256, shape and type in the manifest.
"""

import dataclasses
import datetime as dt
import hashlib
import json
import pathlib
import re
import shutil

import numpy as np
import safetensors

from workbench.checkpoints.disk import Disk

TENSORS, MANIFEST, MANIFEST_HASH = (
    "tensors.safetensors",
    "manifest.json",
    "manifest.sha256",
)
FORMAT = 1
_NAME = re.compile(r"(\d{8})-step-(\d+)")


class DamagedError(ValueError):
    """A checkpoint whose bytes are not those that were written."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        path: `pathlib.Path` of its folder.
        epoch: int, full epochs done.
        step: int, steps done in the epoch after these.
        steps: int, steps done since the beginning of training.
        metrics: dict name -> float, the logs at that moment.
        finished: bool, whether training had come to its end.
        saved: `datetime.datetime`, UTC.
        bytes: int, size of the tensors on disk.
        manifest: dict, all that the manifest says.
    """

    path: pathlib.Path
    epoch: int
    step: int
    steps: int
    metrics: dict
    finished: bool
    saved: dt.datetime
    bytes: int
    manifest: dict = dataclasses.field(repr=False)

    @property
    def name(self):
        """str, the name of its folder."""
        return self.path.name


class Store:
    """Writes and finds checkpoints in one folder.

    Args:
        folder: path of a folder.
        disk: `Disk`.
    """

    def __init__(self, folder, disk=None):
        self.folder = pathlib.Path(folder)
        self._disk = disk or Disk()

    def write(self, tensors, manifest, keep, by_hash=None):
        """Writes a checkpoint, then removes those that are one too many.

        Nothing has its final name before it is complete and on disk, and none is
        removed before that.

        Args:
            tensors: dict name -> contiguous array.
            manifest: JSON dict with `position`, `metrics`, `finished` and `saved`, see
                `Checkpoint`; format, size and hashes are added.
            keep: int, how many checkpoints stay.
            by_hash: dict name -> array, of which only the hash is written.

        Returns:
            path of the new checkpoint.
        """
        names = self.folder.glob("[0-9]*-step-*")  # those set aside too
        last = max((int(path.name[:8]) for path in names), default=0)
        name = f"{last + 1:08d}-step-{manifest['position']['steps']}"
        part, path = self.folder / f".part-{name}", self.folder / name
        disk = self._disk
        disk.make_folder(part)
        try:
            disk.write_tensors(part / TENSORS, tensors)
            manifest = _described(manifest, tensors, part / TENSORS)
            if by_hash:
                named = {name: describe_array(a) for name, a in by_hash.items()}
                manifest["by_hash"] = named
            content = json.dumps(manifest, indent=1).encode()
            disk.write_bytes(part / MANIFEST, content)
            disk.write_bytes(part / MANIFEST_HASH, _hash_line(content))
            for file in (TENSORS, MANIFEST, MANIFEST_HASH):
                disk.sync(part / file)
            disk.sync(part)
            disk.rename(part, path)
        except Exception:
            shutil.rmtree(part, ignore_errors=True)
            raise
        disk.sync(self.folder)
        self._prune(keep)
        return path

    def newest(self, at_most=None):
        """Finds the newest checkpoint that is whole.

        Args:
            at_most: int, steps; None looks at all.

        Returns:
            `(checkpoint, tensors, damaged)`: a `Checkpoint` or None, its arrays or
            None, and a list of `(path, what is wrong)` of newer ones.
        """
        damaged = []
        for path in reversed(self._all()):
            if at_most is not None and _steps_in(path) > at_most:
                continue
            try:
                return (*read(path), damaged)
            except DamagedError as error:
                damaged.append((path, str(error)))
        return None, None, damaged

    def newest_path(self):
        """Returns the path of the newest, whole or not; None where there is none."""
        return next(reversed(self._all()), None)

    def checkpoints(self):
        """Returns all `Checkpoint`s whose manifest is whole, oldest first."""
        found = []
        for path in self._all():
            try:
                found.append(read_manifest(path))
            except DamagedError:
                continue
        return found

    def clean(self):
        """Removes what an interrupted write or removal left behind."""
        for path in self.folder.glob(".*-step-*"):
            if path.name.startswith((".part-", ".old-")):
                self._disk.remove(path)

    def remove_after(self, steps):
        """Removes the checkpoints of later steps, `-1` all of them."""
        for path in self._all():
            if _steps_in(path) > steps:
                self._remove(path)

    def set_aside(self, path):
        """Gives a damaged checkpoint a name that is no longer looked at."""
        self._disk.rename(path, path.with_name(f"{path.name}.damaged"))

    def _all(self):
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name))

    def _prune(self, keep):
        for path in self._all()[:-keep]:
            self._remove(path)

    def _remove(self, path):
        # Under its own name, one that is half removed would count as damaged.
        old = path.with_name(f".old-{path.name}")
        self._disk.rename(path, old)
        self._disk.remove(old)


def _steps_in(path):
    return int(_NAME.fullmatch(path.name)[2])


def read_manifest(path):
    """Reads what a checkpoint says about itself, without its tensors.

    Args:
        path: path of the checkpoint's folder.

    Returns:
        `Checkpoint`.

    Raises:
        DamagedError: If the manifest is not what was written.
        ValueError: If a newer workbench wrote it.
    """
    path = pathlib.Path(path)
    try:
        content = (path / MANIFEST).read_bytes()
        line = (path / MANIFEST_HASH).read_bytes()
        size = (path / TENSORS).stat().st_size
    except OSError as error:
        raise DamagedError(f"{error.strerror}: {error.filename}") from error
    if line != _hash_line(content):
        raise DamagedError(f"{MANIFEST} does not match its SHA-256")
    manifest = json.loads(content)
    if manifest["format"] > FORMAT:
        raise ValueError(
            f"The checkpoint was written by a newer workbench (format "
            f"{manifest['format']}, known {FORMAT}); update to read it. "
            f"Received: {path}"
        )
    if size != manifest["bytes"]:
        raise DamagedError(f"{TENSORS} has {size} bytes, not {manifest['bytes']}")
    position = manifest["position"]
    return Checkpoint(
        path,
        position["epoch"],
        position["step"],
        position["steps"],
        {name: float(value) for name, value in manifest["metrics"].items()},
        manifest["finished"],
        dt.datetime.fromisoformat(manifest["saved"]),
        manifest["bytes"],
        manifest,
    )


def read(path):
    """Reads a checkpoint and checks every byte of it.

    Args:
        path: path of the checkpoint's folder.

    Returns:
        `(checkpoint, tensors)`: `Checkpoint`, dict name -> array.

    Raises:
        DamagedError: If anything is not what was written.
    """
    checkpoint = read_manifest(path)
    manifest = checkpoint.manifest
    file = checkpoint.path / TENSORS
    if _header_hash(file) != manifest["header"]:
        raise DamagedError(f"the header of {TENSORS} does not match its SHA-256")
    tensors = {}
    with safetensors.safe_open(file, framework="np") as opened:
        for name, digest in manifest["tensors"].items():
            tensors[name] = opened.get_tensor(name)
            if _hash(tensors[name]) != digest:
                raise DamagedError(f"tensor {name} does not match its SHA-256")
    return checkpoint, tensors


def describe_array(array):
    """Returns what the manifest says of an array that is only named, a JSON dict."""
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "sha256": _hash(array),
    }


def _described(manifest, tensors, file):
    return {
        **manifest,
        "format": FORMAT,
        "bytes": file.stat().st_size,
        "header": _header_hash(file),
        "tensors": {name: _hash(array) for name, array in tensors.items()},
    }


def _hash_line(content):
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode("ascii")


def _header_hash(file):
    with file.open("rb") as opened:
        length = opened.read(8)
        size = int.from_bytes(length, "little")
        # A damaged length must not ask for more than there is.
        header = opened.read(min(size, file.stat().st_size))
    return hashlib.sha256(length + header).hexdigest()


def _hash(array):
    # uint8 views: hashlib takes no bfloat16.
    flat = np.ascontiguousarray(array).reshape(-1).view("uint8")
    return hashlib.sha256(flat).hexdigest()

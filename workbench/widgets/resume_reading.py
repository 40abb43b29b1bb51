"""What lies in a folder of checkpoints, each file of it looked at once."""

import pathlib

from workbench.checkpoints.store import MANIFEST, TENSORS, read, read_manifest

_LARGEST = 2**28  # bytes; beyond, reading all would take memory from the training
_SET_ASIDE = "was found damaged and set aside"


class FolderReader:
    """Reads a folder of checkpoints again and again, and remembers what it has checked.

    Args:
        filepath: str or path of the folder.
    """

    def __init__(self, filepath):
        self._folder = pathlib.Path(filepath)
        self._verdicts = {}  # path and times of change -> "" or what is wrong

    def look(self):
        """Looks at what is there now; checks one checkpoint to its last byte.

        Returns:
            `(checkpoints, damaged, checked)`: tuple of `Checkpoint`, oldest first; dict
            of name -> what is wrong; frozenset of the names whose every byte was found
            to be what was written.
        """
        checkpoints, damaged, checked, may_read = [], {}, set(), True
        for path in reversed(self._paths()):
            key = path, _changed(path)
            checkpoint, wrong = _manifest_of(path)
            is_new = checkpoint and key not in self._verdicts
            if is_new and may_read and checkpoint.bytes <= _LARGEST:
                self._verdicts[key] = _what_is_wrong(path)
                may_read = False
            wrong = wrong or self._verdicts.get(key)
            # A running training may just have removed it: gone is not damaged.
            if wrong and path.exists():
                damaged[path.name] = wrong
            elif checkpoint and not wrong:
                checkpoints.insert(0, checkpoint)
                checked |= {path.name} if wrong == "" else set()
        return tuple(checkpoints), damaged, frozenset(checked)

    def _paths(self):
        if not self._folder.is_dir():
            return []
        return sorted(p for p in self._folder.glob("*-step-*") if p.name[0] != ".")


def _manifest_of(path):
    if path.suffix == ".damaged":
        return None, _SET_ASIDE
    try:
        return read_manifest(path), None
    except ValueError as error:
        return None, str(error)


def _what_is_wrong(path):
    try:
        read(path)
    except Exception as error:  # noqa: BLE001, whatever a damaged file makes of it
        return str(error) or type(error).__name__
    return ""


def _changed(path):
    try:
        return tuple((path / name).stat().st_mtime_ns for name in (TENSORS, MANIFEST))
    except OSError:
        return None

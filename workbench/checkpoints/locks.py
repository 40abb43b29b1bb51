"""One process at a time in a folder of checkpoints."""

import os
import pathlib
import threading

_held = set()
_guard = threading.Lock()


class FolderLock:
    """Keeps a folder for one user; the lock dies with its process.

    A record lock, not `flock`: worker processes forked by a data set do not inherit
    it, so none of them holds the folder after the training process was killed.

    Args:
        folder: path of an existing folder.
    """

    def __init__(self, folder):
        self._path = pathlib.Path(folder).resolve() / ".lock"
        self._descriptor = None

    def acquire(self):
        """Takes the folder.

        Raises:
            RuntimeError: If another process, or another run in this one, has it.
        """
        import fcntl  # noqa: PLC0415, not on Windows; reading needs no lock

        with _guard:
            if self._path in _held:
                raise RuntimeError(self._refusal("another run of this process"))
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise RuntimeError(self._refusal(f"process {owner}")) from None
            except OSError:
                os.close(descriptor)
                raise
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            self._descriptor = descriptor
            _held.add(self._path)

    def release(self):
        """Gives the folder back; does nothing if it was not taken."""
        with _guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                _held.discard(self._path)

    def _refusal(self, owner):
        return (
            f"`filepath` is in use by {owner}; wait until it has ended, or name "
            f"another folder. Received: filepath={self._path.parent}"
        )

"""Writing files so that a final name never holds half a file."""

import contextlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def atomic_write(filepath):
    """Opens a temporary file that becomes `filepath` when the block ends well.

    The content is synced to disk before one rename; when the block raises, the
    temporary file is removed and whatever stood under `filepath` stays.

    Args:
        filepath: str or path of the final file; its folder must exist.

    Yields:
        Binary file object open for writing.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    path = pathlib.Path(filepath)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"`filepath` must lie in a folder that exists; create {path.parent} first. "
            f"Received: filepath={filepath}"
        )
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".part"
    )
    part = pathlib.Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sync(filepath):
    """Waits until a file's content, or a folder's list of names, is on disk.

    Args:
        filepath: str or path.
    """
    descriptor = os.open(filepath, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask():
    # There is no call that only reads the mask.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

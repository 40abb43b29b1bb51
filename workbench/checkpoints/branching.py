"""Looking at the checkpoints of a folder, and going on from any of them elsewhere."""

import pathlib

from workbench.checkpoints.locks import FolderLock
from workbench.checkpoints.store import Store, read


def list_checkpoints(filepath):
    """Lists the checkpoints in a folder; only their manifests are read and checked.

    Args:
        filepath: str or path of the folder given to `fit`.

    Returns:
        Tuple of `Checkpoint`, oldest first; empty where there is none. Damaged ones
        are left out.
    """
    return tuple(Store(filepath).checkpoints())


def branch(checkpoint, filepath):
    """Copies one checkpoint into a new folder, so that `fit` there goes on from it.

    Args:
        checkpoint: `Checkpoint`, or the path of one.
        filepath: str or path of a folder that holds no checkpoint yet.

    Returns:
        `Checkpoint`, the copy.

    Raises:
        DamagedError: If the checkpoint is not what was written.
        ValueError: If `filepath` holds checkpoints.
    """
    found, tensors = read(getattr(checkpoint, "path", checkpoint))
    folder = pathlib.Path(filepath)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    lock.acquire()
    try:
        store = Store(folder)
        if store.checkpoints():
            raise ValueError(
                "`filepath` must hold no checkpoint yet; name another folder. "
                f"Received: filepath={filepath}"
            )
        path = store.write(tensors, found.manifest, keep=1)
    finally:
        lock.release()
    return read(path)[0]

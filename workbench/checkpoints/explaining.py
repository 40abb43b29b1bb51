"""What loading a file into a model would keep and lose, told before it is loaded."""

import dataclasses
import pathlib
import zipfile

import tensorflow as tf

from workbench.checkpoints.explaining_keras import KERAS_FILES
from workbench.checkpoints.explaining_own import explain_own
from workbench.checkpoints.explaining_tensorflow import explain_tensorflow
from workbench.checkpoints.store import MANIFEST, Store
from workbench.reports import Heading, Note, Report, Table

_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class RestoreReport(Report):
    """What would become of each part of a training's state.

    Attributes:
        filepath: str, what would be loaded.
        kind: str, what it is, and with which call it would be loaded.
        items: Tuple of `(part, fate, why)`: str, the part of the state; "kept", "lost"
            or "refused"; str, what is known about it.
    """

    filepath: str
    kind: str
    items: tuple

    @property
    def kept(self):
        """Tuple of str, the parts that would be as in the file."""
        return tuple(part for part, fate, _ in self.items if fate == "kept")

    @property
    def lost(self):
        """Tuple of str, the parts that would not."""
        return tuple(part for part, fate, _ in self.items if fate != "kept")

    def blocks(self):
        """See `Report.blocks`."""
        return (
            Heading(f"Loading {pathlib.Path(self.filepath).name} into this model"),
            Note(self.kind),
            Table(("what", "after loading", "why"), self.items),
        )


def explain_restore(filepath, model):
    """Says what would be kept and lost if a file were loaded into a model.

    Neither is changed, and nothing in the file is run.

    Args:
        filepath: str or path: a folder that `fit` was given, or a checkpoint in it; a
            `.keras` or `.weights.h5` file; a folder of `BackupAndRestore`; a
            TensorFlow checkpoint, by its prefix or folder.
        model: `keras.Model`.

    Returns:
        `RestoreReport`; `str()` and HTML.

    Raises:
        ValueError: If it is none of these.
    """
    path = pathlib.Path(filepath)
    for is_one, explain in _KINDS:
        if is_one(path):
            kind, items = explain(path, model)
            return RestoreReport(str(filepath), kind, tuple(items))
    raise ValueError(
        "`filepath` must be a folder of checkpoints, a .keras or .weights.h5 file, a "
        "folder of BackupAndRestore or a TensorFlow checkpoint. Received: "
        f"filepath={filepath}"
    )


def _is_own(path):
    return (path / MANIFEST).is_file() or bool(Store(path).newest_path())


def _is_backup(path):
    return (path / "latest.weights.h5").is_file()


def _is_keras(path):
    return path.is_file() and zipfile.is_zipfile(path)


def _is_hdf5(path):
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == _HDF5


def _is_tensorflow(path):
    if path.is_dir():
        return tf.train.latest_checkpoint(path) is not None
    return path.with_name(f"{path.name}.index").is_file()


_KINDS = (
    (_is_own, explain_own),
    (_is_backup, KERAS_FILES["backup"]),
    (_is_keras, KERAS_FILES["keras"]),
    (_is_hdf5, KERAS_FILES["weights"]),
    (_is_tensorflow, explain_tensorflow),
)

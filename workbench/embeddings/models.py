"""The table of a model that was saved: TensorFlow checkpoints and files of Keras."""

import io
import math
import pathlib
import re

import h5py
import numpy as np

from workbench.embeddings.arrays import choose
from workbench.embeddings.sources import member

HDF5 = b"\x89HDF\r\n\x1a\n"
_LARGEST_RATIO = 1000
_OTHERS = re.compile(
    r"optimizer|OPTIMIZER_SLOT|_CHECKPOINTABLE_OBJECT_GRAPH|save_counter"
)


def find_checkpoint(path):
    """Returns the prefix of a TensorFlow checkpoint, or None if it is none.

    Args:
        path: path of a prefix, one of its files, or of a folder of a SavedModel.
    """
    prefix = re.sub(r"(\.index|\.data-\d{5}-of-\d{5})$", "", str(path))
    places = [prefix, str(pathlib.Path(path) / "variables" / "variables")]
    return next((p for p in places if pathlib.Path(f"{p}.index").is_file()), None)


def read_checkpoint(prefix, name):
    """Reads the table of a TensorFlow checkpoint.

    Args:
        prefix: str.
        name: str, the variable, or None for the only matrix.

    Returns:
        float array `(N, D)`.

    Raises:
        ValueError: If it is damaged, or there is no matrix or more than one.
    """
    import tensorflow as tf  # noqa: PLC0415, files of words do without

    folder, stem = pathlib.Path(prefix).parent, pathlib.Path(prefix).name
    size = sum(f.stat().st_size for f in folder.glob(f"{stem}.data-*"))
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes, types = (
            reader.get_variable_to_shape_map(),
            reader.get_variable_to_dtype_map(),
        )
        found = [
            key
            for key, shape in shapes.items()
            if len(shape) == 2 and types[key].is_floating and not _OTHERS.search(key)
        ]
        chosen = _choose(stem, "variables", sorted(found), name)
        if math.prod(shapes[chosen]) * types[chosen].size > size:
            raise ValueError(
                f"{stem}: {chosen} is {shapes[chosen]}, more than its files hold"
            )
        return reader.get_tensor(chosen)
    except (tf.errors.OpError, RuntimeError, TypeError) as error:
        raise ValueError(f"{stem}: damaged as a checkpoint: {error}") from error


def read_keras(source, name, folder):
    """Reads the table of a `.keras`, `.weights.h5` or `.h5`.

    Args:
        source: `Source`.
        name: str, the array or the layer, or None for the only matrix.
        folder: See `open_source`.

    Returns:
        float array `(N, D)`.

    Raises:
        ValueError: If it is damaged, or there is no matrix or more than one.
    """
    if source.archive is not None:
        infos = [
            i for i in source.archive.infolist() if i.filename.endswith("weights.h5")
        ]
        if not infos:
            raise ValueError(f"{source.title}: a Keras archive without weights")
        source = member(source, source.archive, infos[0], folder)
    try:
        with h5py.File(io.BytesIO(source.read(0, source.size)), "r") as file:
            return _table(file, source, name)
    except (OSError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        raise ValueError(f"{source.title}: damaged as HDF5: {error}") from error


def _table(file, source, name):
    found = {}

    def take(key, item):
        is_matrix = isinstance(item, h5py.Dataset) and item.ndim == 2
        if is_matrix and item.dtype.kind == "f" and not _OTHERS.search(key):
            found[key] = item

    file.visititems(take)
    chosen = _choose(source.title, "arrays", sorted(found), name)
    item = found[chosen]
    if item.nbytes > _LARGEST_RATIO * source.size or 0 in item.shape:
        raise ValueError(f"{source.title}: {chosen} claims the shape {item.shape}")
    return np.asarray(item)


def _choose(title, kind, names, name):
    if name is not None and name not in names:
        # A layer's own name, as a part of the path.
        names = [key for key in names if name in re.split(r"[/.]", key)] or names
        return choose(title, kind, names, None if len(names) == 1 else name)
    tables = [key for key in names if "embedding" in key.lower()]
    return choose(
        title, kind, tables if name is None and len(tables) == 1 else names, name
    )

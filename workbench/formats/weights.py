"""Arrays out of files of all ages."""

import json
import pathlib
import re

import h5py
import numpy as np
import tensorflow as tf

from workbench.formats.graph_calls import read_graph
from workbench.formats.inspecting import inspect_file
from workbench.formats.loading import check


def read_weights(filepath):
    """Reads the arrays of a file, without its structure.

    Args:
        filepath: str or path of a `.keras`, `.h5` (Keras 2 too), `.weights.h5`,
            TensorFlow checkpoint (of TensorFlow 1 too), frozen graph, `.npz` or
            safetensors.

    Returns:
        Dict name -> array.

    Raises:
        RiskyFileError: If something speaks against reading it.
        ValueError: If it is of no kind that holds arrays.
    """
    report = inspect_file(filepath)
    check(report)
    path = pathlib.Path(filepath)
    for begin, read in _READERS:
        if report.kind.startswith(begin):
            return read(path, report)
    raise ValueError(
        "`filepath` must be a file with weights. Received: "
        f"filepath={filepath}: {report.kind}"
    )


def _read_hdf5(path, report):
    del report
    with h5py.File(path, "r") as file:
        return _arrays(file)


def _arrays(file):
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            found[_with_layer_name(file, name)] = item[()]

    file.visititems(take)
    return found


def _with_layer_name(file, name):
    """Puts a layer's own name where Keras 3 wrote its class and number."""
    parts = name.split("/")
    if len(parts) < 3 or parts[-2] != "vars":
        return name
    for depth in (-1, -2):
        own = file["/".join(parts[:depth])].attrs.get("name")
        if isinstance(own, str):
            return "/".join([*parts[:-3], own, *parts[-2:]])
    return name


def _read_keras(path, report):
    del report
    import zipfile  # noqa: PLC0415

    if path.is_dir():
        return _read_hdf5(path / "model.weights.h5", None)
    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as member,
        h5py.File(member, "r") as file,
    ):
        return _arrays(file)


def _read_shards(path, report):
    listed = json.loads(path.read_text())["weight_map"].values()
    arrays = {}
    for name in sorted({name for names in listed for name in names}):
        arrays.update(_read_hdf5(path.parent / name, report))
    return arrays


def _read_checkpoint(path, report):
    prefix = re.sub(r"(\.index|\.data-\d{5}-of-\d{5})$", "", str(path))
    reader = tf.train.load_checkpoint(prefix)
    return {weight.name: reader.get_tensor(weight.name) for weight in report.weights}


def _read_frozen(path, report):
    graph = read_graph(path, as_text="as text" in report.kind)
    return {
        node.name: tf.make_ndarray(node.attr["value"].tensor)
        for node in graph.node
        if node.op == "Const"
    }


def _read_npz(path, report):
    del report
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_safetensors(path, report):
    del report
    import safetensors.numpy  # noqa: PLC0415, only who has such a file needs it

    return safetensors.numpy.load_file(path)


_READERS = (
    ("Keras model (.keras)", _read_keras),
    ("Keras model in HDF5", _read_hdf5),
    ("Keras weights in several files", _read_shards),
    ("Keras weights", _read_hdf5),
    ("HDF5", _read_hdf5),
    ("TensorFlow checkpoint", _read_checkpoint),
    ("TensorFlow graph", _read_frozen),
    ("NumPy arrays", _read_npz),
    ("safetensors", _read_safetensors),
)

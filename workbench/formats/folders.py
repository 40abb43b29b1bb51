"""Folders: SavedModels, checkpoints, unpacked Keras models."""

import re

from workbench.formats import archives, checkpoint_index, graphs, hdf5, own
from workbench.formats.look import Look, read_json
from workbench.formats.sources import DamagedError, FileSource

_MOST_FILES = 1000
_STATE = re.compile(r'model_checkpoint_path:\s*"([^"\n]{1,500})"')


def inspect(folder, look, look_into):
    """Looks into what a folder holds.

    Args:
        folder: Path.
        look: `Look`.
        look_into: Function `(path, look)` that looks into a file.
    """
    look.folder = folder
    for path in _links(folder):
        look.risk("", path.name, "is a link, which leads elsewhere")
    names = {path.name for path in folder.iterdir()}
    if names & {"saved_model.pb", "saved_model.pbtxt"}:
        look.kind = "SavedModel"
        graphs.inspect_folder(folder, look)
    elif own.is_checkpoint(folder):
        own.inspect(folder, look)
    elif "config.json" in names and "model.weights.h5" in names:
        _look_into_keras_folder(folder, look)
    elif (latest := own.newest(folder)) is not None:
        own.inspect(latest, look)
        look.notes.append(
            f"A folder of checkpoints; this is the newest, {latest.name}."
        )
    elif "checkpoint" in names or any(n.endswith(".index") for n in names):
        _look_into_checkpoints(folder, names, look, look_into)
    else:
        look.kind = "folder"
        found = ", ".join(sorted(names)[:8]) or "nothing"
        text = (
            "is no model: a SavedModel has saved_model.pb, a checkpoint .index and "
            f".data files, an unpacked Keras model config.json; here is {found}"
        )
        look.risk("", folder.name, text)


def _links(folder):
    for count, path in enumerate(folder.rglob("*")):
        if count > _MOST_FILES:
            return
        if path.is_symlink():
            yield path


def _look_into_keras_folder(folder, look):
    look.kind = "Keras model (.keras), unpacked"
    for name, read in (
        ("metadata.json", archives.read_metadata),
        ("config.json", archives.read_config),
    ):
        if (folder / name).is_file():
            with FileSource(folder / name) as source:
                read(read_json(source.read(0, source.size), look, name), look)
    inner = Look(outer=look, prefix="model.weights.h5: ")
    with FileSource(folder / "model.weights.h5") as source:
        hdf5.inspect(source, inner)
    archives.take_weights(inner, look)


def _look_into_checkpoints(folder, names, look, look_into):
    """The newest checkpoint in a folder that TensorFlow wrote."""
    look.kind = "TensorFlow checkpoint"
    stems = sorted(n.removesuffix(".index") for n in names if n.endswith(".index"))
    chosen = stems[-1] if stems else None
    if "checkpoint" in names:
        with FileSource(folder / "checkpoint") as source:
            text = source.read(0, min(source.size, 65536)).decode("utf-8", "replace")
        named = _STATE.search(text)
        if named:
            last = re.split(r"[\\/]", named[1])[-1]
            if (folder / last).is_file():
                look_into(folder / last, look)
                return
            if ".." in re.split(r"[\\/]", named[1]):
                look.risk("", "checkpoint", "names a file outside the folder")
            chosen = last if last in stems else chosen
    if chosen is None:
        raise DamagedError("no .index file is there")
    checkpoint_index.inspect_prefix(folder / chosen, look)
    look.notes.append(f"{len(stems)} checkpoints; this is {chosen}.")

"""`inspect_file`: finds out what a file is, and lets the right reader look."""

import os
import pathlib
import re
import stat

from workbench.formats import (
    archives,
    arrays,
    checkpoint_index,
    folders,
    graphs,
    hdf5,
    onnx_files,
    pickles,
    protobufs,
    shards,
    tflite,
)
from workbench.formats.look import Look, read_json
from workbench.formats.sources import DamagedError, FileSource, RefusedError

_SHARD = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_DEEPEST_ARCHIVE = 2
_MOST_FILES = 1000


def inspect_file(filepath):
    """Looks into a model file without loading it and without running anything of it.

    What it is, is decided by its content. Neither Keras nor TensorFlow is imported.
    A file that is damaged or beyond the limits gives a report that says so.

    Args:
        filepath: str or path of a file, of a folder (SavedModel, checkpoints), or of
            a TensorFlow checkpoint without its endings.

    Returns:
        `FileReport`.

    Raises:
        FileNotFoundError: If there is nothing of that name.
    """
    path = pathlib.Path(filepath)
    look = Look(path.parent)
    try:
        _look_into(path, look)
    except FileNotFoundError:
        raise
    except RefusedError as error:
        look.risk("", path.name, f"is not looked through: {error}")
    except DamagedError as error:
        look.risk("", path.name, f"is damaged or cut off: {error}")
    except Exception as error:  # noqa: BLE001, whatever a hostile file makes it raise
        text = str(error).splitlines()[0] if str(error) else ""
        text = f"cannot be read ({type(error).__name__}: {text})"[:300]
        look.risk("", path.name, text)
    return look.report(filepath, _size(path))


def _size(path):
    if path.is_dir():
        sizes = (f.stat().st_size for f in _files(path))
        return sum(sizes)
    if path.is_file():
        return path.stat().st_size
    parts = path.parent.glob(f"{_escape(path.name)}.*")
    return sum(part.stat().st_size for part in parts if part.is_file())


def _escape(name):
    return re.sub(r"([*?\[])", r"[\1]", name)


def _files(folder):
    """Yields the files of a folder and its subfolders, links left out."""
    count = 0
    for root, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count > _MOST_FILES:
                return
            path = pathlib.Path(root, name)
            if not path.is_symlink():
                yield path


def _look_into(path, look):
    if path.is_dir():
        folders.inspect(path, look, _look_into)
        return
    if not path.exists():
        if path.with_name(f"{path.name}.index").is_file():
            checkpoint_index.inspect_prefix(path, look)
            return
        raise FileNotFoundError(
            f"`filepath` must name a file or a folder that exists. Received: {path}"
        )
    if not stat.S_ISREG(path.stat().st_mode):
        raise RefusedError("it is no regular file")
    shard = _SHARD.fullmatch(path.name)
    if shard and path.with_name(f"{shard[1]}.index").is_file():
        look.notes.append(f"One of the files of the checkpoint {shard[1]}.")
        checkpoint_index.inspect_prefix(path.with_name(shard[1]), look)
        return
    with FileSource(path) as source:
        if path.name.endswith(".index") and checkpoint_index.is_table(source):
            prefix = path.with_name(path.name.removesuffix(".index"))
            checkpoint_index.inspect(source, look, prefix)
        else:
            look_at(source, look)
    _compare_suffix(path, look)


def look_at(source, look):
    """Decides by content what a source is, and looks into it."""
    if source.size == 0:
        look.kind = "empty file"
        look.risk("", "file", "is empty: 0 bytes")
        return
    begin = hdf5.find_signature(source)
    zipped = archives.is_zip(source)
    if zipped:
        _look_into_archive(source, look, begin)
    elif begin is not None:
        if begin:
            text = "has bytes before HDF5 begins: it can be two kinds of file at once"
            look.risk("", "file", text)
        look.kind = "HDF5"
        hdf5.inspect(source, look, begin)
    elif source.head(8)[4:] == b"TFL3":
        tflite.inspect(source, look)
    elif source.head(6) == arrays.NPY:
        arrays.inspect_npy(source, look)
    elif source.head(2)[:1] == b"\x80" and source.head(2)[1:] in b"\x02\x03\x04\x05":
        pickles.inspect(source, look)
    elif arrays.is_safetensors(source):
        arrays.inspect_safetensors(source, look)
    elif checkpoint_index.is_table(source):
        checkpoint_index.inspect(source, look)
    else:
        _look_at_messages(source, look)


def _look_at_messages(source, look):
    """What has no mark of its own: messages, and text."""
    kind = protobufs.recognize(source, look.budget)
    if kind == "onnx":
        onnx_files.inspect(source, look)
    elif kind is not None:
        look.kind = f"TensorFlow {kind}"
        graphs.inspect_binary(kind, source, look)
    elif source.head(1) in (b"{", b"[") and _look_at_json(source, look):
        return
    elif pickles.looks_like_text_pickle(source):
        pickles.inspect(source, look)
    elif b"\0" not in source.head(4096) and graphs.inspect_text(source, look):
        return
    else:
        look.kind = "unknown"
        look.risk("", "file", "is of no kind that is known: nothing is said about it")


def _look_at_json(source, look):
    try:
        value = read_json(source.read(0, source.size), look, "file")
    except DamagedError:
        return False
    if shards.is_list(value) and look.folder is not None:
        shards.inspect(value, look)
        return True
    if not isinstance(value, dict) or "class_name" not in value:
        return False
    look.kind = "Keras architecture (JSON)"
    archives.read_config(value, look)
    look.loses.append("weights: only the structure is in it")
    return True


def _look_into_archive(source, look, begin):
    look.kind = "zip archive"
    archive = archives.Archive(source, look)
    names = archive.names
    if begin is not None and begin not in archive.starts():
        text = "is HDF5 and a zip archive at once: programs differ in what they see"
        look.risk("", "file", text)
        inner = Look(outer=look, prefix="as HDF5: ")
        hdf5.inspect(source, inner, begin)
        look.take_risks(inner)
    if "config.json" in names and any(n.endswith((".h5", ".json")) for n in names):
        archives.inspect_keras(archive, look)
    elif any(name.endswith("data.pkl") for name in names):
        _look_into_torch(archive, look)
    elif any(name.endswith(".npy") for name in names):
        arrays.inspect_npz(archive, look)
    else:
        _look_into_members(archive, look)


def _look_into_torch(archive, look):
    name = next(name for name in sorted(archive.names) if name.endswith("data.pkl"))
    pickles.inspect(archive.source(name), look)
    look.kind = "PyTorch archive (pickle inside)"


def _look_into_members(archive, look):
    """An archive of other files, which are looked into one level deep."""
    if not archive.members:
        raise DamagedError("the archive is empty")
    if look.depth >= _DEEPEST_ARCHIVE:
        raise RefusedError("archives lie in archives in archives")
    kinds = []
    for name in sorted(archive.names)[:64]:
        if name.endswith("/"):
            continue
        inner = Look(outer=look, prefix=f"{name[:200]}: ")
        look_at(archive.source(name), inner)
        kinds.append(inner.kind)
        look.take_risks(inner)
    look.notes.append(f"Holds: {', '.join(sorted(set(kinds)))}. Unpack it to use it.")


_SUFFIXES = {
    ".keras": ("Keras model (.keras)",),
    ".h5": ("HDF5", ".h5"),
    ".hdf5": ("HDF5", ".h5"),
    ".tflite": ("LiteRT",),
    ".onnx": ("ONNX",),
    ".safetensors": ("safetensors",),
    ".npz": (".npz",),
    ".npy": (".npy",),
    ".pkl": ("pickle",),
    ".pb": ("graph", "Graph", "SavedModel"),
    ".pbtxt": ("Graph", "SavedModel"),
}


def _compare_suffix(path, look):
    words = _SUFFIXES.get(path.suffix)
    if words and not any(word in look.kind for word in words):
        look.notes.append(f"The name ends in {path.suffix}, the content is another.")

"""Weights that Keras spread over several files, named by a list in JSON."""

import re

from workbench.formats import archives, hdf5
from workbench.formats.look import Look
from workbench.formats.sources import DamagedError, FileSource

_NAME = re.compile(r"[^/\\:]+\.weights\.h5")


def is_list(value):
    """Says whether parsed JSON is such a list."""
    return isinstance(value, dict) and isinstance(value.get("weight_map"), dict)


def inspect(value, look):
    """Looks into the list, and into each file that it names.

    Args:
        value: The parsed JSON.
        look: `Look`, with the folder of the list.
    """
    look.kind = "Keras weights in several files (.weights.json)"
    look.loses.append("structure: build the model, then load_weights")
    for name in sorted(_names(value["weight_map"])):
        if not _NAME.fullmatch(name) or name.startswith("."):
            look.risk("", name[:200], "is a file elsewhere, which would be read")
            continue
        path = look.folder / name
        if path.is_symlink():
            look.risk("", name[:200], "is a link, which would be followed")
        elif not path.is_file():
            look.risk("", name[:200], "is missing: the numbers are in it")
        else:
            _look_into(path, look)


def _names(weight_map):
    found = set()
    for names in weight_map.values():
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str):
                raise DamagedError("its list names a file by something that is no name")
            found.add(name)
    return found


def _look_into(path, look):
    inner = Look(path.parent, outer=look, prefix=f"{path.name}: ")
    with FileSource(path) as source:
        if hdf5.find_signature(source) != 0:
            raise DamagedError(f"{path.name} is not HDF5")
        hdf5.inspect(source, inner)
    inner.loses.clear()
    archives.take_weights(inner, look)

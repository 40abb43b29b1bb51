"""The workbench's own checkpoints, known by their manifest."""

import hashlib
import math
import re

from workbench.formats import arrays
from workbench.formats.look import Look, read_json
from workbench.formats.sources import LARGEST_JSON, FileSource

TENSORS, MANIFEST = "tensors.safetensors", "manifest.json"
_NAME = re.compile(r"\d{8}-step-\d+")
_NEWEST = 1


def is_checkpoint(folder):
    """Says whether a folder is one checkpoint of `workbench.checkpoints`."""
    return (folder / MANIFEST).is_file() and (folder / TENSORS).is_file()


def newest(folder):
    """Returns the newest checkpoint in a folder of checkpoints, or None."""
    found = [
        p for p in folder.iterdir() if _NAME.fullmatch(p.name) and is_checkpoint(p)
    ]
    return max(found, default=None)


def inspect(folder, look):
    """Looks into a checkpoint."""
    look.kind = "workbench checkpoint"
    with FileSource(folder / MANIFEST) as source:
        data = source.read(0, min(source.size, LARGEST_JSON + 1))
    manifest = read_json(data, look, MANIFEST)
    _check_hash(folder, data, look)
    version = manifest.get("format") if isinstance(manifest, dict) else None
    look.versions["checkpoint format"] = str(version)[:40]
    if not isinstance(version, int) or version > _NEWEST:
        text = f"has the format {str(version)[:40]}, newer than {_NEWEST}"
        look.risk("", MANIFEST, text)
    inner = Look(folder, outer=look, prefix=f"{TENSORS}: ")
    with FileSource(folder / TENSORS) as source:
        arrays.inspect_safetensors(source, inner)
    look.weights += inner.weights
    look.take_risks(inner)
    _describe(manifest if isinstance(manifest, dict) else {}, look)


def _check_hash(folder, manifest, look):
    path = folder / f"{MANIFEST.removesuffix('.json')}.sha256"
    if not path.is_file():
        look.risk("", path.name, "is missing: nobody knows if the manifest is whole")
        return
    with FileSource(path) as source:
        line = source.head(64)
    if line != hashlib.sha256(manifest).hexdigest().encode():
        look.risk("", MANIFEST, "is not what was written: its SHA-256 is another")


def _describe(manifest, look):
    groups = {}
    for weight in look.weights:
        groups.setdefault(weight.name.split("/")[0].split(":")[0], []).append(weight)
    labels = {"model": "weights", "optimizer": "optimizer state", "metrics": "metrics"}
    for group, label in labels.items():
        members = groups.get(group, ())
        if members:
            numbers = sum(math.prod(w.shape) for w in members)
            look.keeps.append(f"{label}: {len(members)} arrays, {numbers} numbers")
    position = manifest.get("position")
    if isinstance(position, dict):
        step, epoch = position.get("step"), position.get("epoch")
        look.keeps.append(f"place in the data: step {step} of epoch {epoch} + 1")
    look.keeps.append("random state, callbacks and History, where there were any")
    look.loses.append("structure: run the same `checkpoints.fit` line again")

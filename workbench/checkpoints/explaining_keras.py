"""What loading one of Keras's own files into a model would keep."""

import functools
import io
import json
import zipfile

import h5py
import keras
from keras.src.saving import saving_lib
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils import naming

from workbench.checkpoints.rates import (
    describe_change,
    optimizer_of,
    rate_of,
    rate_variable,
)

_UNBUILT = 2  # arrays of an optimizer that is not built: the step and the rate
_CALLS = {
    "keras": "A .keras file, loaded by model.load_weights.",
    "weights": "A file of weights, loaded by model.load_weights.",
    "backup": "A folder of BackupAndRestore, loaded when fit begins.",
}


def _explain(kind, path, model):
    epoch = "lost", "the file has none"
    if kind == "backup":
        epoch, path = _epoch_of(path), path / "latest.weights.h5"
    if not model.built:
        why = "the model is not built; call it on a batch first"
        return _CALLS[kind], [("weights", "refused", why)]
    with _opened(path, kind) as file:
        weights = _weights(file, model)
        optimizer = _optimizer(file, model, is_built_first=kind == "backup")
        rate = _rate(file, model, optimizer[0])
    return _CALLS[kind], [
        ("weights", *weights),
        ("optimizer", *optimizer),
        ("learning rate", *rate),
        ("random states", "lost", "of layers, Keras, random, NumPy, TensorFlow"),
        ("callbacks and History", "lost", "they begin anew, EarlyStopping's best too"),
        ("number of the epoch", *epoch),
        ("place in the data", "lost", "the order of the data begins anew"),
    ]


def _opened(path, kind):
    if kind != "keras":
        return h5py.File(path, "r")
    with zipfile.ZipFile(path) as archive:
        return h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")


def _epoch_of(folder):
    try:
        found = json.loads((folder / "training_metadata.json").read_text())
    except (OSError, ValueError):
        return "lost", "training_metadata.json cannot be read"
    epoch, batch = found["epoch"], found["batch"]
    why = f"{epoch} epochs done"
    if batch:
        why += f"; the {batch + 1} steps of the next are trained a second time"
    return "kept", why


def _weights(file, model):
    count = 0
    for path, part in _walk(model, "", set()):
        if not isinstance(part, keras.Layer):
            continue
        own = part._trainable_variables + part._non_trainable_variables
        group = file.get(f"{path}/vars" if path else "vars", {})
        if len(group) != len(own):
            why = f"{part.name} has {len(own)} arrays, the file {len(group)}"
            return "refused", why
        for i, variable in enumerate(own):
            if tuple(group[str(i)].shape) != tuple(variable.shape):
                shapes = tuple(variable.shape), tuple(group[str(i)].shape)
                return "refused", f"{variable.path} is {shapes[0]}, there {shapes[1]}"
        count += len(own)
    return "kept", f"{count} arrays"


def _optimizer(file, model, *, is_built_first):
    groups = {name for name in file if name == "optimizer"}
    if not groups:
        return "lost", "the file has none"
    if optimizer_of(model) is None:
        return "lost", "the model is not compiled"
    if not model.optimizer.built and not is_built_first:
        return "lost", (
            "the model's optimizer is not built, so Keras skips the file's with a "
            "warning; model.optimizer.build(model.trainable_variables) first"
        )
    for path, part in _walk(model.optimizer, "optimizer", set()):
        if not isinstance(part, keras.optimizers.Optimizer):
            continue
        there = len(file.get(f"{path}/vars", {}))
        here = len(_saved_variables(part, model))
        if there != here:
            why = f"{here} arrays here and {there} in the file, so Keras skips them"
            return "lost", f"{why} with a warning{_reason(here, there)}"
    return "kept", "all of its arrays"


def _reason(here, there):
    if there <= _UNBUILT < here:
        return "; the file's optimizer had not done a step"
    if abs(here - there) == 1:
        return "; a schedule has one array less than a number"
    return ""


def _saved_variables(optimizer, model):
    if optimizer.built:
        return optimizer.variables
    # `BackupAndRestore` builds it before it loads; a copy tells what there will be.
    copy = type(optimizer).from_config(optimizer.get_config())
    copy.build(model.trainable_variables)
    return copy.variables


def _rate(file, model, fate):
    if fate != "kept":
        if optimizer_of(model) is None:
            return "lost", "the model is not compiled"
        here = rate_of(model)
        stays = "the schedule" if here is None else f"{here:g}"
        return "lost", f"{stays} of this model stays, and begins anew"
    variable = rate_variable(model)
    if variable is None:
        return "kept", describe_change(None, None)
    for path, part in _walk(model.optimizer, "optimizer", set()):
        for i, other in enumerate(getattr(part, "variables", ())):
            if other is variable:
                there = float(file[f"{path}/vars/{i}"][()])
                return "kept", describe_change(rate_of(model), there)
    return "kept", "the file's replaces this model's"


def _walk(part, path, seen):
    """Goes through a model as Keras does when it loads, with the paths it makes."""
    if id(part) in seen:
        return
    seen.add(id(part))
    yield path, part
    for name, child in saving_lib._walk_saveable(part):
        inner = f"{path}/{name}" if path else name
        if isinstance(child, KerasSaveable):
            yield from _walk(child, inner, seen)
        elif isinstance(child, list | dict | tuple | set):
            yield from _walk_container(child, inner, seen)


def _walk_container(container, path, seen):
    if id(container) in seen:
        return
    seen.add(id(container))
    used = {}
    for child in container.values() if isinstance(container, dict) else container:
        if isinstance(child, KerasSaveable):
            name = naming.to_snake_case(type(child).__name__)
            yield from _walk(child, f"{path}/{_unique(name, used)}", seen)
        elif isinstance(child, list | dict | tuple):
            inner = f"{path}/{_unique('container', used)}"
            yield from _walk_container(child, inner, seen)


def _unique(name, used):
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


KERAS_FILES = {kind: functools.partial(_explain, kind) for kind in _CALLS}

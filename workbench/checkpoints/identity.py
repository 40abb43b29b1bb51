"""Is this the model, and is this the data, that the checkpoint was made with?"""

import hashlib
import json

import keras
import numpy as np

_ROWS = 1024  # of each array that is large
_SMALL = 2**25  # bytes
# They are state, or names that count on within a process.
_PASSING = ("name", "learning_rate", "seed", "clip", "build_config", "shared_object_id")


def identity_of_model(model):
    """Describes a built and compiled model, without its state.

    Args:
        model: `keras.Model`.

    Returns:
        JSON dict, equal for a model that was built again by the same code.
    """
    variables = [[list(v.shape), str(v.dtype)] for v in model.variables]
    return {
        "class": type(model).__name__,
        "variables": variables,
        "architecture": _hash(_named_by_number(model)),
        "optimizer": _config(model.optimizer),
        "loss": _plain(model.loss),
    }


def digest_of_arrays(arrays):
    """Hashes shapes, types and content: all of a small array, rows of a large one."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            continue
        if array.dtype == object or not hasattr(array, "nbytes"):
            array = np.asarray(array)  # noqa: PLW2901
        size = len(array)
        digest.update(f"{array.shape}{array.dtype}".encode())
        nbytes = int(np.prod(array.shape)) * np.dtype(_numpy_type(array)).itemsize
        rows = array
        if nbytes > _SMALL and size > _ROWS:
            rows = [array[i] for i in np.linspace(0, size - 1, _ROWS).astype(int)]
        digest.update(np.ascontiguousarray(np.asarray(rows)).tobytes())
    return digest.hexdigest()


def difference(here, there):
    """Says in words where two descriptions differ.

    Args:
        here: JSON dict of what there is now.
        there: JSON dict of the checkpoint.

    Returns:
        str, or None if they are equal.
    """
    for key in {**there, **here}:
        mine, theirs = here.get(key), there.get(key)
        if mine == theirs:
            continue
        if isinstance(mine, dict) and isinstance(theirs, dict):
            inner = difference(mine, theirs)
            return inner and f"{key}: {inner}"
        if isinstance(mine, list) and isinstance(theirs, list):
            return f"{key}: {_first_difference(mine, theirs)}"
        return f"{key} is {_brief(mine)} and was {_brief(theirs)}"
    return None


def _brief(value):
    if isinstance(value, dict):
        return value.get("class_name", "another one")
    return "not there" if value is None else repr(value)


def _first_difference(mine, theirs):
    if len(mine) != len(theirs):
        return f"{len(mine)} instead of {len(theirs)}"
    for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        if a != b:
            return f"number {i} is {a} and was {b}"
    return "another order"


def _numpy_type(array):
    return getattr(array.dtype, "as_numpy_dtype", array.dtype)


def _named_by_number(model):
    """The configuration as text, with numbers for the names of layers."""
    try:
        config = _plain(_without_passing(model.get_config()))
    except (NotImplementedError, TypeError, ValueError):
        return None  # a class without a configuration: its variables must do
    text = json.dumps(config)
    names = [layer.name for layer in model._flatten_layers()]
    for i, name in enumerate(names):
        text = text.replace(f'"{name}"', f'"#{i}"')
    return text


def _config(thing):
    try:
        config = keras.saving.serialize_keras_object(thing)
    except (NotImplementedError, TypeError, ValueError):
        return {"class_name": type(thing).__name__}
    return _plain(_without_passing(config))


def _without_passing(config):
    if isinstance(config, dict):
        return {
            key: _without_passing(value)
            for key, value in config.items()
            if key not in _PASSING
            or (isinstance(value, dict) and key != "build_config")
        }
    if isinstance(config, list | tuple):
        return [_without_passing(item) for item in config]
    return config


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # Never repr: it has addresses.
    return getattr(value, "__name__", type(value).__name__)


def _hash(text):
    return text and hashlib.sha256(text.encode()).hexdigest()

"""Python state to JSON and back, exactly; arrays go to the side as tensors."""

import math

import numpy as np

from workbench.checkpoints.uncached import DTYPES

_PLAIN = (type(None), bool, int, str)


def encode(value, tensors, name):
    """Turns state into what JSON can hold.

    Args:
        value: None, bool, int, float, str, bytes, a NumPy number, an array or tensor,
            or lists, tuples and dicts of these.
        tensors: dict, receives the arrays under names that begin with `name`.
        name: str.

    Returns:
        JSON value.

    Raises:
        TypeError: If there is anything else inside.
    """
    if type(value) in _PLAIN:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, list | tuple):
        items = [encode(v, tensors, f"{name}/{i}") for i, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {"dict": _encode_items(value, tensors, name)}
    return _encode_array(value, tensors, name)


def _encode_items(value, tensors, name):
    return [
        [encode(k, tensors, f"{name}/{i}"), encode(v, tensors, f"{name}/{k}")]
        for i, (k, v) in enumerate(value.items())
    ]


def _encode_array(value, tensors, name):
    kind = "array"
    if isinstance(value, bytes | bytearray):
        kind, array = "bytes", np.frombuffer(bytes(value), "uint8")
    elif isinstance(value, np.generic):
        kind, array = "number", np.asarray(value)
    elif hasattr(value, "__array__"):
        array = np.array(value)
    else:
        array = None
    if array is None or array.dtype.name not in DTYPES:
        raise TypeError(
            "State must be made of None, bool, int, float, str, bytes, numbers and "
            "arrays, in lists, tuples and dicts. Received: "
            f"{name}={value!r} ({type(value).__name__})"
        )
    # Names come from paths and keys of the user's: a number keeps them apart.
    key = f"{len(tensors):05d}:{name}"
    tensors[key] = array
    return {kind: key}


def decode(value, tensors):  # noqa: PLR0911, one for each kind of value
    """Turns back what `encode` made.

    Args:
        value: JSON value.
        tensors: dict name -> array.

    Returns:
        The state; arrays are copies of their own.
    """
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "float":
            return float(content)
        case "tuple":
            return tuple(decode(item, tensors) for item in content)
        case "dict":
            return {decode(k, tensors): decode(v, tensors) for k, v in content}
        case "bytes":
            return tensors[content].tobytes()
        case "number":
            return tensors[content][()]
    return tensors[content].copy()

"""What a layer put out, arranged as one map per unit."""

import dataclasses

import numpy as np

_SCORES = "attention scores"
_LINE = 16  # float32 in a cache line
_BLOCK = 8192  # float32, what the nearest cache holds
_NUMBERS = "biufcV"  # V: bfloat16


@dataclasses.dataclass(frozen=True)
class Maps:
    """Maps of one output, for some samples.

    Attributes:
        values: float32 `(samples, units, rows, columns)`.
        names: Tuple of three str, what a unit, a row and a column are called; "" for
            an axis of length 1 that the layer does not have.
        is_sequence: bool, whether a unit is one row over the time steps.
        note: str, how an output of another shape was arranged, or "".
    """

    values: np.ndarray
    names: tuple
    is_sequence: bool = False
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Output:
    """One array that a layer put out.

    Attributes:
        array: Array `(B, …)`.
        kind: str, the layer's class name or what else it is, as in `Capture.kinds`.
    """

    array: np.ndarray
    kind: str

    @property
    def is_drawable(self):
        """bool, whether it holds numbers, and any."""
        return self.array.dtype.kind in _NUMBERS and self.array.size > 0


def outputs_of(capture):
    """Takes structures apart: each array that was captured, by its own name.

    Args:
        capture: `Capture`.

    Returns:
        dict name -> `Output`; where a layer returns several, "key[0]", "key[1]" …
    """
    return {
        name: Output(np.asarray(value), capture.kinds.get(key, ""))
        for key, structure in capture.items()
        for name, value in _leaves(key, structure)
        if isinstance(value, (np.ndarray, np.generic))
    }


def _leaves(name, value):
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        yield name, value
        return
    for key, item in items:
        yield from _leaves(f"{name}[{key}]", item)


def maps_of(array, kind=""):
    """Arranges what a layer put out as one map per unit.

    Args:
        array: Array `(B, …)` of numbers. `(B, U)` gives units of one value, `(B, T, U)`
            one row over time for each unit, `(B, H, W, C)` one map for each channel,
            attention scores one map for each head. More axes lie below one another.
        kind: str, as in `Capture.kinds`.

    Returns:
        `Maps`.

    Raises:
        TypeError: If the array holds no numbers.
    """
    values, note = as_floats(array)
    if values.ndim == 0:
        values = values[None]
    count, *shape = values.shape
    if kind == _SCORES and len(shape) >= 2:
        return _score_maps(values, note)
    if len(shape) <= 1:
        units = values.reshape(count, -1, 1, 1)
        return Maps(_whole(units), ("unit", "", ""), note=note)
    if len(shape) == 2 and kind == "input":
        # Read as a picture; whether it is a sequence, only the layers know.
        return Maps(_whole(values[:, None]), ("input", "row", "column"), note=note)
    if len(shape) == 2:
        steps = np.swapaxes(values, 1, 2)[:, :, None]
        return Maps(_whole(steps), ("unit", "", "step"), is_sequence=True, note=note)
    if len(shape) > 3:
        note = f"{note} {tuple(shape[:-2])} maps of each channel lie below one another."
    channels = np.moveaxis(values, -1, 1)
    channels = channels.reshape(count, shape[-1], -1, shape[-2])
    return Maps(_whole(channels), ("channel", "row", "column"), note=note.strip())


def _score_maps(values, note):
    count, *shape = values.shape
    if len(shape) == 2:
        values = values[:, None]
    elif len(shape) > 3:
        values = values.reshape(count, shape[0], -1, shape[-1])
        note = f"{note} {tuple(shape[1:-1])} queries lie below one another.".strip()
    return Maps(_whole(values), ("head", "query", "key"), note=note)


def as_floats(array):
    """Turns numbers of any kind into float32, and says how if it is not plain.

    Args:
        array: Array of numbers.

    Returns:
        `(array, note)`.

    Raises:
        TypeError: If the array holds no numbers.
    """
    array = np.asarray(array)
    if array.dtype.kind == "c":
        return np.abs(array).astype("float32"), "Magnitudes of complex numbers."
    if array.dtype.kind not in _NUMBERS:
        raise TypeError(
            "An output must hold numbers to be drawn. Received: an array of "
            f"{array.dtype.name}"
        )
    with np.errstate(over="ignore"):
        return array.astype("float32", copy=False), ""


def _whole(values):
    """A copy in a row, made of blocks: what one reads and writes stays in the cache."""
    if values.flags.c_contiguous:
        return values
    count, units, rows, columns = values.shape
    read = np.moveaxis(values, 1, -1).reshape(count, rows * columns, units)
    copy = np.empty((count, units, rows * columns), values.dtype)
    step = max(_LINE, _BLOCK // max(units, 1))
    for start in range(0, rows * columns, step):
        block = slice(start, start + step)
        copy[:, :, block] = read[:, block].swapaxes(1, 2)
    return copy.reshape(values.shape)

"""Captured values: a dict that prints well and can be kept in a file."""

import json

import keras
import numpy as np

from workbench.files import atomic_write
from workbench.reports import Note, Table, format_bytes, render_html, render_text

_FORMAT = "workbench.activations 1"


class Capture(dict):
    """What the layers of a model put out: dict path -> array or structure of arrays.

    The arrays are read-only, since two paths may share one array's memory; `.copy()`
    gives one to write to.

    Attributes:
        kinds: dict key -> str, the layer's class name, or "input", "pre-activation",
            "attention scores".
        missing: dict path -> str, what could not be captured, and why.
        outputs: What the model itself returned, as arrays; None where only some layers
            were asked for.
    """

    def __init__(self, values=(), *, kinds=None, missing=None, outputs=None):
        super().__init__(values)
        self.kinds = dict(kinds or {})
        self.missing = dict(missing or {})
        self.outputs = outputs

    def __missing__(self, key):
        if key in self.missing:
            raise KeyError(f"{key!r} could not be captured: {self.missing[key]}")
        raise KeyError(key)

    def blocks(self):
        """Returns the capture as a table, then what is missing."""
        yield Table(
            ("path", "layer", "shape", "dtype"),
            tuple(
                (key, self.kinds.get(key, ""), *_described(self[key])) for key in self
            ),
        )
        total = sum(array.nbytes for array in _arrays(dict(self)))
        yield Note(f"{len(self)} outputs, {format_bytes(total)}.")
        for path, reason in self.missing.items():
            yield Note(f"Missing: {path}: {reason}.")

    def __repr__(self):
        missing = f", {len(self.missing)} missing" if self.missing else ""
        return f"<Capture of {len(self)} outputs{missing}>"

    def __str__(self):
        return render_text(self.blocks())

    def _repr_html_(self):
        return render_html(self.blocks())

    def save(self, filepath):
        """Saves the capture without pickle; `load_capture` reads it.

        Args:
            filepath: str or path, ending in `.npz` or `.safetensors`; an existing
                file is replaced once the new one is whole.

        Raises:
            ImportError: If safetensors is asked for and not installed.
            OSError: If the disk is full; what stood there before stays.
            TypeError: If a layer put out something that is neither array nor number.
            ValueError: If the ending is another.
        """
        arrays, tree = _taken_apart({"values": dict(self), "outputs": self.outputs})
        rest = json.dumps(
            {
                _FORMAT: tree,
                "kinds": self.kinds,
                "missing": self.missing,
            }
        )
        write = _writer(filepath)
        try:
            with atomic_write(filepath) as file:
                write(file, arrays, rest)
        except FileNotFoundError:
            raise
        except OSError as error:
            total = format_bytes(sum(array.nbytes for array in arrays.values()))
            raise OSError(
                error.errno,
                f"`filepath` must lie where {total} can be written "
                f"({error.strerror or error}); nothing was changed there. Received: "
                f"filepath={filepath}",
            ) from error


def load_capture(filepath):
    """Reads what `Capture.save` wrote.

    Args:
        filepath: str or path of the file.

    Returns:
        `Capture`.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If it is a safetensors file and safetensors is not installed.
        ValueError: If the file holds something else.
    """
    try:
        arrays, rest = _read(filepath)
        rest = json.loads(rest)
        parts = _put_together(rest[_FORMAT], arrays)
    except (FileNotFoundError, ImportError):
        raise
    except Exception as error:
        raise ValueError(
            "`filepath` must be a file that `Capture.save` wrote. Received: "
            f"filepath={filepath}"
        ) from error
    for array in _arrays(parts):
        array.flags.writeable = False
    return Capture(
        parts["values"],
        kinds=rest["kinds"],
        missing=rest["missing"],
        outputs=parts["outputs"],
    )


def _arrays(structure):
    leaves = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]


def _described(value):
    arrays = _arrays(value)
    if not arrays:
        return "—", repr(value)
    shapes = ", ".join(str(array.shape) for array in arrays)
    return shapes, ", ".join(dict.fromkeys(str(array.dtype) for array in arrays))


# Files


def _taken_apart(structure):
    arrays = {}

    def walk(value):
        if isinstance(value, dict):
            return {"dict": [[key, walk(item)] for key, item in value.items()]}
        if isinstance(value, (list, tuple)):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {kind: [walk(item) for item in value]}
        if isinstance(value, (np.ndarray, np.generic)):
            name = f"a{len(arrays)}"
            array = np.asarray(value)
            entry = {"array": name}
            if array.dtype.kind == "O":
                arrays[name] = array = array.astype("S")
                entry["dtype"] = "object"
            elif array.dtype.kind == "V":
                # bfloat16 and its like, of which files know nothing.
                entry["dtype"] = array.dtype.name
                array = array.view(f"uint{8 * array.dtype.itemsize}")
            arrays[name] = array
            return entry
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"value": value}
        raise TypeError(
            "A capture can be saved when all its values are arrays, numbers, strings "
            f"or None. Received: {type(value).__name__}"
        )

    tree = walk(structure)
    return arrays, tree


def _put_together(tree, arrays):
    (kind, value), *others = tree.items()
    if kind == "dict":
        return {key: _put_together(item, arrays) for key, item in value}
    if kind in ("list", "tuple"):
        items = [_put_together(item, arrays) for item in value]
        return tuple(items) if kind == "tuple" else items
    if kind == "value":
        return value
    array = arrays[value]
    if not others:
        return array
    dtype = others[0][1]
    if dtype == "object":
        return array.astype(object)
    return array.view(np.dtype(dtype))


def _writer(filepath):
    if str(filepath).endswith(".npz"):
        return lambda file, arrays, rest: np.savez(file, rest=np.array(rest), **arrays)
    if str(filepath).endswith(".safetensors"):
        save = _safetensors().save
        return lambda file, arrays, rest: file.write(
            save(
                {k: np.ascontiguousarray(v) for k, v in arrays.items()}, {"rest": rest}
            )
        )
    raise ValueError(
        f"`filepath` must end in .npz or .safetensors. Received: filepath={filepath}"
    )


def _read(filepath):
    if str(filepath).endswith(".safetensors"):
        module = _safetensors(whole=True)
        with module.safe_open(filepath, framework="np") as file:
            names = list(file.keys())
            return {n: file.get_tensor(n) for n in names}, file.metadata()["rest"]
    with np.load(filepath, allow_pickle=False) as arrays:
        loaded = {name: arrays[name] for name in arrays.files}
    return loaded, str(loaded.pop("rest"))


def _safetensors(*, whole=False):
    try:
        import safetensors  # noqa: PLC0415, optional
        import safetensors.numpy  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "Captures in `.safetensors` files need the package safetensors: `pip "
            "install safetensors`; `.npz` needs nothing."
        ) from error
    return safetensors if whole else safetensors.numpy

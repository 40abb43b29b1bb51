"""Arrays out of files into the variables of a model, by their names."""

import dataclasses
import re

import numpy as np

from workbench.formats.records import describe_shape
from workbench.formats.weights import read_weights
from workbench.reports import Heading, Note, Report, Table

# What TensorFlow 1 and Keras called the same thing.
_SYNONYMS = {
    "weights": "kernel",
    "weight": "kernel",
    "w": "kernel",
    "biases": "bias",
    "b": "bias",
    "moving_average": "moving_mean",
    "embedding": "embeddings",
}
_ENDINGS = re.compile(r"(:0|/\.ATTRIBUTES/VARIABLE_VALUE|/read|/resource)$")
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class MovedWeights(Report):
    """What came from a file into a model.

    Attributes:
        moved: dict path of a variable -> name in the file.
        misfits: dict path -> `(name, shape in the file, shape in the model)`.
        missing: Tuple of str, paths of variables that got nothing.
        unused: Tuple of str, names in the file that nothing took.
    """

    moved: dict
    misfits: dict
    missing: tuple
    unused: tuple

    def blocks(self):
        """Returns the report as headings, notes and tables."""
        total = len(self.moved) + len(self.misfits) + len(self.missing)
        yield Heading(f"{len(self.moved)} of {total} variables came from the file")
        rows = [(path, name, "moved") for path, name in self.moved.items()]
        rows += [
            (path, name, f"{describe_shape(there)} does not fit {describe_shape(here)}")
            for path, (name, there, here) in self.misfits.items()
        ]
        rows += [(path, "-", "nothing of that name") for path in self.missing]
        yield Table(
            ("variable", "in the file", "what became of it"), tuple(rows[:_SHOWN])
        )
        if len(rows) > _SHOWN:
            yield Note(f"and {len(rows) - _SHOWN} more.")
        if self.unused:
            names = ", ".join(self.unused[:8])
            more = ", …" if len(self.unused) > 8 else ""
            yield Note(f"Left in the file: {len(self.unused)} ({names}{more}).")


def move_weights(filepath, model, names=None):
    """Gives variables of a model the values of equally named arrays in a file.

    Names count from their end, and "weights", "biases" are "kernel", "bias": TensorFlow
    1's `layer1/weights` goes to Keras's `layer1/kernel`. Nothing is guessed where two
    fit.

    Args:
        filepath: str or path, as for `read_weights`; or a dict name -> array.
        model: Built `keras.Model`.
        names: dict path of a variable without the model's name, or of a layer, -> name
            in the file, for those that are called otherwise.

    Returns:
        `MovedWeights`, what matched and what did not.

    Raises:
        ValueError: If the model is not built, or `names` names what is not there.
    """
    arrays = filepath if isinstance(filepath, dict) else read_weights(filepath)
    if not model.built:
        raise ValueError(
            "`model` must be built: call it once, or give it an Input. Received: "
            f"model={model!r}"
        )
    variables = {
        _path(v, model): v for v in model.variables if "seed_generator" not in v.path
    }
    chosen = _choose(variables, arrays, _by_layer(model), names or {})
    moved, misfits = {}, {}
    for path, name in chosen.items():
        there, here = np.shape(arrays[name]), tuple(variables[path].shape)
        if there == here:
            variables[path].assign(arrays[name])
            moved[path] = name
        else:
            misfits[path] = name, there, here
    taken = {*moved.values(), *(name for name, _, _ in misfits.values())}
    return MovedWeights(
        moved,
        misfits,
        tuple(path for path in variables if path not in chosen),
        tuple(name for name in arrays if name not in taken),
    )


def _path(variable, model):
    # A Sequential's own name stands before those of its layers.
    return variable.path.removeprefix(f"{model.name}/")


def _by_layer(model):
    """Dict `layer/vars/0`, as `.weights.h5` calls it, -> path of the variable."""
    found = {}
    for layer in model._flatten_layers(include_self=False):
        own = [*layer._trainable_variables, *layer._non_trainable_variables]
        for number, variable in enumerate(own):
            found[f"{layer.name}/vars/{number}"] = _path(variable, model)
    return found


def _choose(variables, arrays, by_layer, names):
    chosen, parts = {}, {name: _parts(name) for name in arrays}
    for path in variables:
        wanted = names.get(path) or _under_layer(path, names)
        if wanted is None:
            candidates = _best(_parts(path), parts) or _numbered(path, parts, by_layer)
            if len(candidates) == 1:
                chosen[path] = candidates[0]
            continue
        full = [
            name for name in arrays if name == wanted or parts[name] == _parts(wanted)
        ]
        if len(full) != 1:
            raise ValueError(
                f"`names` must name arrays of the file: {', '.join(list(arrays)[:8])}. "
                f"Received: {wanted!r} for {path}"
            )
        chosen[path] = full[0]
    return chosen


def _under_layer(path, names):
    layer, _, last = path.rpartition("/")
    return f"{names[layer]}/{last}" if layer in names else None


def _parts(name):
    previous = None
    while previous != name:
        previous, name = name, _ENDINGS.sub("", name)
    parts = [p for p in name.split("/") if p not in ("model_weights", "layers")]
    parts[-1] = _SYNONYMS.get(parts[-1].lower(), parts[-1])
    return tuple(parts)


def _best(wanted, parts):
    """Names that share the most parts with `wanted`, counted from the end."""
    best, found = 1, []
    for name, there in parts.items():
        if there[0] in ("optimizer", "optimizer_weights"):
            continue
        count = 0
        for one, other in zip(reversed(wanted), reversed(there), strict=False):
            if one != other:
                break
            count += 1
        if count > best:
            best, found = count, [name]
        elif count == best and count > 1:
            found.append(name)
    return found


def _numbered(path, parts, by_layer):
    places = [place.split("/") for place, target in by_layer.items() if target == path]
    return [
        name
        for name, there in parts.items()
        if any(there[-len(place) :] == tuple(place) for place in places)
        and there[0] != "optimizer"
    ]

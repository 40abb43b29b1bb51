"""Which inputs excite a unit most."""

import re

import keras
import numpy as np

from workbench.activations.capturing import capture
from workbench.activations.maps import maps_of, outputs_of


def unit_peaks(model, x, layer, *, training=False, batch_size=64, progress=None):
    """Finds each unit's largest value for each input, one batch at a time.

    Args:
        model: `keras.Model`; it stays untouched.
        x: Array `(N, …)` or structure of arrays, as the model takes them.
        layer: str, an output's key as in a `Capture`; "key[0]" for one of several.
        training: Whether the model is called as in training.
        batch_size: Positive int, inputs per pass.
        progress: Function of the share that is done, called after each batch; what it
            raises ends the search. None for none.

    Returns:
        float32 `(N, units)`; NaN where a map holds nothing else.

    Raises:
        ValueError: If the layer is not known.
    """
    count = len(keras.tree.flatten(x)[0])
    batch_size = min(batch_size, count)
    peaks = None
    for start in range(0, count, batch_size):
        # The last batch overlaps the one before: another size would be traced anew.
        first = min(start, count - batch_size)
        which = slice(first, first + batch_size)
        found = _batch_peaks(model, part_of(x, which), layer, training)
        if peaks is None:
            peaks = np.empty((count, found.shape[1]), "float32")
        peaks[which] = found
        if progress is not None:
            progress(which.stop / count)
    return peaks


def _batch_peaks(model, x, layer, training):
    path = re.sub(r"(\[[^]]*\])+$", "", layer)
    selector = re.compile(f"^(?:{re.escape(layer)}|{re.escape(path)})$")
    found = capture(model, x, selector, training=training, inputs=True)
    outputs = outputs_of(found)
    if layer not in outputs:
        raise ValueError(
            f"`layer` must be one of {list(outputs)}. Received: layer={layer!r}"
        )
    values = maps_of(outputs[layer].array, outputs[layer].kind).values
    if len(values) != len(keras.tree.flatten(x)[0]):
        raise ValueError(
            "`layer` must put out something for each input. Received: "
            f"layer={layer!r}, of shape {outputs[layer].array.shape}"
        )
    return np.fmax.reduce(values.reshape(*values.shape[:2], -1), axis=2)


def strongest_inputs(model, x, layer, unit, *, count=9, training=False):
    """Finds the inputs for which a unit puts out its largest value.

    Args:
        model: `keras.Model`; it stays untouched.
        x: Array `(N, …)` or structure of arrays, as the model takes them.
        layer: str, an output's key as in a `Capture`, such as "block/conv".
        unit: int, channel, unit or head of it.
        count: Positive int, inputs to return.
        training: Whether the model is called as in training.

    Returns:
        List of `(index in x, value)`, the strongest first.

    Raises:
        ValueError: If the layer is not known or has no such unit.
    """
    peaks = unit_peaks(model, x, layer, training=training)
    if not 0 <= unit < peaks.shape[1]:
        raise ValueError(
            f"`unit` must be >= 0 and below {peaks.shape[1]}. Received: unit={unit}"
        )
    return ranked(peaks[:, unit], count)


def ranked(peaks, count):
    """Returns the `count` largest of `(N,)` as list of (index, value), NaN last."""
    order = np.argsort(-peaks, kind="stable")[:count]
    return [(int(i), float(peaks[i])) for i in order]


def part_of(x, which):
    """Returns some samples of a structure of arrays, `which` a slice."""
    return keras.tree.map_structure(lambda a: None if a is None else a[which], x)

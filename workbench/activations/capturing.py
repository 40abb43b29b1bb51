"""`capture`: what every layer puts out, in one compiled pass."""

import keras
import numpy as np
import tensorflow as tf

from workbench.activations import arrays
from workbench.activations.captures import Capture
from workbench.activations.models import check_model, prepare
from workbench.activations.passes import Options, program_for


def capture(  # noqa: PLR0913, the signature is public
    model,
    x,
    layers=None,
    *,
    training=False,
    batch_size=None,
    inputs=False,
    pre_activations=False,
    scores=True,
    run_eagerly=None,
):
    """Captures what the layers of a model put out, and leaves the model untouched.

    The first call for a model, a selection and a shape of `x` traces (seconds for a
    large model); later ones take little more than the model itself. Layers that
    nothing selected depends on are not computed.

    Args:
        model: `keras.Model`, compiled or not; an unbuilt one is built from `x`.
        x: What `model(x)` takes: an array `(batch, …)` or a list or dict of them; or a
            `tf.data.Dataset`, PyDataset or iterator of batches, where `(x, y)` counts
            as x with targets.
        layers: None for all, or which: a name, a path such as "encoder/dense", a
            pattern such as "block_*", a compiled regular expression, an index in
            `model.layers`, a layer, a layer class, or a list of these.
        training: Whether the model is called as in training: dropout acts,
            normalization uses the batch. Neither seeds nor statistics change.
        batch_size: int, samples per pass for arrays; None for all in one.
        inputs: Whether the model's inputs are captured too.
        pre_activations: Whether what goes into a layer's `activation` is captured too,
            as "path/pre_activation".
        scores: Whether attention layers' scores are captured too, as
            "path/attention_scores".
        run_eagerly: Whether the model runs eagerly, bit for bit as `model(x)`; None
            for `model.run_eagerly`.

    Returns:
        `Capture`, a dict path -> array, or a structure of arrays where the layer
        returns one, in the order of computation. A nested layer's path begins with
        the names of what it lies in; a path's later calls are "path#2", "path#3" …
        What runs at each time step (an RNN's cell, what TimeDistributed wraps) has
        its steps stacked in axis 1. Batches are joined along axis 0.

    Raises:
        TypeError: If `model` is no Keras model or `layers` holds something else.
        ValueError: If `x` does not fit or is empty, or a layer is not known.
    """
    check_model(model)
    if run_eagerly is None:
        run_eagerly = model.run_eagerly
    options = Options(
        bool(training),
        inputs,
        pre_activations,
        scores,
        outputs=layers is None,
        run_eagerly=bool(run_eagerly),
    )
    parts = []
    for batch in arrays.batches_of(x, batch_size):
        if not parts:
            prepare(model, batch)
        noted = program_for(model, batch, layers, options)(batch)
        parts.append(_as_arrays(noted, x))
    if not parts:
        raise ValueError("`x` must hold at least one batch. Received: none")
    return parts[0] if len(parts) == 1 else _joined(parts)


def _as_arrays(noted, x):
    given = []
    if not arrays.is_batched(x):
        given = [a for a in keras.tree.flatten(x) if isinstance(a, np.ndarray)]
    done = {}

    def convert(leaf):
        if not tf.is_tensor(leaf):
            return leaf
        if id(leaf) not in done:
            done[id(leaf)] = arrays.unshared(arrays.to_array(leaf), given)
        return done[id(leaf)]

    values, outputs = keras.tree.map_structure(convert, (noted.values, noted.outputs))
    return Capture(values, kinds=noted.kinds, missing=noted.missing, outputs=outputs)


def _joined(parts):
    first = parts[0]
    same = [key for key in first if all(key in part for part in parts)]
    missing = {key: reason for part in parts for key, reason in part.missing.items()}
    for part in parts:
        missing |= dict.fromkeys(part.keys() - set(same), "not called in every batch")

    def join(*leaves):
        if not isinstance(leaves[0], np.ndarray):
            return leaves[0]
        joined = np.concatenate([np.atleast_1d(leaf) for leaf in leaves])
        joined.flags.writeable = False
        return joined

    def joined(structures):
        return keras.tree.map_structure(join, *structures)

    return Capture(
        {key: joined([part[key] for part in parts]) for key in same},
        kinds={key: first.kinds[key] for key in same},
        missing=missing,
        outputs=joined([part.outputs for part in parts]),
    )

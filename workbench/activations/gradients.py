"""`gradients`: how the loss changes with every activation and every weight."""

import keras
import numpy as np
import tensorflow as tf

from workbench.activations import arrays
from workbench.activations.captures import Capture
from workbench.activations.models import check_model, prepare
from workbench.activations.passes import Noted, Options, follow, program_for
from workbench.reports import Note, Table, render_html, render_text


class Gradients(dict):
    """Gradients of a loss: dict path -> array, first activations, then weights.

    Attributes:
        activations: `Capture`, the gradients of the layers' outputs, each of the
            output's shape.
        weights: dict, variable path -> gradient of the variable's shape.
        loss: float, the loss that was differentiated.
        missing: dict path -> str, what has no gradient, and why.
    """

    def __init__(self, activations, weights, loss, missing):
        super().__init__({**activations, **weights})
        self.activations = activations
        self.weights = weights
        self.loss = loss
        self.missing = missing

    def norms(self):
        """Returns dict path -> float, the norm of each gradient; NaN where none is."""
        return {
            key: float(np.sqrt(sum(_square(a) for a in _arrays(value))))
            for key, value in self.items()
        }

    def blocks(self):
        """Returns the norms as a table, then what is missing."""
        yield Note(f"Loss {self.loss:.6g}.")
        rows = tuple((key, f"{norm:.3g}") for key, norm in self.norms().items())
        yield Table(("path", "norm of the gradient"), rows)
        for path, reason in self.missing.items():
            yield Note(f"Missing: {path}: {reason}.")

    def __repr__(self):
        counts = f"{len(self.activations)} activations and {len(self.weights)} weights"
        return f"<Gradients of {counts}>"

    def __str__(self):
        return render_text(self.blocks())

    def _repr_html_(self):
        return render_html(self.blocks())


def _arrays(value):
    leaves = keras.tree.flatten(value)
    return [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]


def _square(array):
    return np.square(array, dtype="float64").sum()


def gradients(  # noqa: PLR0913, the signature is public
    model,
    x,
    y,
    layers=None,
    *,
    loss=None,
    sample_weight=None,
    training=False,
    pre_activations=False,
    norms_only=False,
):
    """Computes the gradient of the loss for every activation and every weight.

    Args:
        model: `keras.Model`; it stays untouched.
        x: What `model(x)` takes, one batch.
        y: Targets, as `model.fit` takes them.
        layers: As for `capture`: whose outputs are differentiated. The weights are
            those of the whole model.
        loss: Loss as `model.compile` takes it, or a function of `(y, outputs)`; None
            for the loss that the model was compiled with, penalties included.
        sample_weight: As `model.fit` takes it, or None.
        training: Whether the model is called as in training.
        pre_activations: Whether what goes into a layer's `activation` is one of them.
        norms_only: Whether each gradient is given by its norm, a scalar array, which
            saves handing over all of them.

    Returns:
        `Gradients`, dict path -> array. Where the loss does not depend on something,
        `.missing` says so.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If there is no loss, or `x` does not fit.
    """
    check_model(model)
    x = arrays.to_tensors(x)
    prepare(model, x)
    if loss is None and not model.compiled:
        raise ValueError(
            "`loss` must be given for a model that is not compiled. Received: loss=None"
        )
    if isinstance(loss, (str, dict)):
        loss = keras.losses.get(loss)
    given = {"x": x, "y": _tensors(y), "weight": _tensors(sample_weight)}

    def then(model, given, selection, options):
        return _differentiated(model, given, selection, options, loss, norms_only)

    options = Options(
        bool(training),
        pre_activations=pre_activations,
        scores=False,
        loops=False,
        run_eagerly=model.run_eagerly,
    )
    keep = model._compile_loss if loss is None else loss
    # A function may hold the model, and must not be kept with it.
    is_kept = loss is None or isinstance(loss, keras.losses.Loss)
    name = ("gradients", norms_only, id(keep)) if is_kept else None
    program = program_for(
        model, given, layers, options, name=name, then=then, keep=keep
    )
    noted = program(given)
    values, weights, value = keras.tree.map_structure(arrays.to_array, noted.extra)
    capture = Capture(values, kinds=noted.kinds, missing=noted.missing)
    return Gradients(capture, weights, float(value), noted.missing)


def _tensors(structure):
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf), structure
    )


def _differentiated(model, given, selection, options, loss, norms_only):
    x, y, weight = given["x"], given["y"], given["weight"]
    variables = model.trainable_variables

    def watch(tensor):
        if tensor.dtype.is_floating:
            tape.watch(tensor)

    def finish(outputs):
        if loss is not None:
            arguments = (y, outputs) if weight is None else (y, outputs, weight)
            return tf.reduce_mean(loss(*arguments))
        return model._compute_loss(
            x=x,
            y=y,
            y_pred=outputs,
            sample_weight=weight,
            training=options.training,
        )

    with tf.GradientTape() as tape:
        for leaf in keras.tree.flatten(x):
            if leaf is not None:
                watch(leaf)
        weights = [tf.convert_to_tensor(variable.value) for variable in variables]
        tape.watch(weights)
        noted = follow(
            model,
            x,
            selection,
            options,
            watch=watch,
            finish=finish,
            weights=list(zip(variables, weights, strict=True)),
        )
        value = noted.extra
    # Not one flat list of the whole dict, whose keys Keras would sort.
    sources = [
        [leaf for leaf in keras.tree.flatten(structure) if _is_float(leaf)]
        for structure in noted.values.values()
    ]
    found = tape.gradient(value, [sources, weights])
    return _gathered(noted, found, variables, value, norms_only)


def _is_float(leaf):
    return tf.is_tensor(leaf) and leaf.dtype.is_floating


def _gathered(noted, found, variables, value, norms_only):
    missing = dict(noted.missing)
    values, weights = {}, {}
    for (key, structure), gradients in zip(noted.values.items(), found[0], strict=True):
        rest = iter(gradients)
        result = keras.tree.map_structure(
            lambda leaf, rest=rest: next(rest) if _is_float(leaf) else None, structure
        )
        parts = [gradient for gradient in gradients if gradient is not None]
        if not parts:
            missing[key] = _reason(structure)
            continue
        values[key] = _norm(parts) if norms_only else result
    for variable, gradient in zip(variables, found[1], strict=True):
        path = variable.path
        while path in weights or path in values:
            path += "'"
        if gradient is None:
            missing[path] = "the loss does not depend on it"
            continue
        dense = tf.convert_to_tensor(gradient)
        weights[path] = _norm([dense]) if norms_only else dense
    kinds = {key: noted.kinds[key] for key in values}
    return Noted(kinds, {}, missing, extra=(values, weights, value))


def _reason(structure):
    if any(hasattr(leaf, "_keras_logits") for leaf in keras.tree.flatten(structure)):
        return "Keras computes the loss from what goes into it: `pre_activations=True`"
    return "nothing that the loss depends on was computed from it"


def _norm(parts):
    norms = [
        tf.raw_ops.EuclideanNorm(input=part, axis=range(part.shape.rank))
        for part in parts
    ]
    return norms[0] if len(norms) == 1 else tf.norm(tf.stack(norms))

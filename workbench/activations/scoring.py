"""The score of each image: what it depends on, computed in one compiled pass."""

import numbers

import keras
import numpy as np
import tensorflow as tf

from workbench.activations import arrays
from workbench.activations.models import check_model, prepare
from workbench.activations.passes import Noted, Options, follow, program_for
from workbench.activations.selection import Selection

_FINAL = ("softmax", "sigmoid")


class Scorer:
    """The score of each image, and how it changes with pixels and with maps.

    Attributes:
        images: float32 `(B, H, W)` or `(B, H, W, C)`.

    Args:
        model: `keras.Model` that reads one batch of images.
        x: Images.
        target: None for each image's best class, int or B ints, or a function of what
            the model returns to B scores.
        from_logits: Whether the score is read before a final softmax or sigmoid.
    """

    def __init__(self, model, x, target, from_logits):
        check_model(model)
        self.images = _checked(x)
        self._model = model
        self._from_logits = from_logits
        self._function = target if callable(target) else None
        self._targets = np.zeros(len(self.images), "int32")
        prepare(model, tf.constant(self.images))
        if self._function is None:
            self._targets = _resolved(target, self._run("outputs", self.images))

    def scores(self, images, of=slice(None)):
        """Returns the score of each image; `of` says which images' targets hold."""
        return self._run("scores", images, of)

    def slopes(self, images):
        """Returns the gradient of each image's score for its pixels."""
        return self._run("slopes", images)

    def maps(self, layer):
        """Returns a layer's maps and the gradient of each image's score for them."""
        return self._run("maps", self.images, layer=layer)

    def _run(self, what, images, of=slice(None), *, layer=None):
        from_logits, function = self._from_logits, self._function
        if layer is not None:
            Selection(self._model, layer)  # says what is wrong with it

        def then(model, given, selection, options):
            images, targets = given
            with tf.GradientTape() as tape:
                tape.watch(images)
                watch = tape.watch if what == "maps" else None
                noted = follow(model, images, selection, options, watch=watch)
                ends = _logits(noted) if from_logits else noted.outputs
                if what == "outputs":
                    return _result(_one_array(ends))
                score = _score(ends, targets, function)
            if what == "scores":
                return _result(score)
            if what == "slopes":
                return _result(tape.gradient(score, images))
            maps = _maps(noted, model, layer)
            return _result((maps, tape.gradient(score, maps)))

        options = Options(
            pre_activations=True,
            scores=False,
            loops=False,
            outputs=True,
            run_eagerly=self._model.run_eagerly,
        )
        # A function may hold the model, and must not be kept with it.
        is_kept = function is None and not isinstance(layer, keras.Operation)
        name = (what, from_logits, repr(layer)) if is_kept else None
        given = tf.constant(images), tf.constant(self._targets[of])
        program = program_for(self._model, given, None, options, name=name, then=then)
        return keras.tree.map_structure(arrays.to_array, program(given).extra)


def _result(value):
    return Noted({}, {}, {}, extra=value)


def _checked(x):
    leaves = keras.tree.flatten(x)
    is_list = keras.tree.is_nested(x) and not all(
        isinstance(leaf, numbers.Real) for leaf in leaves
    )
    if is_list:
        raise ValueError(
            "`x` must be one array of images; wrap a model with several inputs in one "
            f"with a single input. Received: a {type(x).__name__}"
        )
    images = np.asarray(x)
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            "`x` must be a batch of images, (batch, height, width) or (batch, height, "
            f"width, channels). Received: an array of shape {images.shape}"
        )
    return images.astype("float32")


def _one_array(ends):
    if not tf.is_tensor(ends) or ends.shape.rank < 2:
        raise ValueError(
            "`target` must be a function of what the model returns, unless that is one "
            f"array (batch, classes). Received: a model that returns {ends}"
        )
    return ends


def _resolved(target, outputs):
    """Turns a target into one index for each image."""
    scores = outputs.reshape(len(outputs), -1)
    if target is None:
        return scores.argmax(axis=1).astype("int32")
    targets = np.broadcast_to(np.asarray(target, "int32"), len(scores))
    classes = scores.shape[1]
    if targets.min() < -classes or targets.max() >= classes:
        raise ValueError(
            f"`target` must lie between {-classes} and {classes - 1} (classes). "
            f"Received: target={target}"
        )
    return (targets % classes).astype("int32")


def _logits(noted):
    """What went into the softmax or sigmoid that made the model's outputs, if any."""
    for key, value in noted.values.items():
        before = noted.values.get(f"{key}/pre_activation")
        activation = getattr(noted.owners[key], "activation", None)
        is_final = getattr(activation, "__name__", "") in _FINAL
        if value is noted.outputs and before is not None and is_final:
            return before
    return noted.outputs


def _score(ends, targets, function):
    if function is not None:
        return function(ends)
    flat = tf.reshape(ends, [tf.shape(ends)[0], -1])
    return tf.gather(flat, targets, batch_dims=1)


def _maps(noted, model, layer):
    """The last maps of the chosen layer, or of the model."""
    selection = Selection(model, layer)
    owners = noted.owners
    chosen = [k for k in noted.values if selection(k, k.split("#")[0], owners[k])]
    selection.check(noted.kinds, owners)
    found = [key for key in chosen if _are_maps(noted, key, smallest=layer is None)]
    if not found:
        raise ValueError(
            "`layer` must put out maps (batch, height, width, channels) that the score "
            f"depends on. Received: layer={layer!r}"
        )
    return noted.values[found[-1]]


def _are_maps(noted, key, *, smallest):
    value = noted.values[key]
    if not tf.is_tensor(value) or noted.kinds[key] == "pre-activation":
        return False
    if value.shape.rank != 4 or not value.dtype.is_floating:
        return False
    return not smallest or max(value.shape[1:3]) > 1

"""Penalties and constraints on a model that is built already, and off again."""

import math

import keras
import numpy as np

from workbench.regularization import choosing
from workbench.regularization.live import LiveConstraint, LivePenalty, Strength
from workbench.regularization.proximal import ProximalL1


class Penalty:
    """What `set_penalty` or `set_constraint` put on a model; a context manager, too.

    Attributes:
        paths: Tuple of str, the variables it is on, or the layers for outputs.
    """

    def __init__(self, model, strength, paths, changes):
        self.paths = tuple(paths)
        self._model = model
        self._strength = strength
        self._changes = changes
        self._old = []
        self._on = False
        self._put()

    def __repr__(self):
        state = "on" if self._on else "removed from"
        return f"<Penalty {self._name} {state} {len(self.paths)} of {self._model.name}>"

    @property
    def _name(self):
        if self._strength is None:
            return "None"
        return f"{type(self._strength.plain).__name__}, strength {self.strength:.4g}"

    @property
    def strength(self):
        """float, as the next step uses it; set it at any time, nothing is retraced.

        It is the number of `L1`, `L2`, `OrthogonalRegularizer`, `MaxNorm` and
        `ProximalL1`; of any other regularizer a factor on the whole, at first 1. NaN
        where there is none.
        """
        return math.nan if self._strength is None else self._strength.value

    @strength.setter
    def strength(self, value):
        if self._strength is None:
            raise ValueError(
                f"`strength` cannot be set: there is no penalty. Received: {value}"
            )
        self._strength.assign(value)

    def remove(self):
        """Puts back what was there before; does nothing the second time.

        Raises:
            RuntimeError: If another penalty was set on the same variables since.
        """
        if not self._on:
            return
        for thing, name, new in self._changes:
            if getattr(thing, name) is not new:
                raise RuntimeError(
                    f"Another penalty was set on {thing.path} after this one; remove "
                    "that one first."
                )
        for thing, name, old in reversed(self._old):
            setattr(thing, name, old)
        self._on = False
        _forget_functions(self._model)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()

    def _put(self):
        for thing, name, new in self._changes:
            self._old.append((thing, name, getattr(thing, name)))
            setattr(thing, name, new)
        self._on = True
        _forget_functions(self._model)


def _forget_functions(model):
    # What was traced holds the old penalties; `fit` makes these again.
    model.train_function = model.test_function = None


def set_penalty(
    model, regularizer, layers=None, *, biases=False, normalization=False, outputs=False
):
    """Puts a penalty on a built model, in place of what its variables had.

    `layer.kernel_regularizer = …` does nothing on a built layer; the variable's own
    `regularizer` does. `fit`, `evaluate` and `model.losses` use it from the next call
    on, an optimizer that is compiled already included; a `tf.function` of your own must
    be traced again. It may be set before `compile` or after, and its strength may be
    changed while the model trains.

    A saved model brings it back, as plain Keras with the strength of that moment, where
    the layer has an argument for it: `Dense`, convolutions, `Embedding`, recurrent
    layers. Layers inside a layer of your own, or inside attention, lose it.

    Args:
        model: Built `keras.Model`.
        regularizer: `keras.regularizers.Regularizer` or what `keras.regularizers.get`
            takes, such as "l2"; it is copied. None takes the penalties off.
        layers: None for all; or a layer's name or path, a layer, a layer class, a
            function from a layer to bool, or an iterable of those.
        biases: bool, whether biases are penalized too.
        normalization: bool, whether scale and offset of normalization layers are, too.
        outputs: bool, True to penalize the layers' outputs instead of their variables,
            divided by the batch size as Keras's `activity_regularizer` is. A file then
            needs `import workbench.regularization` to be loaded.

    Returns:
        `Penalty`, with `.strength` and `.remove()`; in a `with` block it ends with it.

    Raises:
        TypeError: If `regularizer` has no `get_config`.
        ValueError: If the model is not built, `layers` meets none, a number is
            negative, or the regularizer cannot take a variable. The model is unchanged.
    """
    choosing.check_built(model)
    strength = _strength(regularizer, "regularizer", keras.regularizers)
    if outputs:
        if layers is None:
            raise ValueError(
                "`layers` must say whose outputs are penalized. Received: layers=None, "
                "outputs=True"
            )
        chosen = choosing.choose_layers(model, layers)
        changes = [
            (
                layer,
                "activity_regularizer",
                strength and LivePenalty(strength, layer.path, per_sample=True),
            )
            for layer in chosen
        ]
        return Penalty(model, strength, [layer.path for layer in chosen], changes)
    return _on_variables(
        model, strength, LivePenalty, "regularizer", layers, (biases, normalization)
    )


def set_constraint(
    model, constraint, layers=None, *, biases=False, normalization=False
):
    """Puts a constraint on a built model's variables, applied after each update.

    As `set_penalty` in everything else.

    Args:
        model: Built `keras.Model`.
        constraint: `keras.constraints.Constraint`, such as `MaxNorm` or `ProximalL1`,
            or what `keras.constraints.get` takes; it is copied. None takes them off.
        layers: As for `set_penalty`.
        biases: bool, whether biases are constrained too.
        normalization: bool, whether scale and offset of normalization layers are, too.

    Returns:
        `Penalty`.

    Raises:
        TypeError: If `constraint` has no `get_config` of its own.
        ValueError: As for `set_penalty`.
    """
    choosing.check_built(model)
    strength = _strength(constraint, "constraint", keras.constraints)
    if strength is not None and isinstance(strength.plain, ProximalL1):
        strength.bind(model)
    return _on_variables(
        model,
        strength,
        lambda strength, _path: LiveConstraint(strength),
        "constraint",
        layers,
        (biases, normalization),
    )


def _strength(thing, argument, home):
    thing = home.get(thing)
    if thing is None:
        return None
    try:
        config = thing.get_config()
        plain = type(thing).from_config(config)
    except (AttributeError, NotImplementedError) as error:
        raise TypeError(
            f"`{argument}` must be a keras.{argument}s object with `get_config`, so "
            "that models can be saved and copied; write one that returns its "
            f"arguments. Received: {argument}={thing!r}"
        ) from error
    bad = {
        name: value
        for name, value in config.items()
        if isinstance(value, int | float) and name != "axis" and not value >= 0
    }
    if bad:
        name, value = next(iter(bad.items()))
        raise ValueError(
            f"`{argument}` must have numbers >= 0. Received: {name}={value} in "
            f"{type(thing).__name__}"
        )
    return Strength(plain)


def _on_variables(model, strength, make_live, kind, layers, which):
    biases, normalization = which
    chosen = choosing.choose_variables(
        model, layers, biases=biases, normalization=normalization
    )
    if strength is not None:
        for _, variable in chosen:
            _check_on(strength.plain, variable, kind)
    changes = []
    for owner, variable in chosen:
        live = strength and make_live(strength, variable.path)
        changes.append((variable, kind, live))
        keeper = choosing.keeper_of(owner, variable, kind)
        if keeper is not None:
            changes.append((owner, keeper, strength and strength.plain))
    return Penalty(model, strength, [v.path for _, v in chosen], changes)


def _check_on(plain, variable, kind):
    if isinstance(plain, ProximalL1):
        return
    try:
        value = np.asarray(plain(variable.value))
    except Exception as error:
        raise ValueError(
            f"`{kind}` must take every chosen variable, choose other `layers`: "
            f"{type(plain).__name__} cannot take {variable.path} of shape "
            f"{tuple(variable.shape)}. Received: {str(error).splitlines()[0]}"
        ) from error
    wanted = () if kind == "regularizer" else tuple(variable.shape)
    if value.shape != wanted:
        raise ValueError(
            f"`{kind}` must give shape {wanted} for {variable.path}. "
            f"Received: shape {value.shape} from {type(plain).__name__}"
        )

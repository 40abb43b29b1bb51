"""One pass of a model that puts out what was noted, traced once per signature."""

import dataclasses
import weakref
from typing import Any

import keras
import tensorflow as tf

from workbench.activations.hooks import listening
from workbench.activations.models import fingerprint, skeleton, state_kept
from workbench.activations.recording import Recorder, flat
from workbench.activations.selection import Selection

_cache = weakref.WeakKeyDictionary()
_MOST_PROGRAMS = 32  # of one model


@dataclasses.dataclass(frozen=True)
class Options:
    """What is noted of a pass, hashable.

    Attributes:
        training: bool, whether the model is called as in training.
        inputs: bool, whether the model's inputs are noted.
        pre_activations: bool, whether what goes into activations is noted.
        scores: bool, whether attention scores are noted.
        loops: bool, whether the time steps of recurrent layers are noted.
        outputs: bool, whether what the model itself returns is kept.
        run_eagerly: bool, whether the pass is not compiled.
    """

    training: bool = False
    inputs: bool = False
    pre_activations: bool = False
    scores: bool = True
    loops: bool = True
    outputs: bool = False
    run_eagerly: bool = False


@dataclasses.dataclass(frozen=True)
class Noted:
    """What one pass noted.

    Attributes:
        kinds: dict key -> str.
        values: dict key -> nested structure of tensors.
        missing: dict path -> str, why it could not be noted.
        outputs: What the model itself returned.
        extra: What the caller made of it, a structure of tensors.
        owners: dict key -> layer, while the pass is followed; not kept.
        info: What is known of every such pass, without tensors; kept.
    """

    kinds: dict
    values: dict
    missing: dict
    outputs: Any = None
    extra: Any = None
    owners: Any = None
    info: Any = None


def follow(model, x, selection, options, *, watch=None, finish=None, weights=()):
    """Calls the model once and notes what its layers put out, here and now.

    Args:
        model: Built `keras.Model`.
        x: Structure of tensors.
        selection: `Selection`.
        options: `Options`.
        watch: Function of a tensor, called for each tensor noted, or None.
        finish: Function of what the model returned, called while the model's losses
            can be read and its variables do not change; what it returns is the
            `extra` of the result. None for nothing.
        weights: Pairs of variable and the tensor that stands for it.

    Returns:
        `Noted`.
    """
    recorder = Recorder(
        model,
        selection,
        pre_activations=options.pre_activations,
        scores=options.scores,
        loops=options.loops,
        watch=watch,
    )
    kwargs = {"training": options.training} if model._call_has_training_arg else {}
    extra = None
    with (
        keras.StatelessScope(weights, collect_losses=finish is not None),
        state_kept(model, losses=finish is not None),
    ):
        with listening(recorder):
            if options.inputs:
                for name, tensor in _named_inputs(model, x):
                    recorder.note(name, None, tensor, "input")
            outputs = model(x, **kwargs)
        if finish is not None:
            extra = finish(outputs)
    recorder.note_uncalled()
    selection.check(recorder.seen, recorder.owners)
    calls = recorder.calls
    return Noted(
        {call.key: call.kind for call in calls},
        {call.key: call.value for call in calls},
        recorder.missing,
        outputs if options.outputs else None,
        extra,
        owners=recorder.owners,
    )


def program_for(model, x, layers, options, *, name="capture", then=follow, keep=None):
    """Returns the compiled pass for inputs like `x`, traced if it was not before.

    Args:
        model: `keras.Model`; not kept alive. One that runs eagerly is not compiled.
        x: Structure of tensors.
        layers: Selectors, see `Selection`.
        options: `Options`.
        name: Hashable, what the pass is for; None for one that is not to be kept.
        then: Function of `(model, x, selection, options)` that returns `Noted`.
        keep: Object whose identity is part of `name`, kept alive with the pass.

    Returns:
        Function of structures like `x` to `Noted`, with an attribute `info`.
    """
    selection = Selection(model, layers)
    if options.run_eagerly:
        return Eager(model, selection, options, then)
    if name is None:
        return Program(model, x, selection, options, then)
    programs = _cache.setdefault(model, {})
    specs = tuple(None if t is None else (t.dtype, tuple(t.shape)) for t in flat(x))
    key = (
        name,
        selection.cache_key,
        options,
        repr(skeleton(x)),
        specs,
        fingerprint(model),
    )
    if key not in programs:
        if len(programs) >= _MOST_PROGRAMS:
            programs.pop(next(iter(programs)))
        programs[key] = Program(model, x, selection, options, then), keep
    return programs[key][0]


class Eager:
    """A pass that is not compiled."""

    def __init__(self, model, selection, options, then):
        self._arguments = model, selection, options
        self._then = then

    def __call__(self, x):
        """Runs the pass."""
        model, selection, options = self._arguments
        return self._then(model, x, selection, options)


class Program:
    """A traced pass.

    Attributes:
        info: `Noted.info` of every call.
    """

    def __init__(self, model, x, selection, options, then):
        self._reference = weakref.ref(model)
        self._present = [leaf is not None for leaf in flat(x)]
        self._structure = skeleton(x)
        self._arguments = selection, options, then
        given = [leaf for leaf in flat(x) if leaf is not None]
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in given]
        traced = tf.function(self._run, autograph=False)
        self._concrete = traced.get_concrete_function(*specs)
        # A selection may hold layers, which would keep a deleted model's weights.
        del self._arguments

    def _run(self, *tensors):
        selection, options, then = self._arguments
        tensors = iter(tensors)
        leaves = [next(tensors) if there else None for there in self._present]
        packed = keras.tree.pack_sequence_as(self._structure, leaves)
        noted = then(self._reference(), packed, selection, options)
        parts = (noted.values, noted.outputs, noted.extra)
        self._kinds, self._missing, self.info = noted.kinds, noted.missing, noted.info
        leaves = flat(parts)
        self._parts = skeleton(parts)
        self._constants = [None if tf.is_tensor(v) else (v,) for v in leaves]
        return [leaf for leaf in leaves if tf.is_tensor(leaf)]

    def __call__(self, x):
        """Runs the pass on a structure like that it was traced for."""
        given = (leaf for leaf in flat(x) if leaf is not None)
        results = iter(self._concrete(*given))
        leaves = [next(results) if c is None else c[0] for c in self._constants]
        values, outputs, extra = keras.tree.pack_sequence_as(self._parts, leaves)
        return Noted(self._kinds, values, self._missing, outputs, extra, info=self.info)


def _named_inputs(model, x):
    leaves = [leaf for leaf in flat(x) if leaf is not None]
    try:
        names = [tensor.name for tensor in flat(model.inputs)]
    except (AttributeError, ValueError):
        names = []
    if len(names) != len(leaves):
        count = len(leaves)
        names = ["input"] if count == 1 else [f"input_{i}" for i in range(count)]
    return zip(names, leaves, strict=True)

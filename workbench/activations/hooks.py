"""Where a recorder listens: Keras classes, patched for one thread and for one pass.

Other threads run the originals. Nothing is written to the model's layers, so that a
training beside it, which may trace or save the same model, does not see any of it.
"""

import contextlib
import functools
import threading
import types

import keras
import tensorflow as tf
from keras.src import backend
from keras.src.backend.common.keras_tensor import any_symbolic_tensors
from tensorflow.python.autograph.core import ag_ctx
from tensorflow.python.eager.polymorphic_function.autograph_util import (
    py_func_from_autograph,
)
from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

from workbench.activations.recording import Call

# Patches of several threads would be undone in the wrong order.
_lock = threading.RLock()
_ACTIVATIONS = ("activation", "recurrent_activation")
_TIME = 1


@contextlib.contextmanager
def listening(recorder):
    """Context in which a recorder notes what the model computes in this thread.

    Args:
        recorder: `recording.Recorder`.
    """
    targets = [
        (keras.Operation, "__call__", _call),
        (keras.layers.TimeDistributed, "call", _call_time_distributed),
        (keras.layers.MultiHeadAttention, "_compute_attention", _attend),
        (keras.layers.GroupQueryAttention, "_compute_attention", _attend),
        (keras.layers.Attention, "_apply_scores", _apply_scores),
        (backend, "rnn", _rnn),
        (Function, "__call__", _call_function),
    ]
    with _lock, contextlib.ExitStack() as stack:
        for target, name, replacement in targets:
            stack.enter_context(_patched(target, name, replacement, recorder))
        if recorder.pre_activations:
            for name in _ACTIVATIONS:
                setattr(keras.layers.Layer, name, _Activation(name, recorder))
                stack.callback(delattr, keras.layers.Layer, name)
        yield


@contextlib.contextmanager
def _patched(target, name, replacement, recorder):
    original = vars(target)[name]

    @functools.wraps(original)
    def guarded(*args, **kwargs):
        if recorder.is_listening:
            return replacement(recorder, original, *args, **kwargs)
        return original(*args, **kwargs)

    setattr(target, name, guarded)
    try:
        yield
    finally:
        setattr(target, name, original)


def _call(recorder, original, operation, *args, **kwargs):
    # Operations that layers make for themselves, such as padding, are in no graph.
    is_part = isinstance(operation, keras.Layer) or operation._inbound_nodes
    if not is_part or any_symbolic_tensors(args, kwargs):
        return original(operation, *args, **kwargs)
    with recorder.inside(operation) as path:
        outputs = original(operation, *args, **kwargs)
    if path is not None:
        recorder.note(path, operation, outputs)
    return outputs


def _call_function(recorder, original, function, *args, **kwargs):
    """Runs a `tf.function` inside the model as plain Python, to follow its layers."""
    # XLA computes in another order, and some convolutions nothing else can.
    if function._jit_compile and not _calls_layers(recorder, function, args, kwargs):
        return original(function, *args, **kwargs)
    python = function.python_function
    if tf.executing_eagerly() or not function._autograph:
        return python(*args, **kwargs)
    with ag_ctx.ControlStatusCtx(ag_ctx.Status.ENABLED):
        return py_func_from_autograph(python)(*args, **kwargs)


def _calls_layers(recorder, function, args, kwargs):
    """Whether a function calls layers, seen in a trace that is thrown away."""
    before = recorder.num_calls
    traced = tf.function(function.python_function, autograph=function._autograph)
    with _probing(recorder), recorder.step():
        traced.get_concrete_function(*args, **kwargs)
    return recorder.num_calls > before


# Steps over time


def _call_time_distributed(recorder, original, layer, inputs, *args, **kwargs):
    frames = []

    def call(*args, **kwargs):
        with recorder.step() as frame, recorder.inside(layer.layer) as path:
            outputs = layer.layer.call(*args, **kwargs)
            recorder.note(path, layer.layer, outputs)
        frames.append(frame)
        return outputs

    # Keras calls `layer.layer.call`, past `__call__`.
    inner = types.SimpleNamespace(
        call=call,
        _call_has_mask_arg=layer.layer._call_has_mask_arg,
        _call_has_training_arg=layer.layer._call_has_training_arg,
    )
    outputs = original(types.SimpleNamespace(layer=inner), inputs, *args, **kwargs)
    _add_stacked(recorder, frames)
    return outputs


def _rnn(recorder, original, step_function, inputs, initial_states, *args, **kwargs):
    arguments = dict(zip(_RNN_ARGUMENTS, args, strict=False)) | kwargs
    if not recorder.loops:
        return original(step_function, inputs, initial_states, **arguments)
    constants = tuple(arguments.get("constants") or ())
    is_time_major = arguments.get("time_major", False)
    first = keras.tree.map_structure(
        lambda t: t[0] if is_time_major else t[:, 0], inputs
    )
    # Whether anything in it is wanted decides how much the loop has to keep.
    with _probing(recorder), recorder.step() as probe:
        step_function(first, tuple(initial_states) + constants)
    if not probe.calls:
        return original(step_function, inputs, initial_states, **arguments)
    frames = []

    def step(*args):
        with recorder.step() as frame:
            output, states = step_function(*args)
        frames.append(frame)
        return output, states

    if arguments.get("unroll"):
        result = original(step, inputs, initial_states, **arguments)
        _add_stacked(recorder, frames)
        return result
    return _loop(recorder, original, step, inputs, initial_states, frames, arguments)


_RNN_ARGUMENTS = (
    "go_backwards",
    "mask",
    "constants",
    "unroll",
    "input_length",
    "time_major",
    "zero_output_for_mask",
    "return_all_outputs",
)


def _loop(recorder, original, step, inputs, initial_states, frames, arguments):
    """Lets a loop put out, beside its own output, what its steps noted."""

    def wider(*args):
        output, states = step(*args)
        return (output, [_tensors(call) for call in frames[-1].calls]), states

    keeps_all = arguments.get("return_all_outputs", True)
    arguments["return_all_outputs"] = True
    last, outputs, states = original(wider, inputs, initial_states, **arguments)
    outputs, noted = outputs
    for call, tensors in zip(frames[-1].calls, noted, strict=True):
        if arguments.get("time_major"):
            tensors = [tf.experimental.numpy.swapaxes(t, 0, 1) for t in tensors]  # noqa: PLW2901
        recorder.add(Call(call.key, call.kind, _repacked(call.value, tensors)))
    if not keeps_all:
        outputs = outputs[-1:] if arguments.get("time_major") else outputs[:, -1:]
    return last[0], outputs, states


@contextlib.contextmanager
def _probing(recorder):
    """Context of a step that is not part of the pass: no state, no report of it."""
    kept = dict(recorder.missing), recorder._watch
    recorder._watch = None
    with recorder.asleep():
        recorder._asleep = False
        yield
    recorder.missing, recorder._watch = kept


def _add_stacked(recorder, frames):
    """Adds what Python's own loop over the time steps noted, stacked over time."""
    if not frames:
        return
    for calls in zip(*(frame.calls for frame in frames), strict=True):
        steps = [_tensors(call) for call in calls]
        try:
            tensors = [tf.stack(t, axis=_TIME) for t in zip(*steps, strict=True)]
        except (ValueError, tf.errors.InvalidArgumentError):
            recorder.missing[calls[0].key] = "of another shape at each time step"
            continue
        first = calls[0]
        recorder.add(Call(first.key, first.kind, _repacked(first.value, tensors)))


def _tensors(call):
    return [leaf for leaf in keras.tree.flatten(call.value) if tf.is_tensor(leaf)]


def _repacked(value, tensors):
    tensors = iter(tensors)
    return keras.tree.map_structure(
        lambda leaf: next(tensors) if tf.is_tensor(leaf) else leaf, value
    )


# Inside layers


def _attend(recorder, original, layer, *args, **kwargs):
    outputs = original(layer, *args, **kwargs)
    if not recorder.scores:
        return outputs
    path = recorder.path_of("attention_scores")
    scores = outputs[1]
    if scores is None and layer._flash_attention:
        recorder.missing[path] = "flash attention never has them as a whole"
    elif scores is None:
        # The fast path does not have them; the slow one is run beside it, so that
        # the outputs keep their bits.
        with recorder.asleep():
            scores = _slow_scores(original, layer, args, kwargs)
    if scores is not None:
        recorder.note(path, layer, scores, "attention scores")
    return outputs


def _slow_scores(original, layer, args, kwargs):
    if isinstance(layer, keras.layers.MultiHeadAttention):
        kwargs = {**kwargs, "return_attention_scores": True}
        return original(layer, *args[:5], **kwargs)[1]
    layer._return_attention_scores = True
    try:
        return original(layer, *args, **kwargs)[1]
    finally:
        layer._return_attention_scores = False


def _apply_scores(recorder, original, layer, *args, **kwargs):
    outputs = original(layer, *args, **kwargs)
    if recorder.scores:
        path = recorder.path_of("attention_scores")
        recorder.note(path, layer, outputs[1], "attention scores")
    return outputs


class _Activation:
    """Attribute of all layers: the layer's own activation, for one thread wrapped."""

    def __init__(self, name, recorder):
        self._name = name
        self._recorder = recorder
        self._key = f"pre_{name}"

    def __get__(self, layer, owner=None):
        if layer is None:
            return self
        try:
            activation = vars(layer)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None
        plain = activation in (None, keras.activations.linear)
        if plain or not callable(activation) or not self._recorder.is_listening:
            return activation
        return functools.partial(self._activate, layer, activation)

    def __set__(self, layer, value):
        vars(layer)[self._name] = value

    def __delete__(self, layer):
        del vars(layer)[self._name]

    def _activate(self, layer, activation, x, *args, **kwargs):
        path = self._recorder.path_of(self._key)
        self._recorder.note(path, layer, x, "pre-activation")
        return activation(x, *args, **kwargs)

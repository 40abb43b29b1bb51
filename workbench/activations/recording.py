"""Notes what each layer call puts out, under a path made from the call stack."""

import contextlib
import dataclasses
import threading
from typing import Any

import keras
import tensorflow as tf

INSIDE = "computed inside a loop or an inner function, whose tensors stay there"


@dataclasses.dataclass(frozen=True)
class Call:
    """One thing that was noted.

    Attributes:
        key: str, the path; from the second call on with "#2", "#3" …
        kind: str, the layer's class name, or what else it is.
        value: Nested structure of tensors and constants.
    """

    key: str
    kind: str
    value: Any


class Frame:
    """What is noted in one graph: the whole pass, or one step of a loop."""

    def __init__(self):
        self.calls = []
        self.counts = {}
        self.graph = current_graph()


class Recorder:
    """Follows the layer calls of one thread.

    Args:
        model: The `keras.Model` whose call begins the pass.
        wanted: `selection.Selection`.
        pre_activations: Whether what goes into a layer's activation is noted too.
        scores: Whether attention scores are noted.
        loops: Whether the steps of recurrent layers are noted, stacked over time.
        watch: Function of a tensor, called for each that is noted, or None.
    """

    def __init__(
        self,
        model,
        wanted,
        *,
        pre_activations=False,
        scores=True,
        loops=True,
        watch=None,
    ):
        self.model = model
        self.pre_activations = pre_activations
        self.scores = scores
        self.loops = loops
        self.missing = {}
        self.seen = {}
        self.owners = {}
        self.called = set()
        self.num_calls = 0
        self._wanted = wanted
        self._watch = watch
        self._thread = threading.get_ident()
        self._stack = []
        self._frame = Frame()
        self._asleep = False

    @property
    def calls(self):
        """List of `Call`, in the order in which the calls ended."""
        return self._frame.calls

    @property
    def is_listening(self):
        """bool, whether the current thread is the one that is followed."""
        return threading.get_ident() == self._thread and not self._asleep

    @contextlib.contextmanager
    def asleep(self):
        """Context in which nothing is noted and no variable changes."""
        scope = keras.src.backend.common.stateless_scope.get_stateless_scope()
        inner = keras.StatelessScope(initialize_variables=False)
        inner.state_mapping.update(scope.state_mapping if scope else {})
        before, self._asleep = self._asleep, True
        try:
            with inner:
                yield
        finally:
            self._asleep = before

    @contextlib.contextmanager
    def step(self):
        """Context of one step of a loop; yields the `Frame` it is noted in."""
        before, self._frame = self._frame, Frame()
        try:
            yield self._frame
        finally:
            self._frame = before

    @contextlib.contextmanager
    def inside(self, operation):
        """Context in which a layer runs."""
        self.called.add(id(operation))
        self.num_calls += 1
        # The model itself is where paths begin.
        is_root = not self._stack and operation is self.model
        if not is_root:
            self._stack.append(operation.name)
        try:
            yield None if is_root else "/".join(self._stack)
        finally:
            if not is_root:
                self._stack.pop()

    def path_of(self, name):
        """Returns the path of something named `name` in the layer that runs now."""
        return "/".join([*self._stack, name])

    def note(self, path, operation, value, kind=None):
        """Notes a value if it is wanted.

        Args:
            path: str.
            operation: Layer or operation that it belongs to.
            value: Nested structure; tensors of other graphs are reported missing.
            kind: str for what is not the output of `operation`.
        """
        is_extra, kind = kind is not None, kind or type(operation).__name__
        frame = self._frame
        reachable = all(is_reachable(leaf, frame.graph) for leaf in flat(value))
        if reachable:
            frame.counts[path] = frame.counts.get(path, 0) + 1
        number = frame.counts.get(path, 1)
        key = path if number == 1 else f"{path}#{number}"
        self.seen[key] = kind
        self.owners[key] = operation
        if not self._is_wanted(key, path, operation, is_extra):
            return
        if not reachable:
            self.missing[path] = INSIDE
            return
        try:
            value = keras.tree.map_structure(_dense, value)
        except TypeError as error:
            self.missing[key] = str(error)
            return
        if self._watch is not None:
            for leaf in filter(tf.is_tensor, flat(value)):
                self._watch(leaf)
        frame.calls.append(Call(key, kind, value))

    def _is_wanted(self, key, path, operation, is_extra):
        if self._wanted(key, path, operation):
            return True
        # What belongs to a layer comes with it.
        parent = path.rpartition("/")[0]
        return is_extra and self._wanted(parent, parent, operation)

    def add(self, call):
        """Adds what the steps of a loop noted, put together."""
        frame = self._frame
        path = call.key.split("#")[0]
        known = {other.key for other in frame.calls}
        key, number = call.key, frame.counts.get(path, 0)
        while key in known:
            number += 1
            key = f"{path}#{number + 1}"
        frame.counts[path] = frame.counts.get(path, 0) + 1
        self.seen[key] = call.kind
        frame.calls.append(dataclasses.replace(call, key=key))

    def note_uncalled(self):
        """Reports the layers that were not called in this pass."""
        for path, layer in layers_of(self.model):
            is_input = isinstance(layer, keras.layers.InputLayer)
            if id(layer) in self.called or is_input or path in self.missing:
                continue
            if self._wanted(path, path, layer):
                self.missing[path] = "not called in this pass"
            self.seen.setdefault(path, type(layer).__name__)


def layers_of(model):
    """Lists all layers below a model.

    Returns:
        List of (path, layer), each layer once.
    """
    found, known = [], {id(model)}

    def walk(layer, names):
        for child in list(getattr(layer, "_layers", None) or ()):
            if id(child) in known:
                continue
            known.add(id(child))
            # A Sequential keeps its layers a second time, in a model inside it.
            hidden = child is getattr(layer, "_functional", None)
            path = names if hidden else [*names, child.name]
            if not hidden:
                found.append(("/".join(path), child))
            walk(child, path)

    walk(model, [])
    return found


def current_graph():
    """Returns the graph that is being traced, None in eager mode."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def flat(value):
    """Lists the leaves of a nested structure."""
    return keras.tree.flatten(value)


def is_reachable(leaf, graph):
    """Whether a leaf can be read in `graph`; None means eager mode."""
    if not tf.is_tensor(leaf) or isinstance(leaf, tf.__internal__.EagerTensor):
        return True
    leaf = flat_components(leaf)[0]
    return getattr(leaf, "graph", graph) is graph


def flat_components(leaf):
    """Lists the plain tensors that a tensor consists of."""
    return tf.nest.flatten(leaf, expand_composites=True)


def _dense(leaf):
    if isinstance(leaf, keras.Variable):
        return tf.convert_to_tensor(leaf)
    if isinstance(leaf, tf.SparseTensor):
        return tf.sparse.to_dense(leaf)
    if isinstance(leaf, tf.IndexedSlices):
        return tf.convert_to_tensor(leaf)
    if isinstance(leaf, tf.__internal__.CompositeTensor):
        raise TypeError(f"a {type(leaf).__name__} has no array of one shape")
    return leaf

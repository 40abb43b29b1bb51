"""Instruments a model's own `fit`: rows of numbers out, live values in, a guard.

Everything here is traced into the compiled step, so a change of the rate retraces
nothing and a bad step costs nothing until it happens.
"""

import dataclasses
import functools
import threading

import keras
import numpy as np
import tensorflow as tf

from workbench.steps.norms import all_finite, global_norm

_NUMBERS = ("loss", "gradient_norm", "learning_rate", "ok")
_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape")
_NONE = -1


@dataclasses.dataclass(frozen=True)
class Step:
    """One row that the hook read after a step.

    Attributes:
        loss: float, this batch's loss, penalties included.
        gradient_norm: float, over all gradients, before any clipping.
        learning_rate: float, the rate this step used.
        problem: None, or str that says where NaN or Inf began.
    """

    loss: float
    gradient_norm: float
    learning_rate: float
    problem: str | None


class StepHook:
    """Context in which a model's own `fit` writes rows and skips non-finite updates.

    A step whose loss or gradient is NaN or Inf changes nothing: weights, optimizer,
    normalization statistics, seeds and metrics stay as before it. Then the forward
    pass is repeated inside the graph, to find the layer where it began. Under loss
    scaling a non-finite gradient is Keras's business (it lowers the scale).

    On leaving, nothing stays patched, and a train function that the model had before
    is given back.

    Args:
        model: Compiled `keras.Model`.
    """

    def __init__(self, model):
        self._model = model
        # Loss scaling wraps the optimizer that knows the rate and the true gradient.
        self._optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        shape = (model.steps_per_execution, len(_NUMBERS) + 3)
        self._rows = tf.Variable(tf.zeros(shape, tf.float64))
        self._steps_read = 0
        self._now = {name: tf.Variable(0.0, dtype=tf.float64) for name in _NUMBERS}
        self._rate_override = tf.Variable(float("nan"), dtype=tf.float32)
        self._override_is_on = False
        self._patched = []
        self._train_function = None
        self._tracing_thread = None
        self._has_loss = False
        self._gradients = None
        self._step_graph = None
        self._layer_names = []
        self._weight_names = []

    def __enter__(self):
        model, optimizer = self._model, self._optimizer
        self._train_function, model.train_function = model.train_function, None
        self._patch(model, "train_step", self._train_step)
        self._patch(model, "compute_loss", self._compute_loss)
        self._patch(optimizer, "apply", self._apply)
        if not self.rate_is_variable:
            self._patch(optimizer, "_get_current_learning_rate", self._current_rate)
        return self

    def __exit__(self, *exception):
        for target, name in self._patched:
            del vars(target)[name]
        self._patched.clear()
        self._model.train_function = self._train_function

    def _patch(self, target, name, replacement):
        # Written past Keras's __setattr__, which tracks what is assigned.
        vars(target)[name] = functools.partial(replacement, getattr(target, name))
        self._patched.append((target, name))

    @property
    def rate_is_variable(self):
        """Whether the optimizer was compiled with a number, not with a schedule."""
        # The public property evaluates the schedule; only the attribute tells.
        return isinstance(self._optimizer._learning_rate, keras.Variable)

    def learning_rate(self):
        """Returns the rate that the next step will use, float."""
        return float(tf.convert_to_tensor(self._optimizer.learning_rate))

    def set_learning_rate(self, value):
        """Sets the rate from the next step on, without retracing.

        Args:
            value: float; None gives the rate back to the schedule.
        """
        if self.rate_is_variable:
            self._optimizer.learning_rate = value
        else:
            self._rate_override.assign(float("nan") if value is None else value)

    def read(self):
        """Reads the rows of the steps done since the last call.

        Returns:
            List of `Step`, oldest first, at most `steps_per_execution`.
        """
        steps = []
        for *numbers, ok, layer, weight, number in self._rows.numpy().tolist():
            if number > self._steps_read:
                problem = None
                if not ok:
                    problem = self._explain(numbers[0], int(layer), int(weight))
                steps.append(Step(*numbers, problem))
                self._steps_read = number
        return steps

    def _explain(self, loss, layer, weight):
        if layer != _NONE:
            return f"{self._layer_names[layer]} is the first with NaN or Inf"
        if self._has_loss and not np.isfinite(loss):
            return "every layer's output is finite, but the loss is not"
        where = self._weight_names[weight] if weight != _NONE else "a weight"
        return f"the loss is finite, but the gradient is not, from {where} down"

    # What follows is traced into the step.

    def _current_rate(self, original):
        override = tf.cast(self._rate_override, keras.config.floatx())
        if self._override_is_on:
            return override
        if tf.executing_eagerly():
            return tf.where(tf.math.is_nan(override), original(), override)
        # Untouched, so that the graph is optimized, and rounds, as without the hook.
        return original()

    def _compute_loss(self, original, *args, **kwargs):
        loss = original(*args, **kwargs)
        # Validation calls this too, and its graph outlives the hook.
        if self._tracing_thread == threading.get_ident():
            self._now["loss"].assign(tf.cast(loss, tf.float64))
            self._has_loss = True
        return loss

    def _apply(self, original, grads, trainable_variables=None):
        gradients = list(grads)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            if not self._optimizer.built:
                self._optimizer.build(trainable_variables)
        norm, finite = global_norm(gradients)
        rate = tf.cast(self._optimizer.learning_rate, tf.float64)
        override = tf.cast(self._rate_override, tf.float64)
        rate = tf.where(tf.math.is_nan(override), rate, override)
        ok = tf.logical_and(finite, self._loss_is_finite())
        self._now["gradient_norm"].assign(tf.cast(norm, tf.float64))
        self._now["learning_rate"].assign(rate)
        self._now["ok"].assign(tf.cast(ok, tf.float64))
        self._gradients = _current_graph(), gradients
        variables = trainable_variables or self._model.trainable_variables
        self._weight_names = [variable.path for variable in variables]

        def update(*, override):
            self._override_is_on = override
            try:
                original(gradients, trainable_variables)
            finally:
                self._override_is_on = False
            return True

        def update_at_some_rate():
            by_schedule = functools.partial(update, override=False)
            if self.rate_is_variable:
                return by_schedule()
            by_hand = functools.partial(update, override=True)
            return tf.cond(tf.math.is_nan(self._rate_override), by_schedule, by_hand)

        tf.cond(ok, update_at_some_rate, lambda: False)

    def _loss_is_finite(self):
        # A train_step of the user's own may never call compute_loss.
        return tf.math.is_finite(self._now["loss"]) if self._has_loss else True

    def _train_step(self, original, data):
        for name, value in (("loss", np.nan), ("gradient_norm", np.nan), ("ok", 1.0)):
            self._now[name].assign(value)
        self._has_loss, self._gradients = False, None
        self._step_graph = _current_graph()
        model = self._model
        state = [v.value for v in model.variables if not v.trainable]
        state += [v.value for v in model.metrics_variables]
        before = [variable.read_value() for variable in state]
        self._tracing_thread = threading.get_ident()
        try:
            logs = original(data)
        finally:
            self._tracing_thread = None
        written = _written(state)

        def restore():
            for variable, value, is_written in zip(state, before, written, strict=True):
                if is_written:
                    variable.assign(value)

        def undo():
            restore()
            found = tf.stack([self._first_layer(data), self._last_gradient()])
            restore()
            return found

        ok = tf.logical_and(self._now["ok"] > 0, self._loss_is_finite())
        found = tf.cond(ok, lambda: tf.constant([_NONE, _NONE]), undo)
        self._now["ok"].assign(tf.cast(ok, tf.float64))
        row = [self._now[name].read_value() for name in _NUMBERS]
        number = self._rows[-1:, -1] + 1
        row = tf.concat([tf.stack(row), tf.cast(found, tf.float64), number], 0)
        self._rows.assign(tf.concat([self._rows[1:], row[None]], 0))
        return logs

    def _first_layer(self, data):
        """Repeats the forward pass; the index of the first non-finite output."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        graph, names, flags = _current_graph(), ["the input batch"], [_finite(x)]

        def watch(layer, original, *args, **kwargs):
            outputs = original(*args, **kwargs)
            # What a loop inside computes cannot leave the loop.
            if _current_graph() is graph:
                names.append(f"the output of layer {layer.path or layer.name}")
                flags.append(_finite(outputs))
            return outputs

        layers = [x for x in self._model._flatten_layers() if "call" not in vars(x)]
        for layer in layers:
            vars(layer)["call"] = functools.partial(watch, layer, layer.call)
        try:
            self._model(x, training=True)
        finally:
            for layer in layers:
                del vars(layer)["call"]
        self._layer_names = names
        return _first_true(tf.logical_not(tf.stack(flags)))

    def _last_gradient(self):
        """Index of the non-finite gradient nearest the loss, where it began."""
        graph, gradients = self._gradients or (None, [])
        # Under loss scaling they live inside a branch and cannot be looked at here.
        if not gradients or graph is not self._step_graph:
            return tf.constant(_NONE)
        bad = [
            g is not None and tf.logical_not(all_finite(_values(g))) for g in gradients
        ]
        from_loss = _first_true(tf.stack(bad[::-1]))
        return tf.where(from_loss == _NONE, _NONE, len(bad) - 1 - from_loss)


def _current_graph():
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _values(gradient):
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _finite(structure):
    tensors = [tf.convert_to_tensor(t) for t in tf.nest.flatten(structure)]
    return tf.reduce_all([all_finite(t) for t in tensors])


def _first_true(flags):
    found = tf.argmax(flags, output_type=tf.int32)
    return tf.where(tf.reduce_any(flags), found, _NONE)


def _written(variables):
    """Tells which variables the graph traced so far may have written.

    Only those are restored, so that a large frozen table is never copied.
    """
    if tf.executing_eagerly():
        return [True] * len(variables)
    inner = {id(outer): tensor for outer, tensor in _current_graph().captures}
    handles = [inner.get(id(variable.handle)) for variable in variables]
    return [
        handle is not None and any(op.type not in _READS for op in handle.consumers())
        for handle in handles
    ]

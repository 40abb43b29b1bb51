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

from workbench.steps import diagnosis
from workbench.steps.live import LiveSettings, innermost
from workbench.steps.norms import NONE, global_norm

_NUMBERS = ("loss", "gradient_norm", "learning_rate", "ok", "bad_weight")
_BEFORE_A_STEP = {"loss": np.nan, "gradient_norm": np.nan, "ok": 1, "bad_weight": NONE}


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
        stand_in: Optimizer around the model's own that takes its place meanwhile,
            such as `clip.wrap(optimizer)`; None for none.
        on_rate: Function that is given what other code assigns to
            `optimizer.learning_rate` meanwhile; None leaves that to Keras.

    Attributes:
        live: `LiveSettings`, what can be changed between two steps.
    """

    def __init__(self, model, stand_in=None, on_rate=None):
        self._model = model
        self._stand_in = stand_in
        self._applier = stand_in or unscaled(model.optimizer)
        # The innermost optimizer is the one that knows the rate.
        self._optimizer = innermost(self._applier)
        self.live = LiveSettings(self._optimizer, on_rate)
        # Then NaN and Inf are the clip method's own business.
        clip = getattr(self._applier, "clip", None)
        self._mends_nonfinite = getattr(clip, "mends_nonfinite", False)
        shape = (model.steps_per_execution, len(_NUMBERS) + 2)
        self._rows = tf.Variable(tf.zeros(shape, tf.float64))
        self._steps_read = 0
        self._now = {name: tf.Variable(0.0, dtype=tf.float64) for name in _NUMBERS}
        self._patched = []
        self._train_function = None
        self._replaced = None
        self._tracing_thread = None
        self._has_loss = False
        self._layer_names = []
        self._weight_names = []

    def __enter__(self):
        model = self._model
        self._train_function, model.train_function = model.train_function, None
        if self._stand_in is not None:
            holder, name = _place_of_optimizer(model)
            self._replaced = vars(holder)[name]
            vars(holder)[name] = self._stand_in
        self._patch(model, "train_step", self._train_step)
        self._patch(model, "compute_loss", self._compute_loss)
        self._patch(self._applier, "apply", self._apply)
        if not self.live.rate_is_variable:
            name = "_get_current_learning_rate"
            self._patch(self._optimizer, name, self.live.current_rate)
        self.live.__enter__()
        return self

    def __exit__(self, *exception):
        self.live.__exit__(*exception)
        for target, name in self._patched:
            del vars(target)[name]
        self._patched.clear()
        if self._stand_in is not None:
            holder, name = _place_of_optimizer(self._model)
            vars(holder)[name] = self._replaced
        self._model.train_function = self._train_function

    def _patch(self, target, name, replacement):
        # Written past Keras's __setattr__, which tracks what is assigned.
        vars(target)[name] = functools.partial(replacement, getattr(target, name))
        self._patched.append((target, name))

    def read(self):
        """Reads the rows of the steps done since the last call.

        Returns:
            List of `Step`, oldest first, at most `steps_per_execution`.
        """
        steps = []
        for *numbers, ok, weight, layer, number in self._rows.numpy().tolist():
            if number > self._steps_read:
                problem = None
                if not ok:
                    problem = self._explain(numbers[0], int(layer), int(weight))
                steps.append(Step(*numbers, problem))
                self._steps_read = number
        return steps

    def read_layers(self):
        """Reads what a clipping optimizer recorded of the last step.

        Returns:
            float64 array, see `workbench.clipping.read_record`; None without one.
        """
        record = getattr(self._applier, "step_record", None)
        return None if record is None else record.numpy()

    def _explain(self, loss, layer, weight):
        if layer != NONE:
            return f"{self._layer_names[layer]} is the first with NaN or Inf"
        if self._has_loss and not np.isfinite(loss):
            return "every layer's output is finite, but the loss is not"
        where = self._weight_names[weight] if weight != NONE else "a weight"
        return f"the loss is finite, but the gradient is not, from {where} down"

    # What follows is traced into the step.

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
            if not self._applier.built:
                self._applier.build(trainable_variables)
        norm, bad = global_norm(gradients)
        rate = self.live.follow()
        ok = tf.logical_or(
            self._mends_nonfinite, tf.logical_and(bad == NONE, self._loss_is_finite())
        )
        self._now["gradient_norm"].assign(tf.cast(norm, tf.float64))
        self._now["learning_rate"].assign(rate)
        self._now["ok"].assign(tf.cast(ok, tf.float64))
        self._now["bad_weight"].assign(tf.cast(bad, tf.float64))
        variables = trainable_variables or self._model.trainable_variables
        self._weight_names = [variable.path for variable in variables]

        def update():
            self.live.apply(lambda: original(gradients, trainable_variables))
            return True

        tf.cond(ok, update, lambda: False)

    def _loss_is_finite(self):
        # A train_step of the user's own may never call compute_loss.
        return tf.math.is_finite(self._now["loss"]) if self._has_loss else True

    def _train_step(self, original, data):
        for name, value in _BEFORE_A_STEP.items():
            self._now[name].assign(value)
        self._has_loss = False
        model = self._model
        state = [v.value for v in model.variables if not v.trainable]
        state += [v.value for v in model.metrics_variables]
        before = [variable.read_value() for variable in state]
        self._tracing_thread = threading.get_ident()
        try:
            logs = original(data)
        finally:
            self._tracing_thread = None
        written = diagnosis.written(state)

        def restore():
            for variable, value, is_written in zip(state, before, written, strict=True):
                if is_written:
                    variable.assign(value)

        def undo():
            restore()
            layer, self._layer_names = diagnosis.first_bad_layer(model, data)
            restore()
            return layer

        fine = tf.logical_or(self._mends_nonfinite, self._loss_is_finite())
        ok = tf.logical_and(self._now["ok"] > 0, fine)
        bad_layer = tf.cond(ok, lambda: tf.constant(NONE), undo)
        self._now["ok"].assign(tf.cast(ok, tf.float64))
        row = [self._now[name].read_value() for name in _NUMBERS]
        row += [tf.cast(bad_layer, tf.float64), self._rows[-1, -1] + 1]
        self._rows.assign(tf.concat([self._rows[1:], tf.stack(row)[None]], 0))
        return logs


def unscaled(optimizer):
    """Returns the optimizer inside loss scaling, or the optimizer itself."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer


def _place_of_optimizer(model):
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return model.optimizer, "inner_optimizer"
    return model, "optimizer"

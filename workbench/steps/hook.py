"""Instruments a model's own `fit`: rows of numbers out, live values in, a guard.

Everything here is traced into the compiled step, so a change of the rate retraces
nothing and a bad step costs nothing until it happens.
"""

import contextlib
import dataclasses
import functools
import threading

import keras
import numpy as np
import tensorflow as tf

from workbench.steps import diagnosis, replicas
from workbench.steps.live import LiveSettings, innermost
from workbench.steps.norms import NONE, global_norm
from workbench.steps.rows import Rows


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

    Under a `MirroredStrategy` loss and gradient are those of all replicas together, and
    so is the decision to skip. A batch of which some replica gets no row is skipped
    too: Keras would take a wrong mean.

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
        self._replicas = model.distribute_strategy.num_replicas_in_sync
        self._rows = Rows(model.distribute_strategy, model.steps_per_execution)
        with model.distribute_strategy.scope():
            self.live = LiveSettings(self._optimizer, on_rate)
        # Then NaN and Inf are the clip method's own business.
        clip = getattr(self._applier, "clip", None)
        self._mends_nonfinite = getattr(clip, "mends_nonfinite", False)
        self._sums = self._sums_before_optimizer()
        self._patched = []
        self._train_function = None
        self._replaced = None
        self._tracing = threading.local()  # replicas have a thread each
        self._has_loss = False
        self._layers = diagnosis.LayerWatch(model)
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
        if self._sums:
            name = "_all_reduce_sum_gradients"
            self._patch(self._optimizer, name, lambda _, pairs: list(pairs))
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

    def _sums_before_optimizer(self):
        """Whether gradients are summed here, in place of the same sum by Keras."""
        clips = ("clipnorm", "clipvalue", "global_clipnorm")  # each replica its own
        return (
            self._replicas > 1
            and self._applier is self._optimizer
            and not any(getattr(self._optimizer, name, None) for name in clips)
        )

    def _patch(self, target, name, replacement):
        # Written past Keras's __setattr__, which tracks what is assigned.
        vars(target)[name] = functools.partial(replacement, getattr(target, name))
        self._patched.append((target, name))

    def read(self):
        """Reads the rows of the steps done since the last call.

        Returns:
            List of `Step`, oldest first, at most `steps_per_execution`.
        """
        return [
            Step(
                row["loss"],
                row["gradient_norm"],
                row["learning_rate"],
                None if row["ok"] else self._explain(row),
            )
            for row in self._rows.read()
        ]

    def read_layers(self):
        """Reads what a clipping optimizer recorded of the last step.

        Returns:
            float64 array, see `workbench.clipping.read_record`; None without one.
        """
        record = getattr(self._applier, "step_record", None)
        return None if record is None else record.numpy()

    def _explain(self, row):
        if row["without_rows"]:
            return (
                f"the batch has too few rows for {self._replicas} replicas, some got "
                "none; give whole batches, such as `batch(size, drop_remainder=True)`"
            )
        if row["bad_layer"] != NONE:
            where = self._layers.names[row["bad_layer"]]
            return f"{where} is the first with NaN or Inf"
        if self._has_loss and not np.isfinite(row["loss"]):
            return "every layer's output is finite, but the loss is not"
        weight = int(row["bad_weight"])
        where = self._weight_names[weight] if weight != NONE else "a weight"
        return f"the loss is finite, but the gradient is not, from {where} down"

    # What follows is traced into the step.

    def _compute_loss(self, original, *args, **kwargs):
        loss = original(*args, **kwargs)
        # Validation calls this too, and its graph outlives the hook.
        if getattr(self._tracing, "on", False):
            self._rows.write("loss", loss)
            self._has_loss = True
        return loss

    def _apply(self, original, grads, trainable_variables=None):
        gradients = list(grads)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            if not self._applier.built:
                self._applier.build(trainable_variables)
        norm, bad = global_norm(sums := _summed(gradients))
        rate = self.live.follow()
        fine = tf.logical_and(bad == NONE, tf.math.is_finite(self._joint_loss()))
        ok = self._each_has_rows(tf.logical_or(self._mends_nonfinite, fine))
        self._rows.write("gradient_norm", norm)
        self._rows.write("learning_rate", rate)
        self._rows.write("ok", ok)
        self._rows.write("bad_weight", bad)
        variables = trainable_variables or self._model.trainable_variables
        self._weight_names = [variable.path for variable in variables]
        if self._sums:
            gradients = sums

        def update():
            self.live.apply(lambda: original(gradients, trainable_variables))

        replicas.cond(ok, update, _nothing)

    def _each_has_rows(self, ok):
        if self._replicas == 1:
            return ok
        return tf.logical_and(ok, self._rows.now("without_rows") == 0)

    def _joint_loss(self):
        # A train_step of the user's own may never call compute_loss.
        if not self._has_loss:
            return tf.constant(0.0, tf.float64)
        (loss,), _ = replicas.sum_over_replicas([self._rows.now("loss")])
        return loss

    def _train_step(self, original, data):
        self._rows.begin()
        self._has_loss = False
        if self._replicas > 1:
            self._rows.write("without_rows", _replicas_without_rows(data))
        model = self._model
        state = [v for v in model.variables if not v.trainable]
        state += model.metrics_variables
        state = [replicas.local(v.value) for v in state]
        before = [variable.read_value() for variable in state]
        self._tracing.on = True
        try:
            logs = original(data)
        finally:
            self._tracing.on = False
        written = diagnosis.written(state)

        def restore():
            for variable, value, is_written in zip(state, before, written, strict=True):
                if is_written:
                    variable.assign(value)

        def undo():
            restore()
            self._rows.write("bad_layer", self._layers.first_bad_layer(data))
            restore()

        loss = self._joint_loss()
        fine = tf.logical_or(self._mends_nonfinite, tf.math.is_finite(loss))
        ok = self._each_has_rows(tf.logical_and(self._rows.now("ok") > 0, fine))
        around = contextlib.nullcontext, lambda: self._layers
        replicas.cond(ok, _nothing, undo, around)
        self._rows.write("ok", ok)
        if self._has_loss and self._replicas > 1:
            self._rows.write("loss", loss)
        self._rows.end()
        return logs


def _nothing():
    pass


def _summed(gradients):
    present = [gradient for gradient in gradients if gradient is not None]
    sums, _ = replicas.sum_over_replicas(present)
    sums = iter(sums)
    return [None if gradient is None else next(sums) for gradient in gradients]


def _replicas_without_rows(data):
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    first = next(part for part in keras.tree.flatten(x) if part is not None)
    empty = tf.cast(tf.shape(first)[0] == 0, tf.float64)
    (count,), _ = replicas.sum_over_replicas([empty])
    return count


def unscaled(optimizer):
    """Returns the optimizer inside loss scaling, or the optimizer itself."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer


def _place_of_optimizer(model):
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return model.optimizer, "inner_optimizer"
    return model, "optimizer"

"""The plain way: Keras's own train step, for what the traced step cannot do."""

import time

import keras
import numpy as np
import tensorflow as tf

from workbench.clipping import tensors
from workbench.experiments import planning, records, settings
from workbench.steps.replicas import split_rows, sum_over_replicas


class FitLane:
    """One variant trained by Keras's own train function, the one of `fit`.

    Args:
        candidate: `variants.Candidate`.
        model: Compiled `keras.Model` of its own, with the initial weights.
        why: str, for the record.
    """

    program = None
    path = records.FIT

    def __init__(self, candidate, model, why):
        self.candidates = [candidate]
        self.model = model
        self.why = why
        self.series = {name: [] for name in records.SERIES}
        self.epoch_logs = []
        self.steps = 0
        self.seconds = 0.0
        self.pace = 0.0  # seconds per step, 0 while unknown
        self.error = None
        self.kernels = self._set_penalty(candidate)
        self.strategy = model.distribute_strategy
        with self.strategy.scope():
            self._set_optimizer(candidate)
        model.make_train_function(force=True)

    def _set_optimizer(self, candidate):
        optimizer = candidate.make_optimizer()
        scales = isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)
        self.norms = _NormProbe(optimizer) if candidate.clip is None else None
        if candidate.clip is not None:
            optimizer = candidate.clip.wrap(optimizer)
        self.applied = optimizer
        if scales:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.model.optimizer = optimizer

    def _set_penalty(self, candidate):
        variables = self.model.trainable_variables
        kernels = [variables[i] for i in planning.kernel_indices(self.model)]
        for kernel in kernels:
            if candidate.penalty is not None:
                kernel.regularizer = candidate.penalty
            if candidate.constraint is not None:
                kernel.constraint = settings.bound(candidate.constraint, self.model)
        settings.set_dropout(self.model, candidate.dropout)
        return [kernel for kernel in kernels if kernel.regularizer is not None]

    @property
    def finished_early(self):
        """Whether nothing is left that could still learn."""
        if self.error is not None:
            return True
        loss = self.series["loss"]
        return bool(
            loss and not np.isfinite(loss[-1]) and self.candidates[0].clip is None
        )

    def advance(self, data, order):
        """Trains for some steps.

        Args:
            data: Nested tensors.
            order: int32 array `(S, B)`.
        """
        start = time.perf_counter()
        for rows in order:
            self._step(self._batch(data, rows))
        seconds = time.perf_counter() - start
        self.pace = seconds / len(order) if self.seconds else 0.0
        self.seconds += seconds

    def _batch(self, data, rows):
        """Takes a batch, dealt out as `fit` does it where there are several replicas.

        Args:
            data: Nested tensors.
            rows: int32 array `(B,)`.

        Returns:
            Nested tensors, or what the strategy makes of those of each replica.
        """
        replicas = self.strategy.num_replicas_in_sync
        parts = np.split(rows, np.cumsum(split_rows(len(rows), replicas))[:-1])

        def take(context=None):
            own = parts[context.replica_id_in_sync_group if context else 0]
            return tf.nest.map_structure(lambda tensor: tf.gather(tensor, own), data)

        if replicas == 1:
            return take()
        if not self.steps:
            self._build(data, len(rows))
        return self.strategy.experimental_distribute_values_from_function(take)

    def _build(self, data, size):
        """Makes all variables before the step is traced, as `fit` does it."""
        spec = tf.nest.map_structure(
            lambda t: keras.KerasTensor((size, *t.shape[1:]), t.dtype.name), data
        )
        with self.strategy.scope():
            self.model._symbolic_build(data_batch=spec)

    def _step(self, batch):
        model = self.model
        rate = self.applied.learning_rate
        penalty = sum(float(kernel.regularizer(kernel)) for kernel in self.kernels)
        if self.steps and model.metrics:
            # `loss` is the mean since its last reset; this makes it the batch's own.
            model.metrics[0].reset_state()
        # Not train_on_batch, which resets the other metrics as well.
        logs = model.train_function(iter([batch]))
        if self.norms is None:
            step = self.applied.last_step()
            norm, after = map(_length, (step.norm_before, step.norm_after))
        else:
            norm, after = self.norms.read()
        rate = float(tf.convert_to_tensor(rate))
        values = (logs.get("loss", np.nan), penalty, norm, after, rate)
        for name, value in zip(records.SERIES, values, strict=True):
            self.series[name].append(np.float32(value))
        self.steps += 1

    def end_epoch(self, sizes, validation):
        """Computes the epoch's means and the validation.

        Args:
            sizes: int array, samples in each step of the epoch.
            validation: `feeding.Epoch` or None.
        """
        start = time.perf_counter()
        self.epoch_logs.append(self._epoch_log(sizes, validation))
        self.seconds += time.perf_counter() - start

    def _epoch_log(self, sizes, validation):
        model = self.model
        logs = {k: float(v) for k, v in model.get_metrics_result().items()}
        losses = np.array(self.series["loss"][-len(sizes) :], "float64")
        logs["loss"] = float(np.average(losses, weights=sizes[: len(losses)]))
        model.reset_metrics()
        if validation is not None:
            model.make_test_function()
            for order in validation.orders:
                for rows in order:
                    batch = self._batch(validation.data, rows)
                    values = model.test_function(iter([batch]))
            logs.update({f"val_{k}": float(v) for k, v in values.items()})
            model.reset_metrics()
        return logs

    def results(self, *, interrupted):
        """Makes the record; see `Cohort.results`."""
        candidate = self.candidates[0]
        if not interrupted and self.error is None:
            self.model.optimizer.finalize_variable_values(self.model.trainable_weights)
        record = records.make_record(
            candidate.name,
            {name: np.array(v, "float32") for name, v in self.series.items()},
            self.epoch_logs,
            interrupted=interrupted,
            error=self.error,
            seconds=self.seconds,
            path=self.path,
            why=self.why,
            together=1,
        )
        return [(record, self.model.get_weights())]


class _NormProbe:
    """Reads the joint norm of what an optimizer gets, and of what it applies.

    Keras clips in `_clip_gradients`, a private method, and nowhere else can one see
    what its clip arguments did.
    """

    def __init__(self, optimizer):
        # Under a strategy a replica writes to its own, which are all the same.
        self.values = tf.Variable([0.0, 0.0], trainable=False)
        apply, clip = optimizer.apply, optimizer._clip_gradients

        def probed_apply(grads, trainable_variables=None):
            norm = _joint_norm(grads)
            self.values.assign([norm, norm])
            return apply(grads, trainable_variables)

        def probed_clip(grads):
            clipped = clip(grads)
            norm = self.values.read_value()[0]
            self.values.assign([norm, _joint_norm(clipped)])
            return clipped

        optimizer.apply = probed_apply
        optimizer._clip_gradients = probed_clip

    def read(self):
        return self.values.numpy()


def _joint_norm(gradients):
    present, _ = sum_over_replicas([g for g in gradients if g is not None])
    squares = tensors.prepare(present, present).squares
    return tf.cast(tf.sqrt(tf.reduce_sum(squares)), tf.float32)


def _length(norms):
    return np.sqrt(np.square(norms, dtype="float64").sum())


class Failure:
    """A variant that could not even start.

    Args:
        candidate: `variants.Candidate`.
        error: Exception.
        why: str, for the record.
    """

    path = records.FIT
    finished_early = True
    steps = 0
    pace = 0.0

    def __init__(self, candidate, error, why):
        self.candidates = [candidate]
        self.error = error
        self.why = why

    def results(self, *, interrupted):
        """Makes the record; see `Cohort.results`."""
        return [(records.empty_record(self.candidates[0].name, error=self.error), [])]

"""A Keras optimizer that clips before its inner optimizer, and records what it did."""

import contextlib
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from workbench.clipping import tensors
from workbench.clipping.outer import OuterOptimizer
from workbench.clipping.records import ClipRecord, read_record
from workbench.steps import replicas


@keras.saving.register_keras_serializable(package="workbench")
class ClippedOptimizer(OuterOptimizer):
    """Clips gradients, then lets its inner optimizer apply them.

    A step whose gradient is not finite is left out: weights, slots, averages and
    iterations keep every bit. With gradient accumulation the mean is clipped, and
    a batch that is not finite is not accumulated. Settings such as `weight_decay` or
    `momentum` are the inner optimizer's, read and set through this one.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer` without clipping of its own.
        clip: Clip method of `workbench.clipping`.
        record: Whether each step's norms and angles are kept.
        name: str.

    Raises:
        TypeError: If `inner_optimizer` is not a Keras optimizer.
        ValueError: If `inner_optimizer` clips already or scales the loss.
    """

    def __init__(self, inner_optimizer, clip, record=True, name=None):
        super().__init__(inner_optimizer, name=name)
        self._clip = clip
        self._recording = record
        self._live = self._state = None
        if clip.threshold:
            value = getattr(clip, clip.threshold)
            self._live = self._add_value(value, "float32", clip.threshold)
        if clip.initial_state:
            self._state = self._add_value(clip.initial_state, "float64", "past")

    @property
    def clip(self):
        """The clip method, with the threshold that is in force."""
        if self._live is None:
            return self._clip
        field, live = self._clip.threshold, float(self._live.numpy())
        if np.float32(getattr(self._clip, field)) == live:
            return self._clip
        return dataclasses.replace(self._clip, **{field: live})

    @property
    def threshold(self):
        """The clip's threshold, a Keras variable; set it to a number at any time.

        The next step uses it, without a new trace. None for a clip without threshold.
        """
        return self._live

    @threshold.setter
    def threshold(self, value):
        if self._live is None:
            raise ValueError(
                f"`threshold` cannot be set: {type(self._clip).__name__} has none. "
                f"Received: threshold={value}"
            )
        # Making a clip of it checks it.
        dataclasses.replace(self._clip, **{self._clip.threshold: value})
        self._live.assign(value)

    @property
    def step_record(self):
        """float64 Keras variable of shape `(3, V)`, written at each update.

        `read_record` makes norms and angles of its values, in the order of `paths`.
        None without `record`, or before the optimizer is built.
        """
        return self.__dict__.get("_record")

    @property
    def paths(self):
        """Tuple of str, the paths of the V variables; empty before `build`."""
        return tuple(self.__dict__.get("_paths", ()))

    @property
    def skipped_steps(self):
        """int, steps left out since the optimizer was made or loaded."""
        return int(self._skips.numpy()[0]) if self.built else 0

    def last_step(self):
        """Reads what clipping did to the last update.

        Returns:
            `ClipRecord`.

        Raises:
            ValueError: If nothing was recorded.
        """
        if self.step_record is None:
            raise ValueError(
                "`last_step` needs a step and `record=True`. Received: "
                f"record={self._recording}, built={self.built}"
            )
        before, after, clipped, cosine = read_record(self._record.numpy()).T
        count, step, *bad = self._skips.numpy().tolist()
        return ClipRecord(
            self.paths,
            before,
            after,
            clipped > 0,
            cosine,
            skipped_steps=count,
            skipped_step=step if count else None,
            nonfinite=tuple(p for p, b in zip(self.paths, bad, strict=True) if b),
        )

    def build(self, variables):
        """Builds the inner optimizer and the records.

        Args:
            variables: List of the V variables that will be trained.
        """
        if self.built:
            return
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        self._paths = [getattr(v, "path", v.name) for v in variables]
        # Reports, not state: they are neither saved nor in `variables`.
        self._skips = self._add_value([0] * (2 + len(variables)), "int64", "skips")
        self._untrack(self._skips)
        if self._recording:
            empty = np.zeros((3, len(variables)))
            self._record = self._add_value(empty, "float64", "record")
            self._untrack(self._record)
        self.built = True

    def apply(self, grads, trainable_variables=None):
        """Clips the gradients and applies them, or leaves the step out.

        Args:
            grads: List of gradients; None where there is none.
            trainable_variables: List of variables, needed in the first call.
        """
        inner, grads = self.inner_optimizer, list(grads)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
        targets = trainable_variables or self._trainable_variables
        kept = [
            i
            for i, (gradient, variable) in enumerate(zip(grads, targets, strict=False))
            if gradient is not None
            and not getattr(variable, "overwrite_with_gradient", False)
        ]
        if not kept:
            # Nothing to clip: Keras has the right word for each case.
            inner.apply(grads, trainable_variables)
            return
        variables = [targets[i] for i in kept]
        scale = inner.loss_scale_factor or 1.0
        raw, count = replicas.sum_over_replicas([grads[i] for i in kept])
        step = tensors.prepare([_times(g, 1 / scale) for g in raw], variables)
        if inner.gradient_accumulation_steps:
            mends = self._clip.mends_nonfinite
            squares = tf.zeros_like(step.squares) if mends else step.squares
            replaced = [tensors.densify(gradient) for gradient in step.gradients]
            finish = _nothing
        else:
            replaced, squares, finish = self._clip_step(step)

        def update():
            for i, gradient in zip(kept, replaced, strict=True):
                dtype = grads[i].dtype
                grads[i] = tensors.cast(_times(gradient, scale / count), dtype)
            with self._clipping_the_mean(variables):
                inner.apply(grads, trainable_variables)
            finish()

        def leave_out():
            self._report_skip(step, squares)

        finite = tf.math.is_finite(tf.reduce_sum(squares))
        replicas.cond(finite, update, leave_out)

    def _clip_step(self, step):
        """Clips a step.

        Returns:
            The gradients; a float64 tensor of shape `(V,)`, non-finite where the step
            must be left out; and what else to do when it is not.
        """
        clip = self._clip
        if self._live is not None:
            live = {clip.threshold: tf.convert_to_tensor(self._live)}
            clip = dataclasses.replace(clip, **live)
        past = None
        if self._state is None:
            clipped = clip.clip(step)
        else:
            norm = tensors.root(tf.reduce_sum(step.squares))
            limit, past = clip.limit(norm, tf.convert_to_tensor(self._state))
            clipped = tensors.divide_by_global(step, limit)
        if clipped.squares is not None:
            numbers = tf.stack([step.squares, clipped.squares, clipped.products])
        elif self._recording or clip.mends_nonfinite:
            numbers = tensors.measure(step, clipped)

        def finish():
            if past is not None:
                self._state.assign(past)
            if self._recording:
                self._write(step, numbers)

        checked = numbers[1] if clip.mends_nonfinite else step.squares
        return clipped.gradients, checked, finish

    @contextlib.contextmanager
    def _clipping_the_mean(self, variables):
        # Only Keras's private `_clip_gradients` sees the mean that is accumulated.

        def clip_gradients(means):
            step = tensors.prepare(means, variables)
            clipped, squares, finish = self._clip_step(step)
            finite = tf.math.is_finite(tf.reduce_sum(squares))
            tf.cond(finite, finish, _nothing)
            zeros = [tf.zeros_like(mean) for mean in means]
            return [
                tf.where(finite, tf.cast(gradient, zero.dtype), zero)
                for gradient, zero in zip(clipped, zeros, strict=True)
            ]

        inner = self.inner_optimizer
        if not inner.gradient_accumulation_steps:
            yield
            return
        inner._clip_gradients = clip_gradients
        try:
            yield
        finally:
            del inner._clip_gradients

    def _rows(self, variables):
        inner = self.inner_optimizer
        return [inner._get_variable_index(variable) for variable in variables]

    def _write(self, step, numbers):
        index, count = self._rows(step.variables), len(self._paths)
        if index != list(range(count)):
            empty = tf.constant([[0.0, 0.0, np.nan]] * count, numbers.dtype)
            numbers = tf.tensor_scatter_nd_update(
                empty, [[i] for i in index], tf.transpose(numbers)
            )
            numbers = tf.transpose(numbers)
        self._record.assign(numbers)

    def _report_skip(self, step, squares):
        count = self._skips[0]
        bad = tf.cast(~tf.math.is_finite(squares), tf.int64)
        index = [[i] for i in self._rows(step.variables)]
        bad = tf.scatter_nd(index, bad, [len(self._paths)])
        number = tf.cast(self._iterations, tf.int64) + count
        self._skips.assign(tf.concat([[count + 1, number], bad], axis=0))
        if self._recording:
            nothing = tf.zeros_like(squares)
            self._write(step, tf.stack([step.squares, nothing, nothing * np.nan]))

    def get_config(self):
        """Returns the configuration, with the threshold that is in force."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "inner_optimizer": serialize(self.inner_optimizer),
            "clip": serialize(self.clip),
            "record": self._recording,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Creates the optimizer that `get_config` described."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("inner_optimizer", "clip")
        }
        return cls(**{**config, **parts})


def _nothing():
    pass


def _times(gradient, factor):
    if factor == 1.0:
        return gradient
    return tensors.with_values(gradient, tensors.values_of(gradient) * factor)

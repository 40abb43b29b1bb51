"""What a kind of variant does with gradients: penalty, clip, optimizer."""

import contextlib
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from workbench.clipping import tensors
from workbench.experiments import functional, mixing, settings, squares
from workbench.experiments.penalties import Penalties, live_values, with_attributes
from workbench.experiments.vectorizing import vectorized

# Below as many numbers float64 costs less than to trace the choice.
_SMALL = 2e5


class Tail:
    """Penalty, clip and optimizer of variants that differ in numbers only.

    Args:
        candidates: List of K `variants.Candidate` of one kind.
        template: `templates.Template`.
        penalties: List per kernel of list of `mixing.Slot`.
        constraints: The same of constraints.
        live: Dict of the numbers that differ, `(part, name)` -> float64 array `(K,)`.
            Part is "optimizer", "clip", `("penalty", k, j)` or `("constraint", k, j)`
            for slot j of kernel k; name is the attribute.
    """

    def __init__(self, candidates, template, penalties, constraints, live):
        first = candidates[0]
        self.count = len(candidates)
        self.template = template
        self.clip = first.clip
        self.constraints = constraints
        self.live = list(live)
        self.penalties = Penalties(template, penalties, self.live, self.count)
        self.optimizer = make_functional(first, template)
        self.rate_index = _rate_index(self.optimizer)
        size = sum(int(np.prod(v.shape)) for v in template.model.trainable_variables)
        self.small = size * self.count < _SMALL
        self.sliced = {} if self.small else mixing.neighbours(constraints)
        self.keras_clip = first.keras_clip
        self.linear = first.optimizer_class is keras.optimizers.SGD and (
            not self.keras_clip
        )

    def initial_slots(self, candidate):
        """Lists the optimizer's state before a candidate's first step, as arrays."""
        optimizer = self.optimizer
        if any(str(name).startswith("initial") for _, name in self.live):
            optimizer = make_functional(candidate, self.template)
        return [v.numpy() for v in optimizer.variables]

    def measure(self, weights, gradients, hyper):
        """Computes penalties and squared norms of stacked variants, before `update`.

        Args:
            weights: List of trainable tensors.
            gradients: List of the gradients that exist, dense.
            hyper: List of tensors in the order of `live`.

        Returns:
            Penalties, float32 `(K,)`, and squared norms of the gradients with the
            penalty's, float64 `(K, V)`; None where `update` does that as well.
        """
        if self.small:
            return None
        total, pieces = self.penalties.of_those_that_pay(weights, gradients, hyper)
        return total, squares.squared_norms(pieces, 1)

    def update(self, mapped, state, gradients, sparse, rate, hyper, measured=None):
        """Does one update of all variants of this kind.

        Args:
            mapped: Function `(function, arguments) -> results` that runs a function
                of one variant on the stacked arguments of many, or just calls it.
            state: `(weights, slots, past)`: lists of tensors of the model and of the
                optimizer, and the clip's past, float64 `(P,)`.
            gradients: List of the gradients that exist, dense.
            sparse: List of `(values, indices)` of those that are embeddings'.
            rate: float32, learning rates.
            hyper: List of tensors in the order of `live`.
            measured: What `measure` returned.

        Returns:
            New `(weights, slots, past)`, and `[penalty, gradient_norm, clipped_norm]`,
            float32.
        """
        if self.small:
            new, penalty, norm, after = mapped(
                lambda a: self._do_at_once(*a), (state, gradients, sparse, rate, hyper)
            )
        else:
            parts = state[0], gradients, hyper
            penalty, gradients = mapped(lambda a: self.penalties.add(*a), parts)
            if measured is not None:
                penalty, sums = measured
            else:
                sums = squares.squared_norms(
                    [[g] for g in gradients], penalty.shape.rank
                )
            new, norm, after = mapped(
                lambda a: self._apply(*a), (state, gradients, sparse, sums, rate, hyper)
            )
            if self.count > 1:
                new = self._constrain_slices(new[0], rate, hyper), *new[1:]
        if self.clip is not None:
            # As `ClippedOptimizer` does.
            new, after = _leave_out(mapped, new, state, after)
        return new, [tf.cast(value, tf.float32) for value in (penalty, norm, after)]

    def _do_at_once(self, state, gradients, sparse, rate, hyper):
        penalty, gradients = self.penalties.add(state[0], gradients, hyper)
        sums = squares.exact(gradients)
        new, norm, after = self._apply(state, gradients, sparse, sums, rate, hyper)
        return new, penalty, norm, after

    def _constrain(self, weights, rate, hyper):
        """Constrains kernels, as Keras does after each update."""
        weights = list(weights)
        for k, slots in enumerate(self.constraints):
            i = self.template.kernels[k]
            for j, slot in enumerate(slots):
                if self.count > 1 and (k, j) in self.sliced:
                    continue
                values = self._live_values(("constraint", k, j), hyper)
                own = values.pop(mixing.ACTIVE, None)
                if settings.follows_rate(slot.thing):
                    values["learning_rate"] = rate
                new = with_attributes(slot.thing, values)(weights[i])
                weights[i] = new if own is None else _chosen(own, new, weights[i])
        return weights

    def _constrain_slices(self, weights, rate, hyper):
        """Constrains kernels of the variants alone that have such a constraint."""
        weights = list(weights)
        for (k, j), (first, last) in self.sliced.items():
            i, thing = self.template.kernels[k], self.constraints[k][j].thing

            def constrain(arguments, part=("constraint", k, j), thing=thing):
                weight, rate, hyper = arguments
                values = self._live_values(part, hyper)
                values.pop(mixing.ACTIVE)
                if settings.follows_rate(thing):
                    values["learning_rate"] = rate
                return with_attributes(thing, values)(weight)

            own = [weights[i], rate, hyper]
            own = tf.nest.map_structure(lambda t, a=first, b=last: t[a:b], own)
            weights[i] = tf.raw_ops.TensorStridedSliceUpdate(
                input=weights[i],
                begin=[first],
                end=[last],
                strides=[1],
                value=vectorized(constrain, own),
            )
        return weights

    def _apply(self, state, gradients, sparse, sums, rate, hyper):
        """Clips and applies."""
        weights, slots, past = state
        present = self.template.present
        kept = [w for w, there in zip(weights, present, strict=True) if there]
        clipped, past = self._clip(gradients, kept, sums, past, hyper)
        gradients, norm = list(clipped.gradients), tf.sqrt(tf.reduce_sum(sums))
        optimizer = self.optimizer
        optimizer.known_norm = tf.cast(norm, tf.float32)
        if self.clip is None and self.template.sparse and not self.linear:
            # Keras squares and clips an embedding's rows before it sums equal ones,
            # which a clip method does first: the result is another one.
            optimizer.known_norm = None
            for i, (values, rows) in zip(self.template.sparse, sparse, strict=True):
                shape = tf.constant(gradients[i].shape.as_list())
                gradients[i] = tf.IndexedSlices(values, rows, shape)
        gradients = iter(gradients)
        every = [next(gradients) if there else None for there in present]
        slots = list(slots)
        slots[self.rate_index] = tf.cast(rate, slots[self.rate_index].dtype)
        with _attributes(optimizer, self._live_values("optimizer", hyper)):
            weights, slots = optimizer.stateless_apply(slots, every, weights)
        weights = self._constrain(weights, rate, hyper)
        after = clipped.squares
        if after is None or (self.keras_clip and optimizer.applied is not None):
            applied = [g for g in optimizer.applied if g is not None]
            after = squares.by_rows([tensors.densify(g) for g in applied])
        after = tf.sqrt(tf.reduce_sum(after)) * tf.cast(optimizer.scale, tf.float64)
        return (weights, slots, past), norm, after

    def _clip(self, gradients, weights, sums, past, hyper):
        clip = self.clip
        if clip is None:
            return tensors.Clipped(gradients, sums), past
        values = self._live_values("clip", hyper)
        if values:
            values = {name: value.tensor for name, value in values.items()}
            clip = dataclasses.replace(clip, **values)
        step = tensors.Step(gradients, weights, sums)
        if not clip.initial_state:
            return clip.clip(step), past
        limit, past = clip.limit(tensors.root(tf.reduce_sum(sums)), past)
        return tensors.divide_by_global(step, limit), past

    def _live_values(self, part, hyper):
        return live_values(self.live, part, hyper)


def make_functional(candidate, template):
    """Makes a candidate's optimizer as pure functions, built for the template."""
    rate = candidate.learning_rate
    optimizer = candidate.make_optimizer(
        functional.functional_class,
        learning_rate=rate if isinstance(rate, float) else 1.0,
    )
    optimizer.build(template.model.trainable_variables)
    return optimizer


def initial_past(candidate):
    """Returns the clip's state before the first step, float64 `(P,)`."""
    return np.asarray(getattr(candidate.clip, "initial_state", ()), "float64")


def _rate_index(optimizer):
    return [v is optimizer._learning_rate for v in optimizer.variables].index(True)


def _leave_out(mapped, new, old, after):
    """Keeps the old state where the clipped gradients are not finite."""
    finite = tf.math.is_finite(after)

    def choose(arguments):
        finite, new, old = arguments
        return tf.nest.map_structure(lambda n, o: tf.where(finite, n, o), new, old)

    new = tf.cond(
        tf.reduce_all(finite), lambda: new, lambda: mapped(choose, (finite, new, old))
    )
    return new, tf.where(finite, after, tf.zeros_like(after))


def _chosen(own, new, old):
    return tf.where(own.tensor > 0, new, old)


@contextlib.contextmanager
def _attributes(thing, values):
    """Sets attributes while in the block."""
    before = {name: getattr(thing, name) for name in values}
    try:
        for name, value in values.items():
            setattr(thing, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(thing, name, value)

"""What penalties add to the loss and to the gradients, for variants of one kind."""

import copy

import tensorflow as tf

from workbench.experiments import functional, mixing
from workbench.experiments.vectorizing import vectorized


def live_values(live, part, hyper):
    """Returns the numbers of one part in which variants differ.

    Args:
        live: List of `(part, name)`, see `tails.Tail`.
        part: One of the parts.
        hyper: List of scalar tensors in the order of `live`.

    Returns:
        Dict of name -> `functional.LiveFloat`.
    """
    return {
        name: functional.LiveFloat(1.0, value)
        for (owner, name), value in zip(live, hyper, strict=True)
        if owner == part
    }


def with_attributes(thing, values):
    """Copies a regularizer or constraint, with other numbers in it."""
    if not values:
        return thing
    thing = copy.copy(thing)
    for name, value in values.items():
        setattr(thing, name, value)
    return thing


class Penalties:
    """The penalties on the kernels of variants of one kind.

    Args:
        template: `templates.Template`.
        slots: List per kernel of list of `mixing.Slot`.
        live: List of `(part, name)`, see `tails.Tail`.
        count: int, K, the number of variants.
    """

    def __init__(self, template, slots, live, count):
        self._template = template
        self._live = live
        kernels = zip(template.kernels, slots, strict=True)
        self._slots = [
            (i, ("penalty", k, j), slot)
            for k, (i, own) in enumerate(kernels)
            for j, slot in enumerate(own)
        ]
        self._used = list(dict.fromkeys(i for i, _, _ in self._slots))
        self._first, self._last = mixing.span([s for *_, s in self._slots], count)
        self._count = count
        self._compiled = tf.function(
            self._add_to_all, jit_compile=True, autograph=False
        )

    def value(self, weights, hyper):
        """Computes one variant's penalty.

        Args:
            weights: List of trainable tensors.
            hyper: List of scalars in the order of `live`.

        Returns:
            float32 scalar.
        """
        total = tf.zeros([], tf.float32)
        for i, part, slot in self._slots:
            values = live_values(self._live, part, hyper)
            value = with_attributes(slot.thing, values)(weights[i])
            total += tf.cast(value, tf.float32)
        return total

    def add(self, weights, gradients, hyper):
        """Computes one variant's penalty, and adds its gradients.

        Args:
            weights: List of trainable tensors.
            gradients: List of the gradients that exist, dense.
            hyper: List of scalars in the order of `live`.

        Returns:
            float32 scalar; list of the gradients with the penalty's.
        """
        gradients, own = list(gradients), [weights[i] for i in self._used]
        with tf.GradientTape() as tape:
            tape.watch(own)
            total = self.value(weights, hyper)
        if self._used:
            added = tape.gradient(total, own)
            for i, gradient in zip(self._used, added, strict=True):
                gradients[self._place(i)] += gradient
        return total, gradients

    def of_those_that_pay(self, weights, gradients, hyper):
        """Computes the penalties of all variants, stacked, at the least cost.

        Variants without any are left out of the pass over their weights.

        Args:
            weights: List of stacked trainable tensors.
            gradients: List of the stacked gradients that exist.
            hyper: List of float64 tensors `(K,)` in the order of `live`.

        Returns:
            float32 `(K,)`; list per gradient of its pieces, which in a row are the
            stacked gradient with the penalty's.
        """
        first, last = self._first, self._last
        pieces = [[gradient] for gradient in gradients]
        if first == last:
            return tf.zeros([self._count], tf.float32), pieces
        places = [self._place(i) for i in self._used]
        kernels = {i: weights[i][first:last] for i in self._used}
        own = [gradients[place][first:last] for place in places]
        total, own = self._compiled(kernels, own, [h[first:last] for h in hyper])
        for place, gradient in zip(places, own, strict=True):
            whole = gradients[place]
            pieces[place] = [whole[:first], gradient, whole[last:]]
        return tf.pad(total, [[first, self._count - last]]), pieces

    def _place(self, i):
        """Which of the gradients that exist is that of trainable variable i."""
        return sum(self._template.present[:i])

    def _add_to_all(self, kernels, gradients, hyper):
        def one(arguments):
            kernels, own, hyper = arguments
            gradients = [None] * sum(self._template.present)
            for i, gradient in zip(self._used, own, strict=True):
                gradients[self._place(i)] = gradient
            total, gradients = self.add(kernels, gradients, hyper)
            return total, [gradients[self._place(i)] for i in self._used]

        return vectorized(one, (kernels, gradients, hyper))

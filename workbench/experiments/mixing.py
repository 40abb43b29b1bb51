"""Several kinds of penalty in one program, each with a strength for every variant."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from workbench.regularization import ProximalL1

ACTIVE = "is active"
# For these zero is none, to the last bit, and costs little beside the matrix products.
_LINEAR = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
_MIXABLE = (*_LINEAR, keras.constraints.MaxNorm, ProximalL1)


@dataclasses.dataclass(frozen=True)
class Slot:
    """One kind of penalty or constraint on a kernel, of some variants or of all.

    Attributes:
        thing: Regularizer or constraint, one of those.
        numbers: Dict of attribute -> float64 array `(K,)`, zero where a variant has no
            such penalty. A constraint that some have not also has `ACTIVE`, 0 or 1.
    """

    thing: Any
    numbers: dict


def kinds_of(things):
    """Describes what variants must share in their penalties to run as one.

    Args:
        things: List per kernel of regularizer, constraint or None.

    Returns:
        Hashable.
    """
    return tuple(None if _is_mixable(thing) else _kind(thing) for thing in things)


def slots_of(things):
    """Sorts penalties or constraints of variants of one kind into slots.

    Args:
        things: List per candidate, K of them, of list per kernel of regularizer,
            constraint or None.

    Returns:
        List per kernel of list of `Slot`.
    """
    return [_slots_on([own[k] for own in things]) for k in range(len(things[0]))]


def neighbours(slots_by_kernel):
    """Finds the slots of which variants next to each other make use, and no others.

    To constrain all and keep what is not theirs reads and writes every weight again.

    Args:
        slots_by_kernel: List per kernel of list of `Slot`.

    Returns:
        Dict of `(k, j)`, slot j of kernel k, -> `(first, last)`, variants from `first`
        up to `last`, which is not one of them.
    """
    found = {}
    for k, slots in enumerate(slots_by_kernel):
        for j, slot in enumerate(slots):
            members = np.flatnonzero(slot.numbers.get(ACTIVE, ()))
            if len(members) and members[-1] - members[0] == len(members) - 1:
                found[k, j] = int(members[0]), int(members[-1]) + 1
    return found


def span(slots, count):
    """Finds the variants that pay anything for their weights.

    Args:
        slots: List of `Slot` of penalties.
        count: int, the number of variants.

    Returns:
        `(first, last)`: those that pay are from `first` up to `last`, which is not one
        of them; equal where none does.
    """
    pays = np.zeros(count, bool)
    for slot in slots:
        # Without numbers it is the same for all.
        own = [values != 0 for values in slot.numbers.values()]
        pays |= np.any(own, axis=0) if own else True
    members = np.flatnonzero(pays)
    return (int(members[0]), int(members[-1]) + 1) if len(members) else (0, 0)


def _slots_on(things):
    groups, linear = {}, {}
    for i, thing in enumerate(things):
        if type(thing) in _LINEAR and _is_mixable(thing):
            linear[i] = thing
        elif thing is not None:
            groups.setdefault(_kind(thing), []).append(i)
    slots = [_linear_slot(linear, len(things))] if linear else []
    return slots + [_slot(things, members) for members in groups.values()]


def _linear_slot(linear, count):
    """Joins all of L1 and L2, so that they cost one pass over the weights."""
    numbers = {name: np.zeros(count) for name in ("l1", "l2")}
    for i, thing in linear.items():
        for name, value in _numbers(thing).items():
            numbers[name][i] = value
    return Slot(_JointL1L2(*(float(v.max()) for v in numbers.values())), numbers)


class _JointL1L2:
    """What `keras.regularizers.L1L2` computes, added up by rows as XLA likes it."""

    def __init__(self, l1, l2):
        self.l1, self.l2 = l1, l2

    def __call__(self, x):
        terms = []
        if self.l1 != 0:
            terms.append(self.l1 * tf.abs(x))
        if self.l2 != 0:
            terms.append(self.l2 * tf.square(x))
        if not terms:
            return tf.zeros([], x.dtype)
        sums = tf.reduce_sum(tf.add_n(terms), axis=range(x.shape.rank - 1))
        return tf.reduce_sum(sums)


def _slot(things, members):
    first, everywhere = things[members[0]], len(members) == len(things)
    # What is inactive still has to be a number that works.
    rest = None if everywhere else first
    numbers = {}
    for name in set(_numbers(first) or ()) - {"axis"}:
        values = np.full(len(things), float(getattr(rest, name, 0.0)), "float64")
        values[members] = [float(getattr(things[i], name)) for i in members]
        numbers[name] = values
    if rest is not None:
        numbers[ACTIVE] = np.isin(np.arange(len(things)), members).astype("float64")
    return Slot(first, numbers)


def _is_mixable(thing):
    return thing is None or (type(thing) in _MIXABLE and _numbers(thing) is not None)


def _kind(thing):
    if thing is None:
        return None
    numbers = _numbers(thing)
    if numbers is None:
        return id(thing)
    # An axis is no strength.
    return type(thing), tuple(
        (n, v if n == "axis" else None) for n, v in numbers.items()
    )


def _numbers(thing):
    """Returns its numbers by name, or None when it has more than that."""
    try:
        # None stands for a number that is found elsewhere.
        config = {n: v for n, v in thing.get_config().items() if v is not None}
        numbers = {name: float(value) for name, value in config.items()}
        stored = {name: float(getattr(thing, name)) for name in config}
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    own = type(thing).__module__.startswith(("keras.", "workbench."))
    return numbers if own and numbers == stored else None

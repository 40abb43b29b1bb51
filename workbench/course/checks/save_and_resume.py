"""Checks of notebook 7, save and resume."""

import keras
import numpy as np

from workbench.course.asking import function, integers, letters, number
from workbench.course.verdicts import Wrong


def exercise_1(first_loss):
    """Predicts the loss of old and new data, mixed."""
    loss = number("first_loss", first_loss, "loss")
    digits = np.repeat([0.07, 0.26], [3000, 5000])
    if abs(loss - digits.mean()) > 0.015:
        much = "more" if digits.mean() > loss else "less"
        text = f"The mean over 8,000 such digits is {much} than {loss:.3g}."
        if 0.07 < loss < 0.26:
            text += " There are more new digits than old."
        raise Wrong(text)
    return "What was seen and what was not are averaged: no weight is wrong."


def exercise_2(checkpoint_at, second_ends_in):
    """Predicts a crash before the first regular checkpoint."""
    steps = number("checkpoint_at", checkpoint_at, "steps")
    if steps:
        raise Wrong(
            f"There is one, and it was not after {steps:g} steps: the crash came "
            "before `save_every` was reached."
        )
    letters(
        "second_ends_in",
        second_ends_in,
        {
            "a": None,
            "b": "They are done again, on the same data with the same masks.",
            "c": "What does it do with its weights when it finds a checkpoint?",
            "d": "There is one checkpoint in the folder.",
        },
    )
    return "The start is saved, too, with all random states; five steps are done again."


def exercise_3(my_order):
    """Changes an order of the data into one that needs no memory."""
    function("my_order", my_order)
    orders = [_order(my_order, epoch) for epoch in (0, 1, 2, 3)]
    again = [_order(my_order, epoch) for epoch in (3, 1)]
    if orders[0] == list(range(100)):
        raise Wrong("It gives the digits in the order of the file.")
    if again != [orders[3], orders[1]]:
        raise Wrong("Asked twice for the same epoch, it gives two orders.")
    if orders[0] == orders[1]:
        raise Wrong("It gives each epoch the same order.")
    at = orders[1].index(orders[0][0])
    if orders[1][at:] + orders[1][:at] == orders[0]:
        raise Wrong("An epoch has the order of the one before, only turned round.")
    return "Seed, epoch and step are three numbers, and all that has to be saved."


def _order(my_order, epoch):
    order = integers("my_order", my_order(epoch, 100))
    if sorted(order) != list(range(100)):
        raise Wrong(
            "With a count of 100 it must give each digit once: the numbers from 0 to "
            f"99. It gave {len(order)}, of which {len(set(order))} differ."
        )
    return order


def exercise_4(hold_for_inverted):
    """Explains why a trained model learns badly from inverted pictures."""
    letters(
        "hold_for_inverted",
        hold_for_inverted,
        {
            "a": "Count the units that are above zero.",
            "b": None,
            "c": None,
            "d": None,
            "e": "A new model learns from them, and an inversion can be undone.",
            "f": "A loss that is so large has a slope; compute it.",
        },
    )
    return "It is sure of what is wrong, and unlearning that takes Adam many steps."


def _means(optimizer):
    """Adam's means of the gradient, the first of its variables that are no numbers."""
    arrays = [np.asarray(v) for v in optimizer.variables if len(v.shape)]
    return arrays[0] if arrays else np.zeros(1)


def exercise_5(cause, my_first, my_second):
    """Diagnoses an optimizer that was lost after loading."""
    letters(
        "cause",
        cause,
        {
            "a": "`formats.inspect_file` finds it there.",
            "b": None,
            "c": "Print the step count before the line with `compile`.",
            "d": "The first model had two epochs and went on counting.",
        },
    )
    for name, model in (("my_first", my_first), ("my_second", my_second)):
        if not isinstance(model, keras.Model) or not model.optimizer:
            raise Wrong(f"`{name}` must be a compiled Keras model.")
    if my_second is my_first:
        raise Wrong("`my_second` must be the loaded model, not the first.")
    one, other = my_first.optimizer, my_second.optimizer
    if int(other.iterations) != int(one.iterations):
        raise Wrong(
            f"The optimizer of `my_second` has made {int(other.iterations)} steps, "
            f"that of `my_first` {int(one.iterations)}."
        )
    means, expected = _means(other), _means(one)
    if means.shape != expected.shape or not np.allclose(means, expected):
        raise Wrong("The step count is right, but its means are not those of the file.")
    rate = float(other.learning_rate)
    if not np.isclose(rate, 1e-4):
        raise Wrong(f"The rate of `my_second` is {rate:.4g}.")
    return "The loaded optimizer goes on with a new rate; nothing was compiled again."

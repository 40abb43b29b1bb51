"""Checks of notebook 9, activations."""

import keras
import numpy as np

from workbench.course.asking import function, letters, number
from workbench.course.verdicts import Wrong


def exercise_1(dead_units, share_of_zeros, *, x_test):
    """Predicts how many units are dead before training."""
    units = number("dead_units", dead_units, "units")
    if units not in range(65):
        raise Wrong("`dead_units` must be a number of units, out of 64.")
    share = number("share_of_zeros", share_of_zeros, "share")
    if not 0 <= share <= 1:
        raise Wrong("`share_of_zeros` must be a share, between 0 and 1.")
    flat = np.reshape(x_test, (len(x_test), -1))
    weights = np.array(keras.initializers.GlorotUniform(seed=9)((flat.shape[1], 64)))
    at_rest = flat @ weights <= 0
    if units > at_rest.all(0).sum() + 4:
        raise Wrong(
            f"Fresh weights were measured on the test digits, and fewer units are dead "
            f"than {units:g}."
        )
    if abs(share - at_rest.mean()) > 0.15:
        more = "more" if at_rest.mean() > share else "fewer"
        raise Wrong(
            f"Fresh weights were measured on the test digits: {more} of the numbers "
            f"are 0 than {share:g} of them."
        )
    return (
        "Half of the numbers are 0, and hardly a unit is dead: each rests for some "
        "digits and works for others. It is training that kills."
    )


def _outputs(shape):
    """Outputs of five units: one dead, and four that only look so to a wrong test."""
    outputs = np.zeros((*shape, 5), "float32")
    flat = outputs.reshape(-1, 5)
    flat[1:, 1] = 0.5  # at rest for the first input
    flat[:, 2] = -0.5
    flat[:, 3] = np.where(np.arange(len(flat)) % 2, 0.5, -0.5)
    flat[:, 4] = 0.001
    return outputs


def exercise_2(my_dead):
    """Changes a test of one input into a test of all."""
    function("my_dead", my_dead)
    why = {
        1: "is only at rest for one input",
        2: "is below 0 for all inputs, as a tanh can be",
        3: "has values that cancel",
        4: "has values that are small, and not 0",
    }
    for shape in ((6,), (2, 3, 4)):
        what = "It" if len(shape) == 1 else "Of feature maps: it"
        found = np.asarray(my_dead(_outputs(shape)))
        if found.shape != (5,):
            raise Wrong(
                f"{what} must say true or false for each unit, here five. Its answer "
                f"to outputs of shape {(*shape, 5)} had the shape {found.shape}."
            )
        for unit, reason in why.items():
            if found[unit]:
                raise Wrong(f"{what} calls a unit dead that {reason}.")
        if not found[0]:
            raise Wrong(f"{what} does not find the unit that is 0 for all inputs.")
    return "A unit is dead if it is 0 for all inputs in all places, and not before."


def exercise_3(runs_of_the_first, runs_in_all, each_layer_once):
    """Explains why a loop over sub-models is slow."""
    first = number("runs_of_the_first", runs_of_the_first, "runs")
    count = 150
    runs = [range(last + 1) for last in range(count)]  # the layers of each sub-model
    if first != sum(0 in layers for layers in runs):
        raise Wrong(
            f"The first layer does not run {first:g} times: every sub-model begins at "
            "the input."
        )
    in_all = number("runs_in_all", runs_in_all, "runs")
    if in_all != sum(map(len, runs)):
        reasons = {
            count: "150 are the runs of one layer, the first",
            count**2: "a sub-model stops at its layer, most do not run them all",
        }
        reason = reasons.get(in_all, "add them up again, from the first to the last")
        raise Wrong(f"`runs_in_all` is not {in_all:g}: {reason}.")
    once = "It is a loop of sub-models all the same; count for three layers."
    letters(
        "each_layer_once",
        each_layer_once,
        {"a": None, "b": None, "c": once, "d": once, "e": once},
    )
    return "11325 runs of layers in place of 150. One pass has all of them."


def _nets():
    dense = keras.layers.Dense
    inputs = keras.Input((16,))
    left = dense(16, "tanh", name="left")(inputs)
    right = dense(16, "tanh", name="right")(inputs)
    yield "this net", keras.Model(inputs, [left, right])
    top = dense(16, name="top")(left)
    yield "a net with one layer more", keras.Model(inputs, [right, top])


def exercise_4(cause, my_read):
    """Diagnoses a loop that gives a layer the wrong input."""
    letters(
        "cause",
        cause,
        {
            "a": "There is no dropout in it, and no normalization: training and "
            "inference are the same here.",
            "b": None,
            "c": "Compare `get_weights()` before and after.",
            "d": "Look at the values of `left`: none is beyond -1 or 1.",
        },
    )
    function("my_read", my_read)
    rows = np.linspace(-1, 1, 64, dtype="float32").reshape(4, 16)
    for what, net in _nets():
        found = my_read(net, rows)
        if not hasattr(found, "keys"):
            raise Wrong("`my_read` must return a dict, from name to output.")
        for layer in net.layers[1:]:
            if layer.name not in found:
                raise Wrong(f"Of {what}: the dict has no {layer.name!r}.")
            expected = keras.Model(net.inputs, layer.output)([rows])
            value = np.asarray(found[layer.name])
            if not np.allclose(value, expected, atol=1e-4):
                raise Wrong(f"Of {what}: `{layer.name}` is off.")
    return "The net itself knows which layer takes what; the list of layers does not."

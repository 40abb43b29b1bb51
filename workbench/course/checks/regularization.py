"""Checks of notebook 6, regularization."""

import keras
import numpy as np
import tensorflow as tf

from workbench.course.asking import function, letters, number
from workbench.course.verdicts import Wrong

_READS = {0.001: "eight", 0.01: "eight", 0.1: "seven"}  # of ten held-out digits


def _factor(strength):
    """What one step makes of a weight of 1 that the data pull nowhere."""
    weight = keras.Variable([1.0])
    penalty = keras.regularizers.L2(strength)
    with tf.GradientTape() as tape:
        loss = penalty(weight)
    optimizer = keras.optimizers.SGD(0.2)
    optimizer.apply(tape.gradient(loss, [weight.value]), [weight])
    return float(weight[0])


def exercise_1(collapses_at, factor_at_0_01, factor_at_1):
    """Predicts where a small net collapses, and what one step does to a weight."""
    strength = number("collapses_at", collapses_at, "strength")
    if strength in _READS:
        raise Wrong(
            f"At {strength:g} the net of 20 units still reads {_READS[strength]} of "
            "ten digits."
        )
    if strength != 1:
        raise Wrong("`collapses_at` must be one of the four strengths.")
    for name, value, size in (
        ("factor_at_0_01", factor_at_0_01, 0.01),
        ("factor_at_1", factor_at_1, 1.0),
    ):
        factor, measured = number(name, value, "times the weight"), _factor(size)
        if abs(factor - measured) > 5e-4:
            raise Wrong(
                f"`{name}` was measured on one step, and it is "
                f"{'less' if measured < factor else 'more'} than {factor:g}."
            )
    return (
        "The pull is a share of the weight itself, 0.4 of a hundredth or four tenths "
        "per step, in a net of any size."
    )


def exercise_2(my_shrink):
    """Changes a step of L1 into one that stops at zero."""
    function("my_shrink", my_shrink)
    given = np.array([0.3, -0.3, 0.05, -0.05, 0.1, 0.0])
    weights = given.copy()
    found = np.asarray(my_shrink(weights, 0.1), "float64")
    if found.shape != given.shape:
        raise Wrong(f"It must return as many weights as it was given, {len(given)}.")
    if (weights != given).any():
        raise Wrong("The array that it was given is changed; return a new one.")
    for before, after in zip(given, found, strict=True):
        became = f"With an amount of 0.1, {before:g} became {after:.3g}: "
        if before * after < -1e-9:
            small = abs(before) <= 0.1
            raise Wrong(
                became + ("pushed past zero." if small else "changed its sign.")
            )
        if abs(before) > 0.1 and abs(abs(before) - abs(after) - 0.1) > 1e-6:
            raise Wrong(f"{became}a weight this far from zero must be moved by 0.1.")
        if abs(before) <= 0.1 and after != 0:
            raise Wrong(f"{became}it should rest at exactly 0.")
    return "Weights that reach zero stay there: true zeros, no matter how often."


def exercise_3(hold_with_all_digits):
    """Predicts what sixteen times the digits change."""
    letters(
        "hold_with_all_digits",
        hold_with_all_digits,
        {
            "a": None,
            "b": "In section 4 the net saw each of 500 digits 25 times. Here it sees "
            "each of 8,000 five times.",
            "c": None,
            "d": "See what 0.01 does in the table of section 3, with 8,000 digits.",
            "e": "When is a part of the units missing, in training or in evaluation?",
        },
    )
    return (
        "With enough digits nothing is learned by heart, so there is nothing for a "
        "penalty to mend."
    )


def exercise_4(data_loss_of_second, hold_for_the_two):
    """Explains a comparison of a sum with a part."""
    loss = number("data_loss_of_second", data_loss_of_second)
    if not np.isclose(loss, 0.58 - 0.001 * 110, atol=0.002):
        reasons = {
            0.58: "That is the sum of data loss and penalty.",
            0.69: "That adds it once more; it is a part of the 0.58.",
            0.525: "That takes half the squares; Keras's `L2` takes them whole.",
            0.11: "That is the penalty.",
        }
        near = [text for at, text in reasons.items() if np.isclose(loss, at, atol=2e-3)]
        raise Wrong(
            f"`data_loss_of_second` is not {loss:g}. "
            + (near[0] if near else "Which part of the 0.58 is the penalty?")
        )
    letters(
        "hold_for_the_two",
        hold_for_the_two,
        {
            "a": None,
            "b": "Compare the two data losses.",
            "c": None,
            "d": None,
            "e": "A penalty that falls would do the same to it: see the picture of "
            "section 1.",
        },
    )
    return "0.47 against 0.53: by its data loss the net with the penalty is the better."


def exercise_5(cause, my_total_loss):
    """Diagnoses a penalty that is added and does nothing."""
    letters(
        "cause",
        cause,
        {
            "a": "Make it 10: the weights come out as before.",
            "b": None,
            "c": "Print len(my_net.losses) before any training.",
            "d": "It takes the slopes that it is given. Compare them with those of the "
            "data alone.",
        },
    )
    function("my_total_loss", my_total_loss)
    layer = keras.layers.Dense(10, kernel_regularizer=keras.regularizers.L2(0.1))
    net = keras.Sequential([keras.Input((4,)), layer])
    images = tf.constant([[0.5, -1.0, 2.0, 0.0]])
    with tf.GradientTape(persistent=True) as tape:
        total = my_total_loss(net, images, tf.constant([3]))
        data = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
            tf.constant([3]), net(images)
        )
    if not hasattr(total, "shape") or tuple(total.shape) != ():
        raise Wrong("`my_total_loss` must return one number, as a tensor.")
    kernel = layer.kernel.value
    pulled, by_data = (tape.gradient(loss, kernel) for loss in (total, data))
    if pulled is None:
        raise Wrong("Its slope cannot be taken: it depends on no weight.")
    own = np.asarray(pulled - by_data) / (0.2 * np.asarray(kernel))
    if np.allclose(own, 0, atol=1e-3):
        raise Wrong("The slopes cannot be told from those without a penalty.")
    times = float(np.median(own))
    if not np.allclose(own, times, rtol=1e-2):
        raise Wrong("The slopes lack the pull of the data.")
    if not np.isclose(times, 1, rtol=1e-2):
        raise Wrong(f"The penalty is now {times:.1f} times as strong as it should be.")
    return "Computed while the tape is open, the penalties pull with the data."

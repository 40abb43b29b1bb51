"""Checks of notebook 10, your own model."""

import numpy as np

from workbench.course.asking import function, letters, number
from workbench.course.verdicts import Wrong


def exercise_1(hold_at_rate_0):
    """Predicts what goes on at a learning rate of 0."""
    letters(
        "hold_at_rate_0",
        hold_at_rate_0,
        {
            "a": None,
            "b": "The next batch has other digits, and dropout leaves out other units.",
            "c": "The gradient is computed before anybody asks for the rate.",
            "d": None,
            "e": "They are means of gradients, and gradients are still computed.",
        },
    )
    return (
        "The rate is a factor in the last step, the update. All before it goes on, the "
        "statistics of batch normalization with it."
    )


def exercise_2(my_batch_losses):
    """Changes a running mean back into the loss of each batch."""
    function("my_batch_losses", my_batch_losses)
    losses = np.array([2.5, 1.5, 2.0, 0.5, 1.0, 0.25])
    counts = np.arange(1, len(losses) + 1)
    logged = losses.cumsum() / counts
    found = np.asarray(my_batch_losses(logged.copy()), "float64")
    if found.shape != losses.shape:
        raise Wrong(f"It must return as many losses as were logged, {len(losses)}.")
    tried = "With losses of 2.5, 1.5, 2, 0.5, 1 and 0.25 Keras logs "
    tried += f"{', '.join(f'{mean:.3g}' for mean in logged)}. "
    if np.allclose(found, losses.cumsum()):
        raise Wrong(f"{tried}What it returned is the sum of all so far.")
    for name, ours, theirs in zip(
        ("first", "second", "third", "fourth", "fifth", "sixth"),
        losses,
        found,
        strict=True,
    ):
        if not np.isclose(ours, theirs):
            raise Wrong(f"{tried}The {name} batch came back as {theirs:.3g}.")
    return "A mean times its count is a sum, and each sum holds the one before it."


def exercise_3(due_to_dropout, due_to_mean, hold_for_the_gap):
    """Explains a validation loss below the training loss."""
    logged, after, between = 0.40, 0.09, 0.16
    dropout = number("due_to_dropout", due_to_dropout)
    if not np.isclose(dropout, between - after, atol=0.005):
        raise Wrong(
            f"`due_to_dropout` is not {dropout:.3g}. Take the two numbers that differ "
            "in dropout only."
        )
    mean = number("due_to_mean", due_to_mean)
    if not np.isclose(mean, logged - between, atol=0.005):
        raise Wrong(
            f"`due_to_mean` is not {mean:.3g}: the two parts must add up to the whole "
            f"gap, {logged - after:.2f}."
        )
    letters(
        "hold_for_the_gap",
        hold_for_the_gap,
        {
            "a": None,
            "b": "Compare the two parts.",
            "c": "All three numbers are about the digits trained on.",
            "d": None,
            "e": "The gap is there although nothing is held out here.",
        },
    )
    return "Three parts of four are the mean over a model that was still worse."


def exercise_4(cause, first_step, my_digits, *, x_train):
    """Diagnoses NaN that stand in the input."""
    step = number("first_step", first_step, "steps, counted from 1")
    if step != 1:
        raise Wrong(f"`first_step` is not {step:g}. The message names it.")
    letters(
        "cause",
        cause,
        {
            "a": "Every rate ends the same way, 0 too: no update was made before it.",
            "b": None,
            "c": "Count them: there is a NaN in every one of the digits.",
            "d": "The NaN is there before the first layer: see what the message names.",
        },
    )
    digits, given = np.asarray(my_digits, "float64"), x_train[:640].astype("float64")
    if digits.shape != given.shape:
        raise Wrong(
            f"`my_digits` must keep every digit and every pixel, shape {given.shape}. "
            f"Its shape is {digits.shape}."
        )
    bad = (~np.isfinite(digits)).mean()
    if bad:
        raise Wrong(f"`my_digits` still has {bad:.0%} of numbers that are not finite.")
    varies = given.std(0) > 0.1
    if abs(digits[:, varies].mean(0)).max() > 0.05:
        raise Wrong("Pixels that vary do not have the mean 0.")
    if abs(np.median(digits[:, varies].std(0)) - 1) > 0.2:
        raise Wrong("Pixels that vary do not have about the deviation 1.")
    pairs = zip(digits[:, varies].T, given[:, varies].T, strict=True)
    if min(np.corrcoef(*pair)[0, 1] for pair in pairs) < 0.99:
        raise Wrong(
            "`my_digits` are no longer the pictures in the order of the digits."
        )
    return "Pixels that never vary say nothing; scaled by a floor they stay at 0."

"""Checks of notebook 8, model formats."""

import tempfile

import keras
import numpy as np

from workbench import formats
from workbench.course.asking import function, letters
from workbench.course.verdicts import Wrong


def exercise_1(sgd_comes_back, same_step_with_sgd, same_step_with_adam):
    """Predicts what comes back when nothing is random."""
    structure = "A JSON of the structure has no weights."
    letters(
        "sgd_comes_back",
        sgd_comes_back,
        {
            "a": None,
            "b": None,
            "c": None,
            "d": "Section 2 says what was written into it: no optimizer.",
            "e": structure,
        },
    )
    letters(
        "same_step_with_sgd",
        same_step_with_sgd,
        {"a": None, "b": None, "c": None, "d": None, "e": structure},
    )
    letters(
        "same_step_with_adam",
        same_step_with_adam,
        {
            "a": None,
            "b": None,
            "c": None,
            "d": "A fresh Adam has no means of earlier gradients to divide by.",
            "e": structure,
        },
    )
    return (
        "A fresh SGD has nothing to remember, so weights alone are enough for it. "
        "Adam's means must come along."
    )


def exercise_2(my_served):
    """Changes a model, so that what is exported can be frozen."""
    function("my_served", my_served)
    kernel = np.arange(48, dtype="float32").reshape(16, 3) / 48
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.RandomFlip("horizontal"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.set_weights([*model.get_weights()[:-2], kernel, np.zeros(3, "float32")])
    pictures = np.linspace(-1, 1, 32, dtype="float32").reshape(2, 4, 4, 1) ** 3
    expected = np.asarray(model(pictures, training=False))
    served = my_served(model)
    if len(model.layers) != 3:
        raise Wrong("Layers were taken out of the model that it was given.")
    if not isinstance(served, keras.Model):
        raise Wrong("What it returns must be a Keras model.")
    found = np.asarray(served(pictures, training=False))
    if found.shape != expected.shape:
        raise Wrong(f"It has outputs of shape {found.shape}, not {expected.shape}.")
    with tempfile.TemporaryDirectory() as folder:
        served.export(f"{folder}/served", verbose=False)
        try:
            frozen = formats.freeze(f"{folder}/served", f"{folder}/served.pb")
        except ValueError as error:
            raise Wrong("Its SavedModel cannot be frozen: a seed moves on.") from error
    gap = abs(found - expected).max()
    if gap > 1e-5:
        raise Wrong(f"It has other outputs than the model: they differ by {gap:.2g}.")
    (outputs,) = frozen(pictures).values()
    if abs(np.asarray(outputs) - expected).max() > 1e-5:
        raise Wrong("The frozen graph has other outputs than the model.")
    return "Weights and outputs are the model's, and nothing random is left in it."


def exercise_3(hold_for_weights):
    """Explains what a file of weights can do."""
    letters(
        "hold_for_weights",
        hold_for_weights,
        {
            "a": None,
            "b": "It holds names, sizes and links, too. Look into one with a link.",
            "c": None,
            "d": None,
            "e": "A file that was read in secret gives no error.",
        },
    )
    return (
        "`formats.inspect_file` names links, sizes and code before anything is loaded."
    )


def exercise_4(cause, my_loaded, *, images, labels):
    """Diagnoses a model of an old file that cannot go on."""
    letters(
        "cause",
        cause,
        {
            "a": "`formats.inspect_file` opens it and finds all arrays.",
            "b": "Before it is trained, the loaded model is right as often as the "
            "saved one.",
            "c": None,
            "d": "They are the same, and `evaluate` takes them.",
        },
    )
    if not isinstance(my_loaded, keras.Model):
        raise Wrong("`my_loaded` must be a Keras model.")
    if getattr(my_loaded, "optimizer", None) is None:
        raise Wrong("`my_loaded` is not compiled, so it cannot be trained.")
    if not isinstance(my_loaded.optimizer, keras.optimizers.Adam):
        raise Wrong("It was to be trained on with `Adam`.")
    before = my_loaded.get_weights()
    outputs = np.asarray(my_loaded(images))
    if (outputs.argmax(-1) == labels).mean() < 0.5:
        raise Wrong(
            "It guesses more than it reads: the weights of the file are not in it."
        )
    try:
        my_loaded.train_on_batch(images[:32], labels[:32])
    except ValueError as error:
        raise Wrong("`my_loaded` still cannot make a step.") from error
    finally:
        my_loaded.set_weights(before)
    return (
        "Weights from the file, a fresh Adam: it can go on, with means that start at 0."
    )

"""Checks of notebook 1, devices."""

from unittest import mock

import numpy as np
import tensorflow as tf
from tensorflow.python.client import device_lib

from workbench.course.asking import function, integers, letters, number
from workbench.course.verdicts import Wrong
from workbench.devices.visibility import visible_positions


def exercise_1(first_mask, second_mask, *, machine):
    """Predicts which GPUs two masks leave visible."""
    for name, answer, mask in (
        ("first_mask", first_mask, "3,GPU-a0,7,1"),
        ("second_mask", second_mask, "GPU-c,0"),
    ):
        seen = visible_positions(machine, mask)
        given = integers(name, answer, "numbers of GPUs")
        for gpu in given:
            if gpu not in range(len(machine)):
                raise Wrong(f"This machine has no GPU {gpu}, so nobody can see it.")
        if set(given) - set(seen):
            raise Wrong(
                f"`{name}` has too many. Take the entries from left to right: what "
                "hides the rest?"
            )
        if set(seen) - set(given):
            raise Wrong(f"`{name}` has not all that TensorFlow sees.")
        if given != seen:
            raise Wrong(
                f"`{name}` has the right GPUs in another order than TensorFlow counts "
                "them."
            )
    return "The place in the list is TensorFlow's number, the value is the driver's."


def exercise_2(three_sizes, combine):
    """Changes the mean of gradients for shards that are not of one size."""
    sizes = integers("three_sizes", three_sizes, "three numbers of examples")
    if len(sizes) != 3 or sum(sizes) != 64:
        raise Wrong(
            f"`three_sizes` are {len(sizes)} shards with together {sum(sizes)} "
            "examples; there are 64, for three devices."
        )
    if max(sizes) - min(sizes) > 1:
        raise Wrong("These shards are not as even as they can be.")
    function("combine", combine)
    rng = np.random.default_rng(0)
    for case in (sizes, [1, 40, 23]):
        x, y = rng.normal(size=(64, 5)), rng.normal(size=64)
        parts = np.split(np.arange(64), np.cumsum(case)[:-1])
        shards = [x[rows].T @ (x[rows] @ np.ones(5) - y[rows]) for rows in parts]
        means = [shard / size for shard, size in zip(shards, case, strict=True)]
        whole = np.sum(shards, axis=0) / 64
        given = np.asarray(combine(means, case), "float64")
        if given.shape != whole.shape:
            raise Wrong("`combine` must give one number per weight, as a shard does.")
        if not np.allclose(given, whole, rtol=1e-4, atol=1e-6):
            gap = np.linalg.norm(given - whole) / np.linalg.norm(whole)
            raise Wrong(
                f"With shards of {case} the result is far from the gradient of all 64."
                if gap > 1.5
                else f"With shards of {case} the result is off by {gap:.0%}: an "
                "example in one shard counts more than another in a larger one."
            )
    return "Weighted by the sizes it is exact, whatever they are."


def exercise_3(statements, count_gpus):
    """Explains what an innocent question costs."""
    letters(
        "statements",
        statements,
        {
            "a": None,
            "b": "It fails at its first tensor, be that one single number.",
            "c": None,
            "d": "Try it in section 4: after the first tensor such a setting comes too "
            "late.",
        },
    )
    function("count_gpus", count_gpus)
    with mock.patch.object(device_lib, "list_local_devices", return_value=[]) as build:
        given = number("count_gpus()", count_gpus(), "GPUs")
    if build.called:
        raise Wrong("`count_gpus` still builds the devices on its way to the answer.")
    seen = len(tf.config.list_physical_devices("GPU"))
    if given != seen:
        raise Wrong(f"`count_gpus` says {given:g}; TensorFlow sees {seen} on this one.")
    return "The same answer, and the card is still free."


def exercise_4(cause, place):
    """Diagnoses work that silently runs elsewhere."""
    letters(
        "cause",
        cause,
        {
            "a": "The cell was done at once.",
            "b": None,
            "c": "Look at what it prints: which device has computed the sum?",
            "d": "Ask for the last of this machine's own devices, and it computes "
            "there.",
        },
    )
    function("place", place)
    for name in ("/GPU:9", "/CPU:99"):
        try:
            place(name)
        except ValueError as error:
            if name not in str(error):
                raise Wrong(
                    f"For {name} the message does not name the device that was asked "
                    f"for. Received: {error}"
                ) from None
        except Exception as error:  # noqa: BLE001, any other error is wrong
            kind = type(error).__name__
            raise Wrong(f"For {name} it raised {kind}, not a ValueError.") from None
        else:
            raise Wrong(f"There is no {name} here, and `place` said nothing.")
    try:
        given = place("/CPU:0")
    except ValueError:
        raise Wrong("/CPU:0 is here, and `place` refused it.") from None
    if given != "/CPU:0":
        raise Wrong(f"`place` must give back the name. Received: {given!r}")
    return "Now a script that asks for a GPU gets one, or says that there is none."

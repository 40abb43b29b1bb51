"""Checks of notebook 5, learning rate."""

import keras
import numpy as np

from workbench.course.asking import letters, number
from workbench.course.verdicts import Wrong
from workbench.experiments.racing import race
from workbench.experiments.surfaces import LONG_VALLEY
from workbench.schedules import sample_schedule


def exercise_1(mean_rate, compared):
    """Predicts what a rate does that swings."""
    mean = np.mean(0.1 + 0.05 * np.sin(np.arange(100) / 5))
    given = number("mean_rate", mean_rate, "a rate")
    if abs(given - mean) > 0.003:
        raise Wrong(f"{given:g} is not the mean of these hundred rates.")
    letters(
        "compared",
        compared,
        {
            "a": "Train both, over several seeds.",
            "b": "Train both, over several seeds.",
            "c": None,
        },
    )
    return "What counts here is the sum of the rates, and the swings hardly change it."


def exercise_2(edge, curvature):
    """Finds the largest rate that a valley bears."""
    rate = number("edge", edge, "a rate")
    if not rate > 0:
        raise Wrong(f"`edge` must be > 0 (a rate). Received: edge={rate:g}")
    sgd = keras.optimizers.SGD
    around = {"below": sgd(0.98 * rate), "above": sgd(1.02 * rate)}
    paths = race(LONG_VALLEY, around, 20).paths
    first, last = ({n: abs(p[i, 1]) for n, p in paths.items()} for i in (0, -1))
    if not last["below"] < first["below"]:
        raise Wrong(f"At {0.98 * rate:.3g} the path swings higher already.")
    if last["above"] < first["above"]:
        raise Wrong(f"At {1.02 * rate:.3g} the path still comes closer to the floor.")
    steep = number("curvature", curvature, "a curvature")
    along, across = _curvatures(LONG_VALLEY)
    if np.isclose(steep, along, rtol=0.02):
        raise Wrong(
            "That is the curvature along the valley, and alone it would bear a rate "
            f"of {2 / along:g}."
        )
    if not np.isclose(steep, across, rtol=0.02):
        raise Wrong("`curvature` is neither that along the valley nor that across.")
    return "The steepest direction sets the edge, at 2 divided by its curvature."


def _curvatures(surface, step=0.1):
    """The second differences of a surface at zero, along x and along y."""

    def value(x, y):
        return float(surface(np.float32(x), np.float32(y)))

    middle = 2 * value(0, 0)
    along = value(step, 0) + value(-step, 0) - middle
    across = value(0, step) + value(0, -step) - middle
    return along / step**2, across / step**2


def exercise_3(statements, ways_out):
    """Explains a training that dies in its second hour."""
    letters(
        "statements",
        statements,
        {
            "a": None,
            "b": "Read the error in section 2: does it speak of a rate of zero?",
            "c": None,
            "d": "In section 2 the data is small, and it comes there, too.",
        },
    )
    letters(
        "ways_out",
        ways_out,
        {
            "p": None,
            "q": "Then it waits longer, and dies later.",
            "r": None,
            "s": "Try it on a model that was compiled with a schedule.",
        },
    )
    return "A rate that others may set is a number, or it is set in a `Run`."


def exercise_4(cause, first_bad_step, my_schedule):
    """Diagnoses a rate that falls below zero."""
    letters(
        "cause",
        cause,
        {
            "a": "In the first two epochs the loss falls.",
            "b": None,
            "c": "It is the loss of the digits that it trains on that climbs.",
            "d": "Nothing is started anew: print the rates of steps 90 to 110.",
        },
    )
    step = number("first_bad_step", first_bad_step, "steps, counted from 0")
    if step not in (100, 101, 102):
        raise Wrong(f"`first_bad_step` is another one than {step:g}: print the rates.")
    if not isinstance(my_schedule, keras.optimizers.schedules.LearningRateSchedule):
        raise Wrong("`my_schedule` must be a schedule.")
    try:
        rates = sample_schedule(my_schedule, 300)
    except ValueError as error:
        raise Wrong(f"`my_schedule` still falls below zero: {error}") from None
    wanted = np.maximum(0.1 - 0.001 * np.arange(300), 0)
    for i in (0, 50, 99, 150, 299):
        if abs(rates[i] - wanted[i]) > 1e-4:
            raise Wrong(
                f"At step {i} the rate is {rates[i]:.3g}. It was to begin at 0.1, "
                "fall by 0.001 at each step, and stay at zero."
            )
    return "A schedule can be looked at before it costs an hour."

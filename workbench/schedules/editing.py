"""A schedule's settings read, changed and scaled; and the usual schedules to choose."""

import numbers

import keras

from workbench.schedules.joining import piecewise_by_epochs
from workbench.schedules.shapes import Noam, OneCycle, Triangular, WarmupStableDecay

_KERAS = keras.optimizers.schedules
_RATES = ("learning_rate", "values", "scale", "warmup_target")  # ends of names
_CONSTANT = "learning_rate"


def usual_schedules(learning_rate, total_steps, steps_per_epoch):
    """Makes each kind of schedule once, with usual settings for one training.

    Args:
        learning_rate: Positive float, the highest rate of each.
        total_steps: Positive int, of the training.
        steps_per_epoch: Positive int.

    Returns:
        Dict of name -> `LearningRateSchedule`, or float for "constant".
    """
    rate, total = float(learning_rate), int(total_steps)
    part = max(total // 4, 1)
    third = max(total // (3 * steps_per_epoch), 1)
    pieces = [rate, rate / 10, rate / 100]
    noam = Noam(d_model=64, warmup_steps=part)
    # Its highest rate is at the end of the warmup.
    highest = noam.d_model**-0.5 * noam.warmup_steps**-0.5
    return {
        "constant": rate,
        "exponential decay": _KERAS.ExponentialDecay(rate, part, 0.5),
        "staircase": _KERAS.ExponentialDecay(rate, part, 0.5, staircase=True),
        "inverse time decay": _KERAS.InverseTimeDecay(rate, part, 1.0),
        "polynomial decay": _KERAS.PolynomialDecay(rate, total, rate / 100),
        "cosine decay": _KERAS.CosineDecay(rate, total),
        "cosine restarts": _KERAS.CosineDecayRestarts(rate, part),
        "piecewise constant": piecewise_by_epochs(
            pieces, [third, 2 * third], steps_per_epoch
        ),
        "one-cycle": OneCycle(rate, total),
        "warmup-stable-decay": WarmupStableDecay(
            rate, max(total // 10, 1), total // 2, max(total - total // 2, 1)
        ),
        "Noam": Noam(64, part, scale=rate / highest),
        "triangular": Triangular(rate / 10, rate, part),
    }


def settings_of(schedule):
    """Reads the settings of a schedule that are plain values.

    Args:
        schedule: `LearningRateSchedule` or a number.

    Returns:
        Dict of name -> bool, int, float, str or list of numbers.
    """
    if not isinstance(schedule, _KERAS.LearningRateSchedule):
        return {_CONSTANT: float(schedule)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in schedule.get_config().items()
        if name != "name" and _is_plain(value)
    }


def with_settings(schedule, **changes):
    """Makes the same schedule with other settings.

    Args:
        schedule: `LearningRateSchedule` or a number.
        **changes: Names as `settings_of` gives them.

    Returns:
        The new one, of the same kind.

    Raises:
        TypeError: If a value is of another kind than the setting's.
        ValueError: If there is no such setting.
    """
    now = settings_of(schedule)
    unknown = sorted(set(changes) - set(now))
    if unknown:
        raise ValueError(
            f"`settings` must name some of {list(now)}. Received: {unknown[0]}="
            f"{changes[unknown[0]]!r}"
        )
    fitted = {name: _fitted(name, value, now[name]) for name, value in changes.items()}
    if not isinstance(schedule, _KERAS.LearningRateSchedule):
        return fitted.get(_CONSTANT, float(schedule))
    return type(schedule).from_config({**schedule.get_config(), **fitted})


def scaled(schedule, factor):
    """Multiplies all rates of a schedule.

    Args:
        schedule: `LearningRateSchedule` or a number.
        factor: Positive float.

    Returns:
        The new one, of the same kind.
    """
    changes = {}
    for name, value in settings_of(schedule).items():
        if name.endswith(_RATES):
            many = isinstance(value, list)
            every = [float(f"{factor * v:.6g}") for v in (value if many else [value])]
            changes[name] = every if many else every[0]
    return with_settings(schedule, **changes)


def _is_number(value):
    return isinstance(value, numbers.Real)


def _is_plain(value):
    if isinstance(value, list | tuple):
        return all(map(_is_number, value))
    return isinstance(value, str) or _is_number(value)


def _fitted(name, value, now):
    """Turns a value into the kind of what it replaces."""
    must = type(now).__name__
    if isinstance(now, bool | str):
        if isinstance(value, type(now)):
            return value
    elif isinstance(now, list):
        must = "list of numbers"
        if isinstance(value, list | tuple) and all(map(_is_number, value)):
            return list(value)
    elif _is_number(value) and not isinstance(value, bool):
        # Whole numbers stay whole: some are steps.
        whole = isinstance(now, int) and float(value).is_integer()
        return int(value) if whole else float(value)
    raise TypeError(f"`{name}` must be a {must}. Received: {name}={value!r}")

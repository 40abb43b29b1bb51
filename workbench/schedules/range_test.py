"""What rate to train with: a range test, then short trainings around what it finds."""

import dataclasses
import math

import keras
import numpy as np

from workbench.reports import Note, Report, Table
from workbench.schedules.base import SOME_STEPS, check_number
from workbench.schedules.batches import Batches
from workbench.schedules.trials import Trials
from workbench.steps import Progress

_RATES = np.geomspace(1e-6, 10.0, 120)
_SMOOTHING = 0.03  # of the number of rates
_TAIL = 0.3  # the share of a trial whose mean loss counts
_NEARLY = 1.02  # times the best loss: then a rate down to half is taken
_CLOSE = 1.1  # times the best loss: then the rate belongs to the interval
_FALLS = 0.9999  # times the loss at the start
_TRIALS = 6  # expected, for the progress bar
_FURTHEST = 8  # doublings
_NOISE = 4.0  # deviations of a batch's loss


@dataclasses.dataclass(frozen=True, eq=False)
class RangeTest(Report):
    """What `find_learning_rate` saw and suggests. `plots.plot_range_test` draws it.

    Attributes:
        suggestion: float, the rate to train with.
        interval: `(low, high)`, the tried rates whose loss came within 10 % of the
            best; the suggestion lies inside.
        rates: float64 `(K,)`, the rates of the range test, one per step.
        losses: float64 `(seeds, K)`, each step's own batch loss, before its update;
            NaN from where the net exploded on.
        smoothed: float64 `(K,)`, the median over the seeds, smoothed; around the mean
            loss without training where batches differ more than training changes.
        trials: Tuple of `(rate, loss)`, by rate: the short trainings at a constant
            rate, and their mean loss near the end; infinite where it exploded.
        reason: str, why this rate.
    """

    suggestion: float
    interval: tuple
    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    trials: tuple
    reason: str

    def blocks(self):
        """Returns the report's content."""
        low, high = self.interval
        yield Note(
            f"Learning rate {self.suggestion:.2g}, good from {low:.2g} to {high:.2g}."
        )
        yield Note(self.reason)
        rows = [(f"{r:.2g}", f"{loss:.4g}") for r, loss in self.trials]
        yield Table(("rate", "loss of its trial"), tuple(rows))


def find_learning_rate(
    model, data, *, batch_size=32, seeds=3, steps=192, make_bar=Progress
):
    """Suggests a learning rate for a compiled model as it stands.

    First a range test: from the model's weights, once for each order of the data, the
    rate rises from 1e-6 to 10 while each batch's own loss is recorded. Where batches
    differ more than training changes, as for a trained model, the loss that the same
    batch has without training is taken off. Then trials:
    short trainings with a constant rate, doubling and halving from where the loss was
    lowest, until one is better than both neighbours.

    Afterwards weights, optimizer state, metrics and random states are bit by bit what
    they were; after an exception or an interrupt too. An optimizer that has not trained
    yet is built.

    Args:
        model: Compiled `keras.Model`; whatever its rate is, the test replaces it.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`. Data too short for the test comes round again.
        batch_size: Positive int, for arrays only.
        seeds: Positive int, orders of the data, and random numbers of layers, in the
            range test. A dataset keeps its own order; each seed starts further on.
        steps: Positive int, of each trial. The best rate depends on how long one
            trains; more steps find it for longer trainings.
        make_bar: Function from the number of steps to what counts them, with
            `add(steps)` and `close()`; a line of progress where it takes long.

    Returns:
        `RangeTest`; `.suggestion` is the rate.

    Raises:
        ValueError: If an argument is out of range, `data` holds less than one batch,
            or the model's loss is not finite, or falls at no rate.
        TypeError: If `data` cannot be read several times.

    Source: Smith 2017 (arXiv:1506.01186), section 3.3, for the range test.
    """
    check_number("batch_size", batch_size, SOME_STEPS)
    check_number("seeds", seeds, ("an int >= 1", SOME_STEPS[1]))
    check_number("steps", steps, ("an int >= 8 (steps)", lambda value: value >= 8))
    _check_model(model)
    long = max(int(steps), len(_RATES))
    batches = Batches(data, batch_size, long)
    _build(model, batches)
    bar = make_bar(int(seeds) * len(_RATES) + _TRIALS * int(steps))
    try:
        with Trials(model) as trials:

            def losses_at(rates):
                return np.stack(
                    [
                        trials.train(batches.draw(seed), rates, seed, bar.add)
                        for seed in range(int(seeds))
                    ]
                )

            losses = losses_at(_RATES)
            smoothed = _smoothed_median(losses)
            if _is_lost_in_noise(losses, smoothed):
                untrained = losses_at(0 * _RATES)
                smoothed = _smoothed_median(losses - untrained) + np.mean(untrained)
            start = _lowest(smoothed)

            def loss_of(rate):
                flat = np.full(int(steps), rate)
                series = trials.train(batches.draw(0), flat, 0, bar.add)
                tail = float(np.mean(series[-max(int(_TAIL * len(series)), 1) :]))
                return tail if math.isfinite(tail) else math.inf

            tried = _climb(loss_of, start)
    finally:
        bar.close()
    return _result(losses, smoothed, start, tried, int(steps))


def _check_model(model):
    if not isinstance(model, keras.Model) or not getattr(model, "optimizer", None):
        raise ValueError(
            "`model` must be a keras.Model compiled with an optimizer; call "
            f"`model.compile(optimizer, loss)` first. Received: model={model!r}"
        )


def _build(model, batches):
    """Builds a model that is not; the weights are those that `fit` would give it."""
    if model.built:
        return
    data = batches.draw(0)
    if isinstance(data["x"], keras.utils.PyDataset):
        first = data["x"][0][0]
    elif "y" in data:
        first = keras.tree.map_structure(lambda array: array[:1], data["x"])
    else:
        first = next(iter(data["x"]))[0]
    model(first)


def _smoothed_median(losses):
    """The median where at least half of the seeds go on, as a moving average."""
    alive = np.isfinite(losses).sum(axis=0) * 2 >= len(losses)
    ends = np.flatnonzero(~alive)
    count = ends[0] if len(ends) else losses.shape[1]
    if not count:
        raise ValueError(
            "`model` must have a finite loss; look at its weights and at `data`. "
            "Received: a loss that is NaN or infinite at the first step already"
        )
    median = np.nanmedian(losses[:, :count], axis=0)
    place = np.arange(count)
    width = max(_SMOOTHING * losses.shape[1], 1.0)
    weight = np.exp(-0.5 * ((place[:, None] - place) / width) ** 2)
    smoothed = np.full(losses.shape[1], np.nan)
    smoothed[:count] = weight @ median / weight.sum(axis=1)
    return smoothed


def _is_lost_in_noise(losses, smoothed):
    """Whether batches differ more than training changes, as for a trained model."""
    noise = np.median(np.std(losses[:, : losses.shape[1] // 10], axis=1))
    return smoothed[0] - np.nanmin(smoothed) < _NOISE * noise


def _lowest(smoothed):
    """The rate of the lowest loss in the two decades before it passes the start's."""
    level = float(np.median(smoothed[: len(smoothed) // 10]))
    # Further down, what looks low may be the batch.
    edge = int(np.flatnonzero(smoothed <= max(level, np.nanmin(smoothed)))[-1])
    first = int(np.searchsorted(_RATES, _RATES[edge] / 100))
    lowest = first + int(np.argmin(smoothed[first : edge + 1]))
    if not smoothed[lowest] < _FALLS * level:
        count = int(np.isfinite(smoothed).sum())
        raise ValueError(
            "`model` must learn from `data`: its loss falls at no rate from "
            f"{_RATES[0]:g} to {_RATES[count - 1]:.2g}, where the test ended. Look at "
            "the loss, the targets, and at what is trainable. Received: a loss of "
            f"{level:.4g} at the start and {smoothed[lowest]:.4g} at its lowest"
        )
    return float(_RATES[lowest])


def _climb(loss_of, start):
    """Tries rates around `start`, by factors of 2, at last of its square root.

    Returns:
        Tuple of `(rate, loss)`, by rate.
    """
    tried = {}

    def loss_at(power):
        if power not in tried:
            tried[power] = loss_of(start * 2.0**power)
        return tried[power]

    here = -1.0
    while here < _FURTHEST and loss_at(here + 1) < loss_at(here):
        here += 1
    # Where all explode, smaller ones may not.
    while here > -_FURTHEST and (
        loss_at(here - 1) < loss_at(here) or not math.isfinite(loss_at(here))
    ):
        here -= 1
    loss_at(here + 0.5)
    loss_at(here - 0.5)
    return tuple((start * 2.0**power, tried[power]) for power in sorted(tried))


def _result(losses, smoothed, start, tried, steps):
    rates, results = np.array(tried).T
    best = results.min()
    if not math.isfinite(best):
        raise ValueError(
            "`model` must train at some constant rate. Received: a loss that explodes "
            f"in {steps} steps at every rate from {rates[0]:.2g} to {rates[-1]:.2g}"
        )
    lowest = rates[results.argmin()]
    nearly = (results <= _NEARLY * best) & (rates > lowest / 2.1)
    suggestion = float(rates[nearly][0])
    near = rates[results <= _CLOSE * best]
    worse = rates[(rates > suggestion) & ~np.isfinite(results)]
    reason = (
        f"In the range test the loss was lowest at {start:.2g}, as the median of "
        f"{len(losses)} orders of the data. Of {len(rates)} trainings of {steps} steps "
        f"from {rates[0]:.2g} to {rates[-1]:.2g}, {lowest:.2g} ended lowest, with a "
        f"loss of {best:.4g}"
    )
    if suggestion != lowest:
        reason += f"; {suggestion:.2g} came within 2 %, and smaller is safer"
    if len(worse):
        reason += f". At {worse[0]:.2g} the loss exploded"
    return RangeTest(
        suggestion=suggestion,
        interval=(float(near[0]), float(near[-1])),
        rates=_RATES.copy(),
        losses=losses,
        smoothed=smoothed,
        trials=tried,
        reason=reason + ".",
    )

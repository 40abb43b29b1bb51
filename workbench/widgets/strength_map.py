"""Strength Map: what penalties do to the reader's own model, live and over strength."""

import functools
import math

import keras
import traitlets

from workbench.experiments import strength_kinds, strengths
from workbench.plots import image_tag
from workbench.plots.penalties import PenaltyFigure
from workbench.regularization import (
    PenaltyRecorder,
    ProximalL1,
    set_constraint,
    set_penalty,
)
from workbench.training import Run
from workbench.widgets.comparing import Comparing
from workbench.widgets.model_copies import ModelCopies, fixed_order
from workbench.widgets.panel import shows_errors
from workbench.widgets.strength_view import StrengthView

_BUTTONS = ("start", "stop", "keep", "compare", "end")
_ENDS = (-6, 0)  # of the slider, powers of ten


def _as_it_is(strength):
    return strength


def _largest_norm(strength):
    return 1 / strength


# Kind -> how it comes onto a model, what it is, its number for a strength.
_LIVE = {
    "L1": (set_penalty, keras.regularizers.L1, _as_it_is),
    "L2": (set_penalty, keras.regularizers.L2, _as_it_is),
    "proximal L1": (set_constraint, ProximalL1, _as_it_is),
    "max-norm": (set_constraint, keras.constraints.MaxNorm, _largest_norm),
}


class StrengthMap(Comparing):
    """Trains copies of a model under a penalty, and shows what it buys and costs.

    **Start** trains one copy with the penalty on all kernels, in place of what they
    have, and shows data loss and penalty apart, norms and zeros; the strength acts on
    the next step. **Draw the map** trains the model at many strengths and seeds, as
    `workbench.experiments.strength_map` does. The model itself is never changed,
    unless `keep()` is called.

    Every control is a trait; setting it from Python does what the mouse does, and
    `start()`, `stop()`, `compare()`, `end()` and `keep()` are the buttons.

    Attributes:
        kind: Trait, str, "L1", "L2", "proximal L1" or "max-norm" (whose largest norm
            is 1 / strength); takes effect at the next start.
        strength: Trait, float > 0, used by the next step.
        paused: Trait, bool; True lets the run stand still, False lets it go on.
        new_weights: Trait, bool, whether a copy begins with new weights instead of the
            model's.
        chosen: Trait, tuple of str, the kinds to map.
        state: Trait, str, the run's state. Read only, as all that follow.
        step: Trait, int, steps done.
        total_steps: Trait, int, 0 while it is not known.
        data_loss: Trait, float, of the last step, NaN before.
        penalty: Trait, float, of the last step, NaN before.
        zeros: Trait, float, the share of the kernels' numbers that are exactly zero.
        comparing: Trait, bool, whether a map is being trained.
        compared: Trait, float in [0, 1], how much of it is done.
        error: Trait, str, what went wrong in training or in a callback, else "".
        run: `workbench.training.Run` of the last start, or None.
        grid: `workbench.experiments.StrengthGrid` of the last map, or None.

    Args:
        model: Compiled `keras.Model`, or a function that builds and compiles one, for
            models that Keras cannot clone.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, shuffled by `seed`; or a
            dataset of batches, taken as it comes.
        strengths: Iterable of float, or dict of kind -> iterable, for the map; None
            for seven each.
        seeds: Iterable of int, for the initial weights of the map.
        epochs: Positive int.
        batch_size: Positive int, for arrays.
        validation_data: As `data`, for the map's held-out curves, or None.
        seed: int, the order of arrays.

    Raises:
        ValueError: If the model is not compiled.
    """

    kind = traitlets.Unicode("L2")
    strength = traitlets.Float(1e-3)
    data_loss = traitlets.Float(math.nan)
    penalty = traitlets.Float(math.nan)
    zeros = traitlets.Float(0.0)
    grid = None

    def __init__(
        self,
        model,
        data,
        *,
        strengths=None,
        seeds=(0, 1, 2),
        epochs=1,
        batch_size=32,
        validation_data=None,
        seed=0,
    ):
        self._copies = ModelCopies(model)
        self._data = fixed_order(data, seed)
        self._held_out = validation_data
        self._strengths, self._seeds = strengths, tuple(seeds)
        self._fit_arguments = {"epochs": epochs, "batch_size": batch_size}
        self._arguments = {**self._fit_arguments, "validation_data": validation_data}
        self._arguments["validation_freq"] = epochs  # the map shows the end
        self._map_plan = None
        self._drawing, self._drawn = PenaltyFigure(), None
        self._recorder = PenaltyRecorder()
        every = list(strength_kinds.KINDS)
        can_keep = self._copies.model is not None
        self._view = StrengthView(list(_LIVE), every, can_keep=can_keep)
        super().__init__(self._view.rows)
        self.new_weights = bool(self._copies.bad_weights)
        self.chosen = ("L1", "L2", "dropout")
        self._view.show_number(self.strength, _ENDS)
        self._connect()
        self._refresh()
        self._draw()
        self._start_beat()

    def _connect(self):
        super()._connect()
        traitlets.link((self, "kind"), (self._view.way, "value"))
        self.observe(self._on_strength, "strength")
        self._view.number.observe(self._on_slider, "value")
        self._connect_buttons(_BUTTONS)

    # What the reader does

    @traitlets.validate("kind")
    def _check_kind(self, proposal):
        if proposal["value"] not in _LIVE:
            raise ValueError(
                f"`kind` must be one of {list(_LIVE)}. Received: {proposal['value']!r}"
            )
        if self._alive and proposal["value"] != self.kind:
            raise ValueError(
                "`kind` cannot change while a copy trains; `stop()` it first. "
                f"Received: kind={proposal['value']!r}"
            )
        return proposal["value"]

    @traitlets.validate("strength")
    def _check_strength(self, proposal):
        value = proposal["value"]
        if not (math.isfinite(value) and value > 0):
            raise ValueError(
                f"`strength` must be a finite number > 0. Received: strength={value}"
            )
        return value

    def start(self):
        """Trains a fresh copy with the penalty chosen; returns at once.

        Raises:
            RuntimeError: If a copy trains already.
            ValueError: If the model's weights are not finite, or cannot be copied.
        """
        self._check_may_start()
        copy = self._copies.make(new_weights=self.new_weights)
        put, make, number = _LIVE[self.kind]
        put(copy, make(number(self.strength)))
        self._recorder = PenaltyRecorder()
        self._drawing, self._drawn = PenaltyFigure(), None
        # Each start sees the same batches, so that starts can be compared.
        run = Run(
            copy,
            self._data,
            shuffle=False,
            callbacks=[self._recorder],
            **self._fit_arguments,
        )
        self.run = run.start()
        self._wake.set()

    @shows_errors
    def _on_strength(self, change):
        if self._alive and not self._is_following:
            _, _, number = _LIVE[self.kind]
            self.run.set("penalty", number(change["new"]))
        with self._following():
            self._view.show_number(change["new"])

    @shows_errors
    def _on_slider(self, change):
        # The slider has moved already: it stands at the strength or elsewhere.
        if not self._is_following and not self._view.number.is_echo(self.strength):
            self.strength = change["new"]

    # The map

    def _names(self):
        return strength_kinds.KINDS

    def _plan(self):
        build = functools.partial(self._copies.make, new_weights=True)
        self._map_plan = strength_kinds.make_plan(
            build, self.chosen, self._strengths, self._seeds
        )
        return self._map_plan.build, self._map_plan.variants

    def _show_comparison(self):
        self.grid = strengths.measure_plan(self._map_plan, self.comparison, self._data)
        self._view.show_map(self.grid)

    # What the run does

    def _refresh(self):
        run, progress, numbers = self.run, None, {}
        with self._following():
            if run is not None:
                progress = self._read_progress()
                numbers = self._read_numbers(run)
                if run.problem or run.error is not None:
                    self.error = (
                        run.problem or f"{type(run.error).__name__}: {run.error}"
                    )
        self._view.show_progress(progress, numbers, paused=self.paused)
        self._view.allow(
            alive=self._alive, started=run is not None, comparing=self.comparing
        )

    def _read_numbers(self, run):
        last = self._recorder.last
        losses = run.records.loss
        if last is None or not len(losses):
            return {}
        self.penalty, self.zeros = last
        self.data_loss = float(losses[-1]) - self.penalty
        return {
            "data loss": f"{self.data_loss:.4g}",
            "penalty": f"{self.penalty:.4g}",
            "zeros": f"{self.zeros:.0%}",
        }

    def _draw(self):
        run = self.run
        if run is not None:
            if self._drawn == (self.step, self.state):
                return
            self._drawn = self.step, self.state
            records = self._recorder.records
            self._drawing.update(run.records.loss, records, self.total_steps)
        self._view.plot.value = image_tag(self._drawing.to_png(), self.alt)

    @property
    def alt(self):
        """str, in words what the curves show now."""
        return (
            "Loss with and without the penalty, the penalty, each kernel's norm and "
            f"share of zeros, over {self.step} steps of {self.kind}."
        )

    def _picture(self):
        return self._drawing.to_png()

    def __repr__(self):
        return "StrengthMap(model, data)"

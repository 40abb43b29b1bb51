"""Schedule Studio: choose, find, change and compare learning rates and optimizers."""

import functools

import traitlets

from workbench import clipping, schedules
from workbench.experiments import Variant
from workbench.experiments.contestants import CONTESTANTS, get_contestant
from workbench.experiments.feeding import make_feed
from workbench.plots import image_tag
from workbench.plots.schedule_figure import ScheduleFigure
from workbench.schedules.editing import usual_schedules
from workbench.training.timeline import Timeline
from workbench.widgets.comparing import Comparing
from workbench.widgets.model_copies import ModelCopies
from workbench.widgets.panel import shows_errors
from workbench.widgets.schedule_finding import Finding
from workbench.widgets.schedule_steering import ScheduleSteering
from workbench.widgets.schedule_view import AS_COMPILED, ScheduleView

_BUTTONS = (
    *("start", "stop", "keep", "compare", "end"),
    *("find", "use_suggestion", "give_back", "rewind"),
)
_ENDS = (-6, 1)  # of the slider, powers of ten
_CHOSEN = ("constant", "exponential decay", "cosine decay", "one-cycle")


class ScheduleStudio(ScheduleSteering, Comparing, Finding):
    """Previews and edits schedules, and trains copies of a model with them.

    A schedule is drawn as it is edited. **Start** trains one copy with it; what is
    edited then is used from the next step on, and the slider sets the rate by hand
    until **Give back**. **Go back** trains again from an earlier step, with another
    rate if wanted, and draws both ways; unchanged, both are the same bit for bit.
    **Compare** trains one copy per chosen schedule, from the same weights over the same
    batches. **Find** looks for a rate. The model itself is never changed, unless
    `keep()` is called.

    Every control is a trait; setting it from Python does what the mouse does, and
    `start()`, `stop()`, `rewind()`, `compare()`, `end()`, `find()`,
    `use_suggestion()`, `give_back()` and `keep()` are the buttons.

    Attributes:
        schedule: Trait, str, a name in `schedules`.
        settings: Trait, dict of the schedule's settings; `edit(decay_rate=0.5)`
            changes some.
        warmup_steps: Trait, int, steps of a line up before the schedule.
        optimizer: Trait, str, "as compiled" or a name in
            `workbench.experiments.contestants.CONTESTANTS`; used from the next start.
        learning_rate: Trait, float, the rate of the next step while a copy trains.
        momentum: Trait, float, likewise; an Adam's is its beta_1, 0 for none.
        paused: Trait, bool; True lets the run stand still, False lets it go on.
        rewind_step, rewind_rate: Traits, int and float, what `rewind()` takes.
        log_scale: Trait, bool, whether rates are drawn on a logarithmic axis.
        new_weights: Trait, bool, whether copies begin with new weights.
        chosen: Trait, tuple of str, the schedules to compare and to draw.
        state: Trait, str, the run's state. Read only, as all that follow.
        step: Trait, int, steps done.
        total_steps: Trait, int.
        branches: Tuple of `workbench.training.timeline.Branch` since the last start.
        comparing, compared: Traits, bool and float, whether and how far a comparison
            is.
        finding, suggestion, interval: Traits, whether a search is under way, and the
            rate and the range it found.
        error: Trait, str, what went wrong in training or in a callback, else "".
        run: `workbench.training.Run` of the newest branch, or None.
        comparison: `workbench.experiments.Comparison`, or None.
        range_test: `workbench.schedules.RangeTest`, or None.

    Args:
        model: Compiled `keras.Model`, or a function that builds and compiles one, for
            models that Keras cannot clone.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, shuffled for each epoch;
            or a dataset of batches, taken as it comes.
        schedules: Dict of name -> `LearningRateSchedule` or number, put before the
            usual ones; or None.
        epochs: Positive int.
        batch_size: Positive int, for arrays.
        seed: int >= 0, the order of arrays.

    Raises:
        ValueError: If the model is not compiled, or a schedule gives a rate that is
            negative, NaN or infinite.
    """

    optimizer = traitlets.Unicode(AS_COMPILED)
    log_scale = traitlets.Bool()

    def __init__(self, model, data, *, schedules=None, epochs=1, batch_size=32, seed=0):
        self._copies = ModelCopies(model)
        self._data = data
        self._arguments = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
        self._steps_per_epoch = len(make_feed(data, batch_size, seed).epoch(0).sizes)
        total = self._steps_per_epoch * epochs
        every = self._all_schedules(schedules or {}, total)
        view = ScheduleView(list(every), can_keep=self._copies.model is not None)
        self._drawing, self._drawn, self._png = ScheduleFigure(), None, None
        super().__init__(every, view)
        self.total_steps = total
        self.schedule = next(iter(every))
        self.chosen = tuple(schedules or ()) + tuple(n for n in _CHOSEN if n in every)
        self.new_weights = bool(self._copies.bad_weights)
        self._check_all(schedules or {})
        self._follow_schedule()
        view.show_number(float(self.sampled(self.schedule).max()) or 1e-3, _ENDS)
        self._connect()
        self._refresh()
        self._draw()
        self._start_beat()

    def _all_schedules(self, own, total):
        compiled = self._copies.learning_rate
        rate = compiled
        if callable(compiled):
            own = {AS_COMPILED: compiled, **own}
            rate = float(schedules.sample_schedule(compiled, total).max())
        usual = usual_schedules(
            float(f"{rate or 1e-3:.6g}"), total, self._steps_per_epoch
        )
        return {**own, **{n: s for n, s in usual.items() if n not in own}}

    def _check_all(self, own):
        for name in own:
            self.sampled(name)

    def _connect(self):
        super()._connect()
        for name in ("optimizer", "log_scale"):
            traitlets.link((self, name), (getattr(self._view, name), "value"))
        self.observe(self._on_optimizer, "optimizer")
        self.observe(self._on_look, ["log_scale", "chosen"])
        self._connect_buttons(_BUTTONS)

    # What the reader does

    @traitlets.validate("optimizer")
    def _check_optimizer(self, proposal):
        name = proposal["value"]
        if name != AS_COMPILED and name not in CONTESTANTS:
            raise ValueError(
                f"`optimizer` must be one of {[AS_COMPILED, *CONTESTANTS]}. "
                f"Received: optimizer={name!r}"
            )
        if self._alive and name != self.optimizer:
            raise ValueError(
                "`optimizer` cannot change while a copy trains; `stop()` it first. "
                f"Received: optimizer={name!r}"
            )
        return name

    def start(self):
        """Trains a fresh copy with the schedule and optimizer chosen; returns at once.

        Raises:
            RuntimeError: If a copy trains already.
            ValueError: If the model's weights are not finite, or cannot be copied.
        """
        self._check_may_start()
        make = functools.partial(
            self._make_copy, self.planned(), self.optimizer, self.new_weights
        )
        clip = self._copies.clip
        clip = None if clip == clipping.NoClip() else clip
        self._timeline = Timeline(make, self._data, clip=clip, **self._arguments)
        self._begin_branch(self._timeline.start())

    def _make_optimizer(self, schedule, name):
        if name == AS_COMPILED:
            return self._copies.optimizer(learning_rate=schedule)
        return get_contestant(name).make(schedule)

    def _make_copy(self, schedule, name, new_weights):
        optimizer = self._make_optimizer(schedule, name)
        return self._copies.make(new_weights=new_weights, optimizer=optimizer)

    def _names(self):
        return self._schedules

    def _plan(self):
        clip = self._copies.clip
        variants = {
            name: Variant(
                self._make_optimizer(self.planned(name), self.optimizer),
                clip=None if clip == clipping.NoClip() else clip,
            )
            for name in self.chosen
        }
        return self._build(), variants

    def _show_comparison(self):
        self._view.show_comparison(self.comparison)

    def _copy_to_test(self):
        copy = self._make_copy(1e-3, self.optimizer, self.new_weights)
        if self._copies.clip != clipping.NoClip():
            copy.optimizer = self._copies.clip.wrap(copy.optimizer)
        return copy

    @shows_errors
    def _on_optimizer(self, change):
        self._view.show_optimizer(change["new"])

    @shows_errors
    def _on_look(self, _change):
        self._look_again()

    # What trains

    @property
    def _is_busy(self):
        return self.comparing or self.finding

    def _follow(self):
        looked = self._looks
        self._follow_search()
        stands = super()._follow()
        # What is edited is drawn as it is typed.
        return stands or self._drawn_looks != looked

    def _refresh(self):
        run, progress, branch = self.run, None, None
        with self._following():
            if run is not None:
                branch = self.branches[-1]
                progress = run.progress
                self._follow_branch(branch)
        self._view.show_progress(progress, branch, self.total_steps, paused=self.paused)
        self._view.allow(
            alive=self._alive, started=run is not None, comparing=self.comparing
        )
        self._view.momentum.disabled = not (self._alive and self._momentum_name)

    def _draw(self):
        key = self.step, self.state, self._looks, len(self.branches)
        if self._drawn == key:
            return
        self._drawn, self._drawn_looks = key, self._looks
        names = [n for n in self._schedules if n in {self.schedule, *self.chosen}]
        planned = {name: self.sampled(name) for name in names}
        self._drawing.update(
            planned,
            self.schedule,
            self.branches,
            self.total_steps,
            log_scale=self.log_scale,
        )
        self._png = self._drawing.to_png()
        self._view.plot.value = image_tag(self._png, self.alt)

    @property
    def alt(self):
        """str, in words what the curves show now."""
        text = (
            f"Learning rates over {self.total_steps} steps of {self.schedule}, the one "
            f"that is used, beside {', '.join(self.chosen) or 'no others'}"
        )
        if self.branches:
            text += (
                f"; and rate and loss of what was trained, {self.step} steps in "
                f"{len(self.branches)} branches"
            )
        return text + "."

    def _picture(self):
        # Not drawn anew: the panel's thread may be drawing.
        return self._png

    def __repr__(self):
        return "ScheduleStudio(model, data)"

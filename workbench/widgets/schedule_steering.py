"""Steering a training that follows a schedule, and going back in it, from a panel."""

import math

import traitlets

from workbench.steps import innermost, settings_of
from workbench.widgets.copy_training import CopyTraining
from workbench.widgets.panel import shows_errors
from workbench.widgets.schedule_choice import ScheduleChoice


class ScheduleSteering(CopyTraining, ScheduleChoice):
    """Base of a panel whose training follows the schedule, or the reader's hand.

    Attributes:
        learning_rate: Trait, float, the rate of the next step; set it to decide it by
            hand, until `give_back`.
        momentum: Trait, float, that of the next step, 0 where there is none.
        rewind_step: Trait, int, where `rewind` goes back to.
        rewind_rate: Trait, float, the rate from there on, 0 to leave it.
    """

    learning_rate = traitlets.Float()
    momentum = traitlets.Float()
    rewind_step = traitlets.Int()
    rewind_rate = traitlets.Float()
    _timeline = None
    _momentum_name = ""
    _looks = _drawn_looks = 0  # how often what is drawn besides the training changed

    def _connect(self):
        super()._connect()
        view = self._view
        for name in ("rewind_step", "rewind_rate"):
            traitlets.link((self, name), (getattr(view, name), "value"))
        self.observe(self._on_learning_rate, "learning_rate")
        self.observe(self._on_momentum, "momentum")
        view.learning_rate.observe(self._on_slider, "value")
        view.momentum.observe(self._on_momentum_slider, "value")

    @property
    def branches(self):
        """Tuple of `workbench.training.timeline.Branch` since the last start."""
        return () if self._timeline is None else self._timeline.branches

    def give_back(self):
        """Lets the chosen schedule decide the rate again, from the next step on."""
        if self._alive:
            self.run.set("learning_rate", self.planned())
        self._wake.set()

    def rewind(self, step=None, learning_rate=None):
        """Trains again from an earlier step, beside what was; returns at once.

        A run that still trains is stopped.

        Args:
            step: int, steps done there; None for `rewind_step`.
            learning_rate: float or schedule from there on; None for `rewind_rate`,
                or, if that is 0, for what it was.

        Raises:
            RuntimeError: If nothing was trained yet.
            ValueError: If there is no such step.
        """
        if self._timeline is None:
            raise RuntimeError("Nothing was trained yet; call `start()` first.")
        self._stop_and_wait()
        if learning_rate is None:
            learning_rate = self.rewind_rate or None
        changes = {} if learning_rate is None else {"learning_rate": learning_rate}
        step = self.rewind_step if step is None else step
        self._begin_branch(self._timeline.rewind(step, **changes))

    def _begin_branch(self, branch):
        self.run = branch.run
        settings = settings_of(innermost(branch.run.model.optimizer))
        names = [name for name in ("momentum", "beta_1") if name in settings]
        self._momentum_name = names[0] if names else ""
        with self._following():
            self.momentum = float(settings[names[0]]) if names else 0.0
        self._wake.set()

    def _follow_branch(self, branch):
        """Brings the traits up to what the newest branch does."""
        run = branch.run
        self.step = branch.step
        self.state = run.state
        self.paused = self._alive and run.pause_requested
        last = max(min(branch.step, self.total_steps - 1), 0)
        # A slider's end must not drag its value along.
        if not self._alive or last > self._view.rewind_step.max:
            self._view.rewind_step.max = max(last, self.rewind_step)
        if self._alive:
            rate = run.learning_rate
            if not math.isclose(rate, self.learning_rate, rel_tol=1e-6):
                self.learning_rate = rate
        if run.problem or run.error is not None:
            self.error = run.problem or f"{type(run.error).__name__}: {run.error}"

    def _use_schedule(self):
        """Draws the chosen schedule; a training follows it from the next step on."""
        if self._alive:
            self.run.set("learning_rate", self.planned())
        self._look_again()

    def _look_again(self):
        self._looks += 1
        self._wake.set()

    def _steers(self, name, value):
        if not (self._is_following or self._alive):
            raise ValueError(
                f"`{name}` steers a copy that trains; `start()` one first, or edit "
                f"`settings`. Received: {name}={value}"
            )
        return value

    @traitlets.validate("learning_rate")
    def _check_learning_rate(self, proposal):
        value = proposal["value"]
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                "`learning_rate` must be a finite number >= 0. "
                f"Received: learning_rate={value}"
            )
        return self._steers("learning_rate", value)

    @traitlets.validate("momentum")
    def _check_momentum(self, proposal):
        value = proposal["value"]
        if not 0 <= value < 1:
            raise ValueError(
                f"`momentum` must be a number in [0, 1). Received: momentum={value}"
            )
        if not (self._is_following or self._momentum_name):
            raise ValueError(
                "`momentum` needs an optimizer that has one from its start. "
                f"Received: momentum={value}"
            )
        return self._steers("momentum", value)

    @shows_errors
    def _on_learning_rate(self, change):
        if not self._is_following:
            self.run.set("learning_rate", change["new"])
        with self._following():
            self._view.show_number(change["new"])

    @shows_errors
    def _on_slider(self, change):
        # The slider has moved already: it stands at the rate or elsewhere.
        shown = self.learning_rate and self._view.number.is_echo(self.learning_rate)
        if not self._is_following and self._alive and not shown:
            self.learning_rate = change["new"]

    @shows_errors
    def _on_momentum(self, change):
        if not self._is_following:
            self.run.set(self._momentum_name, change["new"])
        with self._following():
            self._view.momentum.value = change["new"]

    @shows_errors
    def _on_momentum_slider(self, change):
        moved = abs(change["new"] - self.momentum) > 0.0006
        if not self._is_following and self._alive and moved:
            self.momentum = change["new"]

"""A panel that shows a run while it trains, and steers it."""

import html
import math

import ipywidgets
import traitlets

from workbench.checkpoints import list_checkpoints
from workbench.plots import RunFigure, image_tag
from workbench.reports import format_seconds
from workbench.widgets.log_slider import LogSlider
from workbench.widgets.panel import Panel, shows_errors

_ENDED = ("finished", "stopped", "failed")
_STATES = {
    "ready": "Ready",
    "running": "Training",
    "paused": "Paused",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
}


class TrainingMonitor(Panel):
    """Shows loss, metrics, learning rate and gradient norm of a run, and steers it.

    Every control is a trait; setting it from Python does what the mouse does. What is
    asked for takes effect at the next step. A run with a `filepath` goes on from there:
    after Stop, and on the next day in a new kernel.

    Attributes:
        learning_rate: Trait, float, the rate of the next step; set it to change it.
        paused: Trait, bool; True lets the run stand still, False lets it go on.
        state: Trait, str, the run's state. Read only, as all that follow.
        step: Trait, int, steps done.
        total_steps: Trait, int, 0 while it is not known.
        logs: Trait, dict name -> float, the newest metrics.
        error: Trait, str, what went wrong in training or in a callback, else "".

    Args:
        run: `workbench.training.Run`, started or not.
    """

    learning_rate = traitlets.Float()
    paused = traitlets.Bool()
    state = traitlets.Unicode("ready")
    step = traitlets.Int()
    total_steps = traitlets.Int()
    logs = traitlets.Dict()

    def __init__(self, run):
        self.run = run
        self._drawing = RunFigure()
        self._drawn = None
        self._goes_on_after = 0
        self._make_controls(run.learning_rate)
        super().__init__(
            [
                ipywidgets.HBox([self._bar, self._text]),
                ipywidgets.HBox([self._start, self._pause, self._stop]),
                ipywidgets.HBox([self._rate, self._rate_view, self._reset]),
                self._numbers,
                self._plot,
            ]
        )
        with self._following():
            self.learning_rate = run.learning_rate
        self.observe(self._on_learning_rate, "learning_rate")
        self.observe(self._on_paused, "paused")
        self._rate.observe(self._on_slider, "value")
        self._pause.observe(self._on_pause_button, "value")
        self._start.on_click(self._on_start)
        self._stop.on_click(self._on_stop)
        self._reset.on_click(self._on_reset)
        self._refresh()
        self._draw()
        self._start_beat()

    def _make_controls(self, rate):
        self._bar = ipywidgets.IntProgress(
            description="Progress", layout=ipywidgets.Layout(width="24em")
        )
        self._text = ipywidgets.HTML()
        self._numbers = ipywidgets.HTML()
        self._start = ipywidgets.Button(
            description="Start", icon="play", button_style="primary"
        )
        self._pause = ipywidgets.ToggleButton(description="Pause", icon="pause")
        self._stop = ipywidgets.Button(description="Stop", icon="stop")
        power = math.log10(rate) if rate > 0 else -3
        self._rate = LogSlider(
            value=rate or 1e-3,
            min=min(-6, math.floor(power) - 1),
            max=max(0, math.ceil(power) + 1),
            step=0.05,
            description="Learning rate",
            readout=False,
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(width="28em"),
        )
        self._rate_view = ipywidgets.HTML()
        self._reset = ipywidgets.Button(
            description="Give back",
            icon="undo",
            tooltip="Back to the schedule, or to the rate it was compiled with",
        )
        self._plot = ipywidgets.HTML()

    # What the reader does

    @shows_errors
    def _on_start(self, _button):
        self.run.start()
        self._wake.set()

    @shows_errors
    def _on_stop(self, _button):
        self.run.stop()
        self._wake.set()

    @shows_errors
    def _on_reset(self, _button):
        self.run.set("learning_rate", None)
        self._wake.set()

    @shows_errors
    def _on_slider(self, change):
        if not self._is_following and not self._rate.is_echo(self.learning_rate):
            self.learning_rate = change["new"]

    @shows_errors
    def _on_pause_button(self, change):
        if not self._is_following:
            self.paused = change["new"]

    @shows_errors
    def _on_learning_rate(self, change):
        if not self._is_following:
            self.run.set("learning_rate", change["new"])
        self._show_rate(change["new"])

    @shows_errors
    def _on_paused(self, change):
        if not self._is_following:
            if change["new"]:
                self.run.pause()
            else:
                self.run.resume()
        with self._following():
            self._pause.value = change["new"]
        self._wake.set()

    # What the run does

    def _beat(self):
        rest = self._refresh_and_draw(self._follow, self._draw)
        return None if self._is_over else rest

    @property
    def _is_over(self):
        """bool, by what is shown: the run itself may be further by now."""
        may_go_on = self.run.filepath is not None and self.state != "finished"
        return self.state in _ENDED and not may_go_on

    def _follow(self):
        before = self.state
        self._refresh()
        # A run that stands still is drawn at once: its last state is what is shown.
        paused_now = self.state == "paused" and before != "paused"
        return paused_now or self.state in _ENDED

    def _refresh(self):
        run = self.run
        progress = run.progress
        with self._following():
            rate = run.learning_rate
            self.step = progress.step
            self.total_steps = progress.total_steps or 0
            self.logs = progress.logs
            self.state = progress.state
            if progress.state in ("running", "paused"):
                self.paused = run.pause_requested
            else:
                self._goes_on_after = _steps_saved(run)
            if not math.isclose(rate, self.learning_rate, rel_tol=1e-6):
                self.learning_rate = rate
        self._show(progress)

    def _show(self, progress):
        self._bar.max = self.total_steps or max(1, self.step)
        self._bar.value = self.step
        ended = self._is_over
        stands = progress.state not in ("running", "paused")
        self._start.disabled = ended or not stands
        self._start.description = "Continue" if self._goes_on_after else "Start"
        self._pause.disabled = stands
        self._stop.disabled = self._pause.disabled
        self._rate.disabled = self._reset.disabled = ended
        self._pause.description = "Resume" if self.paused else "Pause"
        self._pause.icon = "play" if self.paused else "pause"
        text = _describe(progress)
        if stands and self._goes_on_after and not ended:
            text += f" · goes on after step {self._goes_on_after}"
        text = html.escape(text)
        self._text.value = f'<div role="status">{text}</div>'
        numbers = [f"{name} {value:.4f}" for name, value in self.logs.items()]
        self._numbers.value = f"<code>{html.escape(' · '.join(numbers))}</code>"
        if self.run.problem:
            self.error = (
                f"{self.run.problem}. This update was skipped; Resume goes on without "
                "the batch."
            )
        elif self.run.error is not None:
            self.error = f"{type(self.run.error).__name__}: {self.run.error}"
        self._show_rate(self.learning_rate)

    def _show_rate(self, rate):
        self._rate_view.value = f"<code>{rate:.3g}</code>"
        inside = min(max(rate, 10.0**self._rate.min), 10.0**self._rate.max)
        if not math.isclose(self._rate.value, inside, rel_tol=1e-6):
            with self._following():
                self._rate.show(inside)

    def _draw(self):
        if self._drawn == (self.step, self.state):
            return
        self._drawn = self.step, self.state
        run = self.run
        self._drawing.update(run.records, run.metrics, self.total_steps)
        self._plot.value = image_tag(self._drawing.to_png(), self.alt)

    @property
    def alt(self):
        """str, in words what the curves show now."""
        values = [f"{name} {value:.4f}" for name, value in self.logs.items()]
        return (
            "Loss, metrics, learning rate and gradient norm over "
            f"{self.step} steps; now {', '.join(values) or 'no values yet'}."
        )

    def _picture(self):
        return self._drawing.to_png()

    def __repr__(self):
        return "TrainingMonitor(run)"


def _steps_saved(run):
    """Returns the steps after which `run` goes on; 0 where it begins, or cannot."""
    if run.filepath is None or not run.can_start:
        return 0
    found = list_checkpoints(run.filepath)
    return found[-1].steps if found else 0


def _describe(progress):
    parts = [_STATES[progress.state]]
    total = progress.total_steps or "?"
    parts.append(f"step {progress.step} of {total}")
    parts.append(f"epoch {progress.epoch} of {progress.epochs}")
    if progress.seconds_left is not None and progress.state in ("running", "paused"):
        parts.append(f"{format_seconds(progress.seconds_left)} left")
    return " · ".join(parts)

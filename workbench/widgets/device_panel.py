"""A panel that shows how busy processors, memory and GPUs are."""

import html
import math
import threading
import time

import ipywidgets
import traitlets

from workbench import plots
from workbench.devices import Load, measure_load
from workbench.widgets.panel import LARGEST_SHARE, Panel

_COLOR = "#1f5fa8"
_TRACK = "#d9dee5"
_SLIDER_RANGE = (0.5, 30.0)
_FIRST_READING_SECONDS = 2.0


class DevicePanel(Panel):
    """Shows load and memory of processors and GPUs, and keeps them up to date.

    A background thread takes the readings, so the panel moves while a cell runs. It
    rests longer than asked for where a reading is slow: refreshing takes at most 2 %
    of the time. `close()` ends the thread.

    Attributes:
        refresh_seconds: Trait, float from 0.5 to 30, seconds between two readings.
        paused: Trait, bool; True stops the readings until it is False again.
        load: Trait, `workbench.devices.Load`, the latest reading; None before the
            first. Read it, do not set it.
        pace: Trait, float, the seconds that lie between readings now. Read only.
        error: Trait, str, what went wrong at the latest reading, else `""`.

    Args:
        refresh_seconds: float, as the trait.
        measure: Callable that takes the earlier `Load` or None and returns a `Load`.

    Raises:
        ValueError: If `refresh_seconds` is out of its range.
    """

    refresh_seconds = traitlets.Float(2.0)
    paused = traitlets.Bool()
    load = traitlets.Instance(Load, allow_none=True)
    pace = traitlets.Float(2.0)

    def __init__(self, refresh_seconds=2.0, *, measure=measure_load):
        _check_seconds(refresh_seconds)
        self._measure = measure
        self._first = threading.Event()
        self._pause = ipywidgets.ToggleButton(
            description="Pause", icon="pause", tooltip="Stop or continue the readings"
        )
        self._interval = ipywidgets.FloatSlider(
            value=refresh_seconds,
            min=_SLIDER_RANGE[0],
            max=_SLIDER_RANGE[1],
            step=0.5,
            readout_format=".1f",
            description="Interval (s)",
            continuous_update=False,
        )
        self._bars = ipywidgets.HTML()
        self._state = ipywidgets.HTML()
        controls = ipywidgets.HBox([self._pause, self._interval])
        super().__init__([self._bars, self._state, controls])
        self.refresh_seconds = refresh_seconds
        traitlets.link((self, "paused"), (self._pause, "value"))
        traitlets.link((self, "refresh_seconds"), (self._interval, "value"))
        self.observe(self._on_control, ["paused", "refresh_seconds"])
        self._start_beat()
        # The first reading belongs into the static picture; a stuck driver does not.
        self._first.wait(_FIRST_READING_SECONDS)

    @traitlets.validate("refresh_seconds")
    def _check_refresh_seconds(self, proposal):
        return _check_seconds(proposal["value"])

    def _on_control(self, _change):
        self._pause.description = "Resume" if self.paused else "Pause"
        self._pause.icon = "play" if self.paused else "pause"
        self._show_state()
        self._wake.set()

    def _beat(self):
        cost = 0.0 if self.paused else self._refresh()
        self._first.set()
        self.pace = max(self.refresh_seconds, cost / LARGEST_SHARE)
        self._show_state()
        return math.inf if self.paused else self.pace

    def _refresh(self):
        """Takes one reading and shows it; returns the seconds that it cost."""
        start = time.perf_counter()
        since = self.load
        try:
            load = self._measure(since)
            if not self._closing:
                self._bars.value = _draw_bars(load)
                self.load = load
                self.error = ""
        except Exception as error:  # noqa: BLE001, in a thread it would go unseen
            self.error = f"{type(error).__name__}: {error}"
        # The first reading waits for a difference of counters; waiting costs nothing.
        return 0.0 if since is None else time.perf_counter() - start

    def _show_state(self):
        if not self._closing:
            self._state.value = f'<div role="status">{html.escape(self._say())}</div>'

    def _say(self):
        if self.error:
            return "No reading."
        if self.paused:
            return "Paused."
        text = f"A reading every {self.pace:.1f} s."
        if self.pace > self.refresh_seconds:
            text += " Readings are slow here, so they are taken less often."
        if self.load is not None and self.load.problem:
            text += f" No GPU shown. {self.load.problem}"
        return text

    def __repr__(self):
        return f"DevicePanel(refresh_seconds={self.refresh_seconds})"

    def _picture(self):
        return None if self.load is None else plots.to_png(_draw_figure(self.load))


def _check_seconds(value):
    low, high = _SLIDER_RANGE
    if not low <= value <= high:
        raise ValueError(
            f"`refresh_seconds` must be between {low:g} and {high:g} (seconds between "
            f"two readings). Received: refresh_seconds={value}"
        )
    return value


def _draw_bars(load):
    rows = []
    for label, share, text in load.rows():
        percent = min(100.0, max(0.0, 100 * share))
        bar = (
            f'<div role="progressbar" aria-label="{html.escape(label)}" '
            f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}" '
            f'style="width:16em;height:0.8em;background:{_TRACK}">'
            f'<div style="width:{percent:.1f}%;height:100%;background:{_COLOR}"></div>'
            "</div>"
        )
        rows.append(
            f'<tr><td style="padding-right:1em">{html.escape(label)}</td><td>{bar}</td>'
            f'<td style="padding-left:1em">{html.escape(text)}</td></tr>'
        )
    return f'<table style="line-height:1.6">{"".join(rows)}</table>'


def _draw_figure(load):
    rows = load.rows()[::-1]
    figure, axes = plots.new_figure(6.0, 0.6 + 0.3 * len(rows))
    places = range(len(rows))
    axes.barh(places, [1.0] * len(rows), color=_TRACK, height=0.5)
    axes.barh(places, [share for _, share, _ in rows], color=_COLOR, height=0.5)
    axes.set_yticks(places, [label for label, _, _ in rows])
    for place, (_, _, text) in enumerate(rows):
        axes.text(1.02, place, text, va="center")
    axes.set_xlim(0, 1.6)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("How busy this machine was", loc="left", fontsize="medium")
    return figure

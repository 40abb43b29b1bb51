"""What panels that train copies of a model look like: their widgets and places."""

import html
import math

import ipywidgets

from workbench.widgets.log_slider import LogSlider

_STEP = 0.02  # of the slider, in powers of ten
_WIDE = {"description_width": "initial"}
_ROWS_OF_WAYS = 8


class CopyView:
    """A menu of ways with a slider for one run; a list and a button for several.

    Attributes:
        rows: List of widgets, from top to bottom; a subclass may put more in between.

    Args:
        ways: List of str, to choose one from.
        many: List of str, to choose several from.
        names: Dict of "way", "number", "many" and "compare" -> str, what is written
            beside menu and slider, above the list, and on the button.
        explanation: str, HTML beside the list.
        can_keep: bool, whether there is a model to put weights into.
    """

    def __init__(self, ways, many, names, explanation, *, can_keep):
        self.way = ipywidgets.Dropdown(
            options=ways, description=names["way"], layout={"width": "17em"}
        )
        self.number = LogSlider(
            description=names["number"],
            readout=False,
            step=_STEP,
            style=_WIDE,
            layout={"width": "26em"},
        )
        self.number_value = ipywidgets.HTML()
        self.new_weights = ipywidgets.Checkbox(
            description="Start from new weights", indent=False, layout={"width": "14em"}
        )
        self.start = ipywidgets.Button(
            description="Start", icon="play", button_style="primary"
        )
        self.pause = ipywidgets.ToggleButton(description="Pause", icon="pause")
        self.stop = ipywidgets.Button(description="Stop", icon="stop")
        self.keep = ipywidgets.Button(
            description="Keep weights",
            icon="download",
            tooltip="Put the copy's weights into your model",
        )
        self.text = ipywidgets.HTML()
        self.plot = ipywidgets.HTML()
        self.chosen = ipywidgets.SelectMultiple(
            options=many,
            rows=min(len(many), _ROWS_OF_WAYS),
            tooltip=names["many"],
            layout={"width": "17em"},
        )
        self.compare = ipywidgets.Button(
            description=names["compare"],
            icon="balance-scale",
            button_style="primary",
            layout={"width": "auto"},
        )
        self.end = ipywidgets.Button(description="End here", icon="stop")
        self.bar = ipywidgets.FloatProgress(
            max=1.0, tooltip="How much is compared", layout={"width": "22em"}
        )
        self.table = ipywidgets.HTML()
        self.curves = ipywidgets.HTML()
        keep = [self.keep] if can_keep else []
        buttons = [self.start, self.pause, self.stop, *keep, self.new_weights]
        beside = [
            ipywidgets.HTML(explanation),
            ipywidgets.HBox([self.compare, self.end]),
            self.bar,
        ]
        self.rows = [
            ipywidgets.HTML("<b>Train one copy of your model</b>"),
            ipywidgets.HBox([self.way, self.number, self.number_value]),
            ipywidgets.HBox(buttons),
            self.text,
            self.plot,
            ipywidgets.HTML(f"<b>{names['many']}</b>"),
            ipywidgets.HBox([self.chosen, ipywidgets.VBox(beside)]),
            self.table,
            self.curves,
        ]

    def show_number(self, value, ends=None):
        """Moves the slider.

        Args:
            value: float, 0 for a way without a number.
            ends: `(low, high)`, ints, powers of ten, or None to leave them unless
                `value` is beyond them.
        """
        slider = self.number
        slider.disabled = value == 0
        self.number_value.value = f"<code>{value:.3g}</code>" if value else "none"
        if not value:
            return
        low, high = ends or (slider.min, slider.max)
        power = math.log10(value)
        low, high = min(low, math.floor(power)), max(high, math.ceil(power))
        # In one message, or the page would answer a new end with the old value.
        with slider.hold_sync():
            # One end at a time, and never one beyond the other.
            slider.min = min(low, slider.min)
            slider.max, slider.min = high, low
            if not slider.stands_at(value):
                slider.show(value)

    def show_text(self, text, *, paused):
        """Shows in a line where a run stands, and what the pause button does now."""
        self.text.value = f'<div role="status">{html.escape(text)}</div>'
        self.pause.description = "Resume" if paused else "Pause"
        self.pause.icon = "play" if paused else "pause"

    def allow(self, *, alive, started, comparing):
        """Enables what can be pressed now.

        Args:
            alive: bool, whether a copy trains.
            started: bool, whether one has ever trained.
            comparing: bool, whether a comparison trains.
        """
        self.start.disabled = self.way.disabled = self.new_weights.disabled = alive
        self.pause.disabled = self.stop.disabled = not alive
        self.keep.disabled = alive or not started
        self.compare.disabled = comparing
        self.end.disabled = not comparing
        self.bar.layout.visibility = "visible" if comparing else "hidden"

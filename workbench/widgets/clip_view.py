"""What Clip Lab looks like: its widgets, and how they show what happens."""

import html
import math

import ipywidgets

from workbench.plots import image_tag, to_png
from workbench.plots.clipping import plot_methods
from workbench.widgets import clip_reading

_STEP = 0.02  # of the slider, in powers of ten
_HALF_A_STEP = 0.51 * _STEP
_WIDE = {"description_width": "initial"}
_ALERT = "color:#8c1d18;background:#fdecea;padding:0.4em 0.8em;max-width:64em"
_ROWS_OF_METHODS = 8


class ClipView:
    """The widgets of Clip Lab and their places.

    Attributes:
        rows: List of widgets, from top to bottom.

    Args:
        methods: List of str.
        can_keep: bool, whether there is a model to put weights into.
    """

    def __init__(self, methods, *, can_keep):
        self.method = ipywidgets.Dropdown(
            options=methods, description="Clip", layout={"width": "17em"}
        )
        self.threshold = ipywidgets.FloatLogSlider(
            description="Threshold",
            readout=False,
            step=_STEP,
            style=_WIDE,
            layout={"width": "26em"},
        )
        self.threshold_value = ipywidgets.HTML()
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
        self.problem = ipywidgets.HTML()
        self.apply_remedy = ipywidgets.Button(
            icon="medkit",
            button_style="warning",
            layout={"width": "auto", "align_self": "flex-start"},
        )
        self.plot = ipywidgets.HTML()
        self.chosen = ipywidgets.SelectMultiple(
            options=methods,
            rows=min(len(methods), _ROWS_OF_METHODS),
            layout={"width": "17em"},
        )
        self.compare = ipywidgets.Button(
            description="Compare methods",
            icon="balance-scale",
            button_style="primary",
            layout={"width": "auto"},
        )
        self.end = ipywidgets.Button(description="End here", icon="stop")
        self.bar = ipywidgets.FloatProgress(max=1.0, layout={"width": "22em"})
        self.table = ipywidgets.HTML()
        self.curves = ipywidgets.HTML()
        keep = [self.keep] if can_keep else []
        buttons = [self.start, self.pause, self.stop, *keep, self.new_weights]
        self.rows = [
            ipywidgets.HTML("<b>Train one copy of your model</b>"),
            ipywidgets.HBox([self.method, self.threshold, self.threshold_value]),
            ipywidgets.HBox(buttons),
            self.text,
            self.problem,
            self.apply_remedy,
            self.plot,
            ipywidgets.HTML("<b>Compare methods side by side</b>"),
            ipywidgets.HBox([self.chosen, self._comparing()]),
            self.table,
            self.curves,
        ]
        self.show_problem(None)

    def _comparing(self):
        text = ipywidgets.HTML(
            "Each method trains a copy of your model, all from the same weights over "
            "the same batches.<br>Ctrl-click chooses several."
        )
        return ipywidgets.VBox(
            [text, ipywidgets.HBox([self.compare, self.end]), self.bar]
        )

    def show_threshold(self, value, ends=None):
        """Moves the slider.

        Args:
            value: float, 0 for a method without threshold.
            ends: `(low, high)`, ints, powers of ten, or None to leave them unless
                `value` is beyond them.
        """
        slider = self.threshold
        slider.disabled = value == 0
        self.threshold_value.value = f"<code>{value:.3g}</code>" if value else "none"
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
            if not self.is_shown(value):
                slider.value = value

    def is_shown(self, value):
        """Says whether the slider stands at a value, up to its own steps.

        In a page it answers a value with the nearest of its steps, which is no wish.
        """
        ratio = value / self.threshold.value
        return 10**-_HALF_A_STEP < ratio < 10**_HALF_A_STEP

    def show_problem(self, diagnosis):
        """Shows a `clip_reading.Diagnosis` and its remedy; None for none."""
        text = html.escape(diagnosis.text) if diagnosis else ""
        self.problem.value = text and f'<div role="alert" style="{_ALERT}">{text}</div>'
        threshold = diagnosis.threshold if diagnosis else None
        self.apply_remedy.layout.display = "none" if threshold is None else ""
        if threshold is not None:
            self.apply_remedy.description = (
                f"Clip by global norm at {threshold:.2g} and start again"
            )

    def show_progress(self, progress, layers, *, paused):
        """Shows where a run stands.

        Args:
            progress: `workbench.training.Progress`, or None before the first start.
            layers: `workbench.training.LayerRecords` or None.
            paused: bool, whether the run stands still, or will.
        """
        text = "Ready. Your model is only copied, never changed."
        if progress is not None:
            text = clip_reading.describe(progress, layers)
        self.text.value = f'<div role="status">{html.escape(text)}</div>'
        self.pause.description = "Resume" if paused else "Pause"
        self.pause.icon = "play" if paused else "pause"

    def show_comparison(self, comparison, clips):
        """Shows what each method came to.

        Args:
            comparison: `workbench.experiments.Comparison`.
            clips: Dict of the same names -> clip method.
        """
        self.table.value = clip_reading.comparison_table(comparison, clips)
        figure = plot_methods({"Copies of your model": comparison})
        alt = "Loss, gradient norm and share of clipped steps of each method."
        self.curves.value = image_tag(to_png(figure), alt)

    def allow(self, *, alive, started, comparing):
        """Enables what can be pressed now.

        Args:
            alive: bool, whether a copy trains.
            started: bool, whether one has ever trained.
            comparing: bool, whether a comparison trains.
        """
        self.start.disabled = self.method.disabled = self.new_weights.disabled = alive
        self.pause.disabled = self.stop.disabled = not alive
        self.keep.disabled = alive or not started
        self.compare.disabled = comparing
        self.end.disabled = not comparing
        self.bar.layout.visibility = "visible" if comparing else "hidden"

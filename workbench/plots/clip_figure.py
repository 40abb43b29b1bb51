"""Loss and gradient norms of a run that clips, cheap enough to be drawn live."""

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator

from workbench.plots import run
from workbench.plots.clipping import ALARM, MOST_ROWS, joint, rows_of

BEFORE, AFTER = "#1f5fa8", "#e07b00"
_FAINT = "#9db8d6"
_MOST_COLUMNS = 300
_MOST_DECADES = 24
_ZERO = -60  # the power of ten that stands for none, below float32's smallest
_MARKS = ("norm", "clipped"), ("norm", "not finite")


class ClipFigure(run.RunFigure):
    """Loss, joint gradient norm and each variable's norm, before and after clipping.

    Args:
        width: float, inches.
        height: float, inches.
        dpi: int, dots per inch.
    """

    def __init__(self, width=9.6, height=5.4, dpi=90):
        self._begin(width, height, dpi)
        places = {
            "loss": (0.065, 0.61, 0.40, 0.32),
            "norm": (0.54, 0.61, 0.44, 0.32),
            "before": (0.235, 0.09, 0.33, 0.37),
            "after": (0.585, 0.09, 0.33, 0.37),
        }
        titles = (
            "Loss",
            "Joint gradient norm",
            "Norm of each variable's gradient",
            "The same after clipping",
        )
        self.axes = {
            name: self.figure.add_axes(place) for name, place in places.items()
        }
        self._name_axes(titles)
        for name in ("loss", "norm"):
            self.axes[name].grid(alpha=0.3)
            self._use_log(name)
        for name in ("before", "after"):
            self.axes[name].set_xlabel("step", fontsize=8)
            self.axes[name].set_yticks([])
        self._say_waiting("before")
        self._colors = colormaps["viridis"].with_extremes(bad=ALARM, under="#1b0030")
        self._scale = self._bar = self._paths = None
        self._legends = {}

    def update(self, records, layers=None, total_steps=None, thresholds=()):
        """Takes new data; nothing is drawn yet.

        Args:
            records: Object with arrays `.step` and `.loss`.
            layers: `workbench.training.LayerRecords`, or None before the first step.
            total_steps: int, where the step axis ends, or None if unknown.
            thresholds: Sequence of `(step, value)`, the limits of the joint norm and
                the steps from which they held; empty where there is no such limit.
        """
        if layers is not None:
            self._stop_waiting()
        last = int(records.step[-1]) if len(records.step) else 1
        end = run._rounded_up(last)
        if total_steps:
            end = min(end, total_steps)
        self._set("loss", "each batch", records.step, records.loss, color=_FAINT)
        smooth = run._smooth(records.loss)
        self._set("loss", "smoothed", records.step, smooth, color=BEFORE)
        before = after = np.zeros(0)
        if layers is not None:
            before, after = joint(layers.norm_before), joint(layers.norm_after)
        step = np.zeros(0) if layers is None else layers.step
        self._set("norm", "before", step, before, color=BEFORE, linewidth=0.9)
        self._set("norm", "after", step, after, color=AFTER, linewidth=0.9)
        self._set_marks(step, layers, before)
        if thresholds:
            steps, values = np.array([*thresholds, (end, thresholds[-1][1])]).T
            style = {"drawstyle": "steps-post", "linestyle": "--", "linewidth": 0.9}
            self._set("norm", "threshold", steps, values, color="#555555", **style)
        for name in ("loss", "norm"):
            self._fit_limits(name, end)
            self._place_legend(name)
        if layers is not None:
            self._set_images(layers, end)

    def _place_legend(self, name):
        """Puts the legend beside the title, where no line is drawn over it."""
        axes = self.axes[name]
        count = len(axes.get_lines())
        if self._legends.get(name) != count:
            self._legends[name], self._background = count, None
            axes.legend(
                loc="lower right",
                bbox_to_anchor=(1.015, 0.96),
                ncols=count,
                fontsize=8,
                frameon=False,
                handlelength=1.2,
                columnspacing=0.8,
            )

    def _set_marks(self, step, layers, before):
        clipped = np.zeros(0, bool) if layers is None else layers.clipped.any(axis=1)
        bad = ~np.isfinite(before)
        style = {"linestyle": "", "marker": "|", "markersize": 6}
        for label, where, color, height in (
            ("clipped", clipped, AFTER, 0.04),
            ("not finite", bad, ALARM, 0.96),
        ):
            if label == "not finite" and not bad.any():
                continue
            chosen = step[where]
            some = np.linspace(0, len(chosen) - 1, min(len(chosen), 2 * _MOST_COLUMNS))
            chosen = chosen[some.astype(int)]
            self._set("norm", label, [], [], color=color, **style)
            line = self._lines["norm", label]
            # Heights are shares of the axes, which the limits must not follow.
            line.set_transform(self.axes["norm"].get_xaxis_transform())
            line.set_data(chosen, np.full(len(chosen), height))

    def _fit_limits(self, name, end):
        marks = [self._lines.pop(key, None) for key in _MARKS]
        super()._fit_limits(name, end)
        for key, line in zip(_MARKS, marks, strict=True):
            if line is not None:
                self._lines[key] = line

    def _set_images(self, layers, end):
        names, before, after = rows_of(layers)
        before, after = (_columns(np.log10(_positive(v))) for v in (before, after))
        scale = _decades(before)
        for name, values in (("before", before), ("after", after)):
            axes = self.axes[name]
            if (name, "image") not in self._lines:
                image = axes.imshow(
                    values,
                    aspect="auto",
                    interpolation="nearest",
                    cmap=self._colors,
                    animated=True,
                )
                self._lines[name, "image"] = image
            image = self._lines[name, "image"]
            image.set_data(values)
            first, last = layers.step[0] - 0.5, layers.step[-1] + 0.5
            image.set_extent((first, last, len(names) - 0.5, -0.5))
            image.set_clim(*scale)
        if (names, end, scale) != (self._paths, self._limits.get("image"), self._scale):
            self._paths, self._limits["image"], self._scale = names, end, scale
            self._frame_images(names, end)

    def _frame_images(self, names, end):
        for name in ("before", "after"):
            self.axes[name].set_xlim(0.5, end + 0.5)
            self.axes[name].set_ylim(len(names) - 0.5, -0.5)
        every = -(-len(names) // MOST_ROWS)
        self.axes["before"].set_yticks(
            range(0, len(names), every), names[::every], fontsize=7
        )
        image = self._lines["before", "image"]
        if self._bar is None:
            place = self.figure.add_axes((0.93, 0.09, 0.012, 0.37))
            self._bar = self.figure.colorbar(
                image, cax=place, format=lambda power, _: f"$10^{{{power:.0f}}}$"
            )
            self._bar.ax.tick_params(labelsize=7)
            self._bar.locator = MaxNLocator(5, integer=True)
            self._bar.solids.set_animated(False)
        self._bar.update_normal(image)
        self._background = None


def _positive(values):
    return np.maximum(values, 10.0**_ZERO)


def _columns(values):
    """At most 300 columns: of each stretch of steps the largest; NaN wins."""
    count = values.shape[1]
    if count <= _MOST_COLUMNS:
        return values
    starts = np.linspace(0, count, _MOST_COLUMNS, endpoint=False).astype(int)
    return np.maximum.reduceat(values, starts, axis=1)


def _decades(powers):
    """The ends of the colour scale, whole powers of ten; zeros stay below it."""
    shown = powers[np.isfinite(powers) & (powers > _ZERO)]
    if not len(shown):
        return 0.0, 1.0
    high = np.ceil(shown.max())
    low = np.floor(np.percentile(shown, 1))
    return min(max(low, high - _MOST_DECADES), high - 1), high


def plot_layers(source):
    """Draws loss and gradient norms of a run that clips, or of its saved records.

    Args:
        source: Object with `.records` and `.layers`, such as
            `workbench.training.Run(…, clip=…)`.

    Returns:
        `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    drawing = ClipFigure()
    drawing.update(source.records, source.layers)
    for artist in drawing._lines.values():
        artist.set_animated(False)
    return drawing.figure

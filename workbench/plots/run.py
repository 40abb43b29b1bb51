"""A training run as four curves, cheap enough to be redrawn while it trains."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from PIL import Image

COLORS = ("#1f5fa8", "#c8553d", "#2e7d5b", "#8a5aa8")
_FAINT = "#9db8d6"
_MOST_POINTS = 400
_SMOOTHING_STEPS = 25
_COLORS_IN_PNG = 64


class RunFigure:
    """Loss, metrics, learning rate and gradient norm over the steps of a run.

    Axes and labels are drawn once and kept as pixels; an update draws the lines
    alone, and the rest again only when limits must move.

    Args:
        width: float, inches.
        height: float, inches.
        dpi: int, dots per inch.
    """

    def __init__(self, width=9.0, height=4.6, dpi=90):
        self._begin(width, height, dpi)
        self.figure.subplots_adjust(0.07, 0.1, 0.98, 0.93, wspace=0.18, hspace=0.5)
        self.axes = dict(
            zip(
                ("loss", "metrics", "learning_rate", "gradient_norm"),
                self.figure.subplots(2, 2).flat,
                strict=True,
            )
        )
        titles = ("Loss", "Metrics", "Learning rate", "Gradient norm (before clipping)")
        self._name_axes(titles)
        for axes in self.axes.values():
            axes.grid(alpha=0.3)
        for name in ("learning_rate", "gradient_norm"):
            self._use_log(name)
            self.axes[name].set_xlabel("step", fontsize=8)
        for name in ("loss", "metrics"):
            self.axes[name].yaxis.set_major_locator(MaxNLocator(4))

    def _begin(self, width, height, dpi):
        """Makes an empty figure; sizes as for the class."""
        self.figure = Figure(figsize=(width, height), dpi=dpi)
        self._canvas = FigureCanvasAgg(self.figure)
        self._lines, self._limits = {}, {}
        self._background = self._waiting = None

    def _name_axes(self, titles, **style):
        """Writes a title above each of the axes, in their order."""
        for axes, title in zip(self.axes.values(), titles, strict=True):
            axes.set_title(title, loc="left", fontsize=10, **style)
            axes.tick_params(labelsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    def _use_log(self, name):
        self.axes[name].set_yscale("log")
        self.axes[name].yaxis.set_minor_formatter(NullFormatter())

    def _say_waiting(self, name):
        """Says in the axes of a name that there is nothing yet."""
        self._waiting = self.axes[name].text(
            0.5,
            0.5,
            "nothing trained yet",
            ha="center",
            color="#777777",
            fontsize=9,
            transform=self.axes[name].transAxes,
        )

    def _stop_waiting(self):
        if self._waiting is not None:
            self._waiting.remove()
            self._waiting, self._background = None, None

    def update(self, records, metrics=None, total_steps=None):
        """Takes new data; nothing is drawn yet.

        Args:
            records: Object with arrays `.step .loss .learning_rate .gradient_norm`,
                such as `workbench.steps.StepRecords`.
            metrics: dict name -> list of `(step, value)`, as `Run.metrics`.
            total_steps: int, where the step axis ends, or None if unknown.
        """
        step = records.step
        self._set("loss", "each batch", step, records.loss, color=_FAINT, linewidth=0.8)
        smooth = _smooth(records.loss)
        self._set("loss", "smoothed", step, smooth, color=COLORS[0])
        rate, norm = records.learning_rate, records.gradient_norm
        self._set("learning_rate", "", step, rate, color=COLORS[1])
        self._set("gradient_norm", "", step, norm, color=COLORS[2], linewidth=0.8)
        self._set_metrics(metrics or {})
        end = _rounded_up(step[-1] if len(step) else 1)
        if total_steps:
            end = min(end, total_steps)
        for name in self.axes:
            self._fit_limits(name, end)

    def _set_metrics(self, metrics):
        others = [name for name in metrics if name.removeprefix("val_") != "loss"]
        bases = list(dict.fromkeys(name.removeprefix("val_") for name in others))
        for name in ("val_loss", *others):
            if not metrics.get(name):
                continue
            steps, values = np.array(metrics[name]).T
            if name == "val_loss":
                where, color = "loss", COLORS[1]
            else:
                where = "metrics"
                color = COLORS[bases.index(name.removeprefix("val_")) % len(COLORS)]
            style = {"marker": "o", "markersize": 3} if name.startswith("val_") else {}
            if name.startswith("val_"):
                style["linestyle"] = "--"
            self._set(where, name, steps, values, color=color, **style)

    def _set(self, where, label, x, y, **style):
        key = where, label
        if key not in self._lines:
            axes = self.axes[where]
            (line,) = axes.plot([], [], label=label, animated=True, **style)
            self._lines[key] = line
            if label:
                axes.legend(loc="best" if where == "metrics" else "upper right")
                axes.get_legend().set(alpha=0.7)
                for text in axes.get_legend().get_texts():
                    text.set_fontsize(8)
            self._background = None
        self._lines[key].set_data(*_thinned(np.asarray(x), np.asarray(y)))

    def _fit_limits(self, name, end):
        axes = self.axes[name]
        lines = [line for (where, _), line in self._lines.items() if where == name]
        low, high = _range_of(lines, log=axes.get_yscale() == "log")
        old = self._limits.get(name)
        if old and old[0] == end and _fits(low, high, *old[1:]):
            return
        is_log = axes.get_yscale() == "log"
        # At least a decade, so that the axis has labels.
        pad = max(0.1 * (high - low), (1 - high + low) / 2 if is_log else 0.01)
        low, high = low - pad, high + pad
        self._limits[name] = end, low, high
        axes.set_xlim(0, end)
        axes.set_ylim(*(np.power(10.0, (low, high)) if is_log else (low, high)))
        self._background = None

    def to_png(self):
        """Draws what the last update brought.

        Returns:
            bytes of a PNG file with a palette of 64 colours.
        """
        canvas = self._canvas
        if self._background is None:
            canvas.draw()
            self._background = canvas.copy_from_bbox(self.figure.bbox)
        canvas.restore_region(self._background)
        for (where, _), line in self._lines.items():
            self.axes[where].draw_artist(line)
        size = canvas.get_width_height()
        image = Image.frombuffer(
            "RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1
        )
        buffer = io.BytesIO()
        palette = image.convert("RGB").quantize(
            _COLORS_IN_PNG, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
        palette.save(buffer, format="png", compress_level=1)
        return buffer.getvalue()


def plot_run(run):
    """Draws a run's loss, metrics, learning rate and gradient norm.

    Args:
        run: `workbench.training.Run`, or anything with its `records` and `metrics`.

    Returns:
        `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    drawing = RunFigure()
    drawing.update(run.records, getattr(run, "metrics", None))
    for line in drawing._lines.values():
        line.set_animated(False)
    return drawing.figure


def _smooth(values):
    """Mean over the last 25 steps, fewer at the start; NaN counts for nothing."""
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - _SMOOTHING_STEPS, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums[end] - sums[begin]) / (counts[end] - counts[begin])


def _thinned(x, y):
    """About 400 points at most: of each stretch its lowest and its highest."""
    if len(x) <= _MOST_POINTS:
        return x, y
    size = -(-len(x) // (_MOST_POINTS // 2))
    padded = np.full(-(-len(x) // size) * size, np.nan)
    padded[: len(y)] = y
    pieces = padded.reshape(-1, size)
    starts = np.arange(len(pieces)) * size
    lowest = np.where(np.isnan(pieces), np.inf, pieces).argmin(1) + starts
    highest = np.where(np.isnan(pieces), -np.inf, pieces).argmax(1) + starts
    chosen = np.unique(np.minimum([*lowest, *highest, len(x) - 1], len(x) - 1))
    return x[chosen], y[chosen]


def _range_of(lines, *, log):
    values = np.concatenate([line.get_ydata() for line in lines] or [[]]).astype(float)
    values = values[np.isfinite(values) & ((values > 0) if log else True)]
    if not len(values):
        return 0.0, 1.0
    low, high = values.min(), values.max()
    return (np.log10(low), np.log10(high)) if log else (low, high)


def _fits(low, high, old_low, old_high):
    inside = old_low <= low and high <= old_high
    return inside and (high - low >= 0.5 * (old_high - old_low) or high == low)


def _rounded_up(step):
    """The next of 10, 20, 50, 100, … so that an open end moves seldom."""
    power = 10 ** int(np.log10(max(step, 1)))
    return (
        next(power * f for f in (1, 2, 5, 10) if power * f >= step) if step > 10 else 10
    )

"""Schedules before training, and the rates and losses of a training's branches."""

import numpy as np

from workbench.plots import run

_PLANNED = "#444444"
_USED = " (used)"
_FAINT = 0.55  # opacity of schedules that are only compared
_MOST_BRANCHES = 6
_LOWEST = 1e4  # the highest rate by the lowest that is shown


class ScheduleFigure(run.RunFigure):
    """Rates against steps, planned and taken, and the losses that came of them.

    Args:
        width: float, inches.
        height: float, inches.
        dpi: int, dots per inch.
    """

    def __init__(self, width=9.6, height=3.6, dpi=90):
        self._begin(width, height, dpi)
        self.axes = {
            "learning_rate": self.figure.add_axes((0.075, 0.13, 0.41, 0.66)),
            "loss": self.figure.add_axes((0.545, 0.13, 0.425, 0.66)),
        }
        self._name_axes(("Learning rate", "Loss (smoothed)"), y=1.15)
        for axes in self.axes.values():
            axes.set_xlabel("step", fontsize=8)
            axes.grid(alpha=0.3)
        self._use_log("loss")
        self._say_waiting("loss")
        self._labels, self._colors = {}, {}

    def update(self, planned, schedule, branches, total_steps, *, log_scale=False):
        """Takes new data; nothing is drawn yet.

        Args:
            planned: Dict of name -> float array, the rates of schedules.
            schedule: str, the one of them that is used.
            branches: Iterable of objects with `.series(name)` and `.cut`, such as
                `workbench.training.timeline.Branch`; the last is drawn strongest.
            total_steps: int, where the step axis ends.
            log_scale: bool, whether rates are drawn on a logarithmic axis.
        """
        self._use_scale(log_scale)
        wanted = set()
        for name, rates in planned.items():
            color = self._colors.setdefault(name, f"C{len(self._colors) % 10}")
            style, label = {"color": color, "alpha": _FAINT, "linewidth": 1.0}, name
            if name == schedule:
                # A line keeps its style: as another line when it becomes the used one.
                style = {"color": _PLANNED, "linewidth": 1.6, "linestyle": "--"}
                label = name + _USED
            step = np.arange(1, len(rates) + 1)
            self._draw("learning_rate", label, step, rates, wanted, **style)
        branches = list(branches)[-_MOST_BRANCHES:]
        if branches:
            self._stop_waiting()
        for number, branch in enumerate(branches):
            label = "trained" if number == 0 else f"back at {branch.cut}, {number}"
            style = {"color": run.COLORS[number % len(run.COLORS)], "linewidth": 1.4}
            for name in self.axes:
                values = branch.series(name)
                if name == "loss":
                    values = run._smooth(values)
                step = np.arange(1, len(values) + 1)
                since = slice(max(branch.cut - 1, 0), None)
                self._draw(
                    name, label, step[since], values[since], wanted, zorder=3, **style
                )
        self._drop_others(wanted)
        self._fit_limits("loss", max(total_steps, 2))
        self._fit_rates(max(total_steps, 2))
        for name in self.axes:
            self._place_legend(name, planned)

    def _use_scale(self, log_scale):
        axes, scale = self.axes["learning_rate"], "log" if log_scale else "linear"
        if axes.get_yscale() != scale:
            axes.set_yscale(scale)
            if log_scale:
                self._use_log("learning_rate")
            self._limits.pop("learning_rate", None)
            self._background = None

    def _draw(self, where, label, step, values, wanted, **style):
        wanted.add((where, label))
        self._set(where, label, step, values, **style)

    def _fit_rates(self, end):
        """From 0, or four decades down, to a little above the highest rate."""
        axes = self.axes["learning_rate"]
        lines = [line for (where, _), line in self._lines.items() if where != "loss"]
        rates = np.concatenate([np.asarray(line.get_ydata()) for line in lines])
        rates = rates[np.isfinite(rates)]
        top = 1.08 * max(rates.max(initial=0.0), 1e-12)
        is_log = axes.get_yscale() == "log"
        lowest = rates[rates > 0].min(initial=top) / 2
        low = max(lowest, top / _LOWEST) if is_log else -0.02 * top
        if self._limits.get("learning_rate") != (end, low, top):
            self._limits["learning_rate"] = end, low, top
            axes.set(xlim=(0, end), ylim=(low, 2 * top if is_log else top))
            self._background = None

    def _drop_others(self, wanted):
        for key in set(self._lines) - wanted:
            self._lines.pop(key).remove()
            self._background = None

    def _place_legend(self, name, planned):
        """Puts the legend above the axes, where no line is drawn over it."""
        axes = self.axes[name]
        every = labels = [label for where, label in self._lines if where == name]
        if name == "learning_rate":
            # Branches have the colours of their losses, which are named there.
            labels = [label for label in labels if label.removesuffix(_USED) in planned]
        # A new line has made a legend of its own.
        if self._labels.get(name) == every:
            return
        self._labels[name], self._background = every, None
        if not labels:
            if axes.get_legend():
                axes.get_legend().remove()
            return
        axes.legend(
            [self._lines[name, label] for label in labels],
            labels,
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.985),
            ncols=3,
            fontsize=7,
            frameon=False,
            handlelength=1.3,
            columnspacing=0.8,
            labelspacing=0.2,
        )

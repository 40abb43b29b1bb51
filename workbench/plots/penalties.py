"""Data loss, penalty, norms and zeros of a training, each as a curve of its own."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from workbench.plots import run

_SUM, _DATA, _PENALTY = "#9db8d6", run.COLORS[0], run.COLORS[1]
_MOST_WEIGHTS = 6  # lines in one of the axes


class PenaltyFigure(run.RunFigure):
    """What a training pays to its penalties, and what that does to the weights.

    Args:
        width: float, inches.
        height: float, inches.
        dpi: int, dots per inch.
    """

    def __init__(self, width=9.0, height=4.6, dpi=90):
        self._begin(width, height, dpi)
        self.figure.subplots_adjust(0.07, 0.1, 0.98, 0.93, wspace=0.18, hspace=0.5)
        titles = {
            "loss": "Loss",
            "penalty": "Penalty",
            "norm": "Norm of each kernel",
            "zeros": "Numbers that are exactly zero",
        }
        places = list(self.figure.subplots(2, 2).flat)
        self.axes = dict(zip(titles, places, strict=True))
        self._name_axes(titles.values())
        for axes in places:
            axes.grid(alpha=0.3)
        for name in ("norm", "zeros"):
            self.axes[name].set_xlabel("step", fontsize=8)
        self._use_log("penalty")
        self.axes["zeros"].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))

    def update(self, loss, records, total_steps=None):
        """Takes new data; nothing is drawn yet.

        Args:
            loss: float array, each batch's own loss, such as `run.records.loss`.
            records: `workbench.regularization.PenaltyRecords` of the same training.
            total_steps: int, where the step axis ends, or None if unknown.
        """
        # In a training that goes on, one of them may be a step ahead.
        count = min(len(loss), len(records.step))
        step, penalty = records.step[:count], records.penalty[:count]
        loss = np.asarray(loss)[:count]
        smooth = run._smooth(loss)
        self._set("loss", "with penalty", step, smooth, color=_SUM)
        self._set("loss", "data loss", step, run._smooth(loss - penalty), color=_DATA)
        self._set("penalty", "", step, penalty, color=_PENALTY)
        for v, path in enumerate(records.paths[:_MOST_WEIGHTS]):
            name = "/".join(path.split("/")[-2:])
            color = {"color": f"C{v}", "linewidth": 1.0}
            self._set("norm", name, step, records.norms[:count, v], **color)
            self._set("zeros", name, step, records.zeros[:count, v], **color)
        end = run._rounded_up(step[-1] if count else 1)
        if total_steps:
            end = min(end, total_steps)
        for name in self.axes:
            self._fit_limits(name, end)
        self.axes["zeros"].set_ylim(-0.03, 1.03)


def plot_penalties(loss, records):
    """Draws a training's data loss, penalty, norms and zeros over its steps.

    Args:
        loss: float array `(S,)`, each batch's own loss.
        records: `workbench.regularization.PenaltyRecords` of the same training.

    Returns:
        `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    drawing = PenaltyFigure()
    drawing.update(loss, records)
    for line in drawing._lines.values():
        line.set_animated(False)
    return drawing.figure

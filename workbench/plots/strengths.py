"""What penalties buy and cost, drawn over their strength."""

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from workbench.plots.figures import new_figure

_TRAINED, _HELD_OUT, _OTHER = "#1f5fa8", "#c8553d", "#2e7d5b"
_ROWS = (  # title, quantity on the data trained on, on held-out data
    ("accuracy", "accuracy", "val_accuracy"),
    ("data loss", "data_loss", "val_data_loss"),
    ("norm", "norm", None),
    ("zeros", "sparsity", None),
)
_NONE = "none"
_LARGEST_LOSS = 3.0  # times the loss without a penalty; what is above leaves the top


def plot_strengths(grid, *, kinds=None):
    """Draws quantities over the strength, one column per kind of penalty.

    Lines are medians over the seeds, bands reach from the lowest to the highest;
    dotted lines are the same without a penalty.

    Args:
        grid: `workbench.experiments.StrengthGrid`.
        kinds: Iterable of kinds, or None for all.

    Returns:
        `matplotlib.figure.Figure`, unknown to pyplot.

    Raises:
        ValueError: If a kind is not in the grid, or no variant came to its end.
    """
    kinds = tuple(grid.kinds if kinds is None else kinds)
    if not kinds or not set(kinds) <= set(grid.kinds):
        raise ValueError(
            f"`kinds` must name some of {grid.kinds}. Received: kinds={kinds}"
        )
    if not grid.values:
        raise ValueError(
            "`grid` must hold values, and no variant came to its end: train again, "
            "with fewer epochs or strengths. Received: an empty grid"
        )
    rows = [row for row in _rows_of(grid) if row[1] in grid.values]
    figure, every = new_figure(
        1.2 + 2.1 * len(kinds),
        0.7 + 1.55 * len(rows),
        nrows=len(rows),
        ncols=len(kinds),
        sharex="col",
        sharey="row",
        squeeze=False,
    )
    for axes_row, (title, *quantities) in zip(every, rows, strict=True):
        axes_row[0].set_ylabel(title)
        colors = (_TRAINED, _HELD_OUT) if quantities[1] else (_OTHER,)
        for axes, kind in zip(axes_row, kinds, strict=True):
            for quantity, color in zip(quantities, colors, strict=False):
                if quantity in grid.values:
                    _draw(axes, grid, quantity, kind, color)
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=8)
        _limit(axes_row[0], title, grid, quantities)
    for axes, kind in zip(every[0], kinds, strict=True):
        axes.set_title(kind, fontsize=10)
    for axes, kind in zip(every[-1], kinds, strict=True):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("rate" if kind == "dropout" else "strength", fontsize=8)
    _legend(figure, every[0, 0])
    return figure


def _rows_of(grid):
    if "accuracy" in grid.values:
        return _ROWS
    # Another metric, if there is one, takes the place of accuracy.
    own = {"data_loss", "val_data_loss", "penalty", "norm", "sparsity"}
    metrics = [n for n in grid.values if n not in own and not n.startswith("val_")]
    return (*((m, m, f"val_{m}") for m in metrics[:1]), *_ROWS[1:])


def _draw(axes, grid, quantity, kind, color):
    strengths = grid.strengths[kind]
    low, middle, high = grid.spread(quantity, kind)
    label = "held out" if quantity.startswith("val_") else "trained on"
    axes.plot(strengths, middle, ".-", color=color, linewidth=1.2, label=label)
    axes.fill_between(strengths, low, high, color=color, alpha=0.2, linewidth=0)
    (_, base, _) = grid.spread(quantity, _NONE)
    if np.isfinite(base[0]):
        axes.axhline(base[0], color=color, linestyle=":", linewidth=1)


def _limit(axes, title, grid, quantities):
    if title == "zeros":
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif title == "norm":
        axes.set_ylim(bottom=0)
    elif title == "data loss":
        bases = [grid.spread(q)[1, 0] for q in quantities if q in grid.values]
        highest = max(
            np.nanmax(values, initial=0)
            for q in quantities
            if q in grid.values
            for values in grid.values[q].values()
        )
        top = max(_LARGEST_LOSS * np.nanmax(bases, initial=0), 1e-6)
        axes.set_ylim(0, min(top, 1.05 * highest) or None)


def _legend(figure, axes):
    handles, labels = axes.get_legend_handles_labels()
    handles += axes.plot([], [], ":", color="#555555")
    labels += ["without penalty"]
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=8)

"""What clipping does: methods side by side, the cliff, names for rows."""

import numpy as np
from matplotlib.figure import Figure

from workbench.plots.figures import new_figure

ALARM = "#b3261e"
MOST_ROWS = 12
_SEED = ", seed "


def joint(norms):
    """Computes the norm over all variables, float64 `(S,)` from `(S, V)`."""
    return np.sqrt(np.square(norms.astype("float64")).sum(axis=1))


def rows_of(layers):
    """Chooses what a heat map's rows are: variables, or layers where those are many.

    Args:
        layers: `workbench.training.LayerRecords`.

    Returns:
        `(names, before, after)`: list of R str, float64 `(R, S)` each.
    """
    names = short_names(layers.paths)
    before, after = layers.norm_before.T, layers.norm_after.T
    if len(names) <= MOST_ROWS:
        return names, before.astype("float64"), after.astype("float64")
    owners = [path.rpartition("/")[0] for path in layers.paths]
    groups = list(dict.fromkeys(owners))
    parts = [[i for i, owner in enumerate(owners) if owner == g] for g in groups]

    def together(values):
        return np.stack([joint(values[part].T) for part in parts])

    return short_names(groups), together(before), together(after)


def short_names(paths):
    """Shortens variable paths to what tells them apart.

    Args:
        paths: Sequence of str, such as "sequential/lstm/lstm_cell/kernel".

    Returns:
        List of str, such as "lstm/kernel".
    """
    parts = [path.split("/") for path in paths]
    while len({part[0] for part in parts}) == 1 and all(len(p) > 1 for p in parts):
        parts = [part[1:] for part in parts]
    short = ["/".join(dict.fromkeys((part[0], part[-1]))) for part in parts]
    if len(set(short)) < len(short):
        short = ["/".join(part) for part in parts]
    return short


def plot_methods(comparisons, *, highest_loss=None):
    """Draws methods side by side: loss, gradient norm, share of steps clipped.

    Lines are medians over the seeds of a method; a line that leaves through the top
    has exploded.

    Args:
        comparisons: Dict of title -> `workbench.experiments.Comparison`, one row of
            axes each. Variants named "method, seed 3" are seeds of one method.
        highest_loss: float, where the loss axis ends, or None for a thousand times the
            first loss.

    Returns:
        `matplotlib.figure.Figure`.
    """
    count = len(comparisons)
    figure, rows = new_figure(9.5, 2.9 * count, nrows=count, ncols=3, squeeze=False)
    for axes, (title, comparison) in zip(rows, comparisons.items(), strict=True):
        every = list(comparison.records.values())
        highest = highest_loss or 1000.0 * float(every[0].loss[0])
        groups = methods_of(comparison)
        _plot_medians(axes[0], groups, "loss", highest)
        largest = 1e4 * max(float(record.gradient_norm[0]) for record in every)
        _plot_medians(axes[1], groups, "gradient_norm", largest)
        _plot_shares(axes[2], groups, highest)
        titles = f"{title}: loss", "Gradient norm before clipping", "Steps clipped"
        for one, text in zip(axes, titles, strict=True):
            one.set_title(text, loc="left", fontsize=9)
            one.tick_params(labelsize=8)
            one.grid(alpha=0.3)
    return figure


def _plot_medians(axes, groups, name, highest):
    lowest = highest
    for number, records in enumerate(groups.values()):
        values = _median([getattr(record, name) for record in records])
        axes.plot(values, color=f"C{number}", linewidth=1.1)
        lowest = min(lowest, values[values > 0].min(initial=highest))
    axes.set(yscale="log", xlabel="step", ylim=(lowest / 2, highest))


def _plot_shares(axes, groups, highest_loss):
    for number, records in enumerate(groups.values()):
        share = np.mean([record.share_clipped for record in records])
        lost = sum(_has_exploded(record, highest_loss) for record in records)
        axes.barh(number, share, color=f"C{number}", alpha=0.6)
        text = f"{lost} of {len(records)} exploded" if lost else "none exploded"
        if len(records) == 1:
            text = "exploded" if lost else ""
        axes.text(0.02, number, text, va="center", fontsize=7)
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
    for number, label in enumerate(axes.get_yticklabels()):
        label.set_color(f"C{number}")
    axes.set(xlim=(0, 1), xticks=(0, 0.5, 1), xticklabels=("0 %", "50 %", "100 %"))
    axes.invert_yaxis()


def methods_of(comparison):
    """Groups a comparison's records by method, dict of str -> list of `Record`."""
    groups = {}
    for name, record in comparison.records.items():
        groups.setdefault(name.partition(_SEED)[0], []).append(record)
    return groups


def count_exploded(comparison, highest_loss):
    """Counts the seeds of each method whose loss passed a limit, or was not finite.

    Args:
        comparison: `workbench.experiments.Comparison`.
        highest_loss: float.

    Returns:
        Dict of method -> int.
    """
    return {
        name: sum(_has_exploded(record, highest_loss) for record in records)
        for name, records in methods_of(comparison).items()
    }


def _has_exploded(record, highest_loss):
    return not bool((record.loss <= highest_loss).all())


def _median(series):
    """Median over series of unequal length; one that ended early counts as infinite."""
    longest = max(map(len, series))
    padded = np.full((len(series), longest), np.inf)
    for row, values in zip(padded, series, strict=True):
        row[: len(values)] = np.nan_to_num(values, nan=np.inf)
    return np.median(padded, axis=0)


def plot_arrows(tips, labels):
    """Draws gradients of two weights as arrows from zero.

    Args:
        tips: Dict of label -> array `(2,)`.
        labels: `(x, y)`, str, what the axes stand for.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure, axes = new_figure(7.0, 2.4)
    for number, (label, tip) in enumerate(tips.items()):
        style = {"color": f"C{number}", "linewidth": len(tips) - number + 1}
        axes.plot((0, tip[0]), (0, tip[1]), label=label, **style)
        axes.plot(*tip, "o", color=f"C{number}")
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.margins(y=0.15)
    figure.legend(loc="outside upper center", ncols=len(tips))
    return figure


def plot_cliff(losses, weights, biases, paths):
    """Draws a loss over two parameters as a surface and as a map with paths on it.

    Args:
        losses: float array `(M, N)`.
        weights: float array `(N,)`, the first parameter.
        biases: float array `(M,)`, the second parameter.
        paths: Dict of label -> float array `(S, 2)`, parameters after each step.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure = Figure(figsize=(9.5, 4.0), layout="constrained")
    solid = figure.add_subplot(1, 2, 1, projection="3d")
    flat = figure.add_subplot(1, 2, 2)
    grid = np.meshgrid(weights, biases)
    solid.plot_surface(*grid, losses, cmap="viridis", rcount=80, ccount=80, alpha=0.9)
    solid.set(xlabel="weight", ylabel="bias", zlabel="loss")
    solid.view_init(elev=38, azim=-125)
    solid.set_box_aspect(None, zoom=0.88)
    contours = flat.contourf(*grid, losses, levels=24, cmap="viridis")
    figure.colorbar(contours, ax=flat, label="loss")
    for (label, path), color in zip(paths.items(), (ALARM, "white"), strict=False):
        flat.plot(*path.T, ".-", color=color, markersize=3, linewidth=0.9, label=label)
    flat.plot(*next(iter(paths.values()))[0], "o", color="black", label="start")
    flat.set(
        xlim=(weights[0], weights[-1]),
        ylim=(biases[0], biases[-1]),
        xlabel="weight",
        ylabel="bias",
    )
    flat.legend(fontsize=8, facecolor="#cccccc", loc="lower left")
    return figure


def plot_successes(rows):
    """Draws how many seeds solved a task, with their exact binomial intervals.

    Args:
        rows: List of dict with `length`, `initial`, `method`, `seeds`, `solved`,
            `learned` and `interval`, as `benchmarks/pascanu.py` writes them.

    Returns:
        `matplotlib.figure.Figure`.
    """
    initials = list(dict.fromkeys(row["initial"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lengths = sorted({row["length"] for row in rows})
    size = {"ncols": len(initials), "sharey": True, "squeeze": False}
    figure, every = new_figure(9.5, 2.8, **size)
    for row in rows:
        axes = every[0, initials.index(row["initial"])]
        number = methods.index(row["method"])
        x = lengths.index(row["length"]) + 0.24 * number - 0.12
        color, count = f"C{number}", row["seeds"]
        axes.bar(x, row["learned"] / count, 0.2, color=color, alpha=0.25)
        axes.bar(x, row["solved"] / count, 0.2, color=color, label=row["method"])
        axes.vlines(x, *row["interval"], color="black", linewidth=1)
        axes.set_title(f"{row['initial']}, {count} seeds", fontsize=9)
    for axes in every[0]:
        axes.set_xticks(range(len(lengths)), [f"T = {length}" for length in lengths])
    every[0, 0].set(ylabel="share of the seeds", ylim=(0, 1.02))
    figure.legend(*_first_of_each(every[0, 0]), loc="outside upper center", ncols=4)
    return figure


def _first_of_each(axes):
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    return list(unique.values()), list(unique)

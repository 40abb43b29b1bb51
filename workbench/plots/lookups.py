"""What a lookup picks out of a table, and where shards keep its rows, drawn."""

import numpy as np

from workbench import plots

_PALE = 0.25


def plot_lookup(table, words, asked):
    """Draws a small table, the rows that are looked up, and what comes out.

    Args:
        table: float array `(V, D)`, small enough to read.
        words: List of V str, the word of each row.
        asked: List of str, the words looked up.

    Returns:
        `matplotlib.figure.Figure`, unknown to pyplot.
    """
    ids = [words.index(word) for word in asked]
    height = 0.6 + 0.22 * len(words)
    figure, (left, right) = plots.new_figure(7, height, ncols=2, sharey=True)
    limit = np.abs(table).max()
    picked = np.isin(np.arange(len(words)), ids)
    top = (len(words) - len(ids)) / 2
    colors = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "aspect": "auto"}
    right.imshow(table[ids], extent=_extent(table, top, len(ids)), **colors)
    # Shared axes take the limits of what is drawn last.
    left.imshow(table, alpha=np.where(picked, 1, _PALE)[:, None] + 0 * table, **colors)
    for row, values in enumerate(table):
        _write(left, row, values, 1 if picked[row] else _PALE)
    for place, row in enumerate(ids):
        _write(right, top + place, table[row], 1)
        right.text(
            -0.7, top + place, f"{asked[place]} = {row}", ha="right", va="center"
        )
    left.set_yticks(range(len(words)), [f"{w}  {i}" for i, w in enumerate(words)])
    for label, is_picked in zip(left.get_yticklabels(), picked, strict=True):
        label.set_alpha(1 if is_picked else 0.5)
    right.tick_params(left=False, labelleft=False)
    for axes, title in ((left, "the table"), (right, "looked up")):
        axes.set_title(title, loc="left", fontsize=9)
        axes.set(xticks=[])
        axes.spines[:].set_visible(False)
    right.set_xlim(-3.2, table.shape[1] - 0.5)
    return figure


def plot_shards(num_rows, num_shards):
    """Draws which shard has which row, under "mod" and under "div".

    Args:
        num_rows: int, rows of the whole table.
        num_shards: int.

    Returns:
        `matplotlib.figure.Figure`, unknown to pyplot.
    """
    ids = np.arange(num_rows)
    figure, both = plots.new_figure(7, 0.8 + 0.35 * num_shards, ncols=2, sharey=True)
    ways = {
        "mod": [ids[i::num_shards] for i in range(num_shards)],
        "div": np.array_split(ids, num_shards),
    }
    longest = -(-num_rows // num_shards)
    for axes, (name, shards) in zip(both, ways.items(), strict=True):
        grid = np.full((num_shards, longest), np.nan)
        for i, shard in enumerate(shards):
            grid[i, : len(shard)] = shard
            _write(axes, i, shard, 1)
        axes.imshow(grid, cmap="viridis", alpha=0.45, aspect="auto")
        axes.set_title(f'"{name}"', loc="left", fontsize=9)
        axes.set_xticks(range(longest), [f"row {j}" for j in range(longest)])
        axes.set_yticks(range(num_shards), [f"shard {i}" for i in range(num_shards)])
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
    return figure


def _extent(table, top, count):
    return (-0.5, table.shape[1] - 0.5, top + count - 0.5, top - 0.5)


def _write(axes, row, values, alpha):
    for column, value in enumerate(values):
        axes.text(
            column,
            row,
            f"{value:.1f}" if isinstance(value, np.floating) else value,
            ha="center",
            va="center",
            fontsize=8,
            alpha=max(alpha, 0.4),
        )

"""Vectors of words as points, and how much of a vocabulary a file of vectors has."""

import functools

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.ticker import PercentFormatter

from workbench.plots.figures import new_figure

NUM_COLORS = 256
MOST_POINTS = 20_000  # in a figure; a panel draws them all
_FOUND, _MISSING, _UNREACHABLE = "#1f5fa8", "#c8553d", "#9e9e9e"
_SHOWN = 6
_RINGS = {
    "word": "#d81b60",
    "near": "#1f5fa8",
    "asked": "#d81b60",
    "answer": "#ef6c00",
    "match": "#2e7d5b",
}


# Words as points


@functools.cache
def color_table():
    """Returns the colors of words, uint8 `(256, 3)`, from light to dark."""
    shares = np.linspace(0.1, 1, NUM_COLORS)
    return np.round(255 * mpl.colormaps["viridis_r"](shares)[:, :3]).astype("uint8")


def rank_codes(count):
    """Gives words colors by their place in the file, the first the darkest.

    Args:
        count: int, words.

    Returns:
        uint8 `(count,)`, falling with the logarithm of the place.
    """
    places = np.arange(1, count + 1)
    shares = 1 - np.log(places) / np.log(max(count, 2))
    return np.round(shares * (NUM_COLORS - 1)).astype("uint8")


def similarity_codes(similarities):
    """Gives words colors by a similarity, 1 the darkest.

    Args:
        similarities: float array `(N,)`; below 0 and NaN count as 0.

    Returns:
        uint8 `(N,)`.
    """
    shares = np.clip(np.nan_to_num(similarities), 0, 1)
    return np.round(shares * (NUM_COLORS - 1)).astype("uint8")


def plot_words(positions, words, *, codes=None, marks=(), arrows=(), title=""):
    """Draws words as points, some of them with a ring and their name.

    Args:
        positions: float `(N, 2)`, such as `WordVectors.project` gives; of more than
            20,000 the first are drawn, and the marked ones.
        words: Sequence of at least N str.
        codes: uint8 `(N,)`, see `rank_codes`, which is the default.
        marks: Sequence of `(row, kind)`: "word", "near", "asked", "answer" or "match".
        arrows: Sequence of `(row, row)`.
        title: str.

    Returns:
        `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    codes = rank_codes(len(positions)) if codes is None else codes
    figure, axes = new_figure(8.0, 5.2)
    # The first lie on top.
    rows = np.arange(min(len(positions), MOST_POINTS))[::-1]
    size = np.clip(40_000 / max(len(rows), 1), 2, 40)
    axes.scatter(
        *positions[rows].T, s=size, c=color_table()[codes[rows]] / 255, linewidths=0
    )
    for start, end in arrows:
        style = {"arrowstyle": "->", "color": _RINGS["asked"], "shrinkB": 4}
        axes.annotate("", positions[end], positions[start], arrowprops=style)
    for row, kind in marks:
        color = _RINGS[kind]
        axes.scatter(*positions[row], s=45, facecolors="none", edgecolors=color)
        axes.annotate(
            words[row],
            positions[row],
            xytext=(5, 3),
            textcoords="offset points",
            fontsize=8,
            color=color,
            parse_math=False,
            path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    return figure


# What a file has


def plot_coverage(coverages, *, axes=None):
    """Draws how much of a vocabulary a file of vectors has.

    Args:
        coverages: `workbench.embeddings.Coverage`, or dict name -> `Coverage` for bars
            below one another.
        axes: matplotlib Axes to draw on, or None for a new figure.

    Returns:
        The Axes' `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    if not isinstance(coverages, dict):
        coverages = {"": coverages}
    if axes is None:
        _, axes = new_figure(7.0, 1.3 + 0.62 * len(coverages))
    for line, coverage in enumerate(coverages.values()):
        _draw_coverage(axes, line, coverage)
    axes.set_yticks(range(len(coverages)), list(coverages))
    axes.set_ylim(len(coverages) - 0.35, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("words of the vocabulary", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        once.values(),
        once.keys(),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(once),
        fontsize=8,
        frameon=False,
    )
    return axes.figure


def _draw_coverage(axes, line, coverage):
    # A word that no text gives is of no use, whether the file has it or not.
    lost = set(coverage.unreachable)
    parts = {
        "found": ([w for w in coverage.found if w not in lost], _FOUND),
        "missing": ([w for w in coverage.missing if w not in lost], _MISSING),
        "unreachable": (
            [w for w in (*coverage.found, *coverage.missing) if w in lost],
            _UNREACHABLE,
        ),
    }
    count = max(sum(len(words) for words, _ in parts.values()), 1)
    left = 0.0
    for name, (words, color) in parts.items():
        share = len(words) / count
        if not share and name == "unreachable":
            continue
        axes.barh(line, share, left=left, height=0.5, color=color, label=name)
        if share > 0.12:
            axes.text(
                left + share / 2,
                line,
                f"{len(words):,} ({share:.1%})",
                ha="center",
                va="center",
                color="white",
                fontsize=8,
            )
        left += share
    first = parts["missing"][0]
    if first:
        more = " …" if len(first) > _SHOWN else ""
        axes.text(
            1.0,
            line + 0.3,
            f"missing: {', '.join(first[:_SHOWN])}{more}",
            ha="right",
            va="top",
            fontsize=7,
            color=_MISSING,
            parse_math=False,
        )

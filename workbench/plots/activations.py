"""What layers put out, as figures: their maps, and heat maps over images."""

import matplotlib as mpl
import numpy as np

from workbench.activations.maps import maps_of
from workbench.plots import tiles
from workbench.plots.figures import new_figure, to_png

_MOST_LINES = 32


def plot_output(array, kind="", *, scale="layer", title=""):
    """Draws what a layer put out for one sample, one map per unit.

    Args:
        array: Array `(B, …)`, of which the first sample is drawn; see
            `workbench.activations.maps.maps_of`.
        kind: str, as in `Capture.kinds`: "attention scores" are drawn by head.
        scale: "layer" or "unit", what shares one color scale.
        title: str.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        TypeError: If the array holds no numbers.
        ValueError: If `scale` is another.
    """
    if scale not in ("layer", "unit"):
        raise ValueError(f"`scale` must be 'layer' or 'unit'. Received: {scale=}")
    array = np.asarray(array)
    maps = maps_of(array[:1] if array.ndim else array, kind)
    signed = tiles.is_signed(maps.values)
    if scale == "unit":
        limits = tiles.find_unit_limits(maps.values[0], signed=signed)
    else:
        limits = [tiles.find_limits(maps.values, signed=signed)]
        limits = np.array(limits, "float32")
    picture = tiles.colorize(maps.values[0], limits, signed=signed)
    height, width = tiles.tile(picture, tiles.count_columns(maps)).shape[:2]
    tall = 3.0 if maps.is_sequence else min(max(7.0 * height / width, 1.2), 5.0)
    figure, axes = new_figure(7, tall)
    _draw_maps(figure, axes, maps, limits, signed)
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    return figure


def plot_overlays(images, heats):
    """Draws heat maps over the images that they belong to.

    Args:
        images: `(N, H, W)`, gray.
        heats: dict name -> `(N, H, W)`; each map has its own scale.

    Returns:
        `matplotlib.figure.Figure`, one row for the images and one for each name.
    """
    rows = {"image": None, **heats}
    size = 1.1 * len(images), 1.1 * len(rows)
    figure, axes = new_figure(*size, nrows=len(rows), ncols=len(images), squeeze=False)
    for line, (name, heat) in zip(axes, rows.items(), strict=True):
        for i, axis in enumerate(line):
            axis.imshow(images[i], cmap="gray")
            if heat is not None:
                axis.imshow(heat[i], cmap="inferno", alpha=0.65)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=8)
    return figure


def plot_tiles(maps, limits, *, signed, title="", lines=(), chosen=None):
    """Draws the maps of one sample beside the list of layers.

    Args:
        maps: `workbench.activations.maps.Maps` of one sample.
        limits: float32 `(1, 2)` or `(units, 2)`.
        signed: bool, whether the scale is symmetric about 0.
        title: str.
        lines: Sequence of str, the layers.
        chosen: int, the index of the line that is shown, or None.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure, (left, right) = new_figure(10, 5.2, ncols=2, width_ratios=(1, 2.8))
    left.set_axis_off()
    start = min(
        max(0, (chosen or 0) - _MOST_LINES // 2), max(0, len(lines) - _MOST_LINES)
    )
    for i, line in enumerate(lines[start : start + _MOST_LINES]):
        left.text(
            *(0, 1 - i / _MOST_LINES),
            line[:48],
            family="monospace",
            fontsize=8,
            va="top",
            parse_math=False,
            weight="bold" if start + i == chosen else "normal",
            color="#0b57d0" if start + i == chosen else "#333333",
        )
    _draw_maps(figure, right, maps, limits, signed)
    right.set_title(title, fontsize=9, loc="left", parse_math=False)
    return figure


def _draw_maps(figure, axes, maps, limits, signed):
    values = maps.values[0]
    columns = tiles.count_columns(maps)
    picture = tiles.tile(tiles.colorize(values, limits, signed=signed), columns)
    axes.imshow(
        picture,
        aspect="auto" if maps.is_sequence else "equal",
        interpolation="nearest" if max(picture.shape) < 800 else "antialiased",
    )
    if maps.is_sequence:
        axes.set(xlabel="time step", ylabel="unit")
    else:
        _draw_grid(axes, picture.shape, values.shape, columns)
    if len(limits) == 1:
        _draw_scale(figure, axes, limits[0], signed)


def _draw_grid(axes, size, shape, columns):
    height, width = size[:2]
    style = {"color": "white", "linewidth": 0.8}
    axes.vlines(np.arange(1, columns) * shape[2] - 0.5, -0.5, height - 0.5, **style)
    axes.hlines(np.arange(shape[1], height, shape[1]) - 0.5, -0.5, width - 0.5, **style)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.spines[:].set_visible(False)


def _draw_scale(figure, axes, limits, signed):
    colors = mpl.colors.ListedColormap(
        tiles.color_table(signed)[: tiles.NUM_COLORS] / 255
    )
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(*map(float, limits)), colors)
    figure.colorbar(scale, ax=axes, shrink=0.6, pad=0.02)


def to_picture(figure):
    """Returns the picture for pages without a kernel, bytes of a PNG file."""
    return to_png(figure, dpi=80)

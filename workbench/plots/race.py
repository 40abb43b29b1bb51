"""Optimizers on a surface: their paths as a picture, and as an animation."""

import io

import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from PIL import Image

from workbench.plots.figures import new_figure

_LEVELS = 18
_POINTS = 160  # of the grid, in each direction
_COLORS = colormaps["tab10"].colors
_GREYS = ListedColormap(colormaps["Greys_r"](np.linspace(0.3, 1, _LEVELS)))


def plot_races(races):
    """Draws where optimizers went.

    Args:
        races: List of `workbench.experiments.Race`, one pair of axes each.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure, lines, _ = _frame(races)
    for race, every in zip(races, lines, strict=True):
        for (name, path), (line, tip) in zip(race.paths.items(), every, strict=True):
            line.set_data(*path.T)
            tip.set_data(*path[-1:].T)
            line.set_label(name)
    return figure


def animate_races(races, *, num_frames=48, milliseconds=110, dpi=75):
    """Draws how optimizers go, slowly at first and then faster.

    Args:
        races: List of `workbench.experiments.Race` of equally many steps.
        num_frames: int >= 2.
        milliseconds: Positive int, how long each frame stays; the last stays longer.
        dpi: int, dots per inch.

    Returns:
        bytes of a GIF file that repeats itself; show it with `show(gif, alt)`.

    Raises:
        ValueError: If the races differ in steps, or `num_frames` < 2.
    """
    lengths = {len(path) for race in races for path in race.paths.values()}
    if len(lengths) != 1:
        raise ValueError(
            "`races` must be a list of races of equally many steps. Received: "
            f"races of {sorted(length - 1 for length in lengths)} steps"
        )
    if num_frames < 2:
        raise ValueError(f"`num_frames` must be >= 2. Received: {num_frames=}")
    last = lengths.pop() - 1
    figure, lines, text = _frame(races)
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    moving = [text, *(artist for every in lines for pair in every for artist in pair)]
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    figure.set_layout_engine("none")
    background = canvas.copy_from_bbox(figure.bbox)
    frames = []
    for share in np.linspace(0, 1, num_frames):
        step = round(last * share**2)
        canvas.restore_region(background)
        text.set_text(f"step {step}")
        for race, every in zip(races, lines, strict=True):
            for path, (line, tip) in zip(race.paths.values(), every, strict=True):
                line.set_data(*path[: step + 1].T)
                tip.set_data(*path[step : step + 1].T)
        for artist in moving:
            figure.draw_artist(artist)
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    return _to_gif(frames, milliseconds)


def _frame(races):
    """Makes the figure with the surfaces; returns it, its lines and a text."""
    columns = min(len(races), 2)
    rows = -(-len(races) // columns)
    figure, grid = new_figure(
        4.7 * columns, 2.8 * rows + 0.7, nrows=rows, ncols=columns, squeeze=False
    )
    lines = []
    for race, axes in zip(races, grid.flat, strict=False):
        _draw_surface(axes, race.surface)
        lines.append(
            [
                (
                    axes.plot([], [], color=color, linewidth=1.3, alpha=0.9)[0],
                    axes.plot([], [], "o", color=color, markersize=5)[0],
                )
                for color in (_COLORS[i % len(_COLORS)] for i in range(len(race.paths)))
            ]
        )
    for axes in grid.flat[len(races) :]:
        axes.remove()
    every = {}
    for race, pairs in zip(races, lines, strict=True):
        for name, (line, _) in zip(race.paths, pairs, strict=True):
            every.setdefault(name, line)
    handles = [_copy_of(line) for line in every.values()]
    figure.legend(handles, list(every), loc="outside lower center", ncols=5, fontsize=8)
    text = figure.text(0.01, 0.02, "", fontsize=11)
    return figure, lines, text


def _copy_of(line):
    handle = type(line)([], [])
    handle.update_from(line)
    handle.set_linewidth(2.5)
    return handle


def _draw_surface(axes, surface):
    grid = np.meshgrid(
        np.linspace(*surface.x_limits, _POINTS), np.linspace(*surface.y_limits, _POINTS)
    )
    # By powers: the valleys are what is interesting, and the walls are high.
    height = np.log10(surface(*grid) - surface.lowest + 1e-3)
    levels = np.linspace(height.min(), height.max(), _LEVELS)
    axes.contourf(*grid, height, levels=levels, cmap=_GREYS)
    edge = {"markeredgecolor": "black", "markeredgewidth": 0.8}
    axes.plot(*surface.start, "s", color="white", markersize=6, zorder=3, **edge)
    for minimum in surface.minima:
        axes.plot(*minimum, "*", color="white", markersize=13, zorder=3, **edge)
    axes.set(xlim=surface.x_limits, ylim=surface.y_limits)
    axes.set_title(surface.name, loc="left", fontsize=10)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))


def _to_gif(frames, milliseconds):
    """One palette for all frames, so that only what moved is stored."""
    bright = np.array(_COLORS)
    blends = [bright * share + (1 - share) for share in (1.0, 0.7, 0.4)]
    blends += [bright * 0.6, np.repeat(np.linspace(0, 1, 48)[:, None], 3, axis=1)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(255 * np.concatenate(blends)).astype("uint8").tobytes())
    frames = [
        frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames
    ]
    buffer = io.BytesIO()
    durations = [milliseconds] * (len(frames) - 1) + [20 * milliseconds]
    frames[0].save(
        buffer,
        format="gif",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        optimize=True,
    )
    return buffer.getvalue()

"""Reports on model files and formats as pictures, for pages without a kernel."""

import textwrap

from matplotlib.figure import Figure

GOOD, FAIR, BAD, NEUTRAL = "#d8eed9", "#fdf1d0", "#f9d6d3", "#eef0f2"
_WIDTH = 100  # signs in a line
_MOST_NODES = 200


def cell_color(text):
    """Chooses the colour of a cell of a table of formats.

    Args:
        text: str, such as "equal", "off by 1e-07", "lost" or "fails".

    Returns:
        str, a CSS colour.
    """
    if text == "equal":
        return GOOD
    if text.startswith("off by"):
        return FAIR if float(text.split()[-1]) > 1e-5 else GOOD
    if text in ("lost", "fails", "failed", "others"):
        return BAD
    return NEUTRAL


def plot_comparison(comparison):
    """Draws a table of what each format kept.

    Args:
        comparison: `workbench.formats.FormatComparison`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    table = next(iter(comparison.blocks()))
    columns = [name for name in table.columns if name not in ("save", "load")]
    rows = [row[: len(columns)] for row in table.rows]
    figure = Figure(figsize=(9.0, 0.5 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    colors = [[cell_color(cell) for cell in row[1:5]] for row in rows]
    colors = [["white", *row, "white", "white"] for row in colors]
    drawn = axes.table(
        rows, cellColours=colors, colLabels=columns, loc="center", cellLoc="left"
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.auto_set_column_width(list(range(len(columns))))
    drawn.scale(1.0, 1.3)
    for cell in drawn.get_celld().values():
        cell.set_edgecolor("#c8ccd0")
    return figure


def plot_report(report):
    """Draws a report on a file as text.

    Args:
        report: `workbench.formats.FileReport`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    lines = [
        part
        for line in str(report).splitlines()
        for part in textwrap.wrap(line, _WIDTH, replace_whitespace=False) or [""]
    ][:40]
    figure = Figure(figsize=(9.0, 0.3 + 0.17 * len(lines)))
    color = "#1f5130" if report.is_harmless else "#8c1d18"
    place = {"x": 0.01, "y": 0.98, "va": "top", "family": "monospace"}
    # A dollar sign in a name would be set as mathematics.
    text = "\n".join(lines).replace("$", r"\$")
    figure.text(s=text, size=8, color=color, **place)
    return figure


def plot_graph(report, nodes):
    """Draws the operations of a small graph from left to right.

    Args:
        report: `workbench.formats.FileReport` of it, for its inputs and outputs.
        nodes: What `workbench.formats.list_nodes` lists.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there are none or too many.
    """
    edges = {node.name: (node.op, node.takes) for node in nodes}
    if not 0 < len(edges) <= _MOST_NODES:
        raise ValueError(
            f"`nodes` must be 1 to {_MOST_NODES} operations, more cannot be read in a "
            f"picture. Received: {len(edges)}"
        )
    depth = {}

    def place(name):
        if name not in depth:
            depth[name] = 0
            before = [place(other) for other in edges[name][1] if other in edges]
            depth[name] = 1 + max(before, default=-1)
        return depth[name]

    for name in edges:
        place(name)
    columns = {}
    for name, at in depth.items():
        columns.setdefault(at, []).append(name)
    where = {
        name: (at, -(row - (len(names) - 1) / 2))
        for at, names in columns.items()
        for row, name in enumerate(names)
    }
    tallest = max(len(names) for names in columns.values())
    figure = Figure(
        figsize=(1.5 * len(columns), 0.5 + 0.6 * tallest), layout="constrained"
    )
    axes = figure.subplots()
    fed = {line.split(" ")[0] for line in report.inputs}
    for name, (kind, before) in edges.items():
        for other in before:
            if other in where:
                axes.annotate(
                    "",
                    where[name],
                    where[other],
                    zorder=1,
                    arrowprops={"arrowstyle": "->", "color": "#8a929a", "shrinkB": 16},
                )
        color = GOOD if name in fed else FAIR if name in report.outputs else NEUTRAL
        box = {"boxstyle": "round", "facecolor": color, "edgecolor": "#8a929a"}
        axes.text(
            *where[name], kind, ha="center", va="center", size=8, bbox=box, zorder=3
        )
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-tallest / 2, tallest / 2)
    axes.set_axis_off()
    return figure

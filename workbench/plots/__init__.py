"""Records drawn on matplotlib Axes, without pyplot's global state."""

from workbench.plots.figures import image_tag, new_figure, show, to_png
from workbench.plots.rates import plot_range_test, plot_rates
from workbench.plots.run import RunFigure, plot_run

__all__ = [
    "RunFigure",
    "image_tag",
    "new_figure",
    "plot_range_test",
    "plot_rates",
    "plot_run",
    "show",
    "to_png",
]

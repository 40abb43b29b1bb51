"""A training's curve, with the checkpoints that are on disk marked on it."""

import math

from workbench.checkpoints.encoding import decode
from workbench.plots.figures import new_figure

_LINE, _OTHER, _CHOSEN = "#1f5fa8", "#c8553d", "#1b1b1b"


def plot_checkpoints(checkpoints, metric="loss", chosen=None):
    """Draws a metric over the steps of a training, and where its checkpoints lie.

    The curve is the History in the newest checkpoint, one value per epoch; a checkpoint
    in the middle of an epoch has the mean since the epoch began.

    Args:
        checkpoints: Sequence of `workbench.checkpoints.Checkpoint`, oldest first.
        metric: str, a name of the logs; its validation is drawn too.
        chosen: `Checkpoint` to point out, or None.

    Returns:
        `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    figure, axes = new_figure(7.0, 2.6)
    if checkpoints:
        _draw(axes, checkpoints, metric, chosen)
    axes.set_xlabel("step", fontsize=8)
    axes.set_title(f"{metric} at the checkpoints", loc="left", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    return figure


def history_of(checkpoint):
    """Reads the History that a checkpoint holds.

    Args:
        checkpoint: `workbench.checkpoints.Checkpoint`.

    Returns:
        dict name -> list of float, one per epoch done.
    """
    for name, state in checkpoint.manifest["callbacks"]:
        if name.endswith("History"):
            return decode(state, {})["history"]
    return {}


def _draw(axes, checkpoints, metric, chosen):
    newest = checkpoints[-1]
    per_epoch = newest.manifest["identity"]["data"]["steps_per_epoch"]
    history = history_of(newest)
    for name, color in ((metric, _LINE), (f"val_{metric}", _OTHER)):
        values = history.get(name, [])
        steps = [(i + 1) * per_epoch for i in range(len(values))]
        if values:
            axes.plot(steps, values, color=color, marker=".", label=name)
    marked = [c for c in checkpoints if math.isfinite(c.metrics.get(metric, math.nan))]
    places = [c.steps for c in marked], [c.metrics[metric] for c in marked]
    axes.scatter(*places, s=70, facecolors="none", edgecolors=_LINE, label="checkpoint")
    if chosen is not None:
        axes.axvline(chosen.steps, color=_CHOSEN, ls=":", label="chosen")
    axes.set_xlim(0, 1.02 * max(newest.steps, per_epoch))
    axes.legend(fontsize=8)

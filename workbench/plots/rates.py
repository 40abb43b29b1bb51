"""The learning rate over the steps: who decided it, and what a range test saw."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from workbench.plots.figures import new_figure
from workbench.plots.run import COLORS

_KINDS = {  # who decides: label, colour, marker of a change
    "compiled": ("as compiled", COLORS[0], None),
    "callback": ("a callback", COLORS[1], "v"),
    "hand": ("by hand", COLORS[2], "o"),
}
_MOST_MARKS = 40
_FAINT = "#888888"


def plot_rates(run, schedule=None, *, axes=None):
    """Draws a run's rate against the step, coloured by who decided it.

    The schedule that the optimizer was compiled with goes on as a faint line where
    something else decides. Markers stand at the changes; a schedule that was set is
    named there.

    Args:
        run: `workbench.training.Run`, or anything with its `records` and `changes`,
            such as what `load_records` gives.
        schedule: `LearningRateSchedule` or number that the optimizer was compiled
            with; None for that of the run's model, if there is one.
        axes: matplotlib Axes to draw into, or None for a new figure.

    Returns:
        `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    if axes is None:
        figure, axes = new_figure(7.5, 3.4)
    else:
        figure = axes.figure
    step, rate = run.records.step, run.records.learning_rate
    changes = [
        change
        for change in run.changes
        if change.name == "learning_rate" and change.step <= len(step)
    ]
    who = deciders(len(step), changes)
    planned = _planned(run, schedule, len(step))
    if planned is not None and (who != "compiled").any():
        style = {"color": _FAINT, "linestyle": ":", "linewidth": 1.2}
        axes.plot(step, planned, label="its schedule, had nobody acted", **style)
    axes.plot(step, rate, color="#cccccc", linewidth=0.8)
    for kind, (label, color, marker) in _KINDS.items():
        if not (who == kind).any():
            continue
        axes.plot(step, np.where(who == kind, rate, np.nan), color=color, label=label)
        made = [change for change in changes if change.by == kind]
        if marker and 0 < len(made) <= _MOST_MARKS:
            at = np.array([change.step for change in made])
            axes.plot(at, rate[at - 1], marker, color=color, markersize=5)
            _name_schedules(axes, made, rate)
    shown = rate[np.isfinite(rate) & (rate > 0)]
    if len(shown) and shown.max() > 20 * shown.min():
        axes.set_yscale("log")
    axes.set_title("Learning rate", loc="left", fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(step):
        axes.legend(fontsize=8, framealpha=0.7)
    return figure


def deciders(num_steps, changes):
    """Says for each step who decided its rate.

    Args:
        num_steps: int, S.
        changes: Iterable of `workbench.training.Change` of the rate, in their order.

    Returns:
        str array `(S,)` of "compiled", "callback" and "hand".
    """
    who = np.full(num_steps, "compiled", dtype="<U8")
    for change in changes:
        who[change.step - 1 :] = "compiled" if change.new is None else change.by
    return who


def _planned(run, schedule, num_steps):
    model = getattr(run, "model", None)
    if model is None and schedule is None:
        return None
    # Saved records are drawn without TensorFlow.
    from workbench.schedules import sample_schedule  # noqa: PLC0415
    from workbench.steps import innermost  # noqa: PLC0415

    if schedule is None and model is not None:
        optimizer = innermost(model.optimizer)
        kept = optimizer._learning_rate
        if callable(kept):
            # The optimizer may have done steps before this run.
            done = int(optimizer._iterations.numpy())
            return sample_schedule(kept, max(done, num_steps, 1))[-num_steps:]
    if schedule is None or not num_steps:
        return None
    return sample_schedule(schedule, num_steps)


def _name_schedules(axes, changes, rate):
    for change in changes:
        if change.schedule:
            axes.annotate(
                change.schedule,
                (change.step, rate[change.step - 1]),
                textcoords="offset points",
                xytext=(4, 6),
                fontsize=8,
            )


def plot_range_test(test, *, axes=None):
    """Draws a range test: each seed's losses, their median, and what it suggests.

    Args:
        test: `workbench.schedules.RangeTest`.
        axes: matplotlib Axes to draw into, or None for a new figure.

    Returns:
        `matplotlib.figure.Figure`; show it with `show(figure, alt)`.
    """
    if axes is None:
        figure, axes = new_figure(7.5, 3.4)
    else:
        figure = axes.figure
    for losses in test.losses:
        axes.plot(test.rates, losses, color="#9db8d6", linewidth=0.7)
    axes.plot(test.rates, test.smoothed, color=COLORS[0], label="median, smoothed")
    axes.axvspan(*test.interval, color=COLORS[2], alpha=0.15, label="interval")
    axes.axvline(
        test.suggestion, color=COLORS[2], label=f"suggested: {test.suggestion:.2g}"
    )
    axes.set_xscale("log")
    known = test.smoothed[np.isfinite(test.smoothed)]
    pad = known[0] - known.min() + np.std(test.losses[:, :12])
    axes.set_ylim(known.min() - 0.5 * pad, known[0] + pad)
    axes.set_title("Loss of each step's batch", loc="left", fontsize=10)
    axes.set_xlabel("learning rate", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, framealpha=0.7)
    return figure

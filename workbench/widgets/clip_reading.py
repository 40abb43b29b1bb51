"""What Clip Lab reads out of records: slider ranges, a diagnosis, a table."""

import dataclasses
import math

import numpy as np

from workbench import clipping
from workbench.plots.clipping import joint, short_names
from workbench.reports import Table, render_html

METHODS = {
    "no clipping": clipping.NoClip(),
    "by global norm": clipping.ByGlobalNorm(1.0),
    "by norm": clipping.ByNorm(1.0),
    "by value": clipping.ByValue(0.1),
    "adaptive (AGC)": clipping.Adaptive(0.05),
    "AutoClip": clipping.AutoClip(10),
    "ZClip": clipping.ZClip(),
    "Rescue": clipping.Rescue(),
}
# Powers of ten, for thresholds that are not in units of the gradient.
_FIXED_RANGES = {
    "factor": (-4, 0),
    "percentile": (0, 2),
    "z": (-1, 1),
}
_USUAL_RANGE = -3, 3
_DECADES_AROUND = 2
_EXPLODED = 10.0
_CALM_STEPS = 50
_LOST = 1000.0  # a loss that ends this many times above its start


def methods_with(own, methods=None):
    """Lists clip methods, the one that a model was compiled with among them.

    Args:
        own: Clip method.
        methods: Dict of name -> clip method, or None for all with usual thresholds.

    Returns:
        New dict of name -> clip method.

    Raises:
        ValueError: If `methods` is empty.
    """
    if methods is not None and not methods:
        raise ValueError(
            "`methods` must be a dict of name -> clip method with at least one entry, "
            f"or None. Received: methods={methods}"
        )
    methods = dict(METHODS if methods is None else methods)
    if own in methods.values() or isinstance(own, clipping.NoClip):
        return methods
    return {"as compiled": own, **methods}


def slider_range(clip, layers, num_weights):
    """Chooses the ends of a threshold slider.

    Args:
        clip: Clip method with a threshold.
        layers: `workbench.training.LayerRecords` seen so far, or None.
        num_weights: int, numbers that are trained.

    Returns:
        `(low, high)`, ints, powers of ten around what the threshold limits.
    """
    if clip.threshold in _FIXED_RANGES:
        return _FIXED_RANGES[clip.threshold]
    middle = usual_norm(layers, clip, num_weights)
    if middle is None:
        low, high = _USUAL_RANGE
    else:
        power = math.floor(math.log10(middle))
        low, high = power - _DECADES_AROUND, power + _DECADES_AROUND + 1
    own = math.log10(getattr(clip, clip.threshold))
    return min(low, math.floor(own)), max(high, math.ceil(own))


def usual_norm(layers, clip=None, num_weights=1):
    """Computes the median of what a threshold limits; None where nothing is known.

    Args:
        layers: `LayerRecords` or None.
        clip: Clip method; the joint norm for None.
        num_weights: int, numbers that are trained.

    Returns:
        float: the joint norm, for `ByNorm` that of one variable, for `ByValue` the
        size of one element.
    """
    if layers is None:
        return None
    single = isinstance(clip, clipping.ByNorm)
    norms = layers.norm_before if single else joint(layers.norm_before)
    norms = norms[np.isfinite(norms) & (norms > 0)]
    if not len(norms):
        return None
    # A run that exploded says little about usual norms but for its beginning.
    calm = norms <= _EXPLODED**2 * np.percentile(norms, 10)
    middle = float(np.median(norms[calm]))
    return middle / num_weights**0.5 if isinstance(clip, clipping.ByValue) else middle


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """How a run came to NaN or Inf.

    Attributes:
        text: str, one or two sentences.
        threshold: float, a limit of the joint norm worth trying, or None where
            clipping would not help.
    """

    text: str
    threshold: float | None


def diagnose(problem, layers, records):
    """Explains a step that was not finite by the norms before it.

    Args:
        problem: str, `Run.problem`.
        layers: `LayerRecords`.
        records: `StepRecords`.

    Returns:
        `Diagnosis`.
    """
    step, _, where = problem.partition(": ")
    text = f"NaN or Inf at {step}: {where}. That update was left out."
    norms = records.gradient_norm
    good = norms[np.isfinite(norms)]
    if len(good) < 2:
        text += (
            " The gradient had no time to grow: look at the data, the loss, and "
            "whether the learning rate is far too large."
        )
        return Diagnosis(text, None)
    peak = int(good.argmax())
    # What came on the way up says nothing about the usual size.
    calm = good[: peak + 1] <= _EXPLODED * np.percentile(good[: peak + 1], 10)
    begin = int(np.flatnonzero(calm).max()) + 1
    usual, largest = float(np.median(good[:begin])), float(good[peak])
    if largest <= _EXPLODED * usual:
        text += (
            f" The gradient's norm had been steady, about {usual:.2g}: it is the batch "
            "or the layer, not an explosion that clipping would hold back."
        )
        return Diagnosis(text, None)
    text += (
        f" The gradient had exploded: its norm was about {usual:.2g} until step "
        f"{begin}, then grew to {largest:.1e}. When that began, most of it was in "
        f"{_largest_at(begin + 1, layers)}."
    )
    # Who explodes at once takes too long a step on the smallest gradient, too.
    limit = usual if begin >= _CALM_STEPS else float(good[:begin].min()) / 10
    return Diagnosis(text, float(f"{limit:.2g}"))


def _largest_at(step, layers):
    row = layers.norm_before[
        min(np.searchsorted(layers.step, step), len(layers.step) - 1)
    ]
    return short_names(layers.paths)[int(np.where(np.isfinite(row), row, 0).argmax())]


def steps_summary(layers):
    """Says how many steps were clipped and how far gradients were turned.

    Args:
        layers: `LayerRecords` or None.

    Returns:
        `(share, degrees)`: float in [0, 1], share of the steps in which the norm of
        some variable changed; float, the largest angle in degrees.
    """
    if layers is None or not len(layers.step):
        return 0.0, 0.0
    share = float(layers.clipped.any(axis=1).mean())
    cosines = layers.cosine[np.isfinite(layers.cosine)]
    least = float(np.clip(cosines.min(initial=1.0), -1.0, 1.0))
    # The cosine of an angle below half a degree is 1 but for its last digits.
    degrees = math.degrees(math.acos(least))
    return share, degrees if degrees > 0.5 else 0.0


def describe(progress, layers):
    """Says in one line where a run stands and what clipping did.

    Args:
        progress: `workbench.training.Progress`.
        layers: `LayerRecords` or None.

    Returns:
        str.
    """
    share, degrees = steps_summary(layers)
    parts = [progress.state.capitalize()]
    parts.append(f"step {progress.step} of {progress.total_steps or '?'}")
    if "loss" in progress.logs:
        parts.append(f"loss {progress.logs['loss']:.4g}")
    parts.append(f"{share:.0%} of the steps clipped")
    if degrees:
        parts.append(f"turned by up to {degrees:.0f}°")
    return " · ".join(parts)


def joint_limits(clip, changes):
    """Lists the limits of the joint norm and from which step they held.

    Args:
        clip: Clip method at the start of a run.
        changes: Iterable of `workbench.training.Change`.

    Returns:
        Tuple of `(step, value)`; empty for a method that limits something else.
    """
    if not isinstance(clip, clipping.ByGlobalNorm):
        return ()
    later = [(change.step, change.new) for change in changes if change.name == "clip"]
    return ((1, clip.global_clipnorm), *later)


def comparison_table(comparison, clips):
    """Renders what each method came to, as HTML.

    Args:
        comparison: `workbench.experiments.Comparison`.
        clips: Dict of the same names -> clip method.

    Returns:
        str.
    """
    rows = []
    for name, record in comparison.records.items():
        clip = clips[name]
        threshold = ""
        if clip.threshold:
            threshold = f"{clip.threshold} = {getattr(clip, clip.threshold):.3g}"
        end, largest = "", ""
        if len(record.loss):
            end = f"{np.mean(record.loss[-max(len(record.loss) // 10, 1) :]):.4g}"
            largest = f"{np.nanmax(record.gradient_norm, initial=0):.3g}"
        others = (f"{name} {values[-1]:.4g}" for name, values in record.epochs.items())
        metrics = ", ".join(text for text in others if not text.startswith("loss "))
        outcome = f"{record.status}: {record.reason}" if record.reason else "finished"
        if not record.reason and not record.loss[-1] < _LOST * record.loss[0]:
            outcome = "finished, but exploded"
        share = f"{record.share_clipped:.0%}"
        rows.append((name, threshold, outcome, end, metrics, largest, share))
    columns = (
        "method",
        "threshold",
        "outcome",
        "last loss",
        "metrics",
        "largest norm",
        "steps clipped",
    )
    if not any(row[4] for row in rows):
        rows = [row[:4] + row[5:] for row in rows]
        columns = columns[:4] + columns[5:]
    return render_html([Table(columns, tuple(rows))])

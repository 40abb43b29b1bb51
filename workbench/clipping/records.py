"""What clipping did to a step: the raw numbers of the graph, read on the host."""

import dataclasses

import numpy as np

from workbench import reports

RECORD_COLUMNS = ("norm_before", "norm_after", "clipped", "cosine")


def read_record(raw):
    """Turns what the graph wrote into norms and angles; any number of steps at once.

    Args:
        raw: float64 array of shape `(…, 3, V)`, from `ClippedOptimizer.step_record`:
            the squared norms of the V gradients, before and after, and their inner
            products. Half of that work in the graph would cost more than the clip.

    Returns:
        float32 array of shape `(…, V, 4)`, columns as in `RECORD_COLUMNS`. A variable
        without a gradient has the cosine NaN.
    """
    before, after, product = np.moveaxis(np.asarray(raw, "float64"), -2, 0)
    norms = np.sqrt(before), np.sqrt(after)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = product / norms[0] / norms[1]
    # A gradient of zero is not turned by anything.
    cosine = np.where((before == 0) & (product == 0), 1.0, cosine)
    columns = [*norms, after != before, cosine]
    with np.errstate(over="ignore"):
        return np.stack(columns, axis=-1).astype("float32")


@dataclasses.dataclass(frozen=True)
class ClipRecord(reports.Report):
    """What clipping did to the last update, one entry per variable.

    Attributes:
        paths: Tuple of V str, the variables' paths.
        norm_before: float32 `(V,)`, the gradients' norms as they came.
        norm_after: float32 `(V,)`, the norms of what the optimizer got; 0 when the
            step was left out.
        clipped: bool `(V,)`, whether the norm changed.
        cosine: float32 `(V,)`, of the angle between the two; NaN where there was no
            gradient, or none that is finite.
        skipped_steps: int, steps left out since the optimizer was made or loaded.
        skipped_step: int or None, the last step left out, counted in steps from 0.
        nonfinite: Tuple of str, paths of the variables whose gradient was not finite
            in that step.
    """

    paths: tuple
    norm_before: np.ndarray
    norm_after: np.ndarray
    clipped: np.ndarray
    cosine: np.ndarray
    skipped_steps: int
    skipped_step: int | None
    nonfinite: tuple

    def blocks(self):
        """Returns the record as a table, and what was left out."""
        columns = self.paths, self.norm_before, self.norm_after, self.cosine
        yield reports.Table(
            ("variable", "norm before", "norm after", "cosine"),
            tuple(
                (path, f"{before:.3g}", f"{after:.3g}", f"{cosine:.3f}")
                for path, before, after, cosine in zip(*columns, strict=True)
            ),
        )
        if self.skipped_steps:
            yield reports.Note(
                f"{self.skipped_steps} steps left out, the last one step "
                f"{self.skipped_step}: not finite in {', '.join(self.nonfinite)}."
            )

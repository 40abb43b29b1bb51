"""What `statistics` found out about each layer, as text and HTML."""

import dataclasses

import numpy as np

from workbench.activations.histograms import Histogram
from workbench.reports import Note, Table, render_html, render_text

_QUANTILES = (0.01, 0.5, 0.99)


@dataclasses.dataclass(frozen=True)
class LayerStatistics:
    """What one layer put out over a data set.

    Attributes:
        kind: str, the layer's class name.
        shape: Tuple, of one sample.
        count: int, values seen.
        mean: float, over the finite values.
        deviation: float, standard deviation over the finite values.
        zeros: float, share of values that are exactly 0.
        saturated: float, share of values within 1 % of the range from a bound of the
            layer's activation (sigmoid, tanh, ReLU6 …); NaN where it has no bound.
        nan: int, values that are NaN.
        inf: int, values that are infinite.
        share_error: float, by how much `zeros` and `saturated` may differ from the
            share among all values, at 99 % confidence; 0 where all were counted.
        dead: bool `(units,)`, the units (along the last axis) that were 0 for every
            sample.
        histogram: `Histogram`; None where none was asked for.
    """

    kind: str
    shape: tuple
    count: int
    mean: float
    deviation: float
    zeros: float
    saturated: float
    nan: int
    inf: int
    share_error: float
    dead: np.ndarray
    histogram: Histogram | None

    @property
    def dead_share(self):
        """float, the share of units that are dead."""
        return float(self.dead.mean()) if self.dead.size else 0.0

    def quantile(self, q):
        """Estimates quantiles from the histogram, see `Histogram.quantile`.

        Raises:
            ValueError: If there is no histogram.
        """
        if self.histogram is None:
            raise ValueError(
                "`q` needs a histogram; call `statistics` with `histograms=True`. "
                f"Received: q={q}, histogram=None"
            )
        return self.histogram.quantile(q)


class Statistics(dict):
    """Statistics of a model's layers: dict key -> `LayerStatistics`.

    A layer that puts out several arrays has one entry for each, "key[0]", "key[1]" …

    Attributes:
        num_samples: int, samples seen.
        missing: dict path -> str, what could not be measured, and why.
    """

    def __init__(self, values=(), *, num_samples=0, missing=None):
        super().__init__(values)
        self.num_samples = num_samples
        self.missing = dict(missing or {})

    def blocks(self):
        """Returns the statistics as a table, their error, then what is missing."""
        columns = ("path", "layer", "shape", "mean", "deviation", "1 %", "median")
        yield Table(
            (*columns, "99 %", "zeros", "dead units", "saturated", "NaN", "Inf"),
            tuple(_row(key, self[key]) for key in self),
        )
        error = max((s.share_error for s in self.values()), default=0.0)
        yield Note(
            f"{self.num_samples} samples. Shares and the ranks of quantiles are exact "
            f"to {error:.2%} (99 % confidence), the quantiles' values to "
            f"{Histogram.value_error:.1%}."
        )
        for path, reason in self.missing.items():
            yield Note(f"Missing: {path}: {reason}.")

    def __repr__(self):
        return f"<Statistics of {len(self)} outputs over {self.num_samples} samples>"

    def __str__(self):
        return render_text(self.blocks())

    def _repr_html_(self):
        return render_html(self.blocks())


def _row(key, s):
    quantiles = [""] * len(_QUANTILES)
    if s.histogram is not None:
        quantiles = [f"{value:.3g}" for value in s.quantile(_QUANTILES)]
    return (
        key,
        s.kind,
        str(s.shape),
        f"{s.mean:.3g}",
        f"{s.deviation:.3g}",
        *quantiles,
        f"{s.zeros:.1%}",
        f"{int(s.dead.sum())} of {s.dead.size}",
        "" if np.isnan(s.saturated) else f"{s.saturated:.1%}",
        str(s.nan),
        str(s.inf),
    )

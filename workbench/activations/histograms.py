"""Histograms over all of float32's range at once: bins by the upper bits of a number.

No range has to be known before, none is ever extended, and counts simply add.
"""

import functools

import numpy as np

from workbench.activations.measuring import NUM_CODES, RELATIVE_BIN_WIDTH

_SHIFT = 32 - int(NUM_CODES).bit_length() + 1


def _make_bins():
    """The codes in the order of their values, and each bin's two edges."""
    half = NUM_CODES // 2
    magnitudes = np.arange(half + 1, dtype="uint32") << _SHIFT
    with np.errstate(invalid="ignore"):
        edges = magnitudes.view("float32").astype("float64")
    codes = np.flatnonzero(np.isfinite(edges[:-1]))
    low, high = edges[codes], np.minimum(edges[codes + 1], np.finfo("f").max)
    # The first bin is that of zero itself.
    high[0] = 0.0
    order = np.concatenate([codes[::-1] + half, codes])
    return order, np.concatenate([-high[::-1], low]), np.concatenate([-low[::-1], high])


_ORDER, _LOW, _HIGH = _make_bins()


def rank_error_of(count):
    """Returns by how much shares among `count` draws may differ, 99 % confidence."""
    # Independent draws of different distributions; Bretagnolle 1980.
    return float(np.sqrt(np.log(2 * np.e / 0.01) / 2 / count)) if count else 0.0


class Histogram:
    """How the values of a layer are spread, from a sample or from all.

    Attributes:
        count: int, values counted, NaN and Inf left out.
        rank_error: float, by how much the share of values below a quantile may differ
            from what was asked for, at 99 % confidence; 0 where all were counted.
        value_error: float, the largest relative error of a quantile's value that the
            width of the bins brings.

    Args:
        codes: int64 `(NUM_CODES,)`, how often each code occurred.
        is_whole: Whether every value was counted.
    """

    value_error = RELATIVE_BIN_WIDTH

    def __init__(self, codes, *, is_whole):
        self._codes = codes
        self._is_whole = is_whole

    @functools.cached_property
    def _bins(self):
        """Counts, lower and upper edges of the bins that hold something."""
        counts = self._codes[_ORDER]
        used = np.flatnonzero(counts)
        return counts[used].astype("float64"), _LOW[used], _HIGH[used]

    @property
    def count(self):
        """See the class."""
        return int(self._bins[0].sum())

    @property
    def rank_error(self):
        """See the class."""
        return 0.0 if self._is_whole else rank_error_of(self.count)

    def quantile(self, q):
        """Estimates quantiles.

        Args:
            q: float or sequence, shares in [0, 1].

        Returns:
            float64 of the shape of `q`; NaN where there are no values.
        """
        q = np.asarray(q, "float64")
        if np.any((q < 0) | (q > 1)):
            raise ValueError(f"`q` must lie in [0, 1] (shares). Received: q={q}")
        if not self.count:
            return np.full(q.shape, np.nan)[()]
        counts, low, high = self._bins
        ends = np.cumsum(counts)
        wanted = q * self.count
        bins = np.minimum(np.searchsorted(ends, wanted), len(ends) - 1)
        inside = (wanted - (ends[bins] - counts[bins])) / counts[bins]
        low, high = low[bins], high[bins]
        return (low + np.clip(inside, 0, 1) * (high - low))[()]

    def bars(self, num_bins=64, q=(0.001, 0.999)):
        """Returns the histogram in equal bins, for drawing.

        Args:
            num_bins: Positive int.
            q: Pair of shares; the bins reach from one quantile to the other.

        Returns:
            `(edges, shares)`: float64 `(num_bins + 1,)` and the share of all values in
            each, float64 `(num_bins,)`; what lies outside is in no bin.
        """
        if not self.count:
            return np.linspace(0, 1, num_bins + 1), np.zeros(num_bins)
        counts, starts, stops = self._bins
        low, high = self.quantile(q)
        pad = 0.5 if low == high else 1e-9 * (high - low)
        edges = np.linspace(low - pad, high + pad, num_bins + 1)
        # Each fine bin's count is spread evenly between its edges.
        width = np.maximum(stops - starts, np.finfo("f").tiny)
        below = np.clip((edges[:, None] - starts) / width, 0, 1) @ counts
        return edges, np.diff(below) / self.count

"""Many maps as one picture: their colors and their places."""

import functools
import io

import matplotlib as mpl
import numpy as np
from matplotlib.image import imsave

SCALES = ("unit", "layer", "global")
NAN_COLOR = (255, 0, 255)
OUTLIER_COLOR = (0, 229, 255)
NUM_COLORS = 253  # odd: 0 is in the middle of a symmetric scale
NAN_CODE = NUM_COLORS
OUTLIER_CODE = NUM_COLORS + 1
_SAMPLE = 65_536  # values that the colors of a layer are fitted to
_UNIT_SAMPLE = 1024  # the same for a unit
_SHARED_SAMPLE = 4096  # and of each layer, where all share one scale
_FEW = 100  # fewer values have no outliers
_TAIL = 0.99
_ASPECT = 4 / 3
_LONGEST = 4  # times as long as wide; what is longer is a sequence


# Colours


def find_limits(values, *, signed=None):
    """Finds the values that the ends of a color scale stand for.

    What lies beyond three times the 99 % quantile of the magnitudes is an outlier, and
    does not stretch the scale.

    Args:
        values: Array of numbers, `(n,)` or more axes.
        signed: Whether the scale is symmetric about 0; None for whether there are
            negative values.

    Returns:
        `(low, high)`, floats, low < high.
    """
    return tuple(_limits(np.ravel(values)[None], _SAMPLE, signed)[0].tolist())


def find_unit_limits(values, *, signed=None):
    """Finds the ends of a color scale for each unit by itself.

    Args:
        values: `(units, …)`.
        signed: As for `find_limits`, for all units together.

    Returns:
        float32 `(units, 2)`.
    """
    if signed is None:
        signed = is_signed(values)
    return _limits(values.reshape(len(values), -1), _UNIT_SAMPLE, signed)


def find_common_limits(arrays):
    """Finds ends of one color scale for several arrays: the widest of theirs.

    Args:
        arrays: Iterable of arrays of numbers.

    Returns:
        `(low, high, signed)`.
    """
    arrays = [np.ravel(array)[None] for array in arrays]
    signed = any(is_signed(array) for array in arrays)
    each = np.concatenate([_limits(a, _SHARED_SAMPLE, signed) for a in arrays])
    return float(each[:, 0].min()), float(each[:, 1].max()), signed


def is_signed(values):
    """Whether there are finite negative values."""
    least = np.min(values, initial=np.inf)
    if -np.inf < least:
        return bool(least < 0)
    # -Inf or NaN hides what else there is.
    return bool(((values < 0) & (values > -np.inf)).any())


def _limits(rows, most, signed):
    """Limits of each row of `(n, values)`, as float32 `(n, 2)`."""
    if signed is None:
        signed = is_signed(rows)
    sizes = np.abs(rows) if signed else rows
    if not np.isfinite(sizes).all():
        sizes = np.where(np.isfinite(sizes), sizes, np.nan)
    high = np.nan_to_num(np.fmax.reduce(sizes, axis=1))
    if rows.shape[1] >= _FEW:
        high = np.minimum(high, 3 * _tail(sizes, most, high))
    if signed:
        high = np.where(high > 0, high, 1.0)
        low = -high
    else:
        low = np.nan_to_num(np.fmin.reduce(sizes, axis=1))
        high = np.where(high > low, high, low + 1)
    return np.stack([low, high], axis=1).astype("float32")


def _tail(sizes, most, largest):
    """The 99 % quantile of each row's values that are neither 0 nor NaN."""
    sample = np.sort(sizes[:, :: -(-sizes.shape[1] // most)], axis=1)
    zeros = (sample <= 0).sum(axis=1)
    count = sample.shape[1] - zeros - np.isnan(sample).sum(axis=1)
    place = zeros + (_TAIL * np.maximum(count - 1, 0)).astype(int)
    place = np.minimum(place, sample.shape[1] - 1)
    found = np.take_along_axis(sample, place[:, None], axis=1)[:, 0]
    return np.where(count >= _FEW, found, largest)


@functools.cache
def color_table(signed):
    """Returns the color of each code, uint8 `(NUM_COLORS + 2, 3)`, see `encode`."""
    scale = mpl.colormaps["RdBu_r" if signed else "viridis"]
    colors = np.round(255 * scale(np.linspace(0, 1, NUM_COLORS))[:, :3])
    return np.concatenate([colors, [NAN_COLOR], [OUTLIER_COLOR]]).astype("uint8")


def encode(values, limits):
    """Gives each value the number of its color.

    Args:
        values: float32 `(units, rows, columns)`.
        limits: float32 `(1, 2)` or `(units, 2)`, see `find_limits`.

    Returns:
        uint8 `(units, rows, columns)`, 0 at the low limit and `NUM_COLORS - 1` at the
        high one; `NAN_CODE` for NaN and `OUTLIER_CODE` beyond the limits.
    """
    low, high = limits.T[:, :, None, None]
    factor = ((NUM_COLORS - 1) / (np.float64(high) - low)).astype("float32")
    with np.errstate(invalid="ignore", over="ignore"):
        share = values - low
        share *= factor
        share += np.float32(0.5)
        codes = share.astype("uint8")
    ends = (
        np.min(values, (1, 2), initial=np.inf),
        np.max(values, (1, 2), initial=-np.inf),
    )
    # Neither where there is a NaN.
    if not ((ends[0] >= limits[:, 0]) & (ends[1] <= limits[:, 1])).all():
        codes[(values < low) | (values > high)] = OUTLIER_CODE
        codes[np.isnan(values)] = NAN_CODE
    return codes


def colorize(values, limits, *, signed):
    """Colors maps, NaN and outliers in colors of their own.

    Args:
        values: float32 `(units, rows, columns)`.
        limits: float32 `(1, 2)` or `(units, 2)`, see `find_limits`.
        signed: bool, whether the scale is symmetric about 0.

    Returns:
        uint8 `(units, rows, columns, 3)`.
    """
    return color_table(signed)[encode(values, limits)]


# Places


def count_columns(maps, units=None):
    """Returns how many maps stand beside one another, so that they are largest.

    Args:
        maps: `workbench.activations.maps.Maps`.
        units: int, how many of them are shown; None for all.
    """
    if maps.is_sequence:
        return 1
    _, number, height, width = maps.values.shape
    columns = np.arange(1, (number if units is None else units) + 1)
    lines = -(-columns[-1] // columns)
    sizes = np.minimum(_ASPECT / (columns * width), 1 / (lines * height))
    # Of those that are largest, in the fewest lines.
    best = np.lexsort((columns, lines, -sizes))[0]
    return int(columns[best])


def tile(pictures, columns):
    """Puts pictures beside and below one another.

    Args:
        pictures: uint8 `(units, rows, columns, 3)`.
        columns: Positive int, pictures in a row.

    Returns:
        uint8 `(height, width, 3)`, white where there is no picture.
    """
    units, height, width, _ = pictures.shape
    lines = -(-units // columns)
    whole = np.full((lines * columns, height, width, 3), 255, "uint8")
    whole[:units] = pictures
    whole = whole.reshape(lines, columns, height, width, 3).swapaxes(1, 2)
    return whole.reshape(lines * height, columns * width, 3)


# Pictures


def thumbnail(sample, *, longest=84):
    """Draws one input as a small picture, if it is one.

    Args:
        sample: Array; `(H, W)`, `(H, W, 1)` and `(H, W, 3)` are pictures, unless one
            side is more than four times the other.
        longest: int, pixels of the longer side.

    Returns:
        bytes of a PNG file, None for what is no picture.
    """
    sample = np.asarray(sample)
    if sample.ndim == 3 and sample.shape[-1] == 1:
        sample = sample[..., 0]
    is_colored = sample.ndim == 3 and sample.shape[-1] == 3
    if sample.dtype.kind not in "biuf" or not (sample.ndim == 2 or is_colored):
        return None
    if max(sample.shape[:2]) > _LONGEST * min(sample.shape[:2]):
        return None
    values = sample.astype("float32")
    limits = np.array([find_limits(values, signed=False)])
    if is_colored:
        low, high = limits[0]
        picture = np.clip((values - low) / (high - low), 0, 1)
        picture = (255 * np.nan_to_num(picture)).astype("uint8")
    else:
        gray = np.nan_to_num(np.clip((values - limits[0, 0]) / np.ptp(limits), 0, 1))
        picture = np.repeat((255 * gray).astype("uint8")[..., None], 3, axis=2)
    times = max(1, longest // max(picture.shape[:2]))
    every = -(-max(picture.shape[:2]) // longest)
    picture = picture.repeat(times, 0).repeat(times, 1)[::every, ::every]
    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(picture), format="png")
    return buffer.getvalue()

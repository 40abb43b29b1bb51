"""`statistics`: what the layers put out over a whole data set, in bounded memory."""

import keras
import numpy as np
import tensorflow as tf

from workbench.activations import arrays
from workbench.activations.histograms import Histogram, rank_error_of
from workbench.activations.measuring import (
    bounds_of,
    count_with_care,
    measure,
    read,
)
from workbench.activations.models import check_model, prepare
from workbench.activations.passes import Noted, Options, follow, program_for
from workbench.activations.results import LayerStatistics, Statistics
from workbench.steps import Progress

_SAMPLE = 8192
_SAMPLE_FOR_SHARES = 2048


def statistics(
    model,
    data,
    layers=None,
    *,
    max_bytes=None,
    batch_size=32,
    training=False,
    sample="auto",
    histograms=True,
):
    """Measures what the layers put out over a data set, one batch at a time.

    Everything is computed inside the compiled pass; only sums and counts leave it.
    Mean, deviation, dead units, NaN and Inf come from every value; the histogram with
    its quantiles and the shares of zeros and of saturated values from a sample, whose
    error is stated. A progress bar shows when it takes longer than two seconds.

    Args:
        model: `keras.Model`; it stays untouched.
        data: As `x` of `capture`: arrays, or a dataset of batches.
        layers: As for `capture`.
        max_bytes: int, the most that the activations of one pass may take together
            (bytes); batches are split to that end. None for no limit.
        batch_size: int, samples per pass for arrays.
        training: Whether the model is called as in training.
        sample: int, values drawn per layer and batch for what comes from a sample; a
            layer with fewer is counted in full. None counts every value of every
            layer; "auto" draws 8,192, or 2,048 without histograms.
        histograms: Whether there are histograms, and with them quantiles; the rest
            takes less time without.

    Returns:
        `Statistics`, dict key -> `LayerStatistics`.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the data is empty, does not fit, or one sample's activations
            take more than `max_bytes`.
    """
    check_model(model)
    if sample == "auto":
        sample = _SAMPLE if histograms else _SAMPLE_FOR_SHARES
    if sample is not None and sample < 1:
        raise ValueError(f"`sample` must be an int >= 1 (values). Received: {sample=}")
    total = Totals()
    options = Options(training=bool(training), run_eagerly=model.run_eagerly)
    chosen = layers, options, sample, bool(histograms)
    progress = Progress(arrays.count_batches(data, batch_size) or 0)
    try:
        for batch in arrays.batches_of(data, batch_size):
            if not total.num_batches:
                prepare(model, batch)
            for part in _fitting(model, batch, chosen, max_bytes):
                measured = _measure_batch(model, part, chosen, total.num_batches)
                total.add(*measured, arrays.length_of(part))
            progress.add(1)
    finally:
        progress.close()
    if not total.num_batches:
        raise ValueError("`data` must hold at least one batch. Received: none")
    return total.result()


def _measure_batch(model, x, chosen, number):
    """Measures one batch; returns what is known of the pass, and its numbers."""
    given = x, tf.constant(number, tf.int32)
    noted = _program(model, given, *chosen)(given)
    if not noted.info["names"]:
        return noted, {}
    results = {name: arrays.to_array(t) for name, t in noted.extra.items()}
    values = read(results, noted.info["layout"])
    values["counts"] = np.array(noted.info["counts"], "int64")
    values["nan"], values["inf"] = np.zeros((2, len(values["counts"])), "int64")
    # A sum is finite only if all that went into it is.
    if not np.isfinite(values["sums"].sum() + values["squares"].sum()):
        careful = _program(model, given, *chosen, careful=True)(given)
        rows = arrays.to_array(careful.extra)
        values["sums"], values["squares"] = rows[:2].copy()
        values["nan"], values["inf"] = rows[2:].astype("int64")
    return noted, values


def _program(model, x, layers, options, sample, histograms, *, careful=False):
    if careful:
        sample, histograms = None, False

    def then(model, x, selection, options):
        noted = follow(model, x[0], selection, options)
        uniform = None
        if sample is not None:
            seed = tf.stack([x[1], 0])
            uniform = tf.random.stateless_uniform([sample], seed, dtype=tf.float64)
        return _measured(noted, uniform, careful=careful, histograms=histograms)

    name = ("statistics", sample, histograms, careful)
    return program_for(model, x, layers, options, name=name, then=then)


def _fitting(model, x, chosen, max_bytes):
    """Splits a batch so that what is measured fits into `max_bytes`."""
    if max_bytes is None or model.run_eagerly:
        return [x]
    step = tf.constant(0, tf.int32)
    program = _program(model, (x, step), *chosen)
    length = arrays.length_of(x)
    needed = program.info["bytes"]
    if needed <= max_bytes:
        return [x]
    fitting = int(max_bytes * length // needed)
    if fitting < 1:
        raise ValueError(
            "`max_bytes` must hold the activations of one sample, "
            f"{-(-needed // length)} bytes here; name fewer `layers` or allow more. "
            f"Received: max_bytes={max_bytes}"
        )
    return list(arrays.batches_of(x, fitting))


def _measured(noted, uniform, *, careful, histograms):
    leaves, missing = [], dict(noted.missing)
    for key, value in noted.values.items():
        tensors = [leaf for leaf in keras.tree.flatten(value) if tf.is_tensor(leaf)]
        for i, tensor in enumerate(tensors):
            name = key if len(tensors) == 1 else f"{key}[{i}]"
            if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
                missing[name] = f"{tensor.dtype.name} values are no numbers"
            elif not tensor.shape.is_fully_defined():
                missing[name] = "its shape depends on the values"
            elif tensor.shape.num_elements():
                leaves.append((name, noted.kinds[key], noted.owners[key], tensor))
    tensors = [tensor for *_, tensor in leaves]
    info = {
        "names": [name for name, *_ in leaves],
        "kinds": [kind for _, kind, *_ in leaves],
        "shapes": [tuple(t.shape[1:]) for t in tensors],
        "counts": [t.shape.num_elements() for t in tensors],
        "bytes": sum(t.shape.num_elements() * t.dtype.size for t in tensors),
    }
    extra = {}
    if tensors and careful:
        extra = count_with_care(tensors)
    elif tensors:
        bounds = [bounds_of(owner) for *_, owner, _ in leaves]
        extra, info["layout"] = measure(tensors, bounds, uniform, histograms=histograms)
    return Noted({}, {}, missing, extra=extra, info=info)


class Totals:
    """Sums over batches, on the host.

    Attributes:
        num_batches: int, batches added.
        num_samples: int, samples in them.
    """

    def __init__(self):
        self.num_batches = 0
        self.num_samples = 0
        self._info = None
        self._missing = {}
        self._values = {}
        self._codes = []
        self._alive = None
        self._whole = True

    def add(self, noted, values, num_samples):
        """Adds the numbers of a pass over `num_samples` samples."""
        info = noted.info
        self._missing |= noted.missing
        self._info = self._info or info
        if self._info["names"] != info["names"]:
            differing = sorted(set(self._info["names"]) ^ set(info["names"]))
            raise ValueError(
                "`data` must give batches for which the model calls the same layers. "
                f"Received: batches that differ in {differing}"
            )
        if values:
            alive = values.pop("alive")
            self._alive = alive if self._alive is None else self._alive | alive
            codes = values.pop("codes")
            # The codes of one batch fit into int32, and are many.
            before = self._codes or [None] * len(codes)
            self._codes = [_added(a, b) for a, b in zip(before, codes, strict=True)]
            for name, value in values.items():
                self._values[name] = self._values.get(name, 0) + value
            self._whole &= np.array(info["layout"]["whole"])
        self.num_batches += 1
        self.num_samples += num_samples

    def result(self):
        """Returns `Statistics` of all that was added."""
        info, layers, start = self._info, {}, 0
        for i, name in enumerate(info["names"]):
            own = {n: column[i] for n, column in self._values.items()}
            end = start + info["layout"]["units"][i]
            histogram = None
            if self._codes:
                histogram = Histogram(self._codes[i], is_whole=self._whole[i])
            layers[name] = _layer_statistics(
                info["kinds"][i],
                info["shapes"][i],
                own,
                ~self._alive[start:end],
                histogram,
                is_bounded=info["layout"]["bounded"][i],
                is_whole=self._whole[i],
            )
            start = end
        return Statistics(layers, num_samples=self.num_samples, missing=self._missing)


def _added(before, counts):
    if before is None:
        return counts
    if before.dtype == "int32":
        return np.add(before, counts, dtype="int64")
    return np.add(before, counts, out=before)


def _layer_statistics(kind, shape, own, dead, histogram, *, is_bounded, is_whole):
    count, nan, inf = (int(own[name]) for name in ("counts", "nan", "inf"))
    finite = count - nan - inf
    mean = variance = saturated = float("nan")
    if finite:
        mean = own["sums"] / finite
        variance = own["squares"] / finite - mean**2
    if is_bounded:
        saturated = own["saturated"] / own["counted"]
    return LayerStatistics(
        kind=kind,
        shape=shape,
        count=count,
        mean=float(mean),
        deviation=float(np.sqrt(np.maximum(variance, 0.0))),
        zeros=float(own["zeros"] / own["counted"]),
        saturated=float(saturated),
        nan=nan,
        inf=inf,
        share_error=0.0 if is_whole else rank_error_of(int(own["counted"])),
        dead=dead,
        histogram=histogram,
    )

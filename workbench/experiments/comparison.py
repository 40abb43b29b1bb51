"""The result of `compare`: records side by side, a table, a figure, a file."""

import dataclasses
import types

import numpy as np

from workbench import plots, reports
from workbench.experiments import records, stored

_FORMAT = "workbench.experiments.Comparison 1"
_TEXTS = ("name", "status", "reason", "path", "why")


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison(reports.Report):
    """Variants of one training, side by side.

    Attributes:
        records: Mapping of name -> `Record`, in the order of the variants.
        seconds: float, wall time of the whole comparison.
        interrupted: bool, whether it was stopped before its end.
    """

    records: types.MappingProxyType
    seconds: float
    interrupted: bool
    _weights: types.MappingProxyType = dataclasses.field(repr=False)

    def weights(self, name):
        """Returns a variant's weights after its last step.

        Args:
            name: str.

        Returns:
            List of arrays, as `model.set_weights` takes them; empty for a variant
            that never started.

        Raises:
            KeyError: If there is no such variant.
        """
        if name not in self._weights:
            raise KeyError(
                f"`name` must be one of {list(self._weights)}. Received: name={name!r}"
            )
        return [array.copy() for array in self._weights[name]]

    def blocks(self):
        """Returns the table of all variants, and why some are not finished."""
        names = self._epoch_names()
        columns = ("variant", "status", *names, "clipped", "path", "time")
        rows = []
        for record in self.records.values():
            values = (_text(_last(record.epochs.get(name, ()))) for name in names)
            end = (
                f"{record.share_clipped:.0%}",
                record.path,
                f"{record.seconds:.1f} s",
            )
            rows.append((record.name, record.status, *values, *end))
        yield reports.Table(columns, tuple(rows))
        yield from (reports.Note(text) for text in self._remarks())

    def _remarks(self):
        for record in self.records.values():
            if record.reason:
                yield f"{record.name} {record.status}: {record.reason}."
        slow = {}
        for record in self.records.values():
            if record.why:
                slow.setdefault((record.path, record.why), []).append(record.name)
        for (path, why), names in slow.items():
            yield f"Not as one with others but by {path}, because {why}: " + ", ".join(
                names
            )

    def _epoch_names(self):
        every = (name for record in self.records.values() for name in record.epochs)
        return list(dict.fromkeys(every))

    def summary(self):
        """Returns what prints as a table of status and last values.

        Returns:
            `reports.Report` with `str()` and `_repr_html_`: this object.
        """
        return self

    def plot(self, *, names=None):
        """Draws loss and gradient norm over the steps.

        Args:
            names: Iterable of variant names, or None for all.

        Returns:
            `matplotlib.figure.Figure`, unknown to pyplot.
        """
        figure, (left, right) = plots.new_figure(9.0, 3.4, ncols=2)
        chosen = self.records if names is None else names
        for name in chosen:
            record = self.records[name]
            steps = np.arange(len(record.loss))
            (line,) = left.plot(steps, record.loss, linewidth=1, label=name)
            color = line.get_color()
            right.plot(steps, record.gradient_norm, linewidth=1, color=color)
            if record.share_clipped:
                right.plot(steps, record.clipped_norm, ":", linewidth=1, color=color)
        left.set(xlabel="step", ylabel="batch loss")
        right.set(xlabel="step", ylabel="gradient norm (dotted: after clipping)")
        norms = [self.records[name].gradient_norm for name in chosen]
        if any((values > 0).any() for values in norms):
            right.set_yscale("log")
        if len(chosen) <= 12:
            left.legend(fontsize="small")
        return figure

    def to_dict(self, *, steps=False):
        """Lays the records out as columns, for `pandas.DataFrame`.

        Args:
            steps: bool. False gives one row per variant with its last values, True
                one row per variant and step with the series.

        Returns:
            Dict of column name -> list, all of equal length.
        """
        every = list(self.records.values())
        if steps:
            columns = {
                name: np.concatenate([getattr(r, name) for r in every]).tolist()
                for name in records.SERIES
            }
            counts = [len(record.loss) for record in every]
            variant = [
                r.name for r, n in zip(every, counts, strict=True) for _ in range(n)
            ]
            step = [i for n in counts for i in range(n)]
            return {"variant": variant, "step": step, **columns}
        columns = {"variant": [record.name for record in every]}
        for name in ("status", "reason", "path", "why", "seconds", "share_clipped"):
            columns[name] = [getattr(record, name) for record in every]
        columns["steps"] = [len(record.loss) for record in every]
        for name in self._epoch_names():
            columns[name] = [_last(r.epochs.get(name, ())) for r in every]
        return columns

    def save(self, filepath):
        """Writes everything into one `.npz` file, whole or not at all.

        Args:
            filepath: str or path; its folder must exist.

        Raises:
            FileNotFoundError: If the folder does not exist.
        """
        arrays, head = {}, []
        for i, record in enumerate(self.records.values()):
            for name in records.SERIES:
                arrays[f"{i}/{name}"] = getattr(record, name)
            for name, values in record.epochs.items():
                arrays[f"{i}/epochs/{name}"] = values
            for j, array in enumerate(self._weights[record.name]):
                # NumPy writes its own dtypes only, and bfloat16 is none of them.
                known = array if array.dtype.isbuiltin == 1 else array.astype("float32")
                arrays[f"{i}/weights/{j}"] = known
            entry = {name: getattr(record, name) for name in _TEXTS}
            entry |= {"together": record.together, "seconds": record.seconds}
            entry |= {"epochs": list(record.epochs)}
            entry |= {"weights": len(self._weights[record.name])}
            head.append(entry)
        head = {
            "format": _FORMAT,
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "records": head,
        }
        stored.save(filepath, head, arrays)


def load_comparison(filepath):
    """Reads what `Comparison.save` wrote; nothing in the file is run.

    Args:
        filepath: str or path.

    Returns:
        `Comparison`.

    Raises:
        ValueError: If the file holds something else.
    """
    with stored.opened(filepath, _FORMAT, "Comparison.save") as (head, arrays):
        every, weights = {}, {}
        for i, entry in enumerate(head["records"]):
            names = entry.pop("epochs")
            count = entry.pop("weights")
            epochs = {name: arrays[f"{i}/epochs/{name}"] for name in names}
            series = {name: arrays[f"{i}/{name}"] for name in records.SERIES}
            epochs = types.MappingProxyType(epochs)
            every[entry["name"]] = records.Record(**entry, **series, epochs=epochs)
            weights[entry["name"]] = [arrays[f"{i}/weights/{j}"] for j in range(count)]
    return Comparison(
        records=types.MappingProxyType(every),
        seconds=head["seconds"],
        interrupted=head["interrupted"],
        _weights=types.MappingProxyType(weights),
    )


def _last(values):
    return float(values[-1]) if len(values) else float("nan")


def _text(value):
    return "" if value != value else f"{value:.4g}"  # noqa: PLR0124, NaN means none

"""What a strength map measured, frozen: arrays, a table, a picture, a file."""

import dataclasses
import types
from typing import Any

import numpy as np

from workbench import reports
from workbench.experiments import stored, strength_kinds
from workbench.plots.strengths import plot_strengths

NONE = strength_kinds.NONE
_FORMAT = "workbench.experiments.StrengthGrid 1"


@dataclasses.dataclass(frozen=True, eq=False)
class StrengthGrid(reports.Report):
    """Quantities over kinds of penalty, strengths and seeds.

    Attributes:
        strengths: Mapping of kind -> float64 `(S,)`, rising; "none" has `[0.0]`.
        seeds: Tuple of int, R of them.
        values: Mapping of quantity -> mapping of kind -> float64 `(S, R)`. Quantities
            are the compiled metrics of the last epoch, with `val_` before those of the
            validation data; `data_loss` and `val_data_loss`, the loss without the
            kernels' penalties; `penalty`, as the last step paid it; `norm`, the joint
            L2 norm of all kernels; and `sparsity`, the share of the kernels' numbers
            that are exactly zero. NaN where a variant diverged or never ran.
        seconds: float, wall time of the training.
        interrupted: bool, whether it was stopped before its end.
        comparison: `Comparison` with all series and weights; None when read from a
            file.
    """

    strengths: types.MappingProxyType
    seeds: tuple
    values: types.MappingProxyType
    seconds: float
    interrupted: bool
    comparison: Any = dataclasses.field(default=None, repr=False)

    @property
    def kinds(self):
        """Tuple of str, the kinds of penalty, without "none"."""
        return tuple(kind for kind in self.strengths if kind != NONE)

    def spread(self, quantity, kind=NONE):
        """Returns lowest, median and highest over the seeds.

        Args:
            quantity: str, a key of `values`.
            kind: str.

        Returns:
            float64 array `(3, S)`; NaN where no seed has a value.

        Raises:
            KeyError: If there is no such quantity or kind.
        """
        values = self.values[quantity][kind]
        result = np.full((3, len(values)), np.nan)
        for i, row in enumerate(values):
            known = row[np.isfinite(row)]
            if len(known):
                result[:, i] = known.min(), np.median(known), known.max()
        return result

    def record(self, kind, strength, seed):
        """Returns the `Record` of one variant, with its series per step."""
        name = self._name(kind, strength, seed)
        return self.comparison.records[name]

    def weights(self, kind, strength, seed):
        """Returns the weights of one variant after its last step.

        Args:
            kind: str, "none" for the model without a penalty.
            strength: float, one of `strengths[kind]`.
            seed: int, one of `seeds`.

        Returns:
            List of arrays, in the order of the model's weights.

        Raises:
            KeyError: If there is no such variant, or it was read from a file.
        """
        name = self._name(kind, strength, seed)
        return self.comparison.weights(name)

    def _name(self, kind, strength, seed):
        name = strength_kinds.name_of(kind, strength, seed)
        if self.comparison is not None and name in self.comparison.records:
            return name
        raise KeyError(
            f"There is no variant {name!r}; `strengths` and `seeds` say which there "
            "are, and a file holds the measured values only."
        )

    def blocks(self):
        """Returns the table: one row per kind and strength, median and spread."""
        quantities = list(self.values)
        rows = []
        for kind, strengths in self.strengths.items():
            spreads = {name: self.spread(name, kind) for name in quantities}
            for i, strength in enumerate(strengths):
                cells = (_cell(*spreads[name][:, i]) for name in quantities)
                rows.append((kind, f"{strength:g}" if strength else "", *cells))
        yield reports.Table(("kind", "strength", *quantities), tuple(rows))
        if len(self.seeds) > 1:
            yield reports.Note(
                f"Median over {len(self.seeds)} seeds, lowest to highest in brackets."
            )

    def summary(self):
        """Returns what prints as a table: this object."""
        return self

    def plot(self, *, kinds=None):
        """Draws accuracy, data loss, norm and sparsity over the strength.

        Args:
            kinds: Iterable of kinds, or None for all.

        Returns:
            `matplotlib.figure.Figure`, unknown to pyplot.
        """
        return plot_strengths(self, kinds=kinds)

    def to_dict(self):
        """Lays the values out as columns, for `pandas.DataFrame`.

        Returns:
            Dict of column name -> list, one row per kind, strength and seed.
        """
        columns = {name: [] for name in ("kind", "strength", "seed", *self.values)}
        for kind, strengths in self.strengths.items():
            for i, strength in enumerate(strengths):
                for j, seed in enumerate(self.seeds):
                    columns["kind"].append(kind)
                    columns["strength"].append(float(strength))
                    columns["seed"].append(seed)
                    for name, values in self.values.items():
                        columns[name].append(float(values[kind][i, j]))
        return columns

    def save(self, filepath):
        """Writes the measured values into one `.npz` file, whole or not at all.

        Weights and series are not in it; `comparison` can be saved for those.

        Args:
            filepath: str or path; its folder must exist.

        Raises:
            FileNotFoundError: If the folder does not exist.
        """
        kinds = list(self.strengths)
        head = {
            "format": _FORMAT,
            "kinds": kinds,
            "quantities": list(self.values),
            "seeds": list(self.seeds),
            "seconds": self.seconds,
            "interrupted": self.interrupted,
        }
        arrays = {
            f"{k}/strengths": self.strengths[kind] for k, kind in enumerate(kinds)
        }
        for q, values in enumerate(self.values.values()):
            for k, kind in enumerate(kinds):
                arrays[f"{k}/{q}"] = values[kind]
        stored.save(filepath, head, arrays)


def load_strength_grid(filepath):
    """Reads what `StrengthGrid.save` wrote; nothing in the file is run.

    Args:
        filepath: str or path.

    Returns:
        `StrengthGrid`.

    Raises:
        ValueError: If the file holds something else.
    """
    with stored.opened(filepath, _FORMAT, "StrengthGrid.save") as (head, arrays):
        kinds = list(enumerate(head["kinds"]))
        values = {
            name: {kind: arrays[f"{k}/{q}"] for k, kind in kinds}
            for q, name in enumerate(head["quantities"])
        }
        strengths = {kind: arrays[f"{k}/strengths"] for k, kind in kinds}
    return StrengthGrid(
        types.MappingProxyType(strengths),
        tuple(head["seeds"]),
        frozen(values),
        head["seconds"],
        head["interrupted"],
    )


def frozen(values):
    """Makes `values` of a grid read-only, dict of dicts."""
    return types.MappingProxyType(
        {name: types.MappingProxyType(by_kind) for name, by_kind in values.items()}
    )


def _cell(low, middle, high):
    if middle != middle:  # noqa: PLR0124, NaN means none
        return ""
    if low == high:
        return f"{middle:.4g}"
    return f"{middle:.4g} ({low:.4g} … {high:.4g})"

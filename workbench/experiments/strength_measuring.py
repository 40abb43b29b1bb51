"""What the variants of a strength map came to, read out of their comparison."""

import types

import numpy as np

from workbench.experiments import planning, records, strength_kinds
from workbench.experiments.strength_grid import StrengthGrid, frozen
from workbench.regularization import plain_of


def measure(plan, comparison, model):
    """Reads the quantities out of what was trained.

    Args:
        plan: `strength_kinds.Plan`.
        comparison: `Comparison` of its variants.
        model: Built `keras.Model`, one of those that were trained.

    Returns:
        `StrengthGrid`.
    """
    kernels, measured = _Kernels(model), {}
    for name, record in comparison.records.items():
        weights = comparison.weights(name)
        measured[name] = _quantities(plan.variants[name], record, weights, kernels)
    names = dict.fromkeys(name for found in measured.values() for name in found)

    def number(name, kind, strength, seed):
        found = measured.get(strength_kinds.name_of(kind, strength, seed), {})
        return found.get(name, np.nan)

    values = {
        name: {
            kind: np.array(
                [[number(name, kind, s, r) for r in plan.seeds] for s in own]
            )
            for kind, own in plan.strengths.items()
        }
        for name in names
    }
    strengths = {kind: np.array(s) for kind, s in plan.strengths.items()}
    return StrengthGrid(
        types.MappingProxyType(strengths),
        plan.seeds,
        frozen(values),
        comparison.seconds,
        comparison.interrupted,
        comparison,
    )


class _Kernels:
    """Where a model's kernels are among its weights, and what penalizes them."""

    def __init__(self, model):
        trained = model.trainable_variables
        kernels = [trained[i] for i in planning.kernel_indices(model)]
        places = {id(weight): i for i, weight in enumerate(model.weights)}
        self.indices = [places[id(kernel)] for kernel in kernels]
        self.own_penalties = [plain_of(kernel.regularizer) for kernel in kernels]

    def penalty(self, variant, kernels):
        penalties = self.own_penalties
        if variant.penalty is not None:
            penalties = [variant.penalty] * len(kernels)
        pairs = zip(penalties, kernels, strict=True)
        return sum(float(p(k)) for p, k in pairs if p is not None)


def _quantities(variant, record, weights, where):
    """Measures one variant; empty where it did not come to its end."""
    if record.status != records.FINISHED:
        return {}
    kernels = [weights[i] for i in where.indices]
    last = {name: float(values[-1]) for name, values in record.epochs.items()}
    loss, val_loss = last.pop("loss"), last.pop("val_loss", None)
    per_epoch = len(record.loss) // len(record.epochs["loss"])
    data_loss = {"data_loss": loss - float(record.penalty[-per_epoch:].mean())}
    if val_loss is not None:
        data_loss["val_data_loss"] = val_loss - where.penalty(variant, kernels)
    numbers = np.concatenate([np.ravel(k) for k in kernels] or [np.zeros(0)])
    return {
        **last,
        **data_loss,
        "penalty": float(record.penalty[-1]),
        "norm": float(np.sqrt(np.square(numbers, dtype="float64").sum())),
        "sparsity": float(np.mean(numbers == 0)) if len(numbers) else np.nan,
    }

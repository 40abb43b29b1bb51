"""The kinds of penalty that a strength map compares, each with its own scale."""

import dataclasses
import functools
import math
from collections.abc import Callable

import keras
import numpy as np

from workbench import steps
from workbench.experiments import variants
from workbench.regularization import ProximalL1, with_live_dropout
from workbench.regularization.dropout import rates_of

NONE = "none"
_EXEMPT = "bias|gamma|beta"  # the same that penalties on kernels leave alone
_DECADES = tuple(float(f"1e{power}") for power in range(-6, 1))


@dataclasses.dataclass(frozen=True)
class _Kind:
    make: Callable  # strength -> Variant, regularizer or constraint
    strengths: tuple


def _max_norm(strength):
    return keras.constraints.MaxNorm(1 / strength)


def _dropout(strength):
    return variants.Variant(dropout=strength)


_KINDS = {
    "L1": _Kind(keras.regularizers.L1, _DECADES),
    "L2": _Kind(keras.regularizers.L2, _DECADES),
    "orthogonal": _Kind(keras.regularizers.OrthogonalRegularizer, _DECADES),
    "proximal L1": _Kind(ProximalL1, _DECADES),
    "weight decay": _Kind(None, _DECADES),  # made from the model's own optimizer
    "max-norm": _Kind(_max_norm, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)),
    "dropout": _Kind(_dropout, (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)),
}
KINDS = tuple(_KINDS)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a strength map is going to train.

    Attributes:
        strengths: Dict of kind -> tuple of float, without zero; `{NONE: (0.0,)}` first.
        seeds: Tuple of int.
        build: Function without arguments that returns a compiled `keras.Model`.
        variants: Dict of name -> `Variant`.
    """

    strengths: dict
    seeds: tuple
    build: Callable
    variants: dict


def name_of(kind, strength, seed):
    """Names a variant of a map."""
    if kind == NONE:
        return f"{kind}, seed {seed}"
    return f"{kind} {strength:g}, seed {seed}"


def make_plan(build, penalties, strengths, seeds):
    """Lays out the variants of a strength map.

    Args:
        build: As for `strength_map`, and so the others.
        penalties: Iterable of kinds, or dict of name -> function.
        strengths: Iterable of float, dict of kind -> iterable, or None.
        seeds: Iterable of int.

    Returns:
        `Plan`.

    Raises:
        TypeError: If a function gives neither a penalty nor a constraint or variant.
        ValueError: If a kind or a strength is not known, or the model not compiled.
    """
    makers = _makers(penalties)
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"`seeds` must be different ints, at least one. Received: seeds={seeds}"
        )
    candidate = _compiled(build)
    every = {NONE: [(0.0, variants.Variant())]}
    for kind, make in makers.items():
        make = make or functools.partial(_decaying, candidate)  # noqa: PLW2901
        every[kind] = [
            (strength, _variant(kind, make, strength))
            for strength in _strengths_of(kind, strengths)
        ]
    common = {}
    if any(make is None for make in makers.values()):
        common["optimizer"] = _exempting(candidate)
    if any(v.dropout is not None for pairs in every.values() for _, v in pairs):
        build = functools.partial(_build_with_dropout, build)
    planned = {
        name_of(kind, strength, seed): _completed(variant, seed, common)
        for kind, pairs in every.items()
        for strength, variant in pairs
        for seed in seeds
    }
    strengths = {kind: tuple(s for s, _ in pairs) for kind, pairs in every.items()}
    return Plan(strengths, seeds, build, planned)


def _completed(variant, seed, common):
    own = {n: v for n, v in common.items() if getattr(variant, n) is None}
    return dataclasses.replace(variant, seed=seed, **own)


def _makers(penalties):
    if isinstance(penalties, dict) and penalties:
        return dict(penalties)
    penalties = [penalties] if isinstance(penalties, str) else list(penalties)
    unknown = [name for name in penalties if name not in _KINDS]
    if unknown or not penalties:
        raise ValueError(
            f"`penalties` must name kinds among {list(_KINDS)}, or be a dict of "
            f"name -> function of the strength. Received: penalties={penalties}"
        )
    return {name: _KINDS[name].make for name in penalties}


def _compiled(build):
    model = build()
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(
            "`build` must return a compiled keras.Model. "
            f"Received: build={build!r}, which returns {model!r}"
        )
    return variants.resolve("", variants.Variant(), steps.unscaled(model.optimizer), 0)


def _exempting(candidate, **changes):
    """Makes the model's optimizer anew, decay not for what penalties leave alone."""
    optimizer = candidate.make_optimizer(**changes)
    own = candidate.config.get("weight_decay") or candidate.not_decayed is not None
    if not own:
        optimizer.exclude_from_weight_decay(var_names=[_EXEMPT])
    return optimizer if candidate.clip is None else candidate.clip.wrap(optimizer)


def _decaying(candidate, strength):
    return variants.Variant(optimizer=_exempting(candidate, weight_decay=strength))


def _strengths_of(kind, strengths):
    if isinstance(strengths, dict):
        strengths = strengths.get(kind)
    if strengths is None:
        strengths = _KINDS[kind].strengths if kind in _KINDS else _DECADES
    # Without any penalty is trained anyway, once for all kinds.
    values = tuple(dict.fromkeys(float(s) for s in strengths if s != 0))
    if not values or not all(math.isfinite(v) and v > 0 for v in values):
        raise ValueError(
            "`strengths` must be finite numbers >= 0, at least one above 0. "
            f"Received: strengths={tuple(strengths)} for {kind}"
        )
    return tuple(np.sort(values).tolist())


def _variant(kind, make, strength):
    thing = make(strength)
    if isinstance(thing, keras.regularizers.Regularizer):
        return variants.Variant(penalty=thing)
    if isinstance(thing, keras.constraints.Constraint):
        return variants.Variant(constraint=thing)
    if not isinstance(thing, variants.Variant):
        raise TypeError(
            "`penalties` must map to functions that return a regularizer, a "
            f"constraint or a Variant. Received: {thing!r} for {kind}"
        )
    if thing.dropout is not None and not 0 <= thing.dropout < 1:
        raise ValueError(
            "`strengths` of dropout must be in [0, 1), the share left out. "
            f"Received: {thing.dropout} for {kind}"
        )
    return thing


def _build_with_dropout(build):
    model = build()
    if rates_of(model):
        return model
    copy = with_live_dropout(model)
    copy.compile(**model._compile_config.config)
    return copy

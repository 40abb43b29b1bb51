"""What a variant is, and what it comes to once Keras has understood it."""

import dataclasses
from typing import Any

import keras

# Arguments whose effect is spread over several steps or held outside the optimizer.
_ONLY_FIT = ("gradient_accumulation_steps", "use_ema", "loss_scale_factor")
# Tested to give the same as pure functions. ScheduleFreeAdamW does not.
_KNOWN = {
    getattr(keras.optimizers, name)
    for name in (
        "Adadelta",
        "Adafactor",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "Ftrl",
        "Lamb",
        "Lion",
        "Muon",
        "Nadam",
        "RMSprop",
        "SGD",
    )
}
_KERAS_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")
_RATE = keras.optimizers.schedules.LearningRateSchedule


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to train the model.

    Attributes:
        optimizer: `keras.optimizers.Optimizer` (its settings are read, it is never
            changed), a name or config as `keras.optimizers.get` takes it, or None for
            the optimizer that the model was compiled with.
        clip: Method of `workbench.clipping`, or None.
        penalty: `keras.regularizers.Regularizer` for the layers' kernels, in place of
            what they have, or None to leave them as they are.
        constraint: `keras.constraints.Constraint` for the layers' kernels, in place of
            what they have, or None to leave them as they are.
        dropout: float in [0, 1), the rate of the model's
            `workbench.regularization.LiveDropout` layers, or None for their own.
        seed: int, the seed of this variant's own initial weights and dropout, or
            None for those that all share. The batches are the same either way.
    """

    optimizer: Any = None
    clip: Any = None
    penalty: Any = None
    seed: int | None = None
    constraint: Any = None
    dropout: float | None = None


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A variant with its optimizer taken apart, so that it can be made again.

    Attributes:
        name: str.
        optimizer_class: Keras optimizer class.
        config: Dict, its constructor's arguments without name and learning rate.
        learning_rate: float, schedule, or function without arguments.
        not_decayed: Compiled pattern of variable names without weight decay, or None.
        clip: Method of `workbench.clipping`, or None.
        penalty: Regularizer or None.
        seed: int.
        constraint: Constraint or None.
        dropout: float or None.
        only_fit: str, why only `fit` can run it; empty when that is not so.
    """

    name: str
    optimizer_class: type
    config: dict
    learning_rate: Any
    not_decayed: Any
    clip: Any
    penalty: Any
    seed: int
    constraint: Any
    dropout: float | None
    only_fit: str

    @property
    def keras_clip(self):
        """bool, whether the optimizer's own arguments make it clip."""
        return any(self.config.get(name) for name in _KERAS_CLIPS)

    def make_optimizer(self, wrap=lambda optimizer_class: optimizer_class, **changes):
        """Makes the optimizer anew.

        Args:
            wrap: Function from the optimizer's class to the class to use.
            **changes: Constructor arguments that replace those of the variant.

        Returns:
            Keras optimizer, not built.
        """
        arguments = {**self.config, "learning_rate": self.learning_rate, **changes}
        optimizer = wrap(self.optimizer_class).from_config(arguments)
        if self.not_decayed is not None:
            optimizer.exclude_from_weight_decay(var_names=[self.not_decayed.pattern])
        return optimizer


def resolve(name, variant, compiled_optimizer, seed):
    """Takes a variant's optimizer apart.

    Args:
        name: str.
        variant: `Variant`.
        compiled_optimizer: The compiled model's optimizer or None.
        seed: int, for a variant without its own.

    Returns:
        `Candidate`.

    Raises:
        TypeError: If the optimizer scales the loss.
        ValueError: If there is no such optimizer, or one that cannot be made again.
    """
    optimizer = _get_optimizer(variant.optimizer, compiled_optimizer)
    clip = variant.clip
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise TypeError(
            "`optimizer` must come without LossScaleOptimizer: a mixed_float16 model "
            f"gets its own. Received: optimizer={optimizer}"
        )
    if hasattr(optimizer, "clip") and hasattr(optimizer, "inner_optimizer"):
        if clip is not None:
            raise ValueError(
                "`clip` must be None for an optimizer that a clip method wraps "
                f"already. Received: clip={clip}, optimizer={optimizer}"
            )
        optimizer, clip = optimizer.inner_optimizer, optimizer.clip
    if clip is not None and not hasattr(clip, "wrap"):
        raise ValueError(
            "`clip` must be a method of `workbench.clipping`, such as "
            f"ByGlobalNorm(1.0), or None. Received: clip={clip!r}"
        )
    config = optimizer.get_config()
    for key in ("name", "learning_rate"):
        config.pop(key, None)
    rate = getattr(optimizer, "_learning_rate", None)
    if not is_function(rate):
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        raise ValueError(
            "`optimizer` must name what it leaves out of weight decay: use "
            "exclude_from_weight_decay(var_names=...), since each variant has "
            f"variables of its own. Received: optimizer={optimizer}"
        )
    candidate = Candidate(
        name=name,
        optimizer_class=type(optimizer),
        config=config,
        learning_rate=rate,
        not_decayed=getattr(optimizer, "_exclude_from_weight_decay_pattern", None),
        clip=clip,
        penalty=keras.regularizers.get(variant.penalty),
        seed=seed if variant.seed is None else variant.seed,
        constraint=keras.constraints.get(variant.constraint),
        dropout=_checked_rate(variant.dropout),
        only_fit=_only_fit(optimizer, rate),
    )
    if candidate.keras_clip and clip is not None:
        raise ValueError(
            "`clip` must be None for an optimizer with clip arguments of its own. "
            f"Received: clip={clip}, optimizer={optimizer}"
        )
    return candidate


def _checked_rate(rate):
    if rate is not None and not 0 <= rate < 1:
        raise ValueError(
            f"`dropout` must be in [0, 1), the share left out. Received: dropout={rate}"
        )
    return rate


def is_function(learning_rate):
    """Says whether a learning rate is a schedule or function, not a number."""
    return isinstance(learning_rate, _RATE) or callable(learning_rate)


def _get_optimizer(wanted, compiled):
    if wanted is not None:
        return keras.optimizers.get(wanted)
    if compiled is None:
        raise ValueError(
            "`optimizer` must be given when `build` returns a model that is not "
            "compiled. Received: optimizer=None"
        )
    return getattr(compiled, "inner_optimizer", None) or compiled


def _only_fit(optimizer, rate):
    kind = type(optimizer)
    if kind not in _KNOWN:
        return f"{kind.__name__} is not known to give the same outside `fit`"
    if callable(rate) and not isinstance(rate, _RATE):
        return "its learning rate is a Python function"
    for argument in _ONLY_FIT:
        if getattr(optimizer, argument, None):
            return f"{kind.__name__} uses `{argument}`"
    return ""

"""Which variants can run as one, and in which of their numbers they differ."""

import contextlib
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from workbench.experiments import mixing, templates
from workbench.steps import own_random

_LONGEST_UNROLLED = 100  # time steps; tracing takes longer with each
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


@contextlib.contextmanager
def seeded(seed):
    """Seeds everything Keras draws from; Python's and NumPy's own states come back.

    Args:
        seed: int.
    """
    state = np.random.get_state()  # noqa: NPY002
    with own_random():
        keras.utils.set_random_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def build_model(build, seed, batch):
    """Builds the user's model from a seed.

    Args:
        build: Function without arguments that returns a `keras.Model`.
        seed: int.
        batch: A batch `(x, y, …)`, for a model that knows no input shape yet.

    Returns:
        Built `keras.Model`.

    Raises:
        TypeError: If `build` returns something else.
    """
    with seeded(seed):
        model = build()
        if not isinstance(model, keras.Model):
            raise TypeError(
                "`build` must return a keras.Model. Received: "
                f"a {type(model).__name__} from build={build!r}"
            )
        if not model.built:
            with model.distribute_strategy.scope():
                model(batch[0])
    return model


def compile_with(model, loss):
    """Compiles a model that is not compiled yet.

    Args:
        model: `keras.Model`.
        loss: As for `compile`, or None.

    Raises:
        ValueError: If `loss` is missing, or given for a compiled model.
    """
    if model.compiled == (loss is not None):
        state = "compiled" if model.compiled else "not compiled"
        need = "must be None" if model.compiled else "must be given"
        raise ValueError(
            f"`loss` {need} when `build` returns a model that is {state}. "
            f"Received: loss={loss!r}"
        )
    if not model.compiled:
        with model.distribute_strategy.scope():
            model.compile(optimizer="sgd", loss=loss)


def start_values(model):
    """Copies a model's state.

    Args:
        model: Built `keras.Model`.

    Returns:
        Dict of `weights` and `frozen`, lists of arrays: what is trained, and the rest.
    """
    return {
        "weights": [v.numpy() for v in model.trainable_variables],
        "frozen": [v.numpy() for v in templates.frozen_variables(model)],
    }


def kernel_indices(model):
    """Finds the kernels among the trainable variables, as list of int."""
    names = [v.name for v in model.trainable_variables]
    return [i for i, name in enumerate(names) if name in _KERNELS]


def only_fit(model):
    """Says why only `fit` can train a model.

    Args:
        model: Compiled `keras.Model`.

    Returns:
        str, empty when the traced step can.
    """
    kind = type(model)
    if kind.train_step is not keras.Model.train_step:
        return f"{kind.__name__} has a train_step of its own"
    if model.run_eagerly:
        return "the model is compiled with run_eagerly"
    if "float16" in {v.dtype for v in model.trainable_variables}:
        return "float16 weights"
    if model.dtype_policy.name == "mixed_float16":
        return "mixed_float16 scales the loss"
    if not model.trainable_variables:
        return "the model has nothing to train"
    return ""


def on_several(model):
    """Says on how many replicas a model lives; empty when on one."""
    number = model.distribute_strategy.num_replicas_in_sync
    return f"the model lives on {number} replicas" if number > 1 else ""


def unstackable(model):
    """Says which layer is known to resist stacking; empty when none is."""
    for layer in model._flatten_layers():
        if "Conv" in type(layer).__name__:
            return f"tf.vectorized_map has no {type(layer).__name__} with many filters"
        if getattr(layer, "stateful", False):
            return f"{layer.name} is stateful"
    return ""


def unroll(model):
    """Writes short recurrent loops out, which makes them faster as one; in place.

    Args:
        model: Built `keras.Model` of our own.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN):
            nodes = layer._inbound_nodes
            steps = nodes[0].input_tensors[0].shape[1] if nodes else None
            layer.unroll = layer.unroll or (steps or _LONGEST_UNROLLED + 1) <= (
                _LONGEST_UNROLLED
            )


def kind_of(candidate, penalties, constraints):
    """Describes what variants must have in common to share a tail.

    Args:
        candidate: `variants.Candidate`.
        penalties: List per kernel of regularizer or None.
        constraints: List per kernel of constraint or None.

    Returns:
        Hashable.
    """
    # Keras decides by `> 0` whether state is needed, so zero is a kind of its own.
    config = tuple(
        (name, "zero" if value == 0 else "number")
        if isinstance(value, float)
        else (name, repr(value))
        for name, value in sorted(candidate.config.items())
        if name != "weight_decay"  # none at all and zero come to the same bits
    )
    pattern = candidate.not_decayed.pattern if candidate.not_decayed else None
    return (
        candidate.optimizer_class,
        config,
        pattern,
        _clip_kind(candidate.clip),
        mixing.kinds_of(penalties),
        mixing.kinds_of(constraints),
    )


def _clip_kind(clip):
    if clip is None:
        return None
    fields = [f.name for f in dataclasses.fields(clip) if f.name != clip.threshold]
    return type(clip), tuple((name, _identity(getattr(clip, name))) for name in fields)


def _identity(value):
    return value if isinstance(value, int | float | str) else id(value)


def live_numbers(candidates, penalties, constraints):
    """Collects the numbers in which variants of one kind differ.

    Args:
        candidates: List of K `variants.Candidate` of one kind.
        penalties: List per kernel of list of `mixing.Slot`.
        constraints: The same of constraints.

    Returns:
        Dict `(part, name)` -> float64 array `(K,)`, as `tails.Tail` takes it.
    """
    table = {}
    first = candidates[0]
    for name, value in first.config.items():
        if name == "weight_decay":
            table["optimizer", name] = [c.config[name] or 0.0 for c in candidates]
        elif isinstance(value, float) and value != 0:
            table["optimizer", name] = [c.config[name] for c in candidates]
    if first.clip is not None and first.clip.threshold:
        name = first.clip.threshold
        table["clip", name] = [getattr(c.clip, name) for c in candidates]
    for part, kernels in (("penalty", penalties), ("constraint", constraints)):
        for k, slots in enumerate(kernels):
            for j, slot in enumerate(slots):
                for name, values in slot.numbers.items():
                    table[(part, k, j), name] = values
    return {
        key: np.array(values, "float64")
        for key, values in table.items()
        if len(set(values)) > 1
    }


def sample_rates(learning_rate, start, count, cache):
    """Evaluates a learning rate at some steps.

    Args:
        learning_rate: float or `LearningRateSchedule`.
        start: int, first step.
        count: int, number of steps.
        cache: Dict that keeps traced schedules.

    Returns:
        float32 array `(count,)`.
    """
    if isinstance(learning_rate, float):
        return np.full(count, learning_rate, "float32")
    key = type(learning_rate), repr(learning_rate.get_config())
    if key not in cache:

        def sample(steps):
            return tf.map_fn(
                lambda step: tf.cast(learning_rate(step), tf.float32),
                steps,
                fn_output_signature=tf.float32,
            )

        signature = [tf.TensorSpec([None], tf.int64)]
        # Concrete at once: TensorFlow would warn of a new trace for each schedule.
        traced = tf.function(sample, input_signature=signature)
        cache[key] = traced.get_concrete_function()
    return cache[key](tf.range(start, start + count, dtype=tf.int64)).numpy()

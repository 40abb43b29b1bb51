"""Random inputs and targets that fit a model."""

import keras
import numpy as np
import tensorflow as tf

_BATCH = 4
_LENGTH = 8  # of axes that may have any length


def input_structure(model):
    """Returns the symbolic inputs of a model, in their structure.

    Raises:
        ValueError: If the model does not know its inputs, as a subclass does not.
    """
    functional = getattr(model, "_functional", None) or model
    if not isinstance(functional, keras.Function):
        raise ValueError(  # noqa: TRY004, its class may be right
            "`model` must know the shapes of its inputs: pass samples as `data` or "
            "`x`, or build it from keras.Input. Received: a model of the class "
            f"{type(model).__name__}"
        )
    return functional.input


def sample_inputs(model, *, seed=0):
    """Makes inputs of a model's shapes.

    Args:
        model: Built `keras.Model` with known inputs.
        seed: int.

    Returns:
        Arrays in the structure of the model's inputs; whole numbers are 0 or 1.

    Raises:
        ValueError: If the model does not know its inputs.
    """
    structure = input_structure(model)
    rng = np.random.default_rng(seed)

    def sample(tensor):
        shape = [_BATCH, *(n or _LENGTH for n in tensor.shape[1:])]
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if dtype == "string":
            return np.full(shape, "a", dtype=object)
        if "int" in dtype or dtype == "bool":
            return rng.integers(0, 2, shape).astype(dtype)
        return rng.random(shape).astype(dtype)

    return tf.nest.map_structure(sample, structure)


def sample_targets(model, outputs, *, seed=0):
    """Makes targets that a compiled model's loss takes, as far as its name tells.

    Args:
        model: Compiled `keras.Model`.
        outputs: Its outputs, in their structure.
        seed: int.

    Returns:
        Arrays in the same structure: classes for sparse losses, else
        numbers near the outputs.
    """
    rng = np.random.default_rng(seed)
    losses = str(model._compile_loss._user_loss if model._compile_loss else "").lower()
    sparse = "sparse" in losses

    def target(output):
        output = np.asarray(output)
        if sparse:
            return rng.integers(0, output.shape[-1], output.shape[:-1])
        return np.clip(output + rng.normal(0, 0.1, output.shape), 0, 1).astype(
            "float32"
        )

    return tf.nest.map_structure(target, outputs)

"""What a run is given, checked before anything trains."""

import keras

from workbench.clipping import ClippedOptimizer
from workbench.steps import unscaled

_RESERVED = ("x", "y", "sample_weight", "epochs", "batch_size")


def fit_arguments_of(data, epochs, batch_size, others):
    """Puts together what `model.fit` gets.

    Args:
        data: Tuple of arrays, or a dataset.
        epochs: int.
        batch_size: int, for arrays.
        others: dict, arguments passed on as they are.

    Returns:
        dict of keyword arguments.

    Raises:
        ValueError: If one of them is out of range or given twice.
    """
    if epochs < 1:
        raise ValueError(
            f"`epochs` must be >= 1 (passes over the data). Received: {epochs=}"
        )
    taken = sorted(set(_RESERVED) & set(others))
    if taken:
        raise ValueError(
            f"`{taken[0]}` belongs into `data=(x, y, sample_weight)`. "
            f"Received: {taken[0]}=…"
        )
    data_arguments = _data_arguments(data, batch_size)
    return {"verbose": 0, **others, **data_arguments, "epochs": epochs}


def check_model(model):
    """Raises ValueError if `model` cannot be trained by a run."""
    if not isinstance(model, keras.Model) or not model.compiled:
        raise ValueError(
            "`model` must be a compiled keras.Model; call `model.compile(optimizer, "
            f"loss)` first. Received: model={model!r}"
        )
    if model.optimizer is None:
        raise ValueError(
            "`model` must be compiled with an optimizer. Received: optimizer=None"
        )


def _data_arguments(data, batch_size):
    if not isinstance(data, (tuple, list)):
        return {"x": data}
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "`data` must be (x, y) or (x, y, sample_weight), or a dataset. Received: "
            f"a {type(data).__name__} of length {len(data)}"
        )
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be >= 1 (samples). Received: batch_size={batch_size}"
        )
    names = ("x", "y", "sample_weight")
    return dict(zip(names, data, strict=False)) | {"batch_size": batch_size}


def clipped_optimizer(model, clip):
    """Finds or makes the optimizer that clips.

    Args:
        model: Compiled `keras.Model`.
        clip: Clip method, or None.

    Returns:
        `(clipped, stand_in)`: the `ClippedOptimizer` of the run or None; and the same
        if it was made here and must stand in for the model's own.

    Raises:
        ValueError: If `clip` comes to an optimizer that clips already.
    """
    optimizer = unscaled(model.optimizer)
    if clip is None:
        return (optimizer if isinstance(optimizer, ClippedOptimizer) else None), None
    with model.distribute_strategy.scope():
        clipped = clip.wrap(optimizer)
    return clipped, clipped

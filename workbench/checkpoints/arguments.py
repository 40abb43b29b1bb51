"""What `fit` is given, checked before anything trains."""

import keras
import tensorflow as tf

from workbench.checkpoints import workers
from workbench.checkpoints.feeding import ArrayFeed, IndexedFeed
from workbench.checkpoints.order import check_seed
from workbench.checkpoints.pipeline import PipelineFeed

_MIRRORED = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
)
_RESERVED = ("x", "y", "sample_weight", "initial_epoch", "validation_split")


def check_arguments(model, epochs, save_every, keep, on_error, others):
    """Raises ValueError if one of them is out of range."""
    if not isinstance(model, keras.Model) or not model.compiled:
        raise ValueError(
            "`model` must be a compiled keras.Model; call `model.compile(optimizer, "
            f"loss)` first. Received: model={model!r}"
        )
    strategy = model.distribute_strategy
    several = strategy.num_replicas_in_sync > 1
    if model.optimizer is None or (several and not isinstance(strategy, _MIRRORED)):
        raise ValueError(
            "`model` must have an optimizer, and live on one device, under a "
            "MirroredStrategy or under `devices.multi_worker_strategy()`. Received: "
            f"optimizer={model.optimizer}, a model under {type(strategy).__name__}"
        )
    if keep < 2 and workers.are_several(model):
        raise ValueError(
            "`keep` must be >= 2 (checkpoints) on several workers: one that is killed "
            f"may lack the newest. Received: keep={keep}"
        )
    for name, value, unit in (
        ("epochs", epochs, "passes over the data"),
        ("save_every", save_every, "steps"),
        ("keep", keep, "checkpoints"),
    ):
        if value < 1 or value != int(value):
            raise ValueError(
                f"`{name}` must be an int >= 1 ({unit}). Received: {name}={value}"
            )
    if on_error not in ("continue", "stop"):
        raise ValueError(
            f'`on_error` must be "continue" or "stop". Received: {on_error=}'
        )
    taken = sorted(set(_RESERVED) & set(others))
    if taken:
        raise ValueError(
            f"`{taken[0]}` is not for an exact run: give `data=(x, y, sample_weight)` "
            f"and `validation_data`. Received: {taken[0]}=…"
        )


def check_replicas(feed, model, batch_size):
    """Raises ValueError if data or model do not go with several replicas.

    Args:
        feed: `Feed`.
        model: Compiled `keras.Model`.
        batch_size: int, samples of one step on all replicas together.
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas == 1:
        return
    known = not isinstance(feed, PipelineFeed)
    if not known:
        raise ValueError(
            "`data` must be arrays or have `__getitem__` where the model lives on "
            f"{replicas} replicas: they read a tf.data.Dataset ahead, and its place is "
            "not known. Received: a tf.data.Dataset"
        )
    if isinstance(feed, ArrayFeed) and batch_size < replicas:
        raise ValueError(
            f"`batch_size` must be >= {replicas} (samples), one for each replica. "
            f"Received: batch_size={batch_size}"
        )
    if model.steps_per_execution > 1:
        raise ValueError(
            "`steps_per_execution` of `compile` must be 1 on several replicas. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )


def check_feed(feed, steps_per_execution, others):
    """Raises ValueError if the data does not go with the rest.

    Args:
        feed: `Feed`.
        steps_per_execution: int, of the compiled model.
        others: dict of what is passed on to `model.fit`.
    """
    if feed.steps_per_epoch % steps_per_execution:
        raise ValueError(
            "`steps_per_execution` of `compile` must divide the steps of an epoch. "
            f"Received: {steps_per_execution=}, {feed.steps_per_epoch} steps"
        )
    if others.get("class_weight") is not None and not isinstance(feed, ArrayFeed):
        raise ValueError(
            "`class_weight` is for arrays; let other data bring its sample weights. "
            f"Received: class_weight={others['class_weight']}"
        )


def feed_of(data, batch_size, seed, shuffle, steps_per_epoch):
    """Finds the kind of data.

    Returns:
        `workbench.checkpoints.feeding.Feed`.

    Raises:
        TypeError: If it is nothing that can be read again from a given place.
        ValueError: If an argument is out of range or does not fit it.
    """
    check_seed(seed)
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be >= 1 (samples). Received: batch_size={batch_size}"
        )
    if isinstance(data, tf.data.Dataset):
        return PipelineFeed(data, steps_per_epoch)
    if steps_per_epoch is not None:
        raise ValueError(
            "`steps_per_epoch` is for a tf.data.Dataset; other data has a length. "
            f"Received: steps_per_epoch={steps_per_epoch}"
        )
    arrays = keras.tree.flatten(data)
    if isinstance(data, tuple | list | dict) or hasattr(data, "shape"):
        if all(a is None or hasattr(a, "__array__") for a in arrays):
            if isinstance(data, list):
                data = tuple(data)
            return ArrayFeed(data, batch_size, seed, shuffle)
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return IndexedFeed(data, batch_size, seed, shuffle)
    raise TypeError(
        "`data` must be arrays, a keras.utils.PyDataset or another object with "
        "`__len__` and `__getitem__`, or a tf.data.Dataset: a generator cannot be read "
        f"again from a given place. Received: data={type(data).__name__}"
    )

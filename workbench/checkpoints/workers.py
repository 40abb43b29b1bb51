"""Checkpoints of a model that several workers train: a folder each, one step for all.

The weights are the same on all of them, and what a metric has added up is not, so each
worker writes its own. They save at the same steps; one that is killed may lack the
newest, and then all go on from the one before.
"""

import numpy as np
import tensorflow as tf


def are_several(model):
    """Whether a model's strategy has other workers than this process; bool."""
    resolver = _resolver(model)
    if resolver is None:
        return False
    jobs = resolver.cluster_spec().as_dict()
    return sum(len(workers) for workers in jobs.values()) > 1


def own_folder(model, folder):
    """Returns the folder of this worker's checkpoints.

    Args:
        model: `keras.Model`.
        folder: path that the user names, on a disk of this machine or a shared one.

    Returns:
        path, `folder` itself where there is one worker.
    """
    if not are_several(model):
        return folder
    resolver = _resolver(model)
    return folder / f"{resolver.task_type}-{resolver.task_id}"


def find_common(model, store):
    """Finds the newest checkpoint that all workers have; each calls it.

    What is newer, whole or damaged, is removed, since it will be written again.

    Args:
        model: `keras.Model` on several workers.
        store: `Store` of this worker.

    Returns:
        As `Store.newest`, without damaged ones.

    Raises:
        ValueError: If some have checkpoints, and there is none that all have.
    """
    strategy = model.distribute_strategy
    checkpoint, tensors, _ = store.newest()
    while True:
        steps = _ask_all(strategy, _steps_of(checkpoint))
        if len(set(steps)) == 1:
            break
        checkpoint, tensors, _ = store.newest(at_most=min(steps))
    own = [each.steps for each in store.checkpoints()]
    # A worker killed at the start may have none, where another has two by then.
    late = _ask_all(strategy, int(len(own) > 2 or min(own, default=0) > 0))
    if checkpoint is None and any(late):
        raise ValueError(
            "`filepath` must hold a checkpoint of the same step on all workers, and "
            "there is none. Bring back the folder that is missing, or name another "
            "`filepath` to begin anew. Received: "
            f"filepath={store.folder.parent}, here with checkpoints of steps {own}"
        )
    store.remove_after(_steps_of(checkpoint))
    return checkpoint, tensors, []


def _resolver(model):
    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    return strategy.cluster_resolver


def _ask_all(strategy, number):
    """The number that each worker gives, on all of them."""
    gathered = strategy.gather(tf.constant([number], tf.int64), axis=0)
    return np.asarray(gathered).tolist()


def _steps_of(checkpoint):
    return -1 if checkpoint is None else checkpoint.steps

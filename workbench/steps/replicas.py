"""One decision for all replicas of a distribution strategy.

TensorFlow traces the replicas of a `MirroredStrategy` in turns, each in a thread of its
own, and changes turns wherever they add something up.
"""

import contextlib
import functools

import tensorflow as tf


def number():
    """Returns the number of the replica that is traced here, int from 0."""
    replica = tf.distribute.get_replica_context()
    return int(tf.get_static_value(replica.replica_id_in_sync_group))


def local(variable):
    """Returns the part of a variable that this replica holds, a `tf.Variable`.

    Args:
        variable: `tf.Variable`, of one device or distributed.
    """
    if not isinstance(variable, tf.distribute.DistributedValues):
        return variable
    strategy = variable.distribute_strategy
    return strategy.experimental_local_results(variable)[number()]


def split_rows(rows, replicas):
    """Says how many rows of a batch each replica gets from `fit`, arrays given.

    Args:
        rows: int, of the whole batch.
        replicas: Positive int.

    Returns:
        List of int, one for each replica; the last ones may be 0.
    """
    most = -(-rows // replicas)
    return [min(most, max(rows - i * most, 0)) for i in range(replicas)]


def sum_over_replicas(tensors):
    """Sums each tensor over the replicas, as the optimizer would do with gradients.

    Args:
        tensors: List of V tensors or `tf.IndexedSlices`.

    Returns:
        List of the V sums, and the number of replicas; whoever sums them again must
        divide them by it before.
    """
    replica = tf.distribute.get_replica_context()
    count = 1 if replica is None else replica.num_replicas_in_sync
    if count > 1:
        tensors = replica.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
    return tensors, count


def cond(predicate, true_fn, false_fn, around=(contextlib.nullcontext,) * 2):
    """Runs one of two functions that return nothing, the same one in every replica.

    Args:
        predicate: bool scalar tensor, equal in all replicas.
        true_fn: Function without arguments; it may update variables.
        false_fn: The same.
        around: Two functions that return a context manager, entered once around all
            replicas of the one or the other branch: since they take turns, none of
            them alone can patch something and take it back.
    """
    replica = tf.distribute.get_replica_context()

    # An update merges the replicas, which it cannot do from inside a replica's branch:
    # the branch must be outside. keras.optimizers.LossScaleOptimizer does the same.
    def across(strategy, predicates, *functions):
        def in_each(function):
            strategy.extended.call_for_each_replica(
                lambda each: each(), args=(function,)
            )

        decided = strategy.experimental_local_results(predicates)[0]
        calls = [functools.partial(in_each, function) for function in functions]
        tf.cond(decided, *map(_within, around, calls))

    # A MirroredStrategy of one device has its own thread, too.
    if replica is not None and tf.distribute.has_strategy():
        replica.merge_call(across, args=(predicate, true_fn, false_fn))
    else:
        tf.cond(predicate, *map(_within, around, (true_fn, false_fn)))


def _within(context, call):
    def run():
        with context():
            call()

    return run

"""One decision for all replicas of a distribution strategy."""

import tensorflow as tf


def sum_over_replicas(gradients):
    """Sums each gradient over the replicas, as the optimizer would do later.

    Args:
        gradients: List of V tensors or `tf.IndexedSlices`.

    Returns:
        List of the V sums, and the number of replicas; whoever sums them again must
        divide them by it before.
    """
    replica = tf.distribute.get_replica_context()
    count = 1 if replica is None else replica.num_replicas_in_sync
    if count > 1:
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return gradients, count


def cond(predicate, true_fn, false_fn):
    """Runs one of two functions that return nothing, the same one in every replica.

    Args:
        predicate: bool scalar tensor, equal in all replicas.
        true_fn: Function without arguments; it may update variables.
        false_fn: The same.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or not tf.distribute.has_strategy():
        tf.cond(predicate, true_fn, false_fn)
        return

    # An update merges the replicas, which it cannot do from inside a replica's branch:
    # the branch must be outside. keras.optimizers.LossScaleOptimizer does the same.
    def across(strategy, predicates, *functions):
        def call(function):
            return lambda: strategy.extended.call_for_each_replica(
                lambda each: each(), args=(function,)
            )

        decided = strategy.experimental_local_results(predicates)[0]
        tf.cond(decided, *map(call, functions))

    replica.merge_call(across, args=(predicate, true_fn, false_fn))

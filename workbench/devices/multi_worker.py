"""The strategy for several machines under which Keras 3 can train."""

import tensorflow as tf


class MultiWorkerStrategy(tf.distribute.MultiWorkerMirroredStrategy):
    """`MultiWorkerMirroredStrategy` that answers what Keras 3 asks of it.

    Keras asks `reduce` for the mean of a whole batch, from which it wants shapes and
    types alone, and for the mean along axis 0 of scalars, which its metrics are;
    TensorFlow refuses both on several workers, so `fit` and `evaluate` fail (Keras
    issue 20585). All else is TensorFlow's; models stay what they are.
    """

    def reduce(self, reduce_op, value, axis=None):
        """Combines the values of all replicas; see `tf.distribute.Strategy.reduce`.

        Args:
            reduce_op: `"SUM"` or `"MEAN"`.
            value: What `run` returned. Of a nested batch each part's first local
                value is returned.
            axis: int, or None; for scalars there is none.

        Returns:
            Tensor, or the nested batch.

        Raises:
            ValueError: If a batch has fewer rows than there are replicas.
        """
        if tf.nest.is_nested(value):
            self._check_rows(value)
            return tf.nest.map_structure(self._first, value)
        if axis == 0 and self._first(value).shape.rank == 0:
            axis = None
        return super().reduce(reduce_op, value, axis)

    def _first(self, value):
        return self.experimental_local_results(value)[0]

    def _check_rows(self, batch):
        parts = tf.nest.flatten(batch)
        if not self.extended._in_multi_worker_mode() or not parts:
            return
        # All workers add up, so that all raise; one alone would leave the others
        # waiting.
        local = self.experimental_local_results(parts[0])
        busy = sum(bool(each.shape.rank and each.shape[0]) for each in local)
        busy = int(super().reduce("SUM", tf.constant(busy), None))
        if busy < self.num_replicas_in_sync:
            raise ValueError(
                f"`batch_size` must be >= {self.num_replicas_in_sync} (rows), one for "
                f"each replica, also of `validation_data`. Received: a batch of {busy}"
            )

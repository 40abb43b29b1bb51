"""A `tf.data` pipeline as one endless stream that can begin anywhere."""

import contextlib

import tensorflow as tf

from workbench.checkpoints.feeding import Feed

_FAIL, _IGNORE = 2, 1  # what SerializeIterator does about operations with state


class PipelineFeed(Feed):
    """A `tf.data.Dataset`, repeated; its iterator is saved where an epoch begins.

    Within the epoch the batches before the place are read again. TensorFlow can save
    an iterator anywhere, but what it saves of a shuffle leads, now and then, to another
    order: a shuffled data set is read again from its beginning, which is exact and
    takes longer.

    Args:
        data: Batched `tf.data.Dataset`.
        steps_per_epoch: int, or None where the data set knows its length.
    """

    def __init__(self, data, steps_per_epoch=None):
        length = int(data.cardinality())
        if length < 0 and steps_per_epoch is None:
            kind = "endless" if length == tf.data.INFINITE_CARDINALITY else "unknown"
            raise ValueError(
                "`data` must know how many batches make an epoch; give "
                "`steps_per_epoch`, or apply tf.data.experimental.assert_cardinality. "
                f"Received: a data set of {kind} length"
            )
        graph = _graph(data)
        shuffles = _shuffles(graph)
        identity = {
            "kind": "tf.data",
            "length": length,
            "spec": str(data.element_spec),
            "shuffles": shuffles,
        }
        super().__init__(steps_per_epoch or length, data.element_spec, identity)
        endless = length == tf.data.INFINITE_CARDINALITY
        self._stream = data if endless else data.repeat()
        self._iterator = iter(self._stream)
        self._policy = _FAIL
        self._state = None
        if [0, 0] in shuffles:
            self.notes.append(
                "the data set shuffles without a seed, so in another process later "
                "epochs have another order; use shuffle(…, seed=…), or "
                "keras.utils.set_random_seed before making it"
            )
        if shuffles and length != self.steps_per_epoch:
            self._policy = None
            self.notes.append(
                "`steps_per_epoch` does not end where the data set does: to go on, it "
                "is read again from its beginning"
            )
        elif shuffles:
            self._policy = None
        else:
            self._probe()

    def dataset(self, epoch, step, state):
        """See `Feed.dataset`."""
        if state is not None:
            tf.raw_ops.DeserializeIterator(
                resource_handle=self._iterator._iterator_resource,
                serialized=tf.io.parse_tensor(state, tf.variant),
            )
            self._state = state
        behind = step if state is not None else epoch * self.steps_per_epoch + step
        for _ in range(behind):
            next(self._iterator)
        return _Once(self._stream, self._iterator)

    def begin_epoch(self):
        """See `Feed.begin_epoch`."""
        try:
            self._state = None if self._policy is None else self._serialized()
        except tf.errors.UnimplementedError:
            self._policy = self._state = None

    def capture(self):
        """See `Feed.capture`."""
        return self._state

    def _serialized(self):
        state = tf.raw_ops.SerializeIterator(
            resource_handle=self._iterator._iterator_resource,
            external_state_policy=self._policy,
        )
        return tf.io.serialize_tensor(state).numpy()

    def _probe(self):
        """Finds out whether an iterator of this data set can be saved."""
        try:
            self._serialized()
        except tf.errors.FailedPreconditionError as error:
            self._policy = _IGNORE
            reason = error.message.split("}}")[-1].split("[")[0].strip().rstrip(".")
            self.notes.append(
                f"in the data set {reason}, and TensorFlow does not save that state; "
                + (
                    "a generator is read again from its beginning"
                    if "PyFunc" in reason
                    else "use random operations such as tf.random.stateless_uniform"
                )
            )


class _Once(tf.data.Dataset):
    """A data set that hands out one iterator, which was made before."""

    def __init__(self, dataset, iterator):
        self._dataset = dataset
        self._iterator = iterator
        super().__init__(dataset._variant_tensor)

    def __iter__(self):
        return self._iterator

    def _inputs(self):
        return [self._dataset]

    @property
    def element_spec(self):
        """The inner data set's."""
        return self._dataset.element_spec


def _graph(dataset):
    graph = tf.compat.v1.GraphDef()
    # Larger than a message may be, or made of what has no graph: nothing is known.
    with contextlib.suppress(tf.errors.OpError):
        graph.ParseFromString(dataset._as_serialized_graph().numpy())
    return graph


def _shuffles(graph):
    """Lists the two seeds of each shuffle in the data set."""
    values = {node.name: node.attr["value"].tensor.int64_val for node in graph.node}
    return [
        [value for name in node.input[2:4] for value in values[name.split(":")[0]]]
        for node in graph.node
        if node.op.startswith("Shuffle")
    ]

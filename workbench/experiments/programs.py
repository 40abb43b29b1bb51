"""The traced loop: forward, backward, clip, update, for one variant or for many.

A `Template` is the model; a `Tail` is what variants of one kind do with gradients; a
`Program` strings them together and loops over batches inside one `tf.function`. The
same code serves one variant and, through `tf.vectorized_map`, many stacked ones.
"""

import tensorflow as tf

from workbench.experiments.vectorizing import vectorized

_HELD = ("weights", "slots", "past")
_LOGS = ("loss", "penalty", "gradient_norm", "clipped_norm")


class Program:
    """The traced loop over the steps of one kind of state.

    State is a dict: `weights`, `slots` and `past` hold one list per tail, `frozen`
    and `metrics` are the model's. Stacked, every tensor has a leading axis over the
    tail's variants (all variants for `frozen` and `metrics`), but for the `frozen`
    ones that all variants share, such as the state of dropout.

    Args:
        template: `templates.Template`.
        tail_list: List of `tails.Tail`.
        stacked: bool, whether many variants run as one.
        shared: List of bool, which of `frozen` all variants share.
        compiled: bool, whether XLA compiles the update.
        batch_size: int when all batches of training have that size, else None.
    """

    def __init__(self, template, tail_list, *, stacked, shared, compiled, batch_size):
        self.template = template
        self.tails = tail_list
        self.stacked = stacked
        self.shared = shared
        self._variables = None
        self._compiled_update = tf.function(
            self._update_in_place, jit_compile=True, autograph=False
        )
        self.compiled = compiled
        self.batch_size = batch_size
        self._traced = {}
        self._train = tf.function(self._train_steps, autograph=False)
        self._test = tf.function(self._test_steps, autograph=False)

    def train(self, state, data, order, rates, hyper):
        """Trains for some steps.

        Args:
            state: Dict, see the class.
            data: Nested tensors of N samples.
            order: int32 array `(S, B)`, rows of `data`.
            rates: float32 array `(S, K)`, learning rates.
            hyper: List per tail of dict name -> float64 `(K_i,)`, or scalar.

        Returns:
            New state, and dict name -> float32 tensor `(S, K)`.
        """
        return self._call(self._train, state, data, order, rates, hyper)

    def test(self, state, data, order, hyper):
        """Evaluates without training.

        Args:
            state: Dict, see the class.
            data: Nested tensors of N samples.
            order: int32 array `(S, B)`, rows of `data`.
            hyper: As for `train`.

        Returns:
            float32 tensor `(S, K)` or `(S,)`, the losses, and new metric state.
        """
        return self._call(self._test, state, data, order, (), hyper)

    def _call(self, function, *arguments):
        arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        if function not in self._traced:
            # One trace serves every number of steps, and, where batches differ in
            # size, every size.
            specs = tf.nest.map_structure(tf.type_spec_from_value, arguments)
            state, data, order, rates, hyper = specs
            data, order, rates = tf.nest.map_structure(
                _any_length, (data, order, rates)
            )
            # Held-out data may end in a smaller batch where the data does not.
            size = self.batch_size if function is self._train else None
            order = tf.TensorSpec([None, size], tf.int32)
            self._traced[function] = function.get_concrete_function(
                state, data, order, rates, hyper
            )
        return self._traced[function](*arguments)

    def _train_steps(self, state, data, order, rates, hyper):
        def body(step, state, logs):
            batch = _take(data, order[step])
            state, values = self._step(state, batch, rates[step], hyper)
            return (
                step + 1,
                state,
                [
                    log.write(step, value)
                    for log, value in zip(logs, values, strict=True)
                ],
            )

        if self.compiled:
            state = self._hold(state)
        steps = tf.shape(order)[0]
        logs = [tf.TensorArray(tf.float32, steps) for _ in _LOGS]
        _, state, logs = tf.while_loop(
            lambda step, *_: step < steps, body, (0, state, logs), parallel_iterations=1
        )
        if self.compiled:
            state = {**state, **self._held()}
        count = rates.shape[1]
        stacked = [tf.reshape(log.stack(), [steps, count]) for log in logs]
        return state, dict(zip(_LOGS, stacked, strict=True))

    def _hold(self, state):
        """Puts the large part of the state into variables, to be updated in place."""
        parts = [state[name] for name in _HELD]
        if self._variables is None:
            with tf.init_scope():
                self._variables = tf.nest.map_structure(
                    lambda t: tf.Variable(tf.zeros(t.shape, t.dtype), trainable=False),
                    parts,
                )
        tf.nest.map_structure(lambda v, t: v.assign(t), self._variables, parts)
        return {name: value for name, value in state.items() if name not in _HELD}

    def _held(self):
        values = tf.nest.map_structure(tf.convert_to_tensor, self._variables)
        return dict(zip(_HELD, values, strict=True))

    def _step(self, state, batch, rates, hyper):
        if not self.compiled:
            held = {name: state[name] for name in _HELD}
            loss, gradients, sparse, rest = self._forward(state, batch)
            held, values = self._update(held, gradients, sparse, rates, hyper)
        else:
            state = {**state, **self._held()}
            loss, gradients, sparse, rest = self._forward(state, batch)
            measured = self._measure(state["weights"], gradients, hyper)
            values = self._compiled_update(gradients, sparse, rates, hyper, measured)
            held = {}
        penalty, norm, clipped_norm = values
        loss = tf.cast(loss, tf.float32)
        return {**held, **rest}, (loss + penalty, penalty, norm, clipped_norm)

    def _measure(self, weights, gradients, hyper):
        """Computes outside of XLA what takes it longer."""
        return [
            tail.measure(weights[i], self._own(i, gradients), hyper[i])
            for i, tail in enumerate(self.tails)
        ]

    def _update_in_place(self, gradients, sparse, rates, hyper, measured):
        held, values = self._update(
            self._held(), gradients, sparse, rates, hyper, measured
        )
        parts = [held[name] for name in _HELD]
        tf.nest.map_structure(lambda v, t: v.assign(t), self._variables, parts)
        return values

    def _forward(self, state, batch):
        if not self.stacked:
            loss, gradients, sparse, frozen, metrics = self.template.traced_forward(
                state["weights"][0], state["frozen"], state["metrics"], batch
            )
            return loss, gradients, sparse, {"frozen": frozen, "metrics": metrics}
        weights = _join(state["weights"])
        own, common = self._split(state["frozen"])

        def one(arguments):
            weights, own, metrics, x = arguments
            return self.template.forward(
                weights, self._merge(own, common), metrics, (x, *batch[1:])
            )

        count = weights[0].shape[0]
        # A batch matrix product beats what vectorized_map makes of a factor that is
        # the same for all: it transposes the weights, which are larger.
        x = tf.nest.map_structure(lambda t: _repeat(t, count), batch[0])
        loss, gradients, sparse, frozen, metrics = vectorized(
            one, (weights, own, state["metrics"], x)
        )
        frozen = [
            value[0] if shared else value
            for value, shared in zip(frozen, self.shared, strict=True)
        ]
        return loss, gradients, sparse, {"frozen": frozen, "metrics": metrics}

    def _split(self, frozen):
        pairs = list(zip(frozen, self.shared, strict=True))
        return [v for v, s in pairs if not s], [v for v, s in pairs if s]

    def _merge(self, own, common):
        own, common = iter(own), iter(common)
        return [next(common) if shared else next(own) for shared in self.shared]

    def _update(self, held, gradients, sparse, rates, hyper, measured=None):
        states, logs = [], []
        for i, tail in enumerate(self.tails):
            own = gradients, sparse, rates
            own = self._own(i, own) if self.stacked else (gradients, sparse, rates[0])
            state = tuple(held[name][i] for name in _HELD)
            known = None if measured is None else measured[i]
            state, log = tail.update(self._mapped, state, *own, hyper[i], known)
            states.append(state)
            logs.append(log)
        parts = (list(part) for part in zip(*states, strict=True))
        return dict(zip(_HELD, parts, strict=True)), _join(logs)

    def _own(self, i, tensors):
        """Cuts a tail's variants out of what is stacked over all."""
        if len(self.tails) == 1:
            return tensors
        first = sum(tail.count for tail in self.tails[:i])
        part = slice(first, first + self.tails[i].count)
        return tf.nest.map_structure(lambda t: t[part], tensors)

    def _mapped(self, function, arguments):
        return vectorized(function, arguments) if self.stacked else function(arguments)

    def _test_steps(self, state, data, order, rates, hyper):
        weights = state["weights"]
        frozen = state["frozen"]

        def step(metrics, batch):
            if not self.stacked:
                return self.template.evaluate(weights[0], frozen, metrics, batch)
            own, common = self._split(frozen)

            def one(arguments):
                weights, own, metrics = arguments
                merged = self._merge(own, common)
                return self.template.evaluate(weights, merged, metrics, batch)

            return vectorized(one, (_join(weights), own, metrics))

        def body(index, metrics, log):
            loss, metrics = step(metrics, _take(data, order[index]))
            return index + 1, metrics, log.write(index, tf.cast(loss, tf.float32))

        penalties = [
            self._mapped(
                lambda a, tail=tail: tail.penalties.value(*a), (weights[i], hyper[i])
            )
            for i, tail in enumerate(self.tails)
        ]
        penalty = tf.concat(penalties, 0) if self.stacked else penalties[0]
        steps = tf.shape(order)[0]
        _, metrics, log = tf.while_loop(
            lambda index, *_: index < steps,
            body,
            (0, state["metrics"], tf.TensorArray(tf.float32, steps)),
            parallel_iterations=1,
        )
        return log.stack() + penalty, metrics


def _join(parts):
    """Concatenates lists of stacked tensors along the variants."""
    if len(parts) == 1:
        return parts[0]
    return [tf.concat(tensors, 0) for tensors in zip(*parts, strict=True)]


def _take(data, rows):
    return tf.nest.map_structure(lambda t: tf.gather(t, rows), data)


def _repeat(tensor, count):
    return tf.tile(tensor[None], [count] + [1] * tensor.shape.rank)


def _any_length(spec):
    return tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)

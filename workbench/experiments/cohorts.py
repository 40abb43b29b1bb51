"""Variants on their way through the epochs, with what is measured of them."""

import time

import numpy as np
import tensorflow as tf

from workbench.experiments import planning, records, tails


class Cohort:
    """Variants that one program trains: many stacked, or one alone.

    Args:
        program: `programs.Program`.
        candidates: List of K `variants.Candidate`, in the order of its tails.
        starts: List of K dicts with lists `weights` and `frozen` of NumPy arrays.
        hyper: List per tail of lists of float64 arrays.
        path: str, for the records.
        why: str, for the records.
    """

    def __init__(self, program, candidates, starts, hyper, *, path, why):
        self.program = program
        self.candidates = candidates
        self._schedules = {}
        self.hyper = hyper if program.stacked else [[v[0] for v in hyper[0]]]
        self.path = path
        self.why = why
        self.logs = []
        self.epoch_logs = [[] for _ in candidates]
        self.steps = 0
        self.seconds = 0.0
        self.pace = 0.0  # seconds per step, 0 while unknown
        self.error = None
        self._initial = starts
        self.state = self._make_state(starts)

    def _make_state(self, starts):
        stacked = self.program.stacked
        state = {"weights": [], "slots": [], "past": []}
        first = 0
        for tail in self.program.tails:
            members = range(first, first + tail.count)
            slots = [tail.initial_slots(self.candidates[i]) for i in members]
            pasts = [tails.initial_past(self.candidates[i]) for i in members]
            weights = [starts[i]["weights"] for i in members]
            state["weights"].append(_stack(weights, stacked))
            state["slots"].append(_stack(slots, stacked))
            state["past"].append(_stack([[p] for p in pasts], stacked)[0])
            first += tail.count
        frozen = _stack([start["frozen"] for start in starts], stacked)
        if stacked:
            frozen = [
                value[0] if shared else value
                for value, shared in zip(frozen, self.program.shared, strict=True)
            ]
        state["frozen"] = frozen
        state["metrics"] = self._fresh_metrics()
        return tf.nest.map_structure(tf.convert_to_tensor, state)

    def _fresh_metrics(self):
        values = [v.numpy() for v in self.program.template.metrics]
        return _stack([values] * len(self.candidates), self.program.stacked)

    @property
    def finished_early(self):
        """Whether nothing is left that could still learn."""
        if self.error is not None:
            return True
        if not self.logs or any(c.clip is not None for c in self.candidates):
            return False  # a clip leaves out bad steps, so that loss may come back
        return not np.isfinite(self.logs[-1]["loss"][-1]).any()

    def advance(self, data, order):
        """Trains for some steps.

        Args:
            data: Nested tensors.
            order: int32 array `(S, B)`.
        """
        start = time.perf_counter()
        rates = np.stack(
            [
                planning.sample_rates(
                    c.learning_rate, self.steps, len(order), self._schedules
                )
                for c in self.candidates
            ],
            axis=1,
        )
        self.state, logs = self.program.train(
            self.state, data, order, rates, self.hyper
        )
        logs = {name: value.numpy() for name, value in logs.items()}
        logs["learning_rate"] = rates
        self.logs.append(logs)
        self.steps += len(order)
        seconds = time.perf_counter() - start
        # The first steps hold the tracing and say nothing about the others.
        self.pace = seconds / len(order) if self.seconds else 0.0
        self.seconds += seconds

    def end_epoch(self, sizes, validation):
        """Computes the epoch's means and the validation.

        Args:
            sizes: int array, samples in each step of the epoch.
            validation: `feeding.Epoch` or None.
        """
        start = time.perf_counter()
        losses = np.concatenate([logs["loss"] for logs in self.logs])[-len(sizes) :]
        self._log_epoch("", losses, sizes, self.state["metrics"])
        self.state["metrics"] = self._tensors(self._fresh_metrics())
        if validation is not None:
            metrics, parts = self.state["metrics"], []
            for order in validation.orders:
                state = {**self.state, "metrics": metrics}
                part, metrics = self.program.test(
                    state, validation.data, order, self.hyper
                )
                parts.append(part.numpy().reshape(len(order), -1))
            self._log_epoch("val_", np.concatenate(parts), validation.sizes, metrics)
        self.seconds += time.perf_counter() - start

    def _tensors(self, arrays):
        return [tf.convert_to_tensor(array) for array in arrays]

    def _log_epoch(self, prefix, losses, sizes, metrics):
        means = np.average(losses.astype("float64"), axis=0, weights=sizes)
        values = [tensor.numpy() for tensor in metrics]
        for k, mean in enumerate(means):
            if not prefix:
                self.epoch_logs[k].append({})
            logs = self.epoch_logs[k][-1]
            logs[f"{prefix}loss"] = float(mean)
            if values:
                own = [v[k] for v in values] if self.program.stacked else values
                results = self.program.template.metric_results(own)
                logs.update({f"{prefix}{name}": v for name, v in results.items()})

    def results(self, *, interrupted):
        """Makes the records.

        Args:
            interrupted: bool, whether the run was stopped before its end.

        Returns:
            List of `(records.Record, weights)`, weights a list of arrays.
        """
        template = self.program.template
        weights = [tensor.numpy() for tensor in _joined(self.state["weights"])]
        frozen = [tensor.numpy() for tensor in self.state["frozen"]]
        series = {
            name: np.concatenate([logs[name] for logs in self.logs])
            if self.logs
            else np.zeros((0, len(self.candidates)), "float32")
            for name in (
                "loss",
                "penalty",
                "gradient_norm",
                "clipped_norm",
                "learning_rate",
            )
        }
        result = []
        for k, candidate in enumerate(self.candidates):
            record = records.make_record(
                candidate.name,
                {name: values[:, k] for name, values in series.items()},
                self.epoch_logs[k],
                interrupted=interrupted,
                error=self.error,
                seconds=self.seconds / len(self.candidates),
                path=self.path,
                why=self.why,
                together=len(self.candidates),
            )
            own = weights, frozen
            if self.program.stacked:
                own = (
                    [w[k] for w in weights],
                    [
                        f if shared else f[k]
                        for f, shared in zip(frozen, self.program.shared, strict=True)
                    ],
                )
            result.append((record, template.in_model_order(*own)))
        return result


def _stack(lists, stacked):
    if not stacked:
        return lists[0]
    return [np.stack(values) for values in zip(*lists, strict=True)]


def _joined(parts):
    if len(parts) == 1:
        return parts[0]
    return [tf.concat(tensors, 0) for tensors in zip(*parts, strict=True)]

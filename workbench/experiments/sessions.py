"""Variants grouped into units, each on the fastest path that is right for it."""

import numpy as np
import tensorflow as tf

from workbench.devices.preflighting import check_trainable
from workbench.experiments import (
    cohorts,
    fitting,
    mixing,
    planning,
    programs,
    records,
    settings,
    tails,
    templates,
    variants,
)
from workbench.regularization import plain_of

_MOST_STACKED = 2**26  # numbers in one stacked copy of all weights
# XLA makes an update about 2 ns per number faster and costs about 0.8 s to compile.
_WORTH_COMPILING = 4e8  # steps times numbers


class Session:
    """One call of `compare` in this process.

    Args:
        build: Function without arguments that returns a `keras.Model`.
        feed: Feed of `feeding`.
        validation: `feeding.Epoch` or None.
        loss: As for `compile`, or None.
        epochs: Positive int.
        seed: int.
        validation_freq: Positive int, epochs from one evaluation to the next.
    """

    def __init__(self, build, feed, validation, *, loss, epochs, seed, validation_freq):
        self.build = build
        self.feed = feed
        self._validation = validation
        self._validation_freq = validation_freq
        self.loss = loss
        self.epochs = epochs
        self.seed = seed
        self._starts = {}
        self._programs = {}
        first = feed.epoch(0)
        rows = first.orders[0][0]
        self.batch = tf.nest.map_structure(lambda t: tf.gather(t, rows), first.data)
        self.steps = sum(len(order) for order in first.orders) * epochs
        self.batch_size = len(rows) if len(first.orders) == 1 and feed.even else None
        self.model = self._new_model(seed)
        for name, part in (("data", first), ("validation_data", validation)):
            for size in sorted(set(part.sizes.tolist())) if part else ():
                check_trainable(self.model, batch_size=size, name=name)
        self._starts[seed] = planning.start_values(self.model)
        self.compiled_optimizer = self.model.optimizer if loss is None else None
        self.only_fit = planning.on_several(self.model) or planning.only_fit(self.model)

    def validation_after(self, index):
        """Returns the `feeding.Epoch` to evaluate after an epoch, from 0, or None."""
        return None if (index + 1) % self._validation_freq else self._validation

    def _new_model(self, seed):
        model = planning.build_model(self.build, seed, self.batch)
        planning.compile_with(model, self.loss)
        return model

    def resolve(self, wanted):
        """Resolves variants.

        Args:
            wanted: Dict of name -> `Variant`.

        Returns:
            List of `Candidate`, and dict of name -> exception for the other ones.
        """
        candidates, errors = [], {}
        for name, variant in wanted.items():
            try:
                candidate = variants.resolve(
                    name, variant, self.compiled_optimizer, self.seed
                )
                settings.check_dropout(self.model, candidate.dropout)
                candidates.append(candidate)
            except Exception as error:  # noqa: BLE001, ends this variant alone
                errors[name] = error
        return candidates, errors

    def _start(self, candidate):
        """Returns the initial values of a candidate."""
        seed = candidate.seed
        if seed not in self._starts:
            model = planning.build_model(self.build, seed, self.batch)
            self._starts[seed] = planning.start_values(model)
        return settings.with_dropout(self._starts[seed], self.model, candidate.dropout)

    def _prepare(self):
        """Makes the model a template for traced steps."""
        model = self.model
        kernels = planning.kernel_indices(model)
        variables = [model.trainable_variables[i] for i in kernels]
        self.own_penalties = [plain_of(v.regularizer) for v in variables]
        self.own_constraints = [plain_of(v.constraint) for v in variables]
        for variable in variables:
            variable.regularizer = variable.constraint = None
        x, y, *weight = self.batch
        if len(model.metrics) > 1 or tf.nest.is_nested(y):
            # Metrics make their variables when they first see data.
            y_pred = model(x)
            model.compute_loss(x, y, y_pred, *weight, training=False)
            model.compute_metrics(x, y, y_pred, *(weight or [None]))
            model.reset_metrics()
        self.template = templates.Template(model, kernels)
        self.size = sum(int(np.prod(v.shape)) for v in model.trainable_variables)

    def _penalties(self, candidate):
        """Lists a candidate's penalty for each kernel."""
        if candidate.penalty is None:
            return self.own_penalties
        return [candidate.penalty] * len(self.own_penalties)

    def _constraints(self, candidate):
        """Lists a candidate's constraint for each kernel."""
        if candidate.constraint is None:
            return self.own_constraints
        return [candidate.constraint] * len(self.own_constraints)

    def make_units(self, candidates):
        """Groups candidates into units, each by the fastest path it may take.

        Args:
            candidates: List of `Candidate`.

        Returns:
            List of `Cohort`, `FitLane` and `Failure`.
        """
        units, traced = [], []
        for candidate in candidates:
            why = self.only_fit or candidate.only_fit
            if why:
                units += self._fit_units([candidate], why)
            else:
                traced.append(candidate)
        if not traced:
            return units
        self._prepare()
        most = max(_MOST_STACKED // self.size, 1)
        why = planning.unstackable(self.model)
        if len(traced) == 1:
            why = why or "nothing to run it together with"
        elif most == 1:
            why = why or "too large to stack"
        if why:
            return units + self._single_units(traced, why)
        planning.unroll(self.model)
        for first in range(0, len(traced), most):
            units += self._stacked_units(traced[first : first + most])
        return units

    def slower(self, unit, error):
        """Replaces a unit that could not run.

        Args:
            unit: `Cohort` that raised in its first steps.
            error: What it raised.

        Returns:
            List of units on the next slower path.
        """
        if unit.program.compiled:
            return self._stacked_units(unit.candidates, compiled=False)
        if unit.program.stacked:
            return self._single_units(unit.candidates, records.describe(error))
        return self._fit_units(unit.candidates, records.describe(error))

    def _stacked_units(self, candidates, *, compiled=None):
        kinds = self._by_kind(candidates)
        ordered = [c for members in kinds for c in members]
        if compiled is None:
            compiled = self.steps * self.size * len(ordered) > _WORTH_COMPILING
        try:
            parts = [self._tail(members) for members in kinds]
        except Exception as error:  # noqa: BLE001, an optimizer with other ideas
            return self._single_units(candidates, records.describe(error))
        one_seed = len({c.seed for c in ordered}) == 1
        program = programs.Program(
            self.template,
            [tail for tail, _ in parts],
            stacked=True,
            shared=[one_seed and _is_seed(v) for v in self.template.frozen],
            compiled=compiled,
            batch_size=self.batch_size,
        )
        starts = [self._start(c) for c in ordered]
        hyper = [live for _, live in parts]
        path = records.VECTORIZED
        return [cohorts.Cohort(program, ordered, starts, hyper, path=path, why="")]

    def _single_units(self, candidates, why):
        units = []
        for members in self._by_kind(candidates):
            try:
                units += self._units_of_kind(members, why)
            except Exception as error:  # noqa: BLE001, an optimizer with other ideas
                units += self._fit_units(members, records.describe(error))
        return units

    def _units_of_kind(self, members, why):
        tail, hyper = self._tail(members)
        tail.count = 1
        program = programs.Program(
            self.template,
            [tail],
            stacked=False,
            shared=[],
            compiled=False,
            batch_size=self.batch_size,
        )
        return [
            cohorts.Cohort(
                program,
                [candidate],
                [self._start(candidate)],
                [[values[k : k + 1] for values in hyper]],
                path=records.SHARED_TRACE,
                why=why,
            )
            for k, candidate in enumerate(members)
        ]

    def _fit_units(self, candidates, why):
        units = []
        for candidate in candidates:
            try:
                model = self._new_model(candidate.seed)
                units.append(fitting.FitLane(candidate, model, why))
            except Exception as error:  # noqa: BLE001, ends this variant alone
                units.append(fitting.Failure(candidate, error, why))
        return units

    def _by_kind(self, candidates):
        kinds = {}
        for candidate in candidates:
            kind = planning.kind_of(
                candidate, self._penalties(candidate), self._constraints(candidate)
            )
            kinds.setdefault(kind, []).append(candidate)
        return list(kinds.values())

    def _tail(self, members):
        penalties = mixing.slots_of([self._penalties(c) for c in members])
        constraints = mixing.slots_of([self._constraints(c) for c in members])
        live = planning.live_numbers(members, penalties, constraints)
        tail = tails.Tail(members, self.template, penalties, constraints, live)
        return tail, list(live.values())


def _is_seed(variable):
    return variable.name == "seed_generator_state"

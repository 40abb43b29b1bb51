"""Short trainings of a model that leave no trace in it."""

import contextlib

import keras
import numpy as np

from workbench.steps import StepHook, innermost, same_random_states

_ATTRIBUTES = ("history", "stop_training", "steps_per_execution")
_STEPS_PER_EXECUTION = 8
_ABSENT = object()
_FIRST, _LAST = 12, 5  # steps
_EXPLODED = 2.0, 4.0  # times mean and spread of the first, as a mean over the last


class Trials:
    """Context in which a compiled model trains again and again from where it stands.

    On leaving, weights, optimizer state, metrics and every random state are bit by bit
    what they were, however it is left.

    Args:
        model: Compiled and built `keras.Model`.
    """

    def __init__(self, model):
        self._model = model
        self._iterations = 0
        self._before = self._hook = self._exit = None

    def __enter__(self):
        model = self._model
        with contextlib.ExitStack() as stack:
            stack.enter_context(same_random_states())
            stack.enter_context(_same_attributes(model, _ATTRIBUTES))
            # Fewer returns to Python: half the time of a small model, or less.
            steps = max(model.steps_per_execution, _STEPS_PER_EXECUTION)
            vars(model)["steps_per_execution"] = steps
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            variables = [
                *model.variables,
                *model.optimizer.variables,
                *model.metrics_variables,
            ]
            self._iterations = int(innermost(model.optimizer)._iterations.numpy())
            self._before = [(variable, variable.numpy()) for variable in variables]
            stack.callback(self._restore)
            self._hook = stack.enter_context(StepHook(model))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._exit.__exit__(*exception)

    def _restore(self):
        # Fit makes variables for metrics that had none.
        self._model.reset_metrics()
        for variable, value in self._before:
            variable.assign(value)

    def train(self, data, rates, seed, on_step):
        """Trains from the start, one step per rate, until the loss explodes.

        Args:
            data: dict, what `model.fit` gets: at least one batch per rate.
            rates: float array `(S,)`.
            seed: int, of the random numbers that layers draw.
            on_step: Function of the number of steps done since the last call.

        Returns:
            float64 array `(S,)`: each batch's own loss, before its update; NaN from
            where it exploded on.
        """
        self._restore()
        self._reseed(seed)
        # A rate per iteration of an optimizer that may have done some.
        done = np.full(self._iterations, rates[0])
        self._hook.live.write_rate(np.concatenate([done, rates]))
        reader = _Reader(self._hook, on_step)
        self._model.fit(
            **data,
            steps_per_epoch=len(rates),
            shuffle=False,
            verbose=0,
            callbacks=[reader],
        )
        losses = np.full(len(rates), np.nan)
        losses[: len(reader.losses)] = reader.losses
        return losses

    def _reseed(self, seed):
        for layer in self._model._flatten_layers():
            for generator in getattr(layer, "_seed_generators", ()):
                generator.state.assign([seed, 0])


class _Reader(keras.callbacks.Callback):
    """Collects true losses and ends what has exploded."""

    def __init__(self, hook, on_step):
        super().__init__()
        self.losses = []
        self._hook = hook
        self._on_step = on_step

    def on_train_batch_end(self, batch, logs=None):
        """Reads the steps done; there are several per execution."""
        steps = self._hook.read()
        for step in steps:
            if self.model.stop_training:
                break
            self.losses.append(step.loss)
            first, last = self.losses[:_FIRST], self.losses[-_LAST:]
            limit = np.dot(_EXPLODED, (np.mean(first), np.std(first)))
            if not np.mean(last) <= limit + 1e-12:
                self.losses[-1] = np.nan
                self.model.stop_training = True
        self._on_step(len(steps))


@contextlib.contextmanager
def _same_attributes(target, names):
    before = {name: vars(target).get(name, _ABSENT) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            # Past Keras's __setattr__, which tracks what is assigned.
            if value is _ABSENT:
                vars(target).pop(name, None)
            else:
                vars(target)[name] = value

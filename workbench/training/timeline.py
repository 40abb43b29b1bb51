"""A training that can go back to any of its steps and take another way from there."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from workbench.experiments import feeding
from workbench.training.run import Run

_MOST_SNAPSHOTS = 32
_MOST_BYTES = 2**28
_FIRST_INTERVAL = 10  # steps
_ENDED = ("finished", "stopped", "failed")


class Batches(keras.utils.PyDataset):
    """The batches of a whole training, from some step on.

    They are those of `workbench.experiments.compare`: arrays in an order of their own
    in each epoch, datasets as they come. Keras sees one long epoch, which can begin
    anywhere.

    Attributes:
        steps_per_epoch: int.
        total_steps: int, of all epochs, whatever `first` is.

    Args:
        feed: What `workbench.experiments.feeding.make_feed` gives.
        epochs: Positive int.
        first: int, steps that were done before.
    """

    def __init__(self, feed, epochs, first=0):
        super().__init__()
        self._feed, self._first = feed, first
        self._index = self._epoch = None
        self.steps_per_epoch = len(feed.epoch(0).sizes)
        self.total_steps = self.steps_per_epoch * epochs

    @property
    def num_batches(self):
        """Batches that are left."""
        return self.total_steps - self._first

    def __getitem__(self, index):
        number, step = divmod(self._first + index, self.steps_per_epoch)
        if number != self._index:
            self._epoch, self._index = self._feed.epoch(number), number
        for order in self._epoch.orders:
            if step < len(order):
                rows = order[step]
                break
            step -= len(order)
        return tf.nest.map_structure(lambda a: tf.gather(a, rows), self._epoch.data)


class Snapshots(keras.callbacks.Callback):
    """Keeps weights, optimizer and seeds every few steps, in memory.

    Long trainings are thinned: of what is kept, every second is dropped, and the steps
    between two double.

    Args:
        first: int, steps that were done before.
    """

    def __init__(self, first=0):
        super().__init__()
        self.kept = {}
        self._interval = _FIRST_INTERVAL
        self._step = first

    def on_train_batch_begin(self, batch, logs=None):
        """Keeps the state before a step, where it is its turn."""
        if self._step % self._interval == 0:
            self._keep()
        self._step += 1

    def _keep(self):
        state = [v.numpy() for v in _state_of(self.model)]
        size = sum(array.nbytes for array in state)
        most = max(2, min(_MOST_SNAPSHOTS, _MOST_BYTES // max(size, 1)))
        kept = {**self.kept, self._step: state}
        while len(kept) > most:
            self._interval *= 2
            kept = {s: state for s, state in kept.items() if s % self._interval == 0}
        self.kept = kept  # at once, since another thread may read it


class _Continue(keras.callbacks.Callback):
    """Puts a kept state into a model, and repeats what was changed by hand.

    Args:
        first: int, steps that were done before.
        state: List of arrays, as `Snapshots` keeps it, or None for the model's own.
        wishes: List of `(step, name, value)`, the first step that shall use a value.
    """

    def __init__(self, first, state, wishes):
        super().__init__()
        self.run = None
        self._step = first
        self._state = state
        self._wishes = wishes

    def on_train_begin(self, logs=None):
        """Restores; the optimizer's state is there before its first step already."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if self._state is None:
            return
        for variable, value in zip(_state_of(self.model), self._state, strict=True):
            variable.assign(value)

    def on_train_batch_begin(self, batch, logs=None):
        """Hands over what holds from this step on; the run takes it at once."""
        self._step += 1
        for step, name, value in self._wishes:
            if step == self._step:
                self.run.set(name, value)


class _NewEpoch(keras.callbacks.Callback):
    """Lets Keras's running means begin anew with each epoch of the data."""

    def __init__(self, first, steps_per_epoch):
        super().__init__()
        self._step, self._steps_per_epoch = first, steps_per_epoch

    def on_train_batch_begin(self, batch, logs=None):
        """Resets the metrics at an epoch's first step."""
        if self._step % self._steps_per_epoch == 0:
            self.model.reset_metrics()
        self._step += 1


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """One way that a training took.

    Attributes:
        run: `Run` of the steps after `first`.
        first: int, steps done before the run's first; they are the parent's.
        cut: int, steps after which this way may differ from its parent's.
        parent: `Branch` or None.
    """

    run: Run
    first: int
    cut: int
    parent: object
    _snapshots: Snapshots = dataclasses.field(repr=False)

    @property
    def step(self):
        """int, steps done, the parent's included."""
        return self.first + len(self.run.records)

    @property
    def alive(self):
        """bool, whether it trains or stands still."""
        return self.run.state not in _ENDED

    def series(self, name):
        """Returns a series over all steps from the first of the training.

        Args:
            name: "loss", "learning_rate" or "gradient_norm".

        Returns:
            Array `(step,)`.
        """
        own = getattr(self.run.records, name)
        if self.parent is None:
            return own
        return np.concatenate([self.parent.series(name)[: self.first], own])

    def wishes(self, last):
        """Lists what was changed by hand until a step, with the step of the training.

        Args:
            last: int, the last step to look at.

        Returns:
            List of `(step, name, value)`.
        """
        before = [] if self.parent is None else self.parent.wishes(self.first)
        own = [
            (s + self.first, name, value) for s, name, value in self.run._gate.wishes
        ]
        return before + [wish for wish in own if wish[0] <= last]

    def snapshots(self):
        """Returns the kept states, dict of steps done -> list of arrays."""
        before = {} if self.parent is None else self.parent.snapshots()
        before = {step: state for step, state in before.items() if step <= self.first}
        return before | self._snapshots.kept


class Timeline:
    """Trains models that `make` makes, and goes back to any step of what was trained.

    Two ways that differ in nothing are the same bit for bit: weights, optimizer,
    normalization, dropout masks and batches are those of the step gone back to. The
    nearest kept state before it is taken, and the steps from there are trained again.

    A dataset that shuffles anew each time it is read gives other batches the second
    time; arrays and `keras.utils.PyDataset`s do not.

    Args:
        make: Function without arguments that returns a compiled `keras.Model`, always
            the same but for its weights.
        data: Tuple of arrays, or a dataset.
        epochs: Positive int.
        batch_size: Positive int, for arrays.
        seed: int >= 0, the order of arrays.
        clip: Clip method of `workbench.clipping`, or None.

    Attributes:
        branches: Tuple of `Branch`, in the order they were begun.
        steps_per_epoch: int.
        total_steps: int.
    """

    def __init__(self, make, data, *, epochs=1, batch_size=32, seed=0, clip=None):
        self._make = make
        self._feed = feeding.make_feed(data, batch_size, seed)
        self._epochs = epochs
        self._clip = clip
        self.branches = ()
        batches = Batches(self._feed, epochs)
        self.steps_per_epoch = batches.steps_per_epoch
        self.total_steps = batches.total_steps

    def start(self):
        """Begins a new training; returns its `Branch` at once."""
        return self._begin(0, None, [], 0, None)

    def rewind(self, step, *, branch=None, **changes):
        """Goes on from an earlier step, with other settings if wanted.

        What was changed by hand until that step is repeated; what was changed later is
        not.

        Args:
            step: int, steps done: 0 for the start, at most those of the branch.
            branch: `Branch` to go back on; None for the last.
            **changes: What `Run.set` takes from that step on, such as
                `learning_rate=0.01`; none to repeat what was.

        Returns:
            The new `Branch`, training.

        Raises:
            RuntimeError: If there is nothing to go back on.
            ValueError: If there is no such step.
        """
        if branch is None:
            if not self.branches:
                raise RuntimeError("Nothing was trained yet; call `start()` first.")
            branch = self.branches[-1]
        last = min(branch.step, self.total_steps - 1)
        if isinstance(step, bool) or not 0 <= step <= last or step != int(step):
            raise ValueError(
                f"`step` must be an int from 0 to {last} (steps done). "
                f"Received: step={step!r}"
            )
        kept = branch.snapshots()
        first = max((s for s in kept if s <= step), default=None)
        if first is None:
            raise RuntimeError(
                "The first step has not begun yet; wait until something was trained."
            )
        wishes = branch.wishes(step)
        wishes += [(step + 1, name, value) for name, value in changes.items()]
        return self._begin(first, kept[first], wishes, int(step), branch)

    def _begin(self, first, state, wishes, cut, parent):
        # What a kept state does not hold, such as a schedule set by hand, comes again.
        due = [(max(step, first + 1), name, value) for step, name, value in wishes]
        entry, snapshots = _Continue(first, state, due), Snapshots(first)
        callbacks = [entry, snapshots, _NewEpoch(first, self.steps_per_epoch)]
        batches = Batches(self._feed, self._epochs, first)
        model = self._make()
        if not model.built:
            model(batches[0][0])
        run = Run(model, batches, clip=self._clip, callbacks=callbacks, shuffle=False)
        entry.run = run
        branch = Branch(run, first, cut, parent, snapshots)
        self.branches += (branch,)
        run.start()
        return branch


def _state_of(model):
    return [*model.variables, *model.optimizer.variables]

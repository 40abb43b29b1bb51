"""One exact, resumable call of a model's own `fit`."""

import pathlib
import warnings

import keras

from workbench.checkpoints import callbacks as callback_states
from workbench.checkpoints import identity, state, tables, workers
from workbench.checkpoints.arguments import (
    check_arguments,
    check_feed,
    check_replicas,
    feed_of,
)
from workbench.checkpoints.encoding import decode
from workbench.checkpoints.exact_callbacks import ExactCallbacks, InStep
from workbench.checkpoints.locks import FolderLock
from workbench.checkpoints.saving import BackgroundWriter
from workbench.checkpoints.stepping import Stepping
from workbench.checkpoints.store import Store


class Session(Stepping):
    """Holds a folder of checkpoints while a model's `fit` runs, and makes it exact.

    In the block, call `model.fit(**session.fit_arguments)` once. A model that goes on
    is restored inside `fit`, after the callbacks' `on_train_begin`, so whatever
    changes the optimizer must be in place before.

    Args:
        model: Compiled `keras.Model`, on one device, under a `MirroredStrategy`, or
            under `devices.multi_worker_strategy()`; on several not with a
            `tf.data.Dataset`, whose place is not known.
        data: Arrays, `keras.utils.PyDataset`, any object with length and indexing, or
            `tf.data.Dataset`.
        filepath: str or path of the folder. Of several workers each has one in it.
        epochs: Positive int.
        batch_size: Positive int, samples; not for data that brings its batches.
        save_every: Positive int, steps between two checkpoints.
        keep: Positive int, how many checkpoints stay.
        seed: int >= 0 of the data's order.
        shuffle: bool, not for `tf.data`.
        steps_per_epoch: int, only for a `tf.data.Dataset` without a length.
        validation_data: As `model.fit` takes it.
        callbacks: Iterable of `keras.callbacks.Callback`.
        on_error: "continue" or "stop", when a checkpoint cannot be written.
        by_hash: Iterable of frozen layers of the model, such as an `Embedding` made
            from a file of vectors, of whose weights a checkpoint has the SHA-256
            alone. The model that goes on brings them; others are refused.
        **fit_arguments: Passed on to `model.fit`; `verbose` is 0 unless given.

    Attributes:
        notes: List of str, what will not be exact.
        checkpoint: `Checkpoint` it goes on from, or None.
    """

    def __init__(  # noqa: PLR0913, what `fit` takes
        self,
        model,
        data,
        *,
        filepath,
        epochs,
        batch_size=32,
        save_every=100,
        keep=3,
        seed=0,
        shuffle=True,
        steps_per_epoch=None,
        validation_data=None,
        callbacks=(),
        on_error="continue",
        by_hash=(),
        **fit_arguments,
    ):
        callbacks = list(callbacks)
        check_arguments(model, epochs, save_every, keep, on_error, fit_arguments)
        callback_states.check(callbacks)
        self.model = model
        self.folder = workers.own_folder(model, pathlib.Path(filepath))
        self.epochs = epochs
        self.checkpoint = None
        self.interrupted = False
        self._save_every, self._on_error = save_every, on_error
        self._named_layers = list(by_hash)
        self._feed = feed_of(data, batch_size, seed, shuffle, steps_per_epoch)
        self._validation = {
            "validation_data": validation_data,
            "validation_batch_size": batch_size,
        }
        check_feed(self._feed, model.steps_per_execution, fit_arguments)
        check_replicas(self._feed, model, batch_size)
        self._others = {"verbose": 0, **fit_arguments}
        self._callbacks = callbacks
        self._lock = None
        self._store = Store(self.folder)
        self._writer = BackgroundWriter(self._store, keep)
        self._buffers = state.HostBuffers()
        self._tensors = None
        self._frozen = False
        self._error = None
        forgetful = callback_states.forgetful(callbacks)
        self.notes = [
            *self._feed.notes,
            *(
                f"callback {name}: what it remembers is not saved; give it "
                "`get_state()` and `set_state(state)`"
                for name in forgetful
            ),
        ]

    @property
    def steps_per_epoch(self):
        """int, steps."""
        return self._feed.steps_per_epoch

    @property
    def finished(self):
        """bool, whether nothing is left to train."""
        found = self.checkpoint
        return found is not None and (
            found.manifest["stopped"] or found.epoch >= self.epochs
        )

    def __enter__(self):
        """Takes the folder and looks for a checkpoint to go on from.

        Raises:
            OSError: If the folder cannot be written to.
            RuntimeError: If another process uses the folder.
            ValueError: If another model or other data made what is there, or every
                checkpoint is damaged.
        """
        lock = FolderLock(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise OSError(
                error.errno,
                "`filepath` must be a folder that can be written to "
                f"({error.strerror}). Received: filepath={self.folder}",
            ) from error
        self._lock = lock
        try:
            self._build()
            self._find()
        except BaseException:
            self._leave()
            raise
        for note in self.notes:
            warnings.warn(f"Not exact after a restart: {note}.", stacklevel=3)
        return self

    def __exit__(self, kind, error, traceback):
        """Waits until the last checkpoint is on disk and gives the folder back.

        Raises:
            OSError: If a checkpoint could not be written and `on_error="stop"`.
        """
        try:
            self._look_after_writer()
        finally:
            self._leave()
        if self._error is not None and kind is None:
            raise self._error

    def fit(self):
        """Calls `model.fit(**fit_arguments)` and returns its History."""
        return self.model.fit(**self.fit_arguments)

    @property
    def fit_arguments(self):
        """Dict of the keyword arguments of `model.fit`."""
        place = self._epoch, self._step, self.checkpoint and self._tree["data"]
        if self.finished:
            place = 0, 0, None  # nothing will be read
        verbose = self._others["verbose"]
        return {
            **self._validation,
            **self._others,
            "x": self._feed.dataset(*place),
            "shuffle": False,
            "steps_per_epoch": self._feed.steps_per_epoch,
            "epochs": self.epochs,
            "initial_epoch": self.epochs if self.finished else self._epoch,
            "callbacks": ExactCallbacks(
                self,
                [*self._callbacks, InStep()],
                add_history=True,
                add_progbar=verbose != 0,
                verbose=1 if verbose == "auto" else verbose,
                epochs=self.epochs,
                steps=self._feed.steps_per_epoch,
                model=self.model,
            ),
        }

    def interrupt(self):
        """Ends `fit` after the step it is in, so that the same call goes on there.

        What ends `fit` otherwise, such as `EarlyStopping`, ends the training.
        """
        # From any thread: what ends training is set between two steps.
        self.interrupted = True

    def _build(self):
        """Makes every variable before the first step: a restored value needs one."""
        batch = keras.tree.map_structure(
            lambda s: s if s is None else keras.KerasTensor(s.shape, s.dtype.name),
            self._feed.spec,
        )
        with self.model.distribute_strategy.scope():
            self.model._symbolic_build(data_batch=batch)
        self._by_hash = tables.check_layers(self.model, self._named_layers)
        self._identity = {
            "model": identity.identity_of_model(self.model),
            "data": self._feed.identity,
        }

    def _find(self):
        self._store.clean()
        if workers.are_several(self.model):
            checkpoint, tensors, damaged = workers.find_common(self.model, self._store)
        else:
            checkpoint, tensors, damaged = self._store.newest()
        for path, problem in damaged:
            warnings.warn(
                f"Checkpoint {path.name} is damaged ({problem}); the one before it is "
                "used."
                if checkpoint
                else f"Checkpoint {path.name}: {problem}.",
                stacklevel=4,
            )
        if checkpoint is None:
            if damaged:
                raise ValueError(
                    "`filepath` holds only damaged checkpoints; name another folder to "
                    f"begin anew. Received: filepath={self.folder}"
                )
            self._epoch = self._step = 0
            return
        self._check_identity(checkpoint)
        begun = checkpoint.epoch + bool(checkpoint.step)
        if begun > self.epochs:
            raise ValueError(
                f"`epochs` must be >= {begun} (passes over the data), for so many have "
                "begun; to go on from an older checkpoint, `branch` copies it. "
                f"Received: epochs={self.epochs}"
            )
        for path, _ in damaged:
            self._store.set_aside(path)
        self.checkpoint, self._tensors = checkpoint, tensors
        self._epoch, self._step = checkpoint.epoch, checkpoint.step
        self._tree = decode(checkpoint.manifest["state"], tensors)

    def _check_identity(self, checkpoint):
        for what, remedy in (
            ("model", "compile and build it as then"),
            ("data", "give the same data and arguments"),
        ):
            other = identity.difference(
                self._identity[what], checkpoint.manifest["identity"][what]
            )
            if other:
                raise ValueError(
                    f"`{what}` is not the one of the checkpoints in `filepath`: "
                    f"{other}. To go on, {remedy}; to begin anew, name another folder. "
                    f"Received: filepath={self.folder}"
                )

        # Read once: what is frozen is what it was.
        other = tables.find_difference(
            state.variables_of(self.model), checkpoint.manifest
        )
        if other:
            raise ValueError(
                "`model` must have the frozen weights that the checkpoints in "
                f"`filepath` only name: {other}. Make the layer from the same file, "
                "with the same vocabulary and arguments; to begin anew, name another "
                f"folder. Received: filepath={self.folder}"
            )

    def _leave(self):
        self._writer.close()
        self._lock.release()

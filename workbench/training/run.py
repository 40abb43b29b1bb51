"""One training run in the background: pause, resume, stop, live values."""

import threading

from workbench.regularization import strengths_of
from workbench.steps import StepHook, ThreadState, innermost
from workbench.training import registry
from workbench.training.arguments import check_model, clipped_optimizer
from workbench.training.control import Control
from workbench.training.fitting import fit_of
from workbench.training.records import LayerRecords, save_records
from workbench.training.waiting import wait_for_end
from workbench.training.watch import Gate, RatedHistory, Watch

_ENDED = ("finished", "stopped", "failed")


class Run:
    """Trains a compiled model with its own `fit`, in a background thread.

    When nobody touches anything, weights, optimizer and History are those of
    `model.fit`, bit for bit; the History has the learning rate too. One exception is
    TensorFlow's: for `BatchNormalization` under plain SGD its graph optimizer
    multiplies in another order when the gradient is also measured, which differs in
    the last bit.

    The rate may be set to a number or a schedule, whatever the optimizer was compiled
    with, by `set` and by callbacks such as `ReduceLROnPlateau`; the optimizer's state
    stays. Afterwards, compiled with a number, it keeps the last rate; compiled with a
    schedule, it keeps the schedule, and what was set held for this run only. Momentum,
    betas and weight decay keep the last value.

    A step whose loss or gradient is NaN or Inf changes nothing, and the run pauses:
    `problem` says at which step and where it began; `resume()` goes on without that
    batch, `stop()` ends.

    With `filepath` it is `workbench.checkpoints.fit`: the same call goes on after any
    interruption, in a new process too, and ends in the bits and the record of a run
    without one. What was set by hand comes back with it. After `stop()`, `start()` goes
    on as well.

    Args:
        model: Compiled `keras.Model`, on one device or under a `MirroredStrategy`;
            `workbench.devices.preflight` tells what is otherwise there.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        epochs: Positive int.
        batch_size: Positive int, for arrays only; a dataset brings its own batches.
        validation_data: As `model.fit` takes it.
        clip: Clip method of `workbench.clipping`, for this run only; None leaves the
            optimizer as it was compiled. `NoClip()` clips nothing, and records the
            norms of each layer.
        filepath: str or path of a folder of checkpoints; None for none.
        callbacks: Iterable of `keras.callbacks.Callback`.
        **fit_arguments: With `filepath`, `save_every`, `keep`, `seed` and `on_error` of
            `workbench.checkpoints.fit`; the rest is passed on to `model.fit`, such as
            `shuffle=False`; `verbose` is 0 unless given.

    Raises:
        ValueError: If the model is not compiled, cannot train under its strategy, or
            an argument is out of range.
    """

    def __init__(
        self,
        model,
        data,
        *,
        epochs=1,
        batch_size=32,
        validation_data=None,
        clip=None,
        filepath=None,
        callbacks=(),
        **fit_arguments,
    ):
        check_model(model)
        self.model = model
        self.epochs = epochs
        self.filepath = filepath
        self.error = None
        self._control = Control()
        self._watch = Watch(self._control, innermost(model.optimizer), callbacks)
        self._clipped, self._stand_in = clipped_optimizer(model, clip)
        self._gate = Gate(
            self._control, self._watch, self._clipped, strengths_of(model)
        )
        self.ended = threading.Event()
        self._thread = None
        self._state = "ready"
        self._history = RatedHistory(self._watch)
        self._fit = fit_of(
            model,
            data,
            [self._watch, *self._watch.others, self._history, self._gate],
            filepath=filepath,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            **fit_arguments,
        )
        self._gate.end = self._fit.end

    def __repr__(self):
        return f"<Run {self.progress}>"

    def start(self):
        """Starts training in the background and returns at once.

        With `filepath` it goes on from the newest checkpoint.

        Returns:
            The run itself.

        Raises:
            RuntimeError: If it was started before, unless it has a `filepath` and was
                stopped or failed; or if another run trains the model.
        """
        if not self.can_start:
            raise RuntimeError(
                f"A run starts once, and this one is {self._state}; make a new "
                "`Run(model, data, …)` to train the model further."
            )
        registry.enter(self)
        if self._state != "ready":
            self.error = self._watch.problem = None
            self._control.request(pause=False, stop=False)
            self._gate.give_back()
            self.ended.clear()
        self._state = "running"
        self._thread = threading.Thread(
            target=self._train, args=(ThreadState(),), name="workbench-run", daemon=True
        )
        self._thread.start()
        return self

    def pause(self):
        """Lets the run stand still before its next step; returns at once."""
        if self._state != "running":
            raise RuntimeError(
                f"Only a running run can pause; this one is {self.state}."
            )
        self._control.request(pause=True)

    def resume(self):
        """Ends a pause; does nothing where there is none."""
        self._watch.problem = None
        self._control.request(pause=False)

    def stop(self):
        """Ends the run after the step it is in; returns at once, see `wait`.

        The model stays usable; an epoch that was begun is validated and logged as
        Keras does it.
        """
        self._control.request(stop=True)

    def wait(self, timeout=None):
        """Blocks until the run has ended.

        An interrupt ends the run after its step, then raises KeyboardInterrupt.

        Args:
            timeout: float, seconds, or None for as long as it takes.

        Returns:
            `keras.callbacks.History`, as `model.fit` returns it.

        Raises:
            FloatingPointError: If the run pauses because of NaN or Inf.
            RuntimeError: If the run was not started.
            TimeoutError: If it has not ended in time; it goes on.
            Exception: What training itself raised.
        """
        if self._thread is None:
            raise RuntimeError("The run was not started; call `start()` first.")
        try:
            wait_for_end(self, self._control, timeout)
        except KeyboardInterrupt:
            self.stop()
            self.ended.wait()
            raise
        if self.error is not None:
            raise self.error
        return self._history

    def set(self, name, value):
        """Changes a value; the next step uses it, and nothing is retraced.

        Args:
            name: "learning_rate"; what the optimizer has of "momentum", "beta_1",
                "beta_2", "rho" and "weight_decay"; "clip" for the threshold of a clip
                method; "penalty" for the strength that `regularization.set_penalty`
                put on.
            value: float, for the rate a `LearningRateSchedule` too. None goes back: to
                the schedule that the optimizer was compiled with, else to the value at
                the start of the run.

        Raises:
            ValueError: If `name` is not known or `value` is out of range.
            RuntimeError: If the run has ended.
        """
        value = self._gate.checked(name, value)
        if self._state in _ENDED and not self.can_start:
            raise RuntimeError(
                f"The run is {self._state}; set it at `model.optimizer` instead."
            )
        self._control.put(name, value)

    @property
    def learning_rate(self):
        """The rate of the next step, float; assigning is `set("learning_rate", …)`."""
        return self._gate.rate(self._control.pending("learning_rate", None))

    @learning_rate.setter
    def learning_rate(self, value):
        self.set("learning_rate", value)

    @property
    def can_start(self):
        """bool, whether `start` begins the training, or goes on with it."""
        again = self.filepath is not None and self._state in ("stopped", "failed")
        return self._state == "ready" or again

    @property
    def state(self):
        """str: "ready", "running", "paused", "finished", "stopped" or "failed"."""
        if self._state == "running" and self._control.blocked:
            return "paused"
        return self._state

    @property
    def problem(self):
        """Str that says at which step NaN or Inf began and where, else None."""
        return self._watch.problem

    @property
    def pause_requested(self):
        """bool, whether the run stands still, or will before its next step."""
        return self._control.pause_requested

    @property
    def records(self):
        """`workbench.steps.StepRecords` of the steps done so far."""
        return self._watch.recorder.snapshot()

    @property
    def layers(self):
        """`LayerRecords`: each layer's norms before and after clipping.

        None without a clip method, neither here nor in the optimizer.
        """
        kept = self._watch.layers.snapshot()
        return kept and LayerRecords.from_raw(self._clipped.paths, *kept)

    @property
    def changes(self):
        """Tuple of `Change`: every value that was changed by hand."""
        return tuple(self._gate.changes)

    @property
    def history(self):
        """`keras.callbacks.History`; complete once the run has ended."""
        return self._history

    @property
    def progress(self):
        """`Progress`: where the run stands."""
        return self._watch.progress(self.state, self.epochs)

    @property
    def metrics(self):
        """Metrics and callbacks' `points`: dict name -> list of `(step, value)`."""
        return self._watch.all_points()

    def save(self, filepath):
        """Saves records, changes and History (not the model: `model.save` does).

        Args:
            filepath: str or path; `.npz` by custom. `load_records` reads it.
        """
        save_records(filepath, self.records, self.changes, self._history.history)

    def _train(self, state):
        state.adopt()
        try:
            hook = StepHook(self.model, self._stand_in, self._gate.assign_rate)
            with hook as self._watch.hook:
                self._fit()
        except BaseException as error:  # noqa: BLE001, `wait` raises it in the caller's thread
            self.error = error
            self._end("failed")
        else:
            self._end("stopped" if self._control.stop_requested else "finished")

    def _end(self, state):
        self._watch.hook = None
        registry.leave(self)
        self._state = state
        self.ended.set()

"""One training run in the background: pause, resume, stop, live values."""

import math
import threading
import time

import keras
import tensorflow as tf

from workbench.steps import StepHook, ThreadState
from workbench.training import registry
from workbench.training.arguments import (
    check_model,
    clipped_optimizer,
    fit_arguments_of,
)
from workbench.training.control import Control
from workbench.training.records import LayerRecords, save_records
from workbench.training.watch import Gate, Watch

_ENDED = ("finished", "stopped", "failed")
_POLL_SECONDS = 0.05


class Run:
    """Trains a compiled model with its own `fit`, in a background thread.

    When nobody touches anything, weights, optimizer and History are those of
    `model.fit`, bit for bit. One exception is TensorFlow's: for
    `BatchNormalization` under plain SGD its graph optimizer multiplies in another
    order when the gradient is also measured, which differs in the last bit.

    What the optimizer holds after a change of the learning rate: compiled with a
    number, it keeps the last value set; compiled with a schedule, it keeps the
    schedule, and the value set by hand held for this run only.

    A step whose loss or gradient is NaN or Inf changes nothing, and the run pauses:
    `problem` says at which step and where it began; `resume()` goes on without that
    batch, `stop()` ends.

    Args:
        model: Compiled `keras.Model`, on one device.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        epochs: Positive int.
        batch_size: Positive int, for arrays only; a dataset brings its own batches.
        validation_data: As `model.fit` takes it.
        clip: Clip method of `workbench.clipping`, for this run only; None leaves the
            optimizer as it was compiled. `NoClip()` clips nothing, and records the
            norms of each layer.
        callbacks: Iterable of `keras.callbacks.Callback`.
        **fit_arguments: Passed on to `model.fit`, such as `shuffle=False`; `verbose`
            is 0 unless given.

    Raises:
        ValueError: If the model is not compiled, runs on several devices, or an
            argument is out of range.
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
        callbacks=(),
        **fit_arguments,
    ):
        arguments = fit_arguments_of(data, epochs, batch_size, fit_arguments)
        check_model(model)
        self.model = model
        self.epochs = epochs
        self.error = None
        self._fit_arguments = {**arguments, "validation_data": validation_data}
        self._callbacks = list(callbacks)
        self._control = Control()
        self._watch = Watch(self._control)
        self._clipped, self._stand_in = clipped_optimizer(model, clip)
        self._gate = Gate(self._control, self._watch, self._clipped)
        self.ended = threading.Event()
        self._thread = None
        self._state = "ready"
        self._history = keras.callbacks.History()

    def __repr__(self):
        return f"<Run {self.progress}>"

    def start(self):
        """Starts training in the background and returns at once.

        Returns:
            The run itself.

        Raises:
            RuntimeError: If it was started before, or another run trains the model.
        """
        if self._state != "ready":
            raise RuntimeError(
                f"A run starts once, and this one is {self._state}; make a new "
                "`Run(model, data, …)` to train the model further."
            )
        registry.enter(self)
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
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        try:
            # Not Thread.join: interrupted, it takes the thread for ended (3.11, 3.12).
            while not self.ended.wait(_POLL_SECONDS):
                if self.problem is not None and not self._control.stop_requested:
                    raise FloatingPointError(
                        f"{self.problem}. That update was skipped and the run is "
                        "paused: `resume()` goes on without this batch, `stop()` ends."
                    )
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"The run has not ended within {timeout} s; it goes on "
                        f"({self.progress})."
                    )
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
            name: "learning_rate", or "clip" for the threshold of a clip method.
            value: float. None goes back: to the schedule that the optimizer was
                compiled with, else to the value at the start of the run.

        Raises:
            ValueError: If `name` is not known or `value` is out of range.
            RuntimeError: If the run has ended.
        """
        self._gate.check(name, value)
        if self._state in _ENDED:
            raise RuntimeError(
                f"The run is {self._state}; set it at `model.optimizer` instead."
            )
        self._control.put(name, None if value is None else float(value))

    @property
    def learning_rate(self):
        """The rate of the next step, float; assigning is `set("learning_rate", …)`."""
        waiting = self._control.pending("learning_rate", None)
        if waiting is not None:
            return waiting
        return float(tf.convert_to_tensor(self.model.optimizer.learning_rate))

    @learning_rate.setter
    def learning_rate(self, value):
        self.set("learning_rate", value)

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
        """Metrics as they moved: dict name -> list of `(step, value)`."""
        return {name: list(points) for name, points in self._watch.points.items()}

    def save(self, filepath):
        """Saves records, changes and History (not the model: `model.save` does).

        Args:
            filepath: str or path; `.npz` by custom. `load_records` reads it.
        """
        save_records(filepath, self.records, self.changes, self._history.history)

    def _train(self, state):
        state.adopt()
        try:
            with StepHook(self.model, self._stand_in) as self._watch.hook:
                self.model.fit(
                    callbacks=[
                        self._watch,
                        *self._callbacks,
                        self._history,
                        self._gate,
                    ],
                    **self._fit_arguments,
                )
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

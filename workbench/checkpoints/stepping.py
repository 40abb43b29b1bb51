"""What a session does between the steps: restores, saves, looks after the writer."""

import datetime as dt
import math
import warnings

import keras
import numpy as np
import tensorflow as tf

import workbench
from workbench.checkpoints import callbacks as callback_states
from workbench.checkpoints import state, tables
from workbench.checkpoints.encoding import encode


class Stepping:
    """Half of a `Session`, called by callbacks in the thread that trains."""

    def _begin(self, callback_list):
        self._list = callback_list
        if self.checkpoint is None:
            self._last = 0
            self._save(0, 0, {})
        else:
            self._last = self.checkpoint.steps
            self._restore()

    def _restore(self):
        manifest = self.checkpoint.manifest
        variables = tables.stored_of(state.variables_of(self.model), manifest)
        state.put_back(variables, self._tensors)
        left, without = callback_states.restore(
            self._list.callbacks, manifest["callbacks"], self._tensors
        )
        for name in left:
            warnings.warn(
                f"The checkpoint has the state of a callback {name}, and there is none "
                "in `callbacks`.",
                stacklevel=2,
            )
        for name in without:
            warnings.warn(
                f"Callback {name} was not there when the checkpoint was made; it "
                "begins anew.",
                stacklevel=2,
            )
        state.restore_seeds(self._tree["seeds"])

    def _epoch_begins(self, step):
        if step:
            # In the middle of an epoch its beginning has already had its effect.
            self._restore()
        else:
            self._feed.begin_epoch()

    def _step_ends(self, step, logs):
        done, total = step + 1, self._feed.steps_per_epoch
        if self.interrupted:
            self.model.stop_training = True
        steps = self._list.epoch * total + done
        if done < total and not self._frozen:
            if self.interrupted:
                self._save(self._list.epoch, done, logs)
                self._frozen = True
            elif not self.model.stop_training and self._due(steps):
                self._save(self._list.epoch, done, logs)
        if self._writer.failed:
            self._look_after_writer()

    def _epoch_ends(self, epoch, logs):
        if self._frozen:
            return
        stopped = bool(self.model.stop_training) and not self.interrupted
        if self.interrupted:
            self.model.stop_training = True
        last = epoch + 1 == self.epochs
        steps = (epoch + 1) * self._feed.steps_per_epoch
        if last or stopped or self.interrupted or self._due(steps):
            self._save(epoch + 1, 0, logs, stopped=stopped and not last)

    def _due(self, steps):
        return steps // self._save_every > self._last // self._save_every

    def _save(self, epoch, step, logs, stopped=False):
        self._look_after_writer()
        variables = state.variables_of(self.model)
        stored, by_hash = tables.split(variables, self._by_hash)
        tensors = self._buffers.copy(stored)
        steps = epoch * self._feed.steps_per_epoch + step
        if step == 0:
            self._feed.begin_epoch()
        tree = {"seeds": state.capture_seeds(), "data": self._feed.capture()}
        manifest = {
            "versions": _versions(),
            "saved": dt.datetime.now(dt.UTC).isoformat(),
            "position": {"epoch": epoch, "step": step, "steps": steps},
            "finished": stopped or epoch >= self.epochs,
            "stopped": stopped,
            "metrics": {k: _json_number(v) for k, v in (logs or {}).items()},
            "identity": self._identity,
            "state": encode(tree, tensors, "state"),
            "callbacks": callback_states.capture(self._list.callbacks, tensors),
        }
        self._last = steps
        self._writer.submit(
            {name: np.asarray(array, order="C") for name, array in tensors.items()},
            manifest,
            tables.views(by_hash),
        )

    def _look_after_writer(self):
        error = self._writer.wait()
        if error is None:
            return
        message = (
            f"A checkpoint could not be written to {self.folder}: {error}. Those "
            "written before are untouched; "
        )
        if self._on_error == "stop":
            self.model.stop_training = True
            self._frozen = True
            self._error = OSError(error.errno, message + "training was stopped.")
        else:
            warnings.warn(message + "training goes on without it.", stacklevel=2)


def _json_number(value):
    number = float(value)
    return number if math.isfinite(number) else repr(number)


def _versions():
    return {
        "workbench": workbench.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }

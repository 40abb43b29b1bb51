"""The numbers of a step: written inside the graph, one row per step, read outside."""

import numpy as np
import tensorflow as tf

from workbench.steps import replicas
from workbench.steps.norms import NONE

_BEFORE_A_STEP = {
    "loss": np.nan,
    "gradient_norm": np.nan,
    "learning_rate": None,  # stays what it was
    "ok": 1,
    "bad_weight": NONE,
    "bad_layer": NONE,
    "without_rows": 0,  # replicas
}


class Rows:
    """Variables that the graph writes, and the rows they make.

    Args:
        strategy: `tf.distribute.Strategy`; each of its replicas writes numbers of its
            own, and the first one makes the rows.
        most: int, steps between two times of reading.
    """

    def __init__(self, strategy, most):
        self._strategy = strategy
        self._read = 0
        # Inside the scope each replica gets a variable of its own.
        with strategy.scope():
            self._rows = tf.Variable(
                tf.zeros((most, len(_BEFORE_A_STEP) + 1), "double")
            )
            self._now = {n: tf.Variable(0.0, dtype="double") for n in _BEFORE_A_STEP}

    def read(self):
        """Reads the rows of the steps done since the last call.

        Returns:
            List of dict of name -> float, oldest first.
        """
        rows = []
        for *numbers, step in self._rows.numpy().tolist():
            if step > self._read:
                row = dict(zip(_BEFORE_A_STEP, numbers, strict=True))
                row["bad_layer"] = self._first_bad_layer(row)
                rows.append(row)
                self._read = step
        return rows

    def _first_bad_layer(self, row):
        found = [row["bad_layer"]]
        if not row["ok"]:
            # With several replicas each step has its own call: theirs is of this step.
            parts = self._strategy.experimental_local_results(self._now["bad_layer"])
            found += [float(part) for part in parts[1:]]
        return int(min((layer for layer in found if layer != NONE), default=NONE))

    # What follows is traced into the step.

    def begin(self):
        """Sets the numbers to what they are before a step."""
        for name, value in _BEFORE_A_STEP.items():
            if value is not None:
                self.write(name, value)

    def now(self, name):
        """Returns a number of the step, float64 scalar tensor."""
        return self._now[name].read_value()

    def write(self, name, value):
        """Sets a number of the step; `value` is a scalar of any type."""
        self._now[name].assign(tf.cast(value, "double"))

    def end(self):
        """Makes a row of the numbers."""
        if replicas.number() == 0:
            row = [*map(self.now, _BEFORE_A_STEP), self._rows[-1, -1] + 1]
            self._rows.assign(tf.concat([self._rows[1:], tf.stack(row)[None]], 0))

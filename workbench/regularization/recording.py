"""Data loss, penalties, weight norms and sparsity as curves of their own."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from workbench.regularization import choosing
from workbench.regularization.live import LivePenalty, live_penalties_of


@dataclasses.dataclass(frozen=True)
class PenaltyRecords:
    """What a training paid to its penalties, and what they did to the weights.

    Attributes:
        step: int64 `(S,)`, from 1.
        names: Tuple of P str, the paths that the penalties are on.
        penalties: float32 `(S, P)`, each penalty as this step's loss contained it.
        paths: Tuple of V str, the paths of the weights, biases left out.
        norms: float32 `(S, V)`, their L2 norms after the step.
        zeros: float32 `(S, V)`, the shares of their numbers that are exactly zero.
        epochs: Dict of `loss`, `penalty` and `data_loss` -> float64 `(epochs,)`, means
            over an epoch, each sample weighing the same.
    """

    step: np.ndarray
    names: tuple
    penalties: np.ndarray
    paths: tuple
    norms: np.ndarray
    zeros: np.ndarray
    epochs: dict

    @property
    def penalty(self):
        """float32 `(S,)`, all penalties of a step together."""
        return self.penalties.sum(axis=1)

    def data_loss(self, loss):
        """Takes the penalties off a loss.

        Args:
            loss: array `(S,)`, each batch's own loss, such as `run.records.loss`.

        Returns:
            float32 array `(S,)`.
        """
        loss = np.asarray(loss, "float32")
        if loss.shape != self.step.shape:
            raise ValueError(
                f"`loss` must have one number per step, {len(self.step)}. "
                f"Received: shape {loss.shape}"
            )
        return loss - self.penalty


class PenaltyRecorder(keras.callbacks.Callback):
    """Records what Keras logs only as a sum: the data loss and each penalty.

    A callback for `fit` and for `Run(…, callbacks=[recorder])`. It sees penalties on
    weights, however they came there, and penalties on outputs that `set_penalty` put
    there; `add_loss` of a layer of your own stays in the data loss.
    """

    def __init__(self):
        super().__init__()
        self._rows = []
        self._epochs = {"loss": [], "penalty": [], "data_loss": []}
        self._names = self._paths = self._sizes = ()

    @property
    def records(self):
        """`PenaltyRecords` of the steps done so far."""
        rows = list(self._rows)
        count, width = len(self._names), len(self._paths)
        values = np.array(rows, "float32").reshape(len(rows), count + 2 * width)
        return PenaltyRecords(
            np.arange(1, len(rows) + 1),
            self._names,
            values[:, :count],
            self._paths,
            values[:, count : count + width],
            values[:, count + width :],
            {name: np.array(numbers) for name, numbers in self._epochs.items()},
        )

    @property
    def last(self):
        """`(penalty, zeros)` of the last step, all weights together; None before."""
        if not self._rows:
            return None
        row, count, width = self._rows[-1], len(self._names), len(self._paths)
        zeros = np.average(row[count + width :], weights=self._sizes)
        return float(row[:count].sum()), float(zeros)

    def on_train_begin(self, logs=None):
        """Looks at which penalties and weights there are."""
        model = self.model
        self._live = live_penalties_of(model)
        self._plain = [
            variable
            for variable in model.trainable_variables
            if variable.regularizer is not None
            and not isinstance(variable.regularizer, LivePenalty)
        ]
        weights = [
            variable
            for _, variable in choosing.choose_variables(
                model, None, biases=False, normalization=False
            )
        ]
        names = tuple(p.path for p in self._live) + tuple(v.path for v in self._plain)
        paths = tuple(weight.path for weight in weights)
        if self._rows and (names, paths) != (self._names, self._paths):
            raise ValueError(
                "A recorder goes on only with the same penalties on the same model; "
                f"make a new PenaltyRecorder. Received: {names}, before {self._names}"
            )
        self._names, self._paths = names, paths
        self._sizes = [int(np.prod(weight.shape)) for weight in weights]
        self._measure = tf.function(
            lambda: _measure(self._plain, weights), autograph=False
        )
        self._next_plain = self._measure()[0].numpy()
        self._counted = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Counts samples from zero, as Keras does."""
        self._counted, self._sum = 0.0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Reads what the step used, and measures what it left."""
        live = np.array([penalty.last.numpy() for penalty in self._live], "float32")
        used = np.concatenate([live, self._next_plain])
        self._next_plain, norms, zeros = (v.numpy() for v in self._measure())
        self._rows.append(np.concatenate([used, norms, zeros]))
        tracker = getattr(self.model, "_loss_tracker", None)
        counted = batch + 1.0 if tracker is None else float(tracker.count)
        # A last batch that is smaller weighs less in Keras's mean.
        self._sum += float(used.sum()) * (counted - self._counted)
        self._counted = counted

    def on_epoch_end(self, epoch, logs=None):
        """Takes the penalties off the epoch's loss."""
        loss = float((logs or {}).get("loss", np.nan))
        penalty = self._sum / self._counted if self._counted else np.nan
        values = {"loss": loss, "penalty": penalty, "data_loss": loss - penalty}
        for name, value in values.items():
            self._epochs[name].append(value)


def _measure(penalized, weights):
    values = [
        tf.cast(variable.regularizer(variable.value), tf.float32)
        for variable in penalized
    ]
    values = tf.stack(values) if values else tf.zeros([0], tf.float32)
    numbers = [tf.cast(weight.value, tf.float32) for weight in weights]
    norms = tf.stack([tf.sqrt(tf.reduce_sum(tf.square(w))) for w in numbers])
    zeros = [tf.reduce_mean(tf.cast(tf.equal(w, 0), tf.float32)) for w in numbers]
    return values, norms, tf.stack(zeros)

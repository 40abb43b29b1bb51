"""Callbacks of a `fit` that goes on in the middle, called as if it never stopped."""

import keras


class ExactCallbacks(keras.callbacks.CallbackList):
    """Calls callbacks as in a run without interruption.

    In an epoch that goes on in its middle, Keras counts from 0 and would take a full
    epoch's steps: here the numbers go on, and `stop_training` ends the epoch alone.
    """

    def __init__(self, session, callbacks, **parameters):
        self._session = session
        self._offset = 0
        self._cut = False
        self.epoch = 0
        super().__init__(callbacks, **parameters)

    def on_train_begin(self, logs=None):
        """Lets all begin, then restores."""
        super().on_train_begin(logs)
        self._session._begin(self)

    def on_epoch_begin(self, epoch, logs=None):
        """Finds where the epoch goes on."""
        session = self._session
        resumed = epoch == session._epoch and session.checkpoint is not None
        self.epoch, self._offset = epoch, session._step if resumed else 0
        super().on_epoch_begin(epoch, logs)
        session._epoch_begins(self._offset)

    def on_train_batch_begin(self, batch, logs=None):
        """Counts on."""
        super().on_train_batch_begin(batch + self._offset, logs)

    def on_train_batch_end(self, batch, logs=None):
        """Counts on; saves when it is time; ends an epoch that is full."""
        batch += self._offset
        super().on_train_batch_end(batch, logs)
        self._session._step_ends(batch, logs)
        full = batch + 1 >= self._session.steps_per_epoch
        if full and self._offset and not self.model.stop_training:
            self._cut = self.model.stop_training = True

    def on_test_begin(self, logs=None):
        """Lets training go on afterwards."""
        self._go_on()
        super().on_test_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Ends the epoch, then saves when it is time."""
        self._go_on()
        super().on_epoch_end(epoch, logs)
        self._session._epoch_ends(epoch, logs)

    def _go_on(self):
        if self._cut:
            self._cut = False
            self.model.stop_training = self._session.interrupted


class InStep(keras.callbacks.Callback):
    """Has Keras call every callback in the training thread, not beside it."""

    def on_train_batch_end(self, batch, logs=None):
        """Does nothing."""

    def on_test_batch_end(self, batch, logs=None):
        """Does nothing."""

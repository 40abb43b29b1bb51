"""Keras's and TensorFlow's settings, kept per thread, taken along into another one."""

import tensorflow as tf
from keras.src.backend.common import global_state


class ThreadState:
    """The state of the thread that makes this: dtype policy, seeds, settings, strategy.

    Lists and dicts come along as copies. Shared, variables that wait to be initialized
    in one thread would wait in the other forever.
    """

    def __init__(self):
        self._strategy = None
        if tf.distribute.has_strategy():
            self._strategy = tf.distribute.get_strategy()
        self._values = [
            (tracker, {name: _own(value) for name, value in vars(tracker).items()})
            for tracker in (
                global_state.GLOBAL_STATE_TRACKER,
                global_state.GLOBAL_SETTINGS_TRACKER,
            )
        ]

    def adopt(self):
        """Makes it the state of the calling thread, until that ends."""
        for tracker, values in self._values:
            vars(tracker).update(values)
        if self._strategy is not None:
            self._strategy.scope().__enter__()


def _own(value):
    return value.copy() if isinstance(value, list | dict) else value

"""Keras's settings, which it keeps per thread, taken along into another one."""

from keras.src.backend.common import global_state


class ThreadState:
    """Keras's state in the thread that makes this: dtype policy, seeds, settings.

    Lists and dicts come along as copies. Shared, variables that wait to be initialized
    in one thread would wait in the other forever.
    """

    def __init__(self):
        self._values = [
            (tracker, {name: _own(value) for name, value in vars(tracker).items()})
            for tracker in (
                global_state.GLOBAL_STATE_TRACKER,
                global_state.GLOBAL_SETTINGS_TRACKER,
            )
        ]

    def adopt(self):
        """Makes it the state of the calling thread."""
        for tracker, values in self._values:
            vars(tracker).update(values)


def _own(value):
    return value.copy() if isinstance(value, list | dict) else value

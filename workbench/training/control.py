"""What the reader asks of a run, handed from any thread to the training thread."""

import threading


class Control:
    """Requests that the training thread looks at between two steps."""

    def __init__(self):
        self._condition = threading.Condition()
        self._pending = {}
        self._pause = False
        self._stop = False
        self._blocked = False

    @property
    def pause_requested(self):
        """Whether the run is to stand still."""
        return self._pause

    @property
    def stop_requested(self):
        """Whether the run is to end."""
        return self._stop

    @property
    def blocked(self):
        """Whether the training thread stands still now."""
        return self._blocked

    def request(self, *, pause=None, stop=None):
        """Asks for a pause or its end, or for the end; bool each, None leaves it."""
        with self._condition:
            if pause is not None:
                self._pause = pause
            if stop is not None:
                self._stop = stop
            self._condition.notify_all()

    def put(self, name, value):
        """Leaves a value for the next step; a later one for the same name wins."""
        with self._condition:
            self._pending[name] = value

    def pending(self, name, default):
        """Returns the value that waits under `name`, else `default`."""
        with self._condition:
            return self._pending.get(name, default)

    def take(self):
        """Takes all waiting values, dict name -> value."""
        with self._condition:
            pending, self._pending = self._pending, {}
            return pending

    def block_while_paused(self):
        """Stands still until the pause or the run is ended.

        Returns:
            bool, whether the run is to end.
        """
        with self._condition:
            self._blocked = self._pause and not self._stop
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._stop or not self._pause)
            self._blocked = False
            return self._stop

"""A slider that tells what the mouse did from what the page does by itself."""

import collections
import math
import time

import ipywidgets

_HALF_A_STEP = 0.5001
_MOST_SECONDS = 3.0  # between what is shown and the page's answer


class LogSlider(ipywidgets.FloatLogSlider):
    """A logarithmic slider whose page may answer what it is told to show.

    The page rounds a value to a step of the slider and sends it back: taken as a wish,
    looking would change the value. On a busy machine the answer may come when another
    value is shown already.
    """

    def __init__(self, **arguments):
        self._unanswered = collections.deque(maxlen=64)
        super().__init__(**arguments)

    def show(self, value):
        """Moves the slider to `value`, a float > 0 that nobody wished for by mouse."""
        self._unanswered.append((time.monotonic(), value))
        self.value = value

    def stands_at(self, value):
        """Says whether the slider stands at `value`, up to half a step."""
        return self._is_near(value, self.value)

    def is_echo(self, shown):
        """Says whether the slider stands where the page only answered what it was told.

        Args:
            shown: float, the value that it stands for.

        Returns:
            bool; a move by less than half a step counts as an echo.
        """
        if self.stands_at(shown):
            return True
        waiting, now = list(self._unanswered), time.monotonic()
        for place, (then, value) in enumerate(waiting):
            if now - then < _MOST_SECONDS and self.stands_at(value):
                for _ in range(place + 1):  # answers come in order
                    self._unanswered.popleft()
                self.show(shown)
                return True
        return False

    def _is_near(self, value, sent):
        low, high = self.base**self.min, self.base**self.max
        inside = min(max(value, low), high)
        return abs(math.log(sent / inside, self.base)) / self.step <= _HALF_A_STEP

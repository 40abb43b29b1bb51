"""Waiting for what another thread, process or page does."""

import time


def wait_for(condition, seconds=60, pause=0.005):
    """Waits until `condition()` holds and returns its value; fails if it never does.

    Args:
        condition: Function without arguments.
        seconds: float, the longest to wait; generous, since a machine may be busy.
        pause: float, seconds between two looks.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(pause)
    return value

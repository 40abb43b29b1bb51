"""Blocking until a run has ended, or cannot go on alone."""

import math
import time

_POLL_SECONDS = 0.05


def wait_for_end(run, control, timeout):
    """Returns when a run has ended.

    Args:
        run: `Run` that was started.
        control: `Control` of the run.
        timeout: float, seconds, or None.

    Raises:
        FloatingPointError: If it pauses because of NaN or Inf.
        TimeoutError: If it has not ended in time.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    # Not Thread.join: interrupted, it takes the thread for ended (3.11, 3.12).
    while not run.ended.wait(_POLL_SECONDS):
        if run.problem is not None and not control.stop_requested:
            raise FloatingPointError(
                f"{run.problem}. That update was skipped and the run is paused: "
                "`resume()` goes on without this batch, `stop()` ends."
            )
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"The run has not ended within {timeout} s; it goes on "
                f"({run.progress})."
            )

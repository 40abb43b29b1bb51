"""Which runs train now: one per model, and none outlives the interpreter."""

import atexit
import threading
import weakref

_running = weakref.WeakSet()
_lock = threading.Lock()
_SECONDS_TO_END = 10


def enter(run):
    """Notes that a run trains its model.

    Raises:
        RuntimeError: If another run trains the same model.
    """
    with _lock:
        for other in _running:
            if other.model is run.model:
                raise RuntimeError(
                    "Another run trains this model; end it first with its `stop()`. "
                    f"Received: {other!r}"
                )
        _running.add(run)


def leave(run):
    """Notes that a run has ended."""
    with _lock:
        _running.discard(run)


@atexit.register
def _stop_all():
    # A daemon thread inside TensorFlow must not meet the interpreter's end.
    for run in list(_running):
        run.stop()
        run.ended.wait(_SECONDS_TO_END)

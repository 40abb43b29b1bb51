"""Limits for code that may never end: of time, and of what it prints."""

import _thread
import contextlib
import signal
import sys
import threading

_AGAIN = 2.0  # seconds; an interrupt may be caught, so it is sent again


class TimeIsUp(Exception):  # noqa: N818, reads as what happened
    """The code inside `call_within` was stopped, or went on beyond its time."""


def _interrupt_main():
    if hasattr(signal, "pthread_kill"):  # wakes a sleep, too; not on Windows
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    else:
        _thread.interrupt_main()


def call_within(seconds, call):
    """Calls a function and interrupts it when its time is up, as the stop button would.

    Works in the main thread, where notebooks run their cells; in other threads there
    is no limit. A call into TensorFlow is interrupted when it comes back to Python.

    Args:
        seconds: float > 0.
        call: Function without arguments.

    Returns:
        What the function returned.

    Raises:
        TimeIsUp: If it took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    finished, expired, lock = threading.Event(), threading.Event(), threading.Lock()

    def watch():
        wait = seconds
        while not finished.wait(wait):
            with lock:  # no interrupt after `stop`
                if not finished.is_set():
                    expired.set()
                    _interrupt_main()
            wait = _AGAIN

    def stop():
        with lock:
            finished.set()
        watcher.join()

    watcher = threading.Thread(target=watch, daemon=True)
    result = None
    # What an event loop has set may ignore the signal, or go on waiting after it.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        watcher.start()
        try:
            result = call()
        finally:
            stop()
    except KeyboardInterrupt:
        stop()  # again, since the interrupt may have come while it stopped
        if not expired.is_set():  # it was the reader who pressed stop
            raise
    finally:
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
    if expired.is_set():
        raise TimeIsUp
    return result


class _Shortened:
    """A text stream that passes on so many characters, and drops the rest."""

    def __init__(self, stream, limit):
        self.stream, self.left = stream, limit

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        if self.left > 0:
            self.stream.write(text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.stream.write("\n… and more, which is not shown\n")
        return len(text)


@contextlib.contextmanager
def print_limit(characters):
    """Passes on what the block prints, up to so many characters.

    Args:
        characters: int >= 1.
    """
    with contextlib.redirect_stdout(_Shortened(sys.stdout, characters)):
        yield

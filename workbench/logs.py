"""TensorFlow's log lines, kept out of a notebook's outputs."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet():
    """Holds back what libraries write to stderr, for imports that chatter.

    TensorFlow writes lines with times and addresses at import, past its own log
    level and past Python's `sys.stderr`. When the block raises, they are shown.
    """
    # Later lines obey the level, if it is set before the import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    lines = []
    try:
        with caught_stderr() as lines:
            yield
    except BaseException:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        raise


@contextlib.contextmanager
def caught_stderr():
    """Catches what goes to file descriptor 2, such as the lines of C++ code.

    In a notebook Python's own `sys.stderr` does not go there, and is not caught.

    Yields:
        List of str that holds the lines once the block has ended.
    """
    lines = []
    try:
        kept = os.dup(2)
    except OSError:
        # A process without stderr has nothing to catch.
        yield lines
        return
    with tempfile.TemporaryFile() as file:
        _flush_stderr()
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            _flush_stderr()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines.extend(file.read().decode(errors="replace").splitlines())


def _flush_stderr():
    if sys.stderr is not None:
        sys.stderr.flush()

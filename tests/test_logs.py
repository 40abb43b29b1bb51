"""Chatter of imports is held back; what matters is not."""

import os
import subprocess
import sys

import pytest

from workbench.logs import caught_stderr, quiet


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"},
    )


def test_importing_and_using_tensorflow_quietly_writes_nothing():
    done = run(
        "from workbench.logs import quiet\n"
        "with quiet():\n    import tensorflow as tf\n"
        "tf.function(lambda: tf.constant(1.0))()"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_it_the_import_chatters():
    assert run("import tensorflow").stderr != ""


def test_what_went_before_an_error_is_shown():
    done = run(
        "import os; from workbench.logs import quiet\n"
        "with quiet():\n    os.write(2, b'the reason\\n'); raise OSError('broken')"
    )
    assert "the reason" in done.stderr
    assert "OSError: broken" in done.stderr


def test_descriptor_2_is_given_back():
    before = os.fstat(2)
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert os.fstat(2).st_ino == before.st_ino


def test_lines_are_caught():
    with caught_stderr() as lines:
        os.write(2, b"one\ntwo\n")
    assert lines == ["one", "two"]

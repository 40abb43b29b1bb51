"""What every test shares: quiet TensorFlow, digits, a clean Keras state."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gc

import keras
import pytest

from workbench import data


@pytest.fixture(scope="module", autouse=True)
def clean_keras():
    """Each file of tests leaves Keras as a new process has it."""
    yield
    keras.utils.clear_session(free_memory=False)
    # What TensorFlow traced takes longer to look through and to free than many tests
    # take: it is left where it is, 4 GB in each worker at the end.
    gc.freeze()


@pytest.fixture
def closed_after():
    """Takes a panel, gives it back, and closes it after the test."""
    panels = []

    def take(panel):
        panels.append(panel)
        return panel

    yield take
    for panel in panels:
        panel.close()


@pytest.fixture(scope="session")
def digits():
    """640 digits: x float32 (640, 28, 28), y int64 (640,)."""
    (x, y), _ = data.load_mnist()
    return x[:640], y[:640]

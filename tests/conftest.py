"""What every test shares: quiet TensorFlow, digits, a clean Keras state."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from workbench import data


@pytest.fixture(scope="session")
def digits():
    """640 digits: x float32 (640, 28, 28), y int64 (640,)."""
    (x, y), _ = data.load_mnist()
    return x[:640], y[:640]

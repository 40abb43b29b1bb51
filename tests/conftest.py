"""What every test shares: quiet TensorFlow, the same seeds before each test."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

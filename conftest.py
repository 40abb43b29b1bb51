"""Notebooks are tested as a reader finds them who has not done anything yet."""

import os
import pathlib
import sys

os.environ["WORKBENCH_PROGRESS"] = os.devnull

# TensorFlow imports JAX where it finds it, which takes half a second. Readers have
# none, and neither have the kernels and processes that tests start; the tests
# themselves need it, for optax.
_WITHOUT_JAX = str(pathlib.Path(__file__).parent / "tests" / "without_jax")
_paths = [_WITHOUT_JAX, os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _paths))
sys.path[:] = [path for path in sys.path if path != _WITHOUT_JAX]

"""Every global random state there is: taken down, and put back."""

import contextlib
import random

import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from tensorflow.python.eager import context
from tensorflow.python.ops import stateful_random_ops


@contextlib.contextmanager
def same_random_states():
    """Leaves the states of `random`, NumPy, Keras and TensorFlow as it found them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    keras_state = None if generator is None else generator.state.numpy()
    tf_generator = stateful_random_ops.global_generator
    tf_state = None if tf_generator is None else tf_generator.state.numpy()
    tf_seed = context.global_seed()
    # There is none before the first `tf.random.set_seed`.
    tf_random = getattr(context.context(), "_rng", None)
    tf_random_state = tf_random and tf_random.getstate()
    try:
        yield
    finally:
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)
        if generator is not None:
            generator.state.assign(keras_state)
        stateful_random_ops.global_generator = tf_generator
        if tf_generator is not None:
            tf_generator.state.assign(tf_state)
        if context.global_seed() != tf_seed:
            tf.random.set_seed(tf_seed)
        if tf_random_state:
            context.context()._rng.setstate(tf_random_state)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

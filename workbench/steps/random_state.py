"""Every global random state there is: taken down, and put back."""

import contextlib
import functools
import random
import threading

import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from tensorflow.python.eager import context
from tensorflow.python.ops import stateful_random_ops

_LOCK = threading.RLock()


@contextlib.contextmanager
def own_random():
    """Gives this thread the module `random` for itself; its state comes back after.

    Keras draws its seeds from the module, and so does any other thread, such as the
    event loop of a Dask worker: a draw of theirs in between would change the seeds.
    They go on meanwhile with a generator that stands where the module's stood.
    """
    with _LOCK:
        others, me = random.Random(), threading.get_ident()  # noqa: S311
        others.setstate(random.getstate())
        own = {name: getattr(random, name) for name in _drawing()}
        for name, function in own.items():
            theirs = getattr(others, name)
            setattr(random, name, _by_thread(me, function, theirs))
        try:
            yield
        finally:
            for name, function in own.items():
                setattr(random, name, function)
            random.setstate(others.getstate())


def _drawing():
    """Names of the functions of `random` that share the module's state."""
    return [n for n in random.__all__ if hasattr(getattr(random, n), "__self__")]


def _by_thread(thread, own, theirs):
    @functools.wraps(own)
    def draw(*args, **kwargs):
        mine = threading.get_ident() == thread
        return (own if mine else theirs)(*args, **kwargs)

    return draw


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

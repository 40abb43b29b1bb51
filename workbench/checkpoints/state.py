"""What training changes: read to the host, and put back."""

import random

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from tensorflow.python.eager import context


def variables_of(model):
    """Lists the variables of a built and compiled model that make up its state.

    Args:
        model: `keras.Model`.

    Returns:
        dict name -> variable; the names begin with "model/", "optimizer/", "metrics/"
        or "layers/" and a number, and tell the variable's own path.
    """
    groups = {
        "model": model.variables,  # weights, and the states of seed generators
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
        "layers": list(_untracked(model)),
    }
    return {
        f"{group}/{i}{part}:{getattr(variable, 'path', variable.name)}": each
        for group, variables in groups.items()
        for i, variable in enumerate(variables)
        for part, each in _parts(variable)
    }


def _parts(variable):
    """A variable, or what each replica adds up by itself, such as a metric's total."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    distributed = isinstance(value, tf.distribute.DistributedValues)
    if distributed and value.synchronization == tf.VariableSynchronization.ON_READ:
        parts = value.distribute_strategy.experimental_local_results(value)
        yield from ((f".{number}", part) for number, part in enumerate(parts))
    else:
        yield "", variable


class HostBuffers:
    """Arrays that take the copies; one set for the whole run.

    To fault in fresh memory takes longer than to copy: the first copy pays for it.
    """

    def __init__(self):
        self._arrays = {}

    def copy(self, variables):
        """Copies the values of variables.

        Args:
            variables: dict name -> variable.

        Returns:
            dict name -> array, valid until the next call.
        """
        copies = {}
        for name, variable in variables.items():
            value = shared(variable)
            kept = self._arrays.get(name)
            if kept is None or kept.shape != value.shape or kept.dtype != value.dtype:
                kept = self._arrays[name] = np.empty(value.shape, value.dtype)
            np.copyto(kept, value)
            copies[name] = kept
        return copies


def put_back(variables, tensors):
    """Gives variables the values of a checkpoint.

    Args:
        variables: dict name -> variable, as `variables_of` lists them.
        tensors: dict name -> array.

    Raises:
        ValueError: If they do not belong together.
    """
    values = match(variables, tensors)
    for name, variable in variables.items():
        variable.assign(values[name])


def match(variables, tensors):
    """Finds the value of each variable, by group and number, not by its name.

    The names that Keras gives to layers count on within a process.

    Returns:
        dict name of the variable -> array.

    Raises:
        ValueError: If one is missing, is left over, or has another shape or type.
    """
    values = {place_of(name): value for name, value in tensors.items() if ":" in name}
    wanted = {place_of(name): name for name in variables}
    groups = {place.split("/")[0] for place in wanted}
    extra = [
        place
        for place in values
        if place not in wanted and place.split("/")[0] in groups
    ]
    found = {}
    for place, name in wanted.items():
        value = values.get(place)
        if value is None:
            raise ValueError(f"{name} is not in the checkpoint")
        variable = variables[name]
        here = (tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype))
        there = (value.shape, value.dtype.name)
        if here != there:
            raise ValueError(f"{name} is {here} here and {there} in the checkpoint")
        found[name] = value
    if extra:
        raise ValueError(f"{extra[0]} is in the checkpoint, and not here")
    return found


def capture_seeds():
    """Reads every global random state: `random`, NumPy, Keras, TensorFlow.

    Returns:
        dict that `workbench.checkpoints.encoding.encode` takes.
    """
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    # There is none before the first `tf.random.set_seed`.
    rng = getattr(context.context(), "_rng", None)
    return {
        "random": _packed(random.getstate()),
        "numpy": np.random.get_state(),  # noqa: NPY002, this one is the global one
        "keras": None if generator is None else generator.state.numpy(),
        "tensorflow": (context.global_seed(), rng and _packed(rng.getstate())),
    }


def restore_seeds(seeds):
    """Puts back what `capture_seeds` read."""
    if seeds["keras"] is not None:
        generator = keras.src.random.seed_generator.global_seed_generator()
        generator.state.assign(seeds["keras"])
    seed, state = seeds["tensorflow"]
    if seed != context.global_seed():
        tf.random.set_seed(seed)
    rng = getattr(context.context(), "_rng", None)
    if rng and state:
        rng.setstate(_unpacked(state))
    # Last: making a seed generator draws from `random`.
    random.setstate(_unpacked(seeds["random"]))
    np.random.set_state(seeds["numpy"])  # noqa: NPY002


def _packed(state):
    """The state of a `random.Random`, with an array for its 625 numbers."""
    version, numbers, gauss = state
    return version, np.array(numbers, "uint32"), gauss


def _unpacked(state):
    version, numbers, gauss = state
    return version, tuple(numbers.tolist()), gauss


def shared(variable):
    """Reads a variable without a copy, where its memory is the host's.

    What is assigned to it later has a memory of its own.
    """
    if isinstance(variable, keras.Variable):
        variable = variable.value
    if isinstance(variable, tf.distribute.DistributedValues):
        # All replicas hold the same; the first answers.
        variable = variable.distribute_strategy.experimental_local_results(variable)[0]
    # The operation itself: a fifth of the time that a conversion takes.
    read = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    return np.asarray(read)


def place_of(name):
    """Returns the group and number that a name begins with, str."""
    return name.split(":", 1)[0]


def _untracked(model):
    """TensorFlow's own variables and generators in layers: Keras does not list them."""
    known = {id(v.value) for v in model.variables}
    for layer in model._flatten_layers():
        for value in vars(layer).values():
            if isinstance(value, tf.random.Generator):
                yield value.state
            elif isinstance(value, tf.Variable) and id(value) not in known:
                yield value

"""Variants run by an executor: tasks travel as bytes, records come back."""

import concurrent.futures
import dataclasses

import cloudpickle
import keras
import tensorflow as tf

from workbench.experiments import feeding, records, variants
from workbench.experiments.pulse import Pulse
from workbench.steps import Progress

# Enough to gain from running as one, few enough to spread over a cluster.
_VARIANTS_PER_TASK = 8
_POLL_SECONDS = 0.5


def run(executor, build, data, wanted, validation_data, arguments):
    """Runs variants through an executor.

    Args:
        executor: `concurrent.futures.Executor`.
        build: As for `compare`, like the next three.
        data: Arrays or dataset.
        wanted: Dict of name -> `Variant`.
        validation_data: Arrays, dataset or None.
        arguments: Dict of `loss`, `epochs`, `seed` and `batch_size`.

    Returns:
        Dict of name -> `(Record, weights)`, and whether it was interrupted.
    """
    data = _portable(data, arguments["epochs"], arguments["batch_size"])
    if validation_data is not None:
        validation_data = _portable(validation_data, 1, arguments["batch_size"])
    results, tasks = {}, {}
    with Pulse(executor) as pulse:
        for names in _shares(list(wanted), pulse.slots):
            own = {name: _Packed(wanted[name]) for name in names}
            task = (build, data, own, validation_data, arguments)
            try:
                tasks[executor.submit(_run_task, cloudpickle.dumps(task))] = names
            except Exception as error:  # noqa: BLE001, what cannot travel ends alone
                _fail(results, names, error)
        interrupted = _wait(tasks, results, pulse)
    for name in wanted:
        if name not in results:
            results[name] = records.empty_record(name, interrupted=True), []
    return results, interrupted


def _wait(tasks, results, pulse):
    """Collects results as they come; returns whether it was interrupted."""
    bar = Progress(len(tasks))
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = concurrent.futures.wait(
                waiting, _POLL_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                _collect(results, future, tasks[future])
            bar.add(len(done))
            if waiting and (problem := pulse.problem()):
                for future in waiting:
                    future.cancel()
                    _fail(results, tasks[future], ConnectionError(problem))
                break
    except KeyboardInterrupt:
        for future, names in tasks.items():
            if not future.cancel() and future.done() and names[0] not in results:
                _collect(results, future, names)
        return True
    finally:
        bar.close()
    return False


def _shares(names, slots):
    """Cuts names into tasks: few enough that each worker gets one."""
    size = min(_VARIANTS_PER_TASK, -(-len(names) // (slots or 1)))
    return [names[i : i + size] for i in range(0, len(names), size)]


def _collect(results, future, names):
    try:
        results.update(cloudpickle.loads(future.result()))
    except concurrent.futures.CancelledError:
        text = "the cluster has dropped the task: its scheduler is gone"
        _fail(results, names, ConnectionError(text))
    except Exception as error:  # noqa: BLE001, a worker that died ends its own alone
        _fail(results, names, error)


def _fail(results, names, error):
    for name in names:
        results[name] = records.empty_record(name, error=error), []


class _Packed:
    """A variant without TensorFlow state, which could not travel.

    Args:
        variant: `variants.Variant`.
    """

    def __init__(self, variant):
        self.variant = variant
        self.optimizer = None
        optimizer = variant.optimizer
        if isinstance(optimizer, keras.optimizers.Optimizer):
            config = optimizer.get_config()
            rate = getattr(optimizer, "_learning_rate", None)
            if "learning_rate" in config and variants.is_function(rate):
                config["learning_rate"] = rate
            pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
            self.optimizer = type(optimizer), config, pattern
            self.variant = dataclasses.replace(variant, optimizer=None)

    def unpack(self):
        """Returns the variant as it was."""
        if self.optimizer is None:
            return self.variant
        optimizer_class, config, pattern = self.optimizer
        optimizer = optimizer_class.from_config(config)
        if pattern is not None:
            optimizer.exclude_from_weight_decay(var_names=[pattern.pattern])
        return dataclasses.replace(self.variant, optimizer=optimizer)


def _portable(data, epochs, batch_size):
    """Turns data into NumPy arrays, a dataset into the epochs it will give."""
    feed = feeding.make_feed(data, batch_size, None)
    if isinstance(feed, feeding.ArrayFeed):
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), feed.data)
    every = [feed.epoch(index) for index in range(epochs)]
    return feeding.EpochList(
        [
            (tf.nest.map_structure(lambda t: t.numpy(), epoch.data), epoch.orders)
            for epoch in every
        ]
    )


def _run_task(task):
    """Runs in the worker: bytes of a task in, bytes of its results out."""
    from workbench.experiments import comparing  # noqa: PLC0415, it imports this module

    build, data, packed, validation_data, arguments = cloudpickle.loads(task)
    own = {name: pack.unpack() for name, pack in packed.items()}
    results, _ = comparing.run_here(build, data, own, validation_data, **arguments)
    return cloudpickle.dumps(results)

"""`compare`, from what the user passes in to the comparison that comes back."""

import time
import types

from workbench.experiments import feeding, records, running, sessions
from workbench.experiments.comparison import Comparison
from workbench.experiments.variants import Variant
from workbench.steps import Progress


def compare(  # noqa: PLR0913, the signature is public
    build,
    data,
    variants,
    *,
    loss=None,
    epochs=1,
    batch_size=32,
    seed=0,
    validation_data=None,
    validation_freq=1,
    executor=None,
):
    """Trains variants of one model from equal weights over equal batches.

    Variants that differ in numbers (learning rate or schedule, momentum, clip
    threshold, penalty strength, …), and in kinds of optimizer, clip and penalty, run
    as one where the model allows; each record says which path was taken, and why not a
    faster one. Every path gives the losses of `keras.utils.set_random_seed(seed)`,
    `build()`, `compile` and `fit` over the same batches.

    All variants start from the weights that `build` gives under `seed`, and draw the
    same dropout masks; one with a seed of its own has its own weights and masks.
    Arrays are shuffled for each epoch into
    `numpy.random.default_rng((seed, epoch)).permutation(N)`, for all variants alike; a
    dataset keeps its own order and is read once per epoch for all variants.

    Where `build` makes the model under a `MirroredStrategy`, variants run one after the
    other, each on all its replicas.

    Interrupted from the keyboard, it returns what it has so far, and also where the
    cluster behind an executor is lost: then the records that are missing say why.

    Args:
        build: Function without arguments that returns a `keras.Model`, compiled or
            not. It is called several times.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays with N samples each,
            possibly nested; or a `tf.data.Dataset` or `keras.utils.PyDataset` of
            batches.
        variants: Dict of name -> `Variant`.
        loss: As for `compile`, when `build` does not compile.
        epochs: Positive int.
        batch_size: Positive int, samples; for arrays.
        seed: int >= 0.
        validation_data: As `data`, evaluated after epochs, or None.
        validation_freq: Positive int, epochs from one evaluation to the next.
        executor: `concurrent.futures.Executor` that runs the variants elsewhere, a
            few per task; also what Dask's `Client.get_executor()` gives, which loses
            no variant with a worker. It must not fork: use
            `ProcessPoolExecutor(mp_context=get_context("spawn"))`.

    Returns:
        `Comparison`.

    Raises:
        TypeError: If `build` does not return a Keras model, or a variant is none.
        ValueError: If an argument is out of range, or `loss` is missing or too much.
    """
    arguments = {
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "validation_freq": validation_freq,
    }
    _check(variants, **arguments)
    started = time.perf_counter()
    arguments["loss"] = loss
    if executor is not None:
        from workbench.experiments import remote  # noqa: PLC0415, only where needed

        results, interrupted = remote.run(
            executor, build, data, variants, validation_data, arguments
        )
    else:
        results, interrupted = run_here(
            build, data, variants, validation_data, **arguments
        )
    return gathered(variants, results, interrupted, time.perf_counter() - started)


def gathered(variants, results, interrupted, seconds):
    """Puts what `run_here` returned into a `Comparison`, in the order of variants."""
    return Comparison(
        records=types.MappingProxyType({name: results[name][0] for name in variants}),
        seconds=seconds,
        interrupted=interrupted,
        _weights=types.MappingProxyType({name: results[name][1] for name in variants}),
    )


def run_here(  # noqa: PLR0913, what `compare` takes
    build,
    data,
    variants,
    validation_data,
    *,
    loss,
    epochs,
    seed,
    batch_size,
    validation_freq=1,
    make_bar=Progress,
):
    """Runs variants in this process; see `compare`.

    `make_bar` is given the number of steps, and returns what has `add(steps)`, where
    a KeyboardInterrupt ends the run, and `close()`.

    Returns:
        Dict of name -> `(Record, weights)`, and whether it was interrupted.
    """
    validation = None
    if validation_data is not None:
        validation = feeding.make_feed(validation_data, batch_size, None).epoch(0)
    session = sessions.Session(
        build,
        feeding.make_feed(data, batch_size, seed),
        validation,
        loss=loss,
        epochs=epochs,
        seed=seed,
        validation_freq=validation_freq,
    )
    candidates, errors = session.resolve(variants)
    bar = make_bar(session.steps * len(candidates))
    try:
        results, interrupted = running.run(session, candidates, bar)
    finally:
        bar.close()
    for name, error in errors.items():
        results[name] = records.empty_record(name, error=error), []
    return results, interrupted


def _check(variants, **counts):
    if not isinstance(variants, dict) or not variants:
        raise ValueError(
            "`variants` must be a dict of name -> Variant with at least one entry. "
            f"Received: variants={variants!r}"
        )
    for name, variant in variants.items():
        if not isinstance(name, str) or not isinstance(variant, Variant):
            raise TypeError(
                "`variants` must map str to workbench.experiments.Variant. "
                f"Received: {name!r}: {variant!r}"
            )
    units = {
        "epochs": "passes over the data",
        "batch_size": "samples",
        "seed": "a seed",
        "validation_freq": "epochs",
    }
    for name, value in counts.items():
        least = 0 if name == "seed" else 1
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"`{name}` must be an int >= {least} ({units[name]}). "
                f"Received: {name}={value!r}"
            )

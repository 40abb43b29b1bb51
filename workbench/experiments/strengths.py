"""`strength_map`: what each penalty buys and costs, over its strength."""

import tensorflow as tf

from workbench.experiments import planning, strength_kinds
from workbench.experiments.comparing import compare
from workbench.experiments.strength_measuring import measure


def strength_map(  # noqa: PLR0913, the signature is public
    build,
    data,
    penalties=("L1", "L2", "weight decay", "max-norm", "dropout"),
    strengths=None,
    seeds=(0, 1, 2),
    *,
    epochs=1,
    batch_size=32,
    validation_data=None,
    executor=None,
):
    """Trains a model under kinds of penalty, each at many strengths and seeds.

    All variants run as one where the model allows, as those of `compare` do. The model
    without any penalty is trained once per seed. Penalties and constraints are on the
    kernels, in place of what those have. Weight decay leaves biases and normalization
    alone, too, unless the model's optimizer decays already.

    Interrupted from the keyboard, it returns what it has so far.

    Args:
        build: Function without arguments that returns a compiled `keras.Model`.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, or a dataset.
        penalties: Iterable of kinds: "L1", "L2", "orthogonal", "proximal L1" (true
            zeros), "weight decay" (of the model's own optimizer), "max-norm" (the
            largest norm is 1 / strength) and "dropout" (the strength is the rate, of
            the model's dropout layers or of new ones behind each hidden layer). Or a
            dict of name -> function from a strength to a regularizer, a constraint or
            a `Variant`.
        strengths: Iterable of float >= 0, the same for all kinds, or a dict of kind ->
            iterable; None for seven each.
        seeds: Iterable of int, for the initial weights; the batches are the same.
        epochs: Positive int.
        batch_size: Positive int, samples; for arrays.
        validation_data: As `data`, measured after the last epoch, or None.
        executor: As for `compare`.

    Returns:
        `StrengthGrid`.

    Raises:
        TypeError: If a function gives something else than described.
        ValueError: If an argument is out of range, or the model is not compiled.
    """
    plan = strength_kinds.make_plan(build, penalties, strengths, seeds)
    comparison = compare(
        plan.build,
        data,
        plan.variants,
        epochs=epochs,
        batch_size=batch_size,
        seed=plan.seeds[0],
        validation_data=validation_data,
        validation_freq=epochs,
        executor=executor,
    )
    return measure_plan(plan, comparison, data)


def measure_plan(plan, comparison, data):
    """Measures what a plan's variants came to.

    Args:
        plan: `strength_kinds.Plan`.
        comparison: `Comparison` of its variants.
        data: As for `strength_map`.

    Returns:
        `StrengthGrid`.
    """
    model = planning.build_model(plan.build, plan.seeds[0], _first_batch(data))
    return measure(plan, comparison, model)


def _first_batch(data):
    if isinstance(data, tuple | list):
        return tf.nest.map_structure(lambda array: array[:1], tuple(data))
    return next(iter(data))

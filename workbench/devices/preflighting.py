"""What will fail, or silently differ, when a model trains under a strategy."""

from workbench.devices.concerns import Concern, Preflight

_STRATEGIES = {
    # The name of MultiWorkerMirroredStrategy's own class.
    "CollectiveAllReduceStrategy": Concern(
        "multi-worker",
        "`fit` and `evaluate` under MultiWorkerMirroredStrategy",
        "Keras 3 raises an error about `PerReplica` (keras issue 20585); `predict` and "
        "a loop of one's own work.",
        "take `devices.multi_worker_strategy()`, under which both work.",
        fails=True,
    ),
    "ParameterServerStrategyV2": Concern(
        "parameter-server",
        "`fit` under ParameterServerStrategy",
        "Keras 3 fails; a loop with ClusterCoordinator works.",
        "train with MirroredStrategy on one machine, or write the loop.",
        fails=True,
        refused=True,
    ),
    "CentralStorageStrategy": Concern(
        "central-storage",
        "metrics under CentralStorageStrategy",
        "Keras 3 reports wrong losses and metrics, without a word.",
        "use MirroredStrategy.",
        refused=True,
    ),
}


def preflight(model, data=None, *, batch_size=32, strategy=None):
    """Names what will fail or silently differ before the first epoch.

    Nothing is trained and nothing is changed; a fault that is not in its list is not
    found.

    Args:
        model: `keras.Model`, compiled, built under the strategy.
        data: `(x, y)`, or a batched `tf.data.Dataset`; None leaves out what depends
            on the number of rows.
        batch_size: int >= 1, rows of one step on all devices together; a dataset
            knows its own.
        strategy: `tf.distribute.Strategy`; None takes the model's.

    Returns:
        List of `Concern`, what fails first, empty when nothing is known; it prints as
        a report.

    Raises:
        ValueError: If `model` is no compiled Keras model or `batch_size` < 1.

    Source:
        https://www.tensorflow.org/guide/distributed_training and measured on
        Keras 3.15 against one device
    """
    import keras  # noqa: PLC0415, importing this module must be fast

    from workbench.devices.row_concerns import about_rows  # noqa: PLC0415, likewise

    optimizer = getattr(model, "optimizer", None)
    if not isinstance(model, keras.Model) or optimizer is None:
        raise ValueError(
            "`model` must be a compiled keras.Model; call `model.compile(optimizer, "
            f"loss)` first. Received: model={model!r}"
        )
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be >= 1 (rows). Received: batch_size={batch_size}"
        )
    chosen = strategy or model.distribute_strategy
    found = list(_about_strategy(keras, model, chosen))
    if getattr(chosen, "cluster_resolver", None) is not None:
        found += _about_workers(data)
    if chosen.num_replicas_in_sync > 1:
        number = chosen.num_replicas_in_sync
        found += _about_compiling(model)
        found += _about_optimizers(model)
        found += _about_layers(keras, model)
        raises = type(chosen).__name__ == "MultiWorkerStrategy"
        found += about_rows(data, batch_size, number, raises=raises)
    return Preflight(sorted(found, key=lambda concern: not concern.fails))


def check_trainable(model, data=None, *, batch_size=32, name="data"):
    """Raises ValueError where `Run` and `compare` refuse a model under its strategy.

    Args:
        model: As for `preflight`, like the next two.
        data: Arrays, a dataset, or None.
        batch_size: int, rows.
        name: str, the argument that `data` was.
    """
    import tensorflow as tf  # noqa: PLC0415, importing this module must be fast

    preflight(model, data, batch_size=batch_size).check(name)
    strategy = model.distribute_strategy
    several = strategy.num_replicas_in_sync > 1
    if several and not isinstance(strategy, tf.distribute.MirroredStrategy):
        raise ValueError(
            "`model` must live on one device or under a MirroredStrategy; elsewhere "
            "take its own `fit`, or `checkpoints.fit`. Received: a model under "
            f"{type(strategy).__name__}"
        )


def _about_strategy(keras, model, strategy):
    if concern := _STRATEGIES.get(type(strategy).__name__):
        yield concern
    if keras.distribution.distribution() is not None:
        yield Concern(
            "keras-distribution",
            "`keras.distribution` is set",
            "With TensorFlow it has no effect and gives no error.",
            "use `devices.strategy()`; `keras.distribution.set_distribution(None)`.",
        )
    replicas = model.distribute_strategy.num_replicas_in_sync
    if strategy.num_replicas_in_sync > 1 and replicas == 1:
        yield Concern(
            "outside-scope",
            "the model was built outside `strategy.scope()`",
            "It trains on one device, whatever the strategy.",
            "build and compile it inside `with strategy.scope():`.",
        )


def _about_workers(data):
    import tensorflow as tf  # noqa: PLC0415, importing this module must be fast
    from tensorflow.python.eager import context  # noqa: PLC0415

    if context.global_seed() is None:
        yield Concern(
            "no-seed",
            "no seed is set, and each worker shuffles by itself",
            "Their shares of a batch overlap: an epoch repeats rows and leaves out "
            "others.",
            "call `keras.utils.set_random_seed(0)` on all workers, before the model.",
        )
    if isinstance(data, tf.data.Dataset):
        policies = tf.data.experimental.AutoShardPolicy
        chosen = data.options().experimental_distribute.auto_shard_policy
        if chosen in (policies.AUTO, policies.FILE):
            yield Concern(
                "auto-shard",
                f"a tf.data.Dataset with the policy {chosen.name}",
                "Where it reads files or a generator, each worker takes whole ones of "
                "them, and not its share of each batch.",
                "set `options.experimental_distribute.auto_shard_policy` to "
                "`AutoShardPolicy.DATA`, and `dataset.with_options(options)`.",
            )


def _about_compiling(model):
    import keras  # noqa: PLC0415, importing this module must be fast

    if model.steps_per_execution > 1:
        yield Concern(
            "steps-per-execution",
            f"steps_per_execution={model.steps_per_execution}",
            "Several steps in one call fail with several replicas.",
            "compile with `steps_per_execution=1`.",
            fails=True,
            refused=True,
        )
    if model.jit_compile is True:
        yield Concern(
            "jit-compile",
            "jit_compile=True",
            "XLA and the sum over replicas do not go together; on processors training "
            'fails. Keras\'s own choice, `jit_compile="auto"`, leaves XLA out.',
            "compile without `jit_compile`.",
            fails=True,
            refused=True,
        )
    if type(model).train_step is not keras.Model.train_step:
        yield Concern(
            "own-train-step",
            f"{type(model).__name__} has a `train_step` of its own",
            "Gradients are summed over the replicas. Unless the step divides its loss "
            "by their number, they are that many times as large.",
            "divide the loss by `tf.distribute.get_strategy().num_replicas_in_sync`.",
        )


def _about_optimizers(model):
    for optimizer in _chain(model.optimizer):
        if getattr(optimizer, "gradient_accumulation_steps", None):
            yield Concern(
                "gradient-accumulation",
                f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}",
                "Keras raises an error about `merge_call`.",
                "take a larger batch, or one device.",
                fails=True,
                refused=True,
            )
        for name in ("global_clipnorm", "clipnorm", "clipvalue"):
            value = getattr(optimizer, name, None)
            if value is not None:
                yield Concern(
                    name.replace("_", "-"),
                    f"{name}={value}",
                    "Each replica clips its own gradient, before they are summed.",
                    "use `workbench.clipping`, whose wrapper clips the sum.",
                )
        if type(optimizer).__name__ == "LossScaleOptimizer":
            yield Concern(
                "loss-scaling",
                "mixed_float16 scales the loss",
                "Each replica rounds in half precision on its own rows, and a step "
                "is left out where any of them overflows.",
                "use `mixed_bfloat16` on GPUs that have it, or expect other numbers.",
            )


def _chain(optimizer):
    while optimizer is not None:
        yield optimizer
        inner = getattr(optimizer, "inner_optimizer", None)
        optimizer = inner if inner is not optimizer else None


def _about_layers(keras, model):
    layers = [each for each in model._flatten_layers() if each is not model]
    plain = [
        each.name
        for each in layers
        if isinstance(each, keras.layers.BatchNormalization)
        and each.trainable
        and not each.synchronized
    ]
    if plain:
        yield Concern(
            "batch-normalization",
            f"BatchNormalization without `synchronized=True`: {_names(plain)}",
            "Each replica normalizes with the statistics of its own rows.",
            "build it with `synchronized=True`.",
        )
    random = [each.name for each in layers if hasattr(each, "seed_generator")]
    random = [name for name in random if name not in plain]
    if random:
        yield Concern(
            "random-layers",
            f"layers that draw random numbers: {_names(random)}",
            "Each replica draws for its own rows, so other numbers are drawn.",
            "expect another run, as with another seed.",
        )


def _names(names):
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more

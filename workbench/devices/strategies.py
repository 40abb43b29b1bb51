"""The distribution strategy that fits a machine, or several."""

from workbench.devices.joining import wait_for_workers


def strategy(devices=None):
    """Gives the strategy that fits this machine: one device, or a copy on each.

    Build and compile the model inside `with strategy().scope():`. Asking starts
    TensorFlow's devices, so call `grow_memory` or `limit_memory` before.

    Args:
        devices: List of str such as `["/GPU:0", "/GPU:1"]`; None takes all GPUs that
            TensorFlow sees, and without a GPU all logical CPUs.

    Returns:
        `tf.distribute.Strategy`: for several devices a `MirroredStrategy`, for one
        that was named a `OneDeviceStrategy`, else TensorFlow's own for one device.

    Raises:
        ValueError: If a device is not there, named twice, or of another kind than
            the first.

    Source:
        https://www.tensorflow.org/guide/distributed_training
    """
    import tensorflow as tf  # noqa: PLC0415, importing this module must be fast

    there = [_short(device.name) for device in tf.config.list_logical_devices()]
    if devices is None:
        gpus = [name for name in there if name.startswith("/GPU:")]
        names = gpus or [name for name in there if name.startswith("/CPU:")]
        if len(names) == 1:
            return tf.distribute.get_strategy()
    else:
        names = _check(devices, there)
        if len(names) == 1:
            return tf.distribute.OneDeviceStrategy(names[0])
    return tf.distribute.MirroredStrategy(names)


def multi_worker_strategy(*, seconds=12.0):
    """Gives the strategy for one model on several machines, named in `TF_CONFIG`.

    First the workers find one another, so that a wrong list, a taken port and a
    missing worker are errors; TensorFlow would wait without an end. Then it is
    TensorFlow's `MultiWorkerMirroredStrategy`, mended so that Keras 3's `fit` and
    `evaluate` work. Call it before anything else of TensorFlow, on each worker; build
    and compile the model in its `scope()`. Give all workers the same seed
    (`keras.utils.set_random_seed`) and the same arrays: each takes its share of every
    batch, and `fit` shuffles by the seed. A worker lost later is an
    `UnavailableError` on the others, some ten seconds after.

    Args:
        seconds: float, seconds to wait for the other workers.

    Returns:
        `tf.distribute.MultiWorkerMirroredStrategy`.

    Raises:
        OSError: If another program listens at this worker's port.
        TimeoutError: If a worker is missing or cannot be reached; it is named.
        ValueError: If `TF_CONFIG` does not name workers.

    Source:
        https://www.tensorflow.org/guide/distributed_training and
        https://github.com/keras-team/keras/issues/20585
    """
    wait_for_workers(seconds=seconds)
    from workbench.devices import multi_worker  # noqa: PLC0415, it loads TensorFlow

    return multi_worker.MultiWorkerStrategy()


def _short(name):
    return f"/{name.rpartition('/device:')[2].lstrip('/')}"


def _check(devices, there):
    names = [] if isinstance(devices, str) else [_short(str(each)) for each in devices]
    kinds = {name[:5] for name in names}
    if not names or len(set(names)) < len(names) or len(kinds) > 1:
        raise ValueError(
            "`devices` must be a list of different TensorFlow names of one kind, such "
            f"as ['/GPU:0', '/GPU:1']. Received: devices={devices!r}"
        )
    if missing := [name for name in names if name not in there]:
        raise ValueError(
            f"`devices` must name devices that TensorFlow has: {', '.join(there)}. "
            f"{', '.join(missing)} is not among them; `diagnose()` may say why. "
            f"Received: devices={devices!r}"
        )
    return names

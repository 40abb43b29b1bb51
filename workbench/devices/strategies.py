"""The distribution strategy that fits a machine."""


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

"""How much GPU memory TensorFlow takes; to be set before it starts its devices."""

from workbench.devices.records import MemorySetting

_TOO_LATE = (
    "TensorFlow has already started its devices, which fixes their memory. Restart "
    "the kernel and call this first, before any tensor or model. Received: {call}"
)
_REFUSED = (
    "TensorFlow refuses this setting: {reason}. Restart the kernel and choose one of "
    "`grow_memory` and `limit_memory`. Received: {call}"
)
_NO_GPU = "TensorFlow sees no GPU, so there is no memory to set; nothing was changed."


def grow_memory():
    """Lets TensorFlow take GPU memory as it needs it, not all at once.

    What it has taken it keeps until the process ends. May be called again.

    Returns:
        `MemorySetting`; without a GPU nothing changes, and it says so.

    Raises:
        RuntimeError: If TensorFlow has already started its devices otherwise.
        ValueError: If `limit_memory` was called before.

    Source:
        https://www.tensorflow.org/guide/gpu
    """
    import tensorflow as tf  # noqa: PLC0415, importing this module must be fast

    def grow(gpu):
        tf.config.experimental.set_memory_growth(gpu, True)

    return _set_each(
        tf, grow, "grow_memory()", "{gpus}: memory is taken as it is needed."
    )


def limit_memory(megabytes):
    """Makes TensorFlow take at most so much memory of each GPU.

    The limit is for tensors; CUDA itself takes some hundred MiB on top.

    Args:
        megabytes: int or float >= 1, MiB per GPU.

    Returns:
        `MemorySetting`; without a GPU nothing changes, and it says so.

    Raises:
        RuntimeError: If TensorFlow has already started its devices otherwise.
        ValueError: If `megabytes` is not a finite number >= 1.

    Source:
        https://www.tensorflow.org/guide/gpu
    """
    if not _is_size(megabytes):
        raise ValueError(
            "`megabytes` must be a finite number >= 1 (MiB of memory per GPU). "
            f"Received: megabytes={megabytes!r}"
        )
    import tensorflow as tf  # noqa: PLC0415, importing this module must be fast

    def limit(gpu):
        tf.config.set_logical_device_configuration(
            gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=megabytes)]
        )

    return _set_each(
        tf,
        limit,
        f"limit_memory({megabytes!r})",
        f"{{gpus}}: at most {megabytes:g} MiB for tensors on each.",
    )


def _is_size(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 1 <= value < float("inf")


def _set_each(tf, setter, call, effect):
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return MemorySetting((), _NO_GPU)
    try:
        for gpu in gpus:
            setter(gpu)
    except RuntimeError as error:
        raise RuntimeError(_TOO_LATE.format(call=call)) from error
    except ValueError as error:
        raise ValueError(_REFUSED.format(reason=error, call=call)) from error
    names = tuple(f"/{gpu.name.removeprefix('/physical_device:')}" for gpu in gpus)
    return MemorySetting(names, effect.format(gpus=", ".join(names)))

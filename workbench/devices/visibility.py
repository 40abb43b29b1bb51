"""Which GPUs `CUDA_VISIBLE_DEVICES` lets a program see, and in what order."""

import re

_LEADING_NUMBER = re.compile(r"\+?(\d+)")


def visible_positions(gpus, mask):
    """Applies `CUDA_VISIBLE_DEVICES` to what the driver shows.

    Entries are driver numbers, UUIDs or the beginnings of UUIDs. The first entry
    that names no GPU, or more than one, hides itself and all after it, so `""` and
    `"-1"` hide everything; so does naming a GPU twice. Of all MIG instances CUDA
    shows a program at most one.

    Args:
        gpus: Sequence of `Gpu`, as the driver lists them.
        mask: str, or None when the variable is not set.

    Returns:
        List of int, positions in `gpus`, in the order in which CUDA counts them.

    Source:
        https://docs.nvidia.com/cuda/cuda-programming-guide, "CUDA Environment
        Variables"; MIG: https://docs.nvidia.com/datacenter/tesla/mig-user-guide
    """
    if mask is None:
        whole = [i for i, gpu in enumerate(gpus) if gpu.mig is None]
        return whole or [i for i, gpu in enumerate(gpus) if gpu.is_instance][:1]
    positions = []
    for entry in mask.split(","):
        position = _find(gpus, entry.strip())
        if position is None:
            break
        if position in positions:
            return []
        positions.append(position)
    return _at_most_one_instance(gpus, positions)


def _find(gpus, entry):
    if number := _LEADING_NUMBER.match(entry):
        return _find_number(gpus, int(number.group(1)))
    if not entry.upper().startswith(("GPU-", "MIG-")):
        return None
    found = [
        i
        for i, gpu in enumerate(gpus)
        if gpu.uuid and gpu.uuid.upper().startswith(entry.upper())
    ]
    return _usable(gpus, found[0]) if len(found) == 1 else None


def _find_number(gpus, number):
    whole = (
        i for i, gpu in enumerate(gpus) if gpu.index == number and not gpu.is_instance
    )
    position = next(whole, None)
    return None if position is None else _usable(gpus, position)


def _usable(gpus, position):
    if gpus[position].mig != "on":
        return position
    # A split GPU cannot be used as a whole: CUDA takes its first instance.
    following = position + 1
    if following < len(gpus) and gpus[following].is_instance:
        return following
    return None


def _at_most_one_instance(gpus, positions):
    instances = [i for i in positions if gpus[i].is_instance]
    return [i for i in positions if i not in instances[1:]]

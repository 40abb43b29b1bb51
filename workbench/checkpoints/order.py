"""The order of an epoch as a function of seed and epoch alone."""

import numpy as np

_LARGEST = 2**64


def permutation(seed, epoch, size):
    """Computes the order of one epoch.

    The numbers are those of the counter-based generator Philox, whose stream NumPy
    keeps from version to version; so the place in the data is three integers.

    Args:
        seed: int, 0 <= seed < 2**64.
        epoch: int >= 0.
        size: int >= 0.

    Returns:
        int64 array of shape `(size,)`, a permutation.

    Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as
    1, 2, 3"; https://numpy.org/doc/stable/reference/random/bit_generators/philox.html
    """
    numbers = np.random.Philox(key=seed + epoch * _LARGEST).random_raw(size)
    return np.argsort(numbers, kind="stable")


def check_seed(seed):
    """Raises ValueError unless `seed` can be one."""
    if not (isinstance(seed, int) and 0 <= seed < _LARGEST):
        raise ValueError(f"`seed` must be an int, 0 <= seed < 2**64. Received: {seed=}")

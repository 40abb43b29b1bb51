"""Why TensorFlow does not see a GPU: a record of the machine, and what it tells."""

from workbench.devices.doctor.diagnosing import diagnose_machine
from workbench.devices.doctor.findings import Diagnosis, Finding
from workbench.devices.doctor.machine import Machine, load_machine
from workbench.devices.doctor.reading import read_machine

__all__ = [
    "Diagnosis",
    "Finding",
    "Machine",
    "diagnose",
    "load_machine",
    "read_machine",
]


def diagnose(machine=None, *, cuinit=True, seconds=1.5, log=()):
    """Says why TensorFlow does not see, or cannot use, this machine's GPUs.

    TensorFlow is not imported: what it was built with is read from its files. No
    device is started and no GPU memory is taken; the driver is tried in a process of
    its own, which may crash or hang.

    Args:
        machine: `Machine` that was read or stored before; None reads this one.
        cuinit: bool, whether to open the libraries and try the driver's `cuInit`.
            Without it the answer takes less time and knows less.
        seconds: float > 0, seconds to wait for the driver at most.
        log: str or iterable of str, lines that TensorFlow wrote; they add evidence.

    Returns:
        List of `Finding`, likeliest first, empty when all is well. It prints as a
        report; `.machine` is what was read, `.verdict` all in one line.

    Raises:
        ValueError: If `seconds` is not a positive number.
        TypeError: If `machine` is no `Machine`.

    Source:
        https://www.tensorflow.org/install/pip and
        https://docs.nvidia.com/cuda/cuda-driver-api
    """
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not (number and 0 < seconds < float("inf")):
        raise ValueError(
            "`seconds` must be a finite number > 0 (seconds to wait for the driver). "
            f"Received: seconds={seconds!r}"
        )
    if machine is None:
        machine = read_machine(cuinit=cuinit, seconds=seconds, log=log)
    elif not isinstance(machine, Machine):
        raise TypeError(
            "`machine` must be a `Machine`, as `read_machine()` and "
            f"`load_machine(filepath)` give it. Received: machine={machine!r}"
        )
    return diagnose_machine(machine)

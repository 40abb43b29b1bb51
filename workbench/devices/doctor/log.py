"""What TensorFlow's own log lines tell of a machine."""

import dataclasses
import re

from workbench.devices.doctor import rules_cuda, rules_driver
from workbench.devices.doctor.machine import CuInit

_CUINIT = re.compile(r"failed call to cuInit.*")
_NUMBER = re.compile(r"\((\d+)\)|CUDA_ERROR_\w+")
# What stands in the log, and the cause that it speaks of.
_LINES = (
    (r"kernel version \S+ does not match DSO version \S+", "driver-mismatch"),
    (r"kernel driver does not appear to be running on this host", "module-not-loaded"),
    (r"Failed to initialize NVML: Unknown Error", "nvml-lost"),
    (r"Cannot dlopen some GPU libraries", "cuda-missing"),
    (
        r"Loaded runtime CuDNN library: \S+ but source was compiled with: \S+\d",
        "cudnn-too-old",
    ),
    # Written of cards that are too old, too.
    (
        r"not built with CUDA kernel binaries compatible with compute capability "
        r"([\d.]+\d)",
        "gpu-too-new",
    ),
    (r"CUDA_ERROR_INVALID_PTX", "gpu-too-new"),
)
_LIBRARIES = {"cuda-missing", "cuda-not-found", "cuda-other-version", "cuda-broken"}


def fill_in(machine):
    """Takes from the log what was not read from the machine itself.

    Args:
        machine: `Machine`.

    Returns:
        `Machine`, with `cuInit`'s answer where only the log has it.
    """
    if machine.cuinit is not None:
        return machine
    for line in machine.log:
        if found := _CUINIT.search(line):
            status = _status(found[0])
            if status is not None and status != 303:
                return dataclasses.replace(machine, cuinit=CuInit(status))
    return machine


def _status(text):
    for found in _NUMBER.finditer(text):
        if found[1]:
            return int(found[1])
        for number, name in rules_driver.ERRORS.items():
            if name == found[0]:
                return number
    return None


def lines(machine):
    """A rule as those of `rules_system`: one reading for each telling line."""
    for line in machine.log:
        for pattern, code in _LINES:
            if found := re.search(pattern, line):
                values = _values(machine, found[0])
                judged = None
                if found.groups():
                    judged, more = rules_cuda.judge(machine, found[1])
                    values |= more
                yield judged or code, f"TensorFlow's log: {found[0]}", values


def _values(machine, text):
    version = machine.versions.get("tensorflow", "2.21.0")
    needed = re.search(r"compiled with: (\S+)", text)
    return {
        "tensorflow": version,
        "needed": needed[1] if needed else "",
        **rules_driver.restart(machine),
        **rules_driver.load(machine),
    }


def is_told_better(code, codes):
    """Tells whether a line of the log only repeats what another finding says better.

    Args:
        code: str, the cause that the log speaks of.
        codes: Set of str, the causes found otherwise.

    Returns:
        bool.
    """
    return code == "cuda-missing" and bool(codes & (_LIBRARIES - {code}))

"""Rules about CUDA's libraries, and whether card, driver and build fit each other.

They yield what the rules of `rules_system` yield.
"""

import pathlib
import re

from workbench.devices.doctor.machine import (
    CUDA_LIBRARIES,
    DRIVER_LIBRARY,
    MANAGEMENT_LIBRARY,
    WSL_FOLDER,
)
from workbench.devices.doctor.rules_system import driver_major


def management(machine):
    """NVML, which TensorFlow opens beside the driver's library."""
    driver = machine.libraries.get(DRIVER_LIBRARY)
    found = machine.libraries.get(MANAGEMENT_LIBRARY)
    if machine.has_gpu and driver and driver.path and found and not found.path:
        if machine.container:
            remedy = (
                "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility "
                "IMAGE"
            )
        elif machine.is_wsl:
            remedy = f'export LD_LIBRARY_PATH="{WSL_FOLDER}:$LD_LIBRARY_PATH"'
        else:
            major = driver_major(machine)
            remedy = f"sudo apt-get install --reinstall libnvidia-compute-{major}"
        yield "no-nvml", found.error, {"nvml": remedy}


def libraries(machine):
    """The seven libraries, all of which TensorFlow must be able to open."""
    looked = {
        name: machine.libraries[name]
        for name in CUDA_LIBRARIES
        if name in machine.libraries
    }
    closed = {name: each for name, each in looked.items() if not each.path}
    if not closed or not machine.has_gpu or not machine.build.get("is_cuda_build"):
        return
    values = {"tensorflow": machine.versions.get("tensorflow", "2.21.0")}
    broken = [each.error for each in closed.values() if each.is_broken and each.error]
    absent = [name for name, each in closed.items() if not each.is_broken]
    if broken:
        yield "cuda-broken", broken[0], values
    if not absent:
        return
    reading = f"not found: {', '.join(absent)}"
    here = {name: _places(machine, name) for name in absent}
    if all(here.values()):
        folders = ":".join(dict.fromkeys(places[0] for places in here.values()))
        values |= {"folders": folders}
        code = "cuda-too-late" if _was_late(machine, folders) else "cuda-not-found"
        yield code, f"{reading}, but in {folders}", values
        return
    others = [file for name in absent for file in _others(machine, name)]
    if others:
        names = ", ".join(pathlib.PurePosixPath(file).name for file in others[:3])
        yield "cuda-other-version", f"{reading}, but {names}", values
    else:
        yield "cuda-missing", reading, values


def _was_late(machine, folders):
    now = machine.environment.get("LD_LIBRARY_PATH", "").split(":")
    return "LD_LIBRARY_PATH" in machine.late and set(folders.split(":")) <= set(now)


def _places(machine, name):
    paths = map(pathlib.PurePosixPath, machine.files)
    return [str(path.parent) for path in paths if path.name == name]


def _others(machine, name):
    stem = name.partition(".so")[0] + ".so."
    paths = map(pathlib.PurePosixPath, machine.files)
    # Only a bare major version; libcudnn.so.9.3.0 is libcudnn.so.9's own file.
    return [
        str(path)
        for path in paths
        if path.name.startswith(stem)
        and path.name != name
        and path.name.removeprefix(stem).isdigit()
    ]


def cudnn(machine):
    """The installed cuDNN against the one of the build."""
    have = machine.versions.get("nvidia-cudnn-cu12")
    need = machine.needs.get("nvidia-cudnn-cu12")
    if machine.has_gpu and have and need and _numbers(have) < _numbers(need):
        reading = f"nvidia-cudnn-cu12 {have}, TensorFlow asks for >= {need}"
        yield "cudnn-too-old", reading, {"needed": need}


def generation(machine):
    """The driver's CUDA against the build's."""
    driver = machine.versions.get("CUDA of the driver")
    build = machine.build.get("cuda_version")
    if driver and build and _numbers(driver)[0] < _numbers(build)[0]:
        reading = f"CUDA of the driver {driver}, TensorFlow was built with {build}"
        yield "driver-too-old", reading, {}


def capability(machine):
    """Each visible card against the kernels that the build holds.

    Machine code for `sm_XY` runs where the first number is the same and the second
    not smaller; `compute_XY` can be compiled for newer cards, but this build's
    compiler knows no card of a later first number than its own last.

    Source:
        https://docs.nvidia.com/cuda/blackwell-compatibility-guide
    """
    built = machine.build.get("cuda_compute_capabilities") or ()
    for gpu in machine.visible:
        code, values = judge(machine, gpu.compute_capability)
        if code:
            reading = (
                f"{gpu.model} has compute capability {gpu.compute_capability}, "
                f"TensorFlow was built for {', '.join(built)}"
            )
            yield code, reading, values


def judge(machine, capability):
    """Compares one compute capability with the build.

    Args:
        machine: `Machine`.
        capability: str such as `"8.6"`, or None when not known.

    Returns:
        `(code, values)` as in what rules yield; the code is None where they fit.
    """
    built = machine.build.get("cuda_compute_capabilities") or ()
    numbers = [_capability(text) for text in built if re.search(r"\d", text)]
    if not (numbers and capability):
        return None, {}
    own = tuple(_numbers(capability))[:2]
    if own[0] > max(numbers)[0]:
        return "gpu-too-new", {}
    if own < min(numbers):
        return "gpu-too-old", {"older": _older(own)}
    return None, {}


def _capability(text):
    digits = re.search(r"\d+", text)[0]
    return int(digits[:-1]), int(digits[-1])


def _older(own):
    # The last releases whose packages hold kernels for these cards.
    release = "2.18" if own >= (5, 0) else "2.10" if own >= (3, 5) else "1.4"
    return f'python -m pip install "tensorflow[and-cuda]=={release}.*"'


def _numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def process(machine):
    """What TensorFlow in this process has seen."""
    if machine.seen != 0:
        return
    usable = machine.visible or (machine.cuinit and machine.cuinit.count)
    if usable and machine.build.get("is_cuda_build"):
        count = len(machine.visible) or machine.cuinit.count
        yield (
            "looked-too-early",
            f"TensorFlow here lists 0 GPUs, a program may see {count}",
            {},
        )

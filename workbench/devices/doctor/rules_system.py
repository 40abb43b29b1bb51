"""Rules about the system, the package, and how a card is reached.

A rule takes a `Machine` and yields `(code, reading, values)`: a key of `CAUSES`, str,
and a dict of what the cause's texts leave open.
"""

import re

from workbench.devices.doctor.machine import DRIVER_LIBRARY, WSL_FOLDER, Library

_STARTS = {
    "apptainer": "apptainer exec --nv IMAGE.sif python",
    "kubernetes": "resources: {limits: {nvidia.com/gpu: 1}}",
    "podman": "podman run --device nvidia.com/gpu=all IMAGE",
}
_NO_CUDA = "build_info says is_cuda_build: False"


def has_tensorflow(machine):
    """Tells whether TensorFlow is installed.

    Args:
        machine: `Machine`.

    Returns:
        bool.
    """
    names = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tf-nightly")
    return bool(machine.build) or any(name in machine.versions for name in names)


def system(machine):
    """Systems on which TensorFlow knows no GPU."""
    if machine.system == "Windows" and machine.gpus:
        yield (
            "native-windows",
            f"system {machine.system}, GPU {machine.gpus[0].model}",
            {},
        )
    # The kernel of WSL1 calls itself …-Microsoft, that of WSL2 …-microsoft-….
    if machine.is_wsl and machine.release.endswith("-Microsoft"):
        name = machine.environment.get("WSL_DISTRO_NAME", "Ubuntu")
        yield "wsl1", f"kernel {machine.release}", {"distribution": name}
    metal = machine.versions.get("tensorflow-metal")
    if metal and machine.system == "Darwin" and _version(machine) >= (2, 18):
        reading = f"tensorflow-metal {metal} with TensorFlow {_installed(machine)[1]}"
        yield "metal-plugin", reading, {}


def package(machine):
    """The package of TensorFlow."""
    if not has_tensorflow(machine):
        python = machine.versions.get("Python", "unknown")
        yield "tensorflow-missing", f"no package tensorflow in Python {python}", {}
        return
    if machine.system != "Linux" or not machine.has_gpu or not machine.build:
        return
    if machine.build.get("is_cuda_build") or machine.build.get("is_rocm_build"):
        return
    name, version = _installed(machine)
    reading = f"{_NO_CUDA}, {name} {version}"
    if "tensorflow" in machine.versions and "tensorflow-cpu" in machine.versions:
        other = machine.versions["tensorflow"]
        yield "two-wheels", f"{reading}, tensorflow-cpu beside tensorflow {other}", {}
    elif machine.architecture in ("aarch64", "arm64"):
        yield "cpu-wheel-arm", f"{reading}, processor {machine.architecture}", {}
    else:
        yield "cpu-wheel", reading, {}


def container(machine):
    """What a container was given."""
    if not machine.container or machine.is_wsl or machine.system != "Linux":
        return
    asked = machine.environment.get("NVIDIA_VISIBLE_DEVICES")
    wanted = asked not in (None, "", "void", "none")
    if not machine.gpu_nodes:
        if machine.has_gpu or (wanted and machine.has_gpu is None):
            start = _STARTS.get(machine.container, "docker run --gpus all IMAGE")
            reading = f"container ({machine.container}), no /dev/nvidia0"
            if asked is not None:
                reading += f", NVIDIA_VISIBLE_DEVICES={asked!r}"
            yield "container-without-gpu", reading, {"start": start}
    elif _driver(machine).is_missing:
        granted = machine.environment.get("NVIDIA_DRIVER_CAPABILITIES")
        reading = f"{machine.gpu_nodes[0]} is there, {_driver(machine).error}"
        if granted is not None:
            reading += f", NVIDIA_DRIVER_CAPABILITIES={granted!r}"
        yield "container-without-driver", reading, {}


def card(machine):
    """Who holds the card, and whether the driver's library opens."""
    if machine.container or machine.is_wsl or machine.system != "Linux":
        return
    cards = machine.pci or ()
    holders = {each.driver for each in cards}
    if holders == {"vfio-pci"}:
        address = cards[0].address
        yield "card-set-aside", f"PCI {address}: vfio-pci", {"address": address}
    elif holders & {"nouveau", "nova"} and not machine.kernel_module:
        held = next(each for each in cards if each.driver in ("nouveau", "nova"))
        yield "nouveau", f"PCI {held.address}: {held.driver}", {}
    elif machine.has_gpu and _driver(machine).is_missing:
        where = f"PCI {cards[0].address} has vendor 0x10de, " if cards else ""
        yield "no-driver", f"{where}{_driver(machine).error}", {}


def library(machine):
    """Which libcuda.so.1 was opened."""
    opened = _driver(machine)
    if machine.has_gpu and opened.error and opened.is_broken:
        yield "driver-broken", opened.error, {"major": driver_major(machine)}
    status = machine.cuinit and machine.cuinit.status
    if "/stubs/" in (opened.path or "") or status == 34:
        folders = machine.environment.get("LD_LIBRARY_PATH", "").split(":")
        rest = ":".join(f for f in folders if "stubs" not in f)
        yield "stub-library", f"opened {opened.path}, cuInit {status}", {"path": rest}


def wsl(machine):
    """Linux inside Windows, from the driver that Windows lends."""
    if not (machine.is_wsl and machine.wsl_driver):
        return
    opened = _driver(machine)
    if "/dev/dxg" not in machine.nodes:
        yield "wsl-without-gpu", f"{WSL_FOLDER}/{DRIVER_LIBRARY} without /dev/dxg", {}
    elif opened.is_missing:
        reading = f"{WSL_FOLDER}/{DRIVER_LIBRARY} is there, {opened.error}"
        yield "wsl-path", reading, {}
    elif opened.path and not _lent(opened.path):
        yield "wsl-linux-driver", f"opened {opened.path}", {}


def _lent(path):
    # What stands in /usr/lib/wsl/lib are links into the folder drivers beside it.
    return path.startswith(WSL_FOLDER.rpartition("/")[0])


def driver_major(machine):
    """Returns the driver's first number, `"580"` where nobody tells; str."""
    version = machine.kernel_module or machine.versions.get("driver") or "580"
    return version.split(".")[0]


def _driver(machine):
    return machine.libraries.get(DRIVER_LIBRARY, Library())


def _installed(machine):
    for name in ("tensorflow-cpu", "tensorflow", "tf-nightly", "tf-nightly-cpu"):
        if name in machine.versions:
            return name, machine.versions[name]
    return "tensorflow", "unknown"


def _version(machine):
    return tuple(int(n) for n in re.findall(r"\d+", _installed(machine)[1])[:2])

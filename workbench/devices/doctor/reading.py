"""Reading a machine: files, tools and versions, without TensorFlow."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import sys

from workbench.devices import detection, readers, tensorflow_view
from workbench.devices.doctor import loader
from workbench.devices.doctor.machine import (
    CUDA_LIBRARIES,
    DRIVER_LIBRARY,
    WSL_FOLDER,
    Machine,
    PciCard,
)

_NVIDIA = "0x10de"
_SECURE_BOOT = (
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "LD_LIBRARY_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "WSL_DISTRO_NAME",
)
# The loader reads these once, when a process starts.
_LATE = ("LD_LIBRARY_PATH",)
_BESIDE = ("tensorflow-intel", "tensorflow-metal", "tensorflow-workbench")
_STEMS = tuple(name.partition(".so")[0] for name in CUDA_LIBRARIES)
_NEED = re.compile(r"(nvidia-[\w-]+)\s*[^;]*?>=\s*([\d.]+).*and-cuda")


def read_machine(
    *,
    cuinit=True,
    seconds=1.5,
    log=(),
    environment=None,
    root="/",
    ask_driver=detection.ask_driver,
):
    """Reads what the doctor has to know; starts no device and takes no GPU memory.

    Args:
        cuinit: bool, whether libraries are opened and the driver's `cuInit` is
            called, in processes of their own. Else libraries are only looked for.
        seconds: float, seconds to wait for the driver at most.
        log: str or iterable of str, TensorFlow's log.
        environment: dict, the variables of another process that is to be understood;
            None for this one.
        root: path under which `/proc`, `/sys` and `/dev` are looked for.
        ask_driver: Callable as `detection.ask_driver`.

    Returns:
        `Machine`.
    """
    root = pathlib.Path(root)
    now = dict(os.environ if environment is None else environment)
    first = _at_start(now) if environment is None else now
    folders = _search_folders(first)
    linux = platform.system() == "Linux"
    probe = _probe(now, folders) if cuinit and linux else None
    gpus, driver_versions, sources = ask_driver(seconds=seconds / 3)
    versions = {"Python": platform.python_version(), **tensorflow_view.read_versions()}
    needs = _read_needs(versions)
    fields = {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "container": _container(root, now),
        "secure_boot": _secure_boot(root / _SECURE_BOOT),
        "environment": {name: now[name] for name in _VARIABLES if name in now},
        "late": tuple(name for name in _LATE if now.get(name) != first.get(name)),
        "needs": needs,
        "build": tensorflow_view.read_build(),
        "pci": _pci(root / "sys/bus/pci/devices"),
        "nodes": _nodes(root / "dev"),
        "kernel_module": _kernel_module(root / "proc/driver/nvidia/version"),
        "wsl_driver": (root / WSL_FOLDER[1:] / DRIVER_LIBRARY).exists(),
        "gpus": tuple(gpus),
        "sources": tuple(sources),
        "files": _cuda_files(root / "usr/local", now),
        "seen": _seen() if environment is None else None,
        "log": tuple(log.splitlines() if isinstance(log, str) else log),
    }
    versions |= {**_installed((*_BESIDE, *needs)), **driver_versions}
    if probe:
        libraries, fields["cuinit"], cuda = probe.read(seconds)
        if cuda:
            versions.setdefault("CUDA of the driver", cuda)
    else:
        libraries = loader.find_libraries(folders) if linux else {}
    return Machine(libraries=libraries, versions=versions, **fields)


def _at_start(now):
    """The variables as the loader read them, when this process started."""
    first = dict(now)
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/self/environ").read_bytes().decode(errors="replace")
        pairs = (entry.partition("=") for entry in text.split("\0"))
        then = {name: value for name, _, value in pairs}
        for name in _LATE:
            first.pop(name, None)
            if name in then:
                first[name] = then[name]
    return first


def _search_folders(environment):
    given = [part for part in environment.get("LD_LIBRARY_PATH", "").split(":") if part]
    folder = _tensorflow_folder()
    # This is the library in which TensorFlow opens all others.
    library = folder and folder / "libtensorflow_framework.so.2"
    return [*given, *(loader.read_runpath(library) if library else ())]


def _tensorflow_folder():
    with contextlib.suppress(ValueError):
        spec = importlib.util.find_spec("tensorflow")
        for folder in (spec and spec.submodule_search_locations) or ():
            return pathlib.Path(folder)
    return None


def _probe(environment, folders):
    return loader.Probe({**environment, "LD_LIBRARY_PATH": ":".join(folders)})


def _read_needs(versions):
    for name in ("tensorflow", "tensorflow-cpu", "tf-nightly"):
        if name in versions:
            lines = importlib.metadata.requires(name) or ()
            found = filter(None, map(_NEED.match, lines))
            return {need[1]: need[2] for need in found}
    return {}


def _installed(names):
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _container(root, environment):
    if "KUBERNETES_SERVICE_HOST" in environment:
        return "kubernetes"
    if {"APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"} & set(environment):
        return "apptainer"
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    return environment.get("container", "")


def _secure_boot(path):
    try:
        # Four bytes of attributes, then the value.
        return path.read_bytes()[-1:] == b"\1"
    except OSError:
        return None


def _pci(folder):
    try:
        places = sorted(folder.iterdir())
    except OSError:
        return None
    return tuple(filter(None, map(_card, places)))


def _card(place):
    with contextlib.suppress(OSError):
        if (place / "vendor").read_text().strip() != _NVIDIA:
            return None
        # 0x03 is the class of what computes or draws; sound and bridges are others.
        if (place / "class").read_text().startswith("0x03"):
            driver = place / "driver"
            return PciCard(place.name, driver.resolve().name if driver.exists() else "")
    return None


def _nodes(folder):
    found = [*folder.glob("nvidia[0-9]*"), folder / "nvidiactl", folder / "nvidia-uvm"]
    found.append(folder / "dxg")
    return {
        f"/dev/{path.name}": "open" if os.access(path, os.R_OK | os.W_OK) else "denied"
        for path in found
        if path.exists()
    }


def _kernel_module(path):
    try:
        return readers.parse_proc_version(path.read_text())
    except OSError:
        return None


def _import_folders():
    return [entry for entry in sys.path if entry]


def _cuda_files(local, environment):
    folders = [
        *(path for entry in _import_folders() for path in _glob(entry, "nvidia/*/lib")),
        *_glob(local, "cuda*/lib64"),
        *(
            _glob(environment["CONDA_PREFIX"], "lib")
            if "CONDA_PREFIX" in environment
            else ()
        ),
    ]
    paths = (path for folder in dict.fromkeys(folders) for path in _glob(folder, "*"))
    return tuple(
        str(path) for path in paths if path.name.partition(".so.")[0] in _STEMS
    )


def _glob(folder, pattern):
    with contextlib.suppress(OSError):
        return sorted(pathlib.Path(folder).glob(pattern))
    return []


def _seen():
    """How many GPUs TensorFlow in this process has listed, if it has."""
    module = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(module, "_context", None)
    listed = getattr(context, "_physical_devices", None)
    if listed is None:
        return None
    return sum(device.device_type == "GPU" for device in listed)

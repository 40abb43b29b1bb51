"""Rules about the loaded driver: what it and its `cuInit` say, and what is masked.

They yield what the rules of `rules_system` yield.
"""

import re
import signal

from workbench.devices.doctor.machine import DRIVER_LIBRARY, Library
from workbench.devices.doctor.rules_system import driver_major

ERRORS = {
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    304: "CUDA_ERROR_OPERATING_SYSTEM",
    800: "CUDA_ERROR_NOT_PERMITTED",
    801: "CUDA_ERROR_NOT_SUPPORTED",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
    999: "CUDA_ERROR_UNKNOWN",
}
_OWN_RULES = {0, 34, 100, 303, 802, 803, 804, 999}
_HIDE_ALL = re.compile(r"\s*(-1|none|nodevfiles|void)?\s*", re.IGNORECASE)
_LIBRARY_VERSION = re.compile(r"libcuda\.so\.(\d+\.\d+(?:\.\d+)?)$")


def module(machine):
    """The kernel module, and whether the library is of its version."""
    opened = machine.libraries.get(DRIVER_LIBRARY, Library())
    if machine.system != "Linux" or machine.is_wsl or not opened.path:
        return
    if "compat" in opened.path or "/stubs/" in opened.path:
        # Libraries of cuda-compat differ from the module on purpose.
        return
    loaded = machine.kernel_module
    if not loaded and machine.has_gpu and not machine.container:
        holders = {card.driver for card in machine.pci or ()}
        if not holders & {"nouveau", "nova", "vfio-pci"}:
            yield "module-not-loaded", "no /proc/driver/nvidia/version", load(machine)
        return
    found = _LIBRARY_VERSION.search(opened.path)
    if loaded and found and _numbers(found[1]) != _numbers(loaded):
        reading = f"kernel module {loaded}, library {found[1]}"
        yield "driver-mismatch", reading, restart(machine)
    for source in machine.sources:
        if "version mismatch" in source.detail:
            reading = f"{source.name}: {source.detail}"
            yield "driver-mismatch", reading, restart(machine)


def _numbers(version):
    return [int(part) for part in version.split(".")]


def restart(machine):
    """Returns what loads the driver's parts anew, a dict for `CAUSES`."""
    if machine.container:
        return {"restart": "docker restart CONTAINER"}
    return {"restart": "sudo reboot"}


def load(machine):
    """Returns what loads the kernel module, a dict for `CAUSES`."""
    if machine.secure_boot:
        text = "Secure Boot is on, and the kernel wants the module's key enrolled."
        return {
            "secure_boot": text,
            "load": "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der && "
            "sudo reboot",
        }
    text = "that can fail, or a restart is still to come."
    return {"secure_boot": text, "load": "sudo modprobe nvidia"}


def lost(machine):
    """What NVML says of cards that were there before."""
    for source in machine.sources:
        text = f"{source.name}: {source.detail}"
        unknown = re.search(r"NVML: Unknown Error|NVMLError_Unknown", text)
        if unknown and machine.container:
            yield "nvml-lost", text, {}
        if re.search(r"GPU is lost|handle for GPU.*Unknown Error", text):
            yield "gpu-lost", text, {}
    for gpu in machine.gpus:
        if "lost" in gpu.model:
            yield "gpu-lost", f"GPU {gpu.index}: {gpu.model}", {}


def mask(machine):
    """What `CUDA_VISIBLE_DEVICES` hides, and MIG."""
    text = machine.mask
    if any(gpu.mig == "on" for gpu in machine.gpus):
        yield from _mig(machine)
    if text is None:
        return
    reading = f"CUDA_VISIBLE_DEVICES={text!r}"
    if not machine.gpus:
        if _status(machine) == 100 and machine.has_gpu:
            yield (
                ("masked" if _HIDE_ALL.fullmatch(text) else "mask-unmatched"),
                (f"{reading}, cuInit 100"),
                {"suggestion": "0"},
            )
        return
    number = sum(not gpu.is_instance for gpu in machine.gpus)
    reading += f", GPUs of the driver: {number}"
    entries = [entry.strip() for entry in text.split(",")]
    if not machine.visible:
        if entries[0].startswith("-") or _HIDE_ALL.fullmatch(text):
            yield "masked", reading, {}
        else:
            yield "mask-unmatched", reading, {"suggestion": _suggest(machine)}
    elif len(machine.visible) < len(entries) and not (
        _several(machine, entries) or "-1" in entries  # which ends a list on purpose
    ):
        yield "mask-partial", reading, {"suggestion": _entries(machine.visible)}


def _mig(machine):
    instances = [gpu for gpu in machine.gpus if gpu.is_instance]
    whole = [gpu for gpu in machine.gpus if gpu.mig is None]
    if not instances and not whole:
        yield "mig-without-instance", f"GPU 0: MIG on, instances: {len(instances)}", {}
        return
    entries = (machine.mask or "").split(",")
    if _several(machine, entries):
        reading = f"CUDA_VISIBLE_DEVICES={machine.mask!r}"
        yield "mig-several", reading, {"suggestion": _entries(machine.visible)}


def _several(machine, entries):
    return (
        sum(entry.strip().upper().startswith("MIG-") for entry in entries) > 1
        and sum(gpu.is_instance for gpu in machine.visible) == 1
    )


def _suggest(machine):
    return _entries(
        machine.gpus[:1]
        if machine.gpus[0].mig is None
        else [next((gpu for gpu in machine.gpus if gpu.is_instance), machine.gpus[0])]
    )


def _entries(gpus):
    return ",".join(
        gpu.uuid if gpu.is_instance and gpu.uuid else str(gpu.index) for gpu in gpus
    )


def nodes(machine):
    """The device files."""
    if machine.system != "Linux" or machine.is_wsl or _status(machine) == 0:
        return
    denied = [path for path, state in machine.nodes.items() if state == "denied"]
    if denied and _status(machine) is not None:
        group = "render" if "render" in denied[0] else "video"
        reading = f"no right to open {', '.join(denied)}, cuInit {_status(machine)}"
        yield "no-permission", reading, {"group": group}
    if machine.gpu_nodes and "/dev/nvidia-uvm" not in machine.nodes:
        uvm = "sudo nvidia-modprobe -u -c=0"
        if machine.container:
            uvm += "  # on the host; then start the container again"
        yield "no-uvm", f"{machine.gpu_nodes[0]} without /dev/nvidia-uvm", {"uvm": uvm}


def cuinit(machine):
    """What `cuInit` said, where no other rule explains it."""
    said = machine.cuinit
    if said is None or not machine.has_gpu:
        return
    if said.status is None:
        yield from _ending(machine, said)
        return
    reading = f"cuInit {said.status} ({ERRORS.get(said.status, 'no known name')})"
    compat = {"compat": _without_compat(machine)}
    if said.status == 803:
        yield "system-driver-mismatch", reading, compat
    elif said.status == 804:
        yield "compat-unsupported", reading, compat
    elif said.status == 802:
        yield "fabric-manager", reading, {}
    elif said.status == 999:
        yield "cuinit-unknown", reading, {}
    elif said.status == 100:
        yield "no-device", reading, {}
    elif said.status not in _OWN_RULES:
        status = f"{said.status}: {ERRORS.get(said.status, 'no known name')}"
        yield "cuinit-other", reading, {"status": status}


def _ending(machine, said):
    if not said.ending.startswith("signal"):
        yield "cuinit-silent", f"cuInit: {said.ending}", {}
        return
    number = int(said.ending.split()[1])
    name = signal.Signals(number).name if number in set(signal.Signals) else said.ending
    values = {"signal": name, "major": driver_major(machine)}
    yield "cuinit-crash", f"cuInit: {said.ending}", values


def _without_compat(machine):
    folders = machine.environment.get("LD_LIBRARY_PATH", "").split(":")
    rest = [folder for folder in folders if folder and "compat" not in folder]
    if len(rest) < len([folder for folder in folders if folder]):
        return f'export LD_LIBRARY_PATH="{":".join(rest)}"  # then restart Python'
    return "sudo apt-get purge -y '^cuda-compat-.*' && sudo ldconfig"


def _status(machine):
    return machine.cuinit and machine.cuinit.status

"""Readers of what the driver says: each takes text, or an object like `pynvml`."""

import dataclasses
import pathlib
import re
import shutil
import subprocess
import threading

from workbench.devices.records import Gpu

PROC = pathlib.Path("/proc/driver/nvidia")
# Under WSL the tool lies here, often outside PATH.
_WSL_LIBRARIES = "/usr/lib/wsl/lib"

_SMI_GPU = re.compile(r"GPU (\d+): (.+) \(UUID: (\S+)\)\s*$")
_SMI_INSTANCE = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (\S+)\)\s*$")
_UUID = re.compile(r"GPU-[0-9a-f-]+", re.IGNORECASE)


class ReaderError(Exception):
    """A tool answered, but not with a list of GPUs."""


def ask(reader, *, seconds):
    """Calls a reader and waits no longer than `seconds`.

    Args:
        reader: Callable without arguments.
        seconds: float, seconds. A driver in trouble can block a call for ever; the
            call then stays behind in a daemon thread.

    Returns:
        `(answer, "")`, or `(None, reason)` when it raised or did not end.
    """
    answers = []

    def call():
        try:
            answers.append((reader(), ""))
        except Exception as error:  # noqa: BLE001, a broken driver can raise anything
            answers.append((None, _describe(error)))

    thread = threading.Thread(target=call, name="workbench-reader", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else (None, f"No answer within {seconds:g} s.")


def _describe(error):
    text = " ".join(str(error).split())
    if isinstance(error, ReaderError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def read_nvml(nvml=None):
    """Reads GPUs from NVIDIA's management library; takes no GPU memory.

    Args:
        nvml: Object like the module `pynvml`, which is the default.

    Returns:
        `(gpus, versions)`: tuple of `Gpu` in the driver's order, MIG instances
        behind their GPU, and a dict with `"driver"` and `"CUDA of the driver"`.

    Raises:
        pynvml.NVMLError: If the library is missing or refuses.

    Source:
        https://docs.nvidia.com/deploy/nvml-api
    """
    if nvml is None:
        import pynvml as nvml  # noqa: PLC0415, only loaded when it is asked
    nvml.nvmlInit()
    try:
        gpus = []
        for index in range(nvml.nvmlDeviceGetCount()):
            gpus.extend(_nvml_gpus(nvml, index))
        return tuple(gpus), _nvml_versions(nvml)
    finally:
        nvml.nvmlShutdown()


def optional(nvml, function, *arguments):
    """Calls an NVML function that not every GPU supports.

    Args:
        nvml: Object like the module `pynvml`.
        function: str, the function's name.
        *arguments: What it is called with.

    Returns:
        Its value, or None when this GPU does not support it.
    """
    try:
        return getattr(nvml, function)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None


def mig_handles(nvml, handle):
    """Lists the handles of a GPU's MIG instances.

    Args:
        nvml: Object like the module `pynvml`.
        handle: NVML handle of a whole GPU.

    Returns:
        List of handles, or None when the GPU is not split.
    """
    mode = optional(nvml, "nvmlDeviceGetMigMode", handle)
    if not mode or mode[0] != 1:
        return None
    count = optional(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0
    handles = (
        optional(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, i)
        for i in range(count)
    )
    return [instance for instance in handles if instance is not None]


def _nvml_gpus(nvml, index):
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:
        # A GPU that fell off the bus must not hide the others.
        return [Gpu(model=f"unknown ({error})", index=index)]
    gpu = _nvml_gpu(nvml, handle, index)
    instances = mig_handles(nvml, handle)
    if instances is None:
        return [gpu]
    parts = [_nvml_gpu(nvml, instance, index) for instance in instances]
    return [
        dataclasses.replace(gpu, mig="on"),
        *(
            dataclasses.replace(
                part,
                mig=part.model.rpartition("MIG ")[2],
                compute_capability=gpu.compute_capability,
            )
            for part in parts
        ),
    ]


def _nvml_gpu(nvml, handle, index):
    memory = optional(nvml, "nvmlDeviceGetMemoryInfo", handle)
    capability = optional(nvml, "nvmlDeviceGetCudaComputeCapability", handle)
    return Gpu(
        model=optional(nvml, "nvmlDeviceGetName", handle) or "unknown",
        memory=memory and int(memory.total),
        memory_used=memory and int(memory.used),
        index=index,
        uuid=optional(nvml, "nvmlDeviceGetUUID", handle),
        compute_capability=capability and "{}.{}".format(*capability),
    )


def _nvml_versions(nvml):
    versions = {}
    driver = optional(nvml, "nvmlSystemGetDriverVersion")
    if driver:
        versions["driver"] = driver
    cuda = optional(nvml, "nvmlSystemGetCudaDriverVersion_v2")
    if cuda:
        versions["CUDA of the driver"] = f"{cuda // 1000}.{cuda % 1000 // 10}"
    return versions


def run_nvidia_smi(*, seconds=5.0):
    """Runs `nvidia-smi -L`.

    Args:
        seconds: float, seconds after which it is ended.

    Returns:
        str, what it wrote.

    Raises:
        ReaderError: If it is not there, does not end, or fails.
    """
    program = shutil.which("nvidia-smi") or shutil.which(
        "nvidia-smi", path=_WSL_LIBRARIES
    )
    if program is None:
        raise ReaderError("The program nvidia-smi was not found.")
    try:
        done = subprocess.run(  # noqa: S603, the program found above, fixed arguments
            [program, "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReaderError(f"No answer within {seconds:g} s.") from error
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())
        raise ReaderError(f"Ended with status {done.returncode}: {said[:200]}")
    return done.stdout


def parse_nvidia_smi(text):
    """Reads the list that `nvidia-smi -L` writes.

    Args:
        text: str, its whole output.

    Returns:
        Tuple of `Gpu`, MIG instances behind their GPU; memory is not in the list.

    Raises:
        ReaderError: If the text holds something, but no GPU.
    """
    gpus = []
    for line in text.splitlines():
        if found := _SMI_GPU.match(line):
            index, model, uuid = found.groups()
            gpus.append(Gpu(model=model, index=int(index), uuid=uuid))
        elif gpus and (found := _SMI_INSTANCE.match(line)):
            profile, uuid = found.groups()
            whole = next(gpu for gpu in reversed(gpus) if not gpu.is_instance)
            gpus[gpus.index(whole)] = dataclasses.replace(whole, mig="on")
            model = f"{whole.model} MIG {profile}"
            gpus.append(Gpu(model=model, index=whole.index, uuid=uuid, mig=profile))
    said = " ".join(text.split())
    if said and not gpus and said != "No devices found.":
        raise ReaderError(f"Not a list of GPUs: {said[:200]}")
    return tuple(gpus)


def read_proc(folder=PROC):
    """Reads the files of the driver's kernel module.

    Args:
        folder: path, `/proc/driver/nvidia`.

    Returns:
        `(gpus, versions)` as `read_nvml`; memory and MIG are not in these files.
        Inside a container the files also show the host's other GPUs.

    Raises:
        ReaderError: If the kernel module is not loaded.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ReaderError(f"{folder} does not exist: the kernel module is not loaded.")
    # The folders are named after the PCI bus, whose order the driver counts in.
    texts = [path.read_text() for path in sorted(folder.glob("gpus/*/information"))]
    gpus = tuple(parse_proc(text, index) for index, text in enumerate(texts))
    version = folder / "version"
    driver = parse_proc_version(version.read_text()) if version.is_file() else None
    return gpus, {"driver": driver} if driver else {}


def parse_proc(text, index):
    """Reads one `/proc/driver/nvidia/gpus/*/information`.

    Args:
        text: str, the file.
        index: int, the GPU's place in the order of the PCI bus. The file's own
            `Device Minor` is missing on some machines.

    Returns:
        `Gpu`.
    """
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    model = fields.get("Model", "")
    uuid = fields.get("GPU UUID", "")
    return Gpu(
        model="unknown" if model in ("", "Unknown") else model,
        index=index,
        uuid=uuid if _UUID.fullmatch(uuid) else None,
    )


def parse_proc_version(text):
    """Reads the driver's version from `/proc/driver/nvidia/version`.

    Args:
        text: str, the file.

    Returns:
        str such as `"570.133.20"`, or None.
    """
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found and found.group(1)

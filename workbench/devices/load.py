"""How busy the machine is, at one moment."""

import dataclasses
import pathlib
import time

import psutil

from workbench.devices.readers import mig_handles, optional
from workbench.devices.records import text_table
from workbench.reports import Note, Report, format_bytes

_CGROUP_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_FIRST_INTERVAL = 0.1


@dataclasses.dataclass(frozen=True)
class GpuLoad:
    """How busy one GPU, or MIG instance, is.

    Attributes:
        index: int, the driver's number.
        model: str.
        percent: float, share of the last moments in which a kernel ran, 0 to 100,
            or None when not known, as for MIG instances.
        memory_used: int, bytes in use by any program, or None when not known.
        memory: int, bytes in all, or None when not known.
        temperature: int, degrees Celsius, or None when not known.
    """

    index: int
    model: str
    percent: float | None
    memory_used: int | None
    memory: int | None
    temperature: int | None


@dataclasses.dataclass(frozen=True)
class Load(Report):
    """How busy the machine is, at one moment.

    Attributes:
        gpus: Tuple of `GpuLoad`.
        cpu_percent: float, load of all processors together, 0 to 100.
        memory_used: int, bytes of main memory in use.
        memory: int, bytes of main memory this process may use.
        process_memory: int, bytes that this process holds in main memory.
        problem: str, why there is no reading of GPUs, else `""`.
        cpu_seconds: `(busy, all)` processor seconds since the machine started;
            the next reading takes the difference.
    """

    gpus: tuple
    cpu_percent: float
    memory_used: int
    memory: int
    process_memory: int
    problem: str = ""
    cpu_seconds: tuple = (0.0, 0.0)

    def rows(self):
        """Returns what can be drawn as bars.

        Returns:
            Tuple of `(label, share, text)`: str, float from 0 to 1, str.
        """
        rows = [
            ("Processor", self.cpu_percent / 100, f"{self.cpu_percent:.0f} %"),
            _memory_row("Main memory", self.memory_used, self.memory),
            _memory_row("This process", self.process_memory, self.memory),
        ]
        for gpu in self.gpus:
            if gpu.percent is not None:
                heat = "" if gpu.temperature is None else f", {gpu.temperature} °C"
                text = f"{gpu.percent:.0f} %{heat}"
                rows.append((f"GPU {gpu.index}", gpu.percent / 100, text))
            if gpu.memory and gpu.memory_used is not None:
                label = f"GPU {gpu.index} memory"
                rows.append(_memory_row(label, gpu.memory_used, gpu.memory))
        return tuple(rows)

    def blocks(self):
        """Returns the reading as one table."""
        yield text_table(("what", "in use"), ((row[0], row[2]) for row in self.rows()))
        if self.problem:
            yield Note(f"No reading of GPUs. {self.problem}")


def _memory_row(label, used, total):
    text = f"{format_bytes(used)} of {format_bytes(total)}"
    return label, used / total if total else 0.0, text


def measure_load(since=None, *, nvml=None):
    """Reads how busy processors, memory and GPUs are.

    Args:
        since: An earlier `Load`; the processor's load is then the mean between both
            readings. Without one it is measured over 0.1 s.
        nvml: Object like the module `pynvml`, which is the default.

    Returns:
        `Load`. Where NVML does not answer it has no GPUs, and `problem` says why.
    """
    if since is None:
        before = _cpu_seconds()
        time.sleep(_FIRST_INTERVAL)
    else:
        before = since.cpu_seconds
    now = _cpu_seconds()
    gpus, problem = _gpu_loads(nvml)
    total, available = main_memory()
    return Load(
        gpus=gpus,
        cpu_percent=_percent(before, now),
        memory_used=total - available,
        memory=total,
        process_memory=psutil.Process().memory_info().rss,
        problem=problem,
        cpu_seconds=now,
    )


def main_memory(limits=_CGROUP_LIMITS):
    """Reads main memory, and the limit that a container sets.

    Args:
        limits: Paths of files that hold a limit in bytes; those missing do not count.

    Returns:
        `(total, available)`: int bytes this process may use, and those free now.
    """
    memory = psutil.virtual_memory()
    total = min([memory.total, *_limits(limits)])
    return total, min(memory.available, total)


def _limits(paths):
    for path in paths:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            yield int(text)


def _cpu_seconds():
    times = psutil.cpu_times()
    # Linux counts guests twice: by themselves and within user time.
    guests = getattr(times, "guest", 0) + getattr(times, "guest_nice", 0)
    total = sum(times) - guests
    return total - times.idle - getattr(times, "iowait", 0), total


def _percent(before, now):
    total = now[1] - before[1]
    if total <= 0:
        return 0.0
    return min(100.0, max(0.0, 100 * (now[0] - before[0]) / total))


def _gpu_loads(nvml):
    if nvml is None:
        import pynvml as nvml  # noqa: PLC0415, only loaded when it is asked
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), f"NVML says: {error}"
    try:
        loads = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            loads.extend(
                _gpu_load(nvml, part, index)
                for part in mig_handles(nvml, handle) or [handle]
            )
        return tuple(loads), ""
    except nvml.NVMLError as error:
        return (), f"NVML says: {error}"
    finally:
        optional(nvml, "nvmlShutdown")


def _gpu_load(nvml, handle, index):
    rates = optional(nvml, "nvmlDeviceGetUtilizationRates", handle)
    memory = optional(nvml, "nvmlDeviceGetMemoryInfo", handle)
    return GpuLoad(
        index=index,
        model=optional(nvml, "nvmlDeviceGetName", handle) or "unknown",
        percent=rates and float(rates.gpu),
        memory_used=memory and int(memory.used),
        memory=memory and int(memory.total),
        temperature=optional(
            nvml, "nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU
        ),
    )

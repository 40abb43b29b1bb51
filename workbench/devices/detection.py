"""One report of the driver's view and TensorFlow's view, side by side."""

import dataclasses
import os
import pathlib
import platform

import psutil

from workbench.devices import readers, tensorflow_view
from workbench.devices.load import main_memory
from workbench.devices.records import Cpu, DeviceReport, Gpu, Source
from workbench.devices.visibility import visible_positions

_CPUINFO = pathlib.Path("/proc/cpuinfo")


def detect_devices(*, tensorflow=True, seconds=5.0):
    """Finds the GPUs and the processor, and what TensorFlow sees of them.

    Asks NVML, where that fails `nvidia-smi -L`, and the files of the driver's kernel
    module; beside them TensorFlow. Takes no GPU memory and starts no device. A tool
    that is missing, broken or hanging does not raise: the report says so.

    Args:
        tensorflow: bool. False leaves TensorFlow alone, which saves the seconds of
            importing it; what it was built with is read from its files all the same.
        seconds: float, seconds to wait for each tool.

    Returns:
        `DeviceReport`.

    Source:
        https://docs.nvidia.com/deploy/nvml-api and
        https://www.tensorflow.org/api_docs/python/tf/config/list_physical_devices
    """
    driver_gpus, versions, sources = ask_driver(seconds=seconds)
    view = tensorflow_view.ask_tensorflow() if tensorflow else None
    return build_report(
        driver_gpus,
        view,
        sources=sources,
        driver_versions=versions,
        mask=os.environ.get("CUDA_VISIBLE_DEVICES"),
        by_bus=os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID",
    )


def ask_driver(
    *,
    seconds=5.0,
    nvml=readers.read_nvml,
    smi=readers.run_nvidia_smi,
    proc=readers.read_proc,
):
    """Asks the driver's three interfaces.

    Args:
        seconds: float, seconds to wait for each.
        nvml: Callable as `readers.read_nvml`.
        smi: Callable as `readers.run_nvidia_smi`.
        proc: Callable as `readers.read_proc`.

    Returns:
        `(gpus, versions, sources)`: GPUs of the first that shows any, dict of
        versions, list of `Source`.
    """
    sources = []
    best, versions = (), {}
    from_nvml, reason = readers.ask(nvml, seconds=seconds)
    if from_nvml:
        best, versions = from_nvml
    sources.append(_source("NVML", from_nvml and best, reason))

    if from_nvml:
        sources.append(Source("nvidia-smi -L", None, "Not asked: NVML answered."))
    else:
        # The reader has its own limit, so that it can end the program first.
        listed, reason = readers.ask(
            lambda: readers.parse_nvidia_smi(smi(seconds=seconds)), seconds=seconds + 1
        )
        best = listed or best
        sources.append(_source("nvidia-smi -L", listed, reason))

    from_proc, reason = readers.ask(proc, seconds=seconds)
    if from_proc:
        best, versions = best or from_proc[0], from_proc[1] | versions
    sources.append(_source(str(readers.PROC), from_proc and from_proc[0], reason))
    return best, versions, sources


def _source(name, gpus, reason):
    if gpus is None:
        return Source(name, None, reason)
    return Source(name, sum(not gpu.is_instance for gpu in gpus), reason)


def build_report(driver_gpus, view, *, sources, driver_versions, mask, by_bus=False):
    """Puts the driver's view and TensorFlow's together.

    Args:
        driver_gpus: Tuple of `Gpu` without names.
        view: `TensorFlowView`, or None when TensorFlow was not asked.
        sources: List of `Source` of the driver.
        driver_versions: dict of str.
        mask: str, `CUDA_VISIBLE_DEVICES`, or None when it is not set.
        by_bus: bool, whether CUDA was told to count by the PCI bus.

    Returns:
        `DeviceReport`.
    """
    order = visible_positions(driver_gpus, mask)
    names = view.gpus if view else None
    matched = names is not None and len(names) == len(order)
    driver_gpus = tuple(
        dataclasses.replace(
            gpu,
            visible=position in order,
            name=names[order.index(position)]
            if matched and position in order
            else None,
        )
        for position, gpu in enumerate(driver_gpus)
    )
    seen = tuple(driver_gpus[i] for i in order)
    gpus = seen if matched or names is None else tuple(Gpu(name) for name in names)
    total, available = main_memory()
    return DeviceReport(
        gpus=gpus,
        cpus=_cpus(view),
        driver_gpus=driver_gpus,
        sources=(*sources, _tensorflow_source(view)),
        mask=mask,
        memory=total,
        memory_available=available,
        versions={
            "Python": platform.python_version(),
            **tensorflow_view.read_versions(),
            **driver_versions,
        },
        build=tensorflow_view.read_build(),
        notes=tuple(_notes(driver_gpus, seen, names, by_bus=by_bus)),
        messages=view.messages if view else (),
    )


def _tensorflow_source(view):
    if view is None:
        return Source("TensorFlow", None, "Not asked.")
    if view.gpus is None:
        return Source("TensorFlow", None, view.detail)
    return Source("TensorFlow", len(view.gpus))


def _notes(driver_gpus, seen, names, *, by_bus):
    if names is None:
        if seen:
            yield (
                "TensorFlow has not said which GPUs it can use; those above are what "
                "the driver lets a program see."
            )
    elif len(names) != len(seen):
        yield (
            f"The driver lets a program see {len(seen)} GPUs, TensorFlow can use "
            f"{len(names)}; which is which cannot be told."
        )
    if any(gpu.mig == "on" for gpu in driver_gpus):
        yield (
            "CUDA shows a program at most one MIG instance; choose it by putting its "
            "UUID from `nvidia-smi -L` into CUDA_VISIBLE_DEVICES."
        )
    if not by_bus and len({gpu.model for gpu in driver_gpus}) > 1:
        yield (
            "These GPUs differ, and CUDA counts the fastest first while the driver "
            "counts along the PCI bus; CUDA_DEVICE_ORDER=PCI_BUS_ID makes both agree."
        )


def _cpus(view):
    names = (view and view.cpus) or (None,)
    model = _cpu_model()
    cores = psutil.cpu_count(logical=False)
    threads = psutil.cpu_count() or 1
    return tuple(Cpu(name, model, cores, threads) for name in names)


def _cpu_model(cpuinfo=_CPUINFO):
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = ()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"

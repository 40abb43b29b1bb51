"""From a machine's record to its findings: a pure function."""

from workbench.devices.doctor import (
    log,
    rules_cuda,
    rules_driver,
    rules_system,
)
from workbench.devices.doctor.causes import CAUSES
from workbench.devices.doctor.findings import Diagnosis, make_finding

_RULES = (
    rules_system.system,
    rules_system.package,
    rules_system.container,
    rules_system.card,
    rules_system.library,
    rules_system.wsl,
    rules_driver.module,
    rules_driver.lost,
    rules_driver.mask,
    rules_driver.nodes,
    rules_driver.cuinit,
    rules_cuda.management,
    rules_cuda.libraries,
    rules_cuda.cudnn,
    rules_cuda.generation,
    rules_cuda.capability,
    rules_cuda.process,
    log.lines,
)
# These only say that something is wrong; any other of the driver's says what.
_VAGUE = {
    "system-driver-mismatch",
    "compat-unsupported",
    "no-device",
    "cuinit-unknown",
    "cuinit-other",
    "cuinit-silent",
    "nvml-lost",
}
_PLACES = {code: place for place, code in enumerate(CAUSES)}
_FIRST, _LAST = _PLACES["container-without-gpu"], _PLACES["driver-too-old"]


def diagnose_machine(machine):
    """Says why TensorFlow does not see the GPUs of a machine.

    Args:
        machine: `Machine`. Nothing but this record is looked at.

    Returns:
        `Diagnosis`, a list of `Finding`, likeliest first.
    """
    machine = log.fill_in(machine)
    found = {}
    for rule in _RULES:
        for code, reading, values in rule(machine):
            readings, known = found.setdefault(code, ([], {}))
            readings.append(reading)
            known.update(values)
    codes = sorted(_kept(machine, set(found)), key=_PLACES.get)
    if not codes and machine.seen == 0 and machine.has_gpu:
        found["unknown"] = (["TensorFlow here lists 0 GPUs"], {})
        codes = ["unknown"]
    findings = [make_finding(code, *found[code]) for code in codes]
    return Diagnosis(findings, machine=machine, verdict=_verdict(machine, findings))


def _kept(machine, codes):
    if machine.has_gpu is False:
        # TensorFlow's complaints about a driver are normal without a card.
        codes &= {"tensorflow-missing", "metal-plugin", "native-windows"}
    clear = {
        code
        for code in codes
        if _FIRST <= _PLACES[code] <= _LAST and code not in _VAGUE
    }
    if clear:
        codes = codes - {"no-device"}
    if clear - {"masked", "mask-unmatched"}:
        codes = codes - _VAGUE
    codes = {code for code in codes if not log.is_told_better(code, codes)}
    if "looked-too-early" in codes and any(
        CAUSES[code].blocking for code in codes - {"looked-too-early"}
    ):
        codes = codes - {"looked-too-early"}
    if machine.seen:
        # TensorFlow here has found a GPU: nothing can have kept it from all.
        codes = {code for code in codes if not CAUSES[code].blocking}
    return codes


def _verdict(machine, findings):
    if findings:
        number = len(findings)
        kinds = "1 finding" if number == 1 else f"{number} findings, likeliest first"
        return f"TensorFlow and the GPU: {kinds}."
    if machine.system == "Darwin":
        return "All is well: on macOS TensorFlow runs on the processor."
    if machine.has_gpu is False:
        return (
            "All is well: this machine shows no NVIDIA GPU, and TensorFlow runs on the "
            "processor."
        )
    if machine.has_gpu is None:
        return f"Unknown whether there is an NVIDIA GPU: {_unknown(machine)}"
    count = len(machine.visible) or (machine.cuinit and machine.cuinit.count) or 0
    total = sum(gpu.mig != "on" for gpu in machine.gpus) or count
    tried = "" if machine.cuinit else " (cuInit was not tried)"
    return (
        f"All is well: nothing keeps TensorFlow from using {count} of {total} "
        f"{'GPU' if total == 1 else 'GPUs'}{tried}."
    )


def _unknown(machine):
    if machine.is_wsl:
        return (
            "Windows lends none to this Linux. If there is one, install NVIDIA's "
            "driver in Windows, not here."
        )
    if machine.system == "Windows":
        return (
            "NVML does not answer. TensorFlow for Windows has used the processor only "
            "since 2.11; in WSL2 it uses a GPU."
        )
    return "the PCI bus cannot be read here, and no driver answers."

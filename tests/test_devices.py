"""Tests of workbench.devices, on recorded outputs; no GPU is needed."""
# ruff: noqa: N802, the fake has pynvml's names

import dataclasses
import os
import subprocess
import sys
import time
import types

import psutil
import pynvml
import pytest

from workbench import devices
from workbench.devices import detection, load, readers, tensorflow_view
from workbench.devices.tensorflow_view import TensorFlowView
from workbench.devices.visibility import visible_positions

GIB = 2**30

# What `nvidia-smi -L` writes, the machines' own UUIDs replaced.
SMI_ONE = (
    "GPU 0: NVIDIA GeForce RTX 2080 SUPER "
    "(UUID: GPU-1a000000-0000-4000-8000-000000000000)\n"
)
SMI_TWO = (
    "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-2a000000-0000-4000-8000-000000000000)\n"
    "GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-2b000000-0000-4000-8000-000000000000)\n"
)
SMI_EIGHT = "".join(
    f"GPU {i}: NVIDIA H100 80GB HBM3 (UUID: GPU-8{i}000000-0000-4000-8000-{i:012d})\n"
    for i in range(8)
)
SMI_MIG = (
    "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-3a000000-0000-4000-8000-000000000000)\n"
    "  MIG 1g.20gb     Device  0: (UUID: MIG-3b000000-0000-5000-8000-000000000000)\n"
    "  MIG 1g.10gb+me  Device  1: (UUID: MIG-3c000000-0000-5000-8000-000000000000)\n"
)
SMI_NONE = "No devices found.\n"
SMI_MISMATCH = (
    "Failed to initialize NVML: Driver/library version mismatch\n"
    "NVML library version: 550.144\n"
)

# /proc/driver/nvidia/gpus/*/information of three machines.
PROC_RTX = """\
Model: \t\t NVIDIA GeForce RTX 3090
IRQ:   \t\t 77
GPU UUID: \t GPU-4a000000-0000-4000-8000-000000000000
Video BIOS: \t 94.02.26.40.81
Bus Type: \t PCIe
DMA Size: \t 47 bits
DMA Mask: \t 0x7fffffffffff
Bus Location: \t 0000:01:00.0
Device Minor: \t 0
GPU Firmware: \t 590.48.01
GPU Excluded:\t No
"""
PROC_NO_MINOR = """\
Model: \t\t Tesla K80
IRQ:   \t\t 33
GPU UUID: \t GPU-4b000000-0000-4000-8000-000000000000
Video BIOS: \t 80.21.25.00.01
Bus Type: \t PCI
DMA Size: \t 40 bits
DMA Mask: \t 0xffffffffff
Bus Location: \t 0000:02:00.0
"""
PROC_UNKNOWN = """\
Model: \t\t Unknown
IRQ:   \t\t 33
GPU UUID: \t GPU-????????-????-????-????-????????????
Video BIOS: \t ??.??.??.??.??
Bus Type: \t PCIe
DMA Size: \t 47 bits
DMA Mask: \t 0x7fffffffffff
Bus Location: \t 0000:03:00.0
Device Minor: \t 2
"""
PROC_VERSION = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  "
    "Tue Jul 13 16:14:05 UTC 2021\nGCC version:  gcc version 9.3.0\n"
)
PROC_VERSION_OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  "
    "Release Build  (dvs-builder)  Sun Mar 30 10:33:34 UTC 2025\n"
)


def nvml_error(name):
    return pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{name}"))


@dataclasses.dataclass
class FakeGpu:
    """What NVML says of one GPU; an exception instead of a value is raised."""

    model: object = "NVIDIA A100-SXM4-80GB"
    uuid: object = "GPU-2a000000-0000-4000-8000-000000000000"
    memory: object = (80 * GIB, GIB)
    capability: object = (8, 0)
    utilization: object = 25
    temperature: object = 41
    instances: object = None
    handle: object = None


class FakeNvml:
    """Answers like the module `pynvml`, for GPUs that are described."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, *gpus, failure=None):
        self.gpus = gpus
        self.failure = failure
        self.open = 0

    def nvmlInit(self):
        self._answer(self.failure)
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    @staticmethod
    def _answer(value):
        if isinstance(value, Exception):
            raise value
        return value

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        self._answer(self.gpus[index].handle)
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu):
        return self._answer(gpu.model)

    def nvmlDeviceGetUUID(self, gpu):
        return self._answer(gpu.uuid)

    def nvmlDeviceGetMemoryInfo(self, gpu):
        total, used = self._answer(gpu.memory)
        return types.SimpleNamespace(total=total, used=used)

    def nvmlDeviceGetCudaComputeCapability(self, gpu):
        return self._answer(gpu.capability)

    def nvmlDeviceGetUtilizationRates(self, gpu):
        return types.SimpleNamespace(gpu=self._answer(gpu.utilization), memory=1)

    def nvmlDeviceGetTemperature(self, gpu, sensor):
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._answer(gpu.temperature)

    def nvmlDeviceGetMigMode(self, gpu):
        if gpu.instances is None:
            raise nvml_error("NOT_SUPPORTED")
        return (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu, index):
        if index >= len(gpu.instances):
            raise nvml_error("NOT_FOUND")
        return gpu.instances[index]

    def nvmlSystemGetDriverVersion(self):
        return "570.133.20"

    def nvmlSystemGetCudaDriverVersion_v2(self):
        return 12080


def mig_gpu():
    parts = [
        FakeGpu(
            model=f"NVIDIA A100-SXM4-80GB MIG {profile}",
            uuid=uuid,
            memory=(size * GIB, 0),
            capability=nvml_error("INVALID_ARGUMENT"),
            utilization=nvml_error("NOT_SUPPORTED"),
            temperature=nvml_error("NOT_SUPPORTED"),
        )
        for profile, uuid, size in (
            ("1g.20gb", "MIG-3b000000-0000-5000-8000-000000000000", 20),
            ("1g.10gb+me", "MIG-3c000000-0000-5000-8000-000000000000", 10),
        )
    ]
    return FakeGpu(uuid="GPU-3a000000-0000-4000-8000-000000000000", instances=parts)


# Readers.


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("", []),
        (SMI_NONE, []),
        (SMI_ONE, ["NVIDIA GeForce RTX 2080 SUPER"]),
        (SMI_TWO, ["NVIDIA A100-SXM4-80GB"] * 2),
        (SMI_EIGHT, ["NVIDIA H100 80GB HBM3"] * 8),
    ],
)
def test_nvidia_smi_lists_gpus(text, models):
    gpus = readers.parse_nvidia_smi(text)
    assert [gpu.model for gpu in gpus] == models
    assert [gpu.index for gpu in gpus] == list(range(len(models)))
    assert len({gpu.uuid for gpu in gpus}) == len(models)


def test_nvidia_smi_lists_mig_instances_behind_their_gpu():
    whole, first, second = readers.parse_nvidia_smi(SMI_MIG + SMI_TWO)[:3]
    assert (whole.mig, whole.is_instance) == ("on", False)
    assert (first.mig, first.index, first.is_instance) == ("1g.20gb", 0, True)
    assert first.uuid == "MIG-3b000000-0000-5000-8000-000000000000"
    assert second.mig == "1g.10gb+me"
    assert second.model == "NVIDIA A100-SXM4-80GB MIG 1g.10gb+me"


@pytest.mark.parametrize("text", [SMI_MISMATCH, "\x00\x01garbage", "GPU 0: no uuid"])
def test_nvidia_smi_other_text_is_an_error_that_quotes_it(text):
    with pytest.raises(readers.ReaderError, match="Not a list of GPUs: ") as caught:
        readers.parse_nvidia_smi(text)
    assert text.split()[0] in str(caught.value)


def install_smi(monkeypatch, folder, script):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_nvidia_smi_runs(monkeypatch, tmp_path):
    install_smi(monkeypatch, tmp_path, f"test \"$1\" = -L && printf '{SMI_ONE}'")
    assert readers.run_nvidia_smi() == SMI_ONE


def test_nvidia_smi_that_fails_says_what_it_said(monkeypatch, tmp_path):
    install_smi(monkeypatch, tmp_path, f"printf '{SMI_MISMATCH}'; exit 18")
    with pytest.raises(readers.ReaderError, match=r"18: .*version mismatch NVML lib"):
        readers.run_nvidia_smi()


def test_nvidia_smi_that_hangs_is_ended(monkeypatch, tmp_path):
    install_smi(monkeypatch, tmp_path, "exec sleep 60")
    start = time.perf_counter()
    with pytest.raises(readers.ReaderError, match=r"No answer within 0\.2 s"):
        readers.run_nvidia_smi(seconds=0.2)
    assert time.perf_counter() - start < 10
    names = [child.name() for child in psutil.Process().children()]
    assert "sleep" not in names


def test_nvidia_smi_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(readers, "_WSL_LIBRARIES", str(tmp_path))
    with pytest.raises(readers.ReaderError, match="not found"):
        readers.run_nvidia_smi()


def test_nvidia_smi_of_wsl_lies_outside_the_path(monkeypatch, tmp_path):
    install_smi(monkeypatch, tmp_path, "echo here")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(readers, "_WSL_LIBRARIES", str(tmp_path))
    assert readers.run_nvidia_smi() == "here\n"


def test_proc_information_with_minor():
    gpu = readers.parse_proc(PROC_RTX, 0)
    assert gpu == devices.Gpu(
        model="NVIDIA GeForce RTX 3090",
        index=0,
        uuid="GPU-4a000000-0000-4000-8000-000000000000",
    )


def test_proc_information_without_minor_and_with_unknown_model():
    assert readers.parse_proc(PROC_NO_MINOR, 1).model == "Tesla K80"
    unknown = readers.parse_proc(PROC_UNKNOWN, 2)
    assert (unknown.model, unknown.uuid, unknown.index) == ("unknown", None, 2)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (PROC_VERSION, "470.57.02"),
        (PROC_VERSION_OPEN, "570.133.20"),
        ("something else\n", None),
    ],
)
def test_proc_version(text, version):
    assert readers.parse_proc_version(text) == version


def write_proc(folder, *texts, version=PROC_VERSION):
    for number, text in enumerate(texts):
        place = folder / "gpus" / f"0000:0{9 - number}:00.0"
        place.mkdir(parents=True)
        (place / "information").write_text(text)
    if version:
        (folder / "version").write_text(version)
    return folder


def test_proc_folder_counts_along_the_bus(tmp_path):
    gpus, versions = readers.read_proc(write_proc(tmp_path, PROC_RTX, PROC_NO_MINOR))
    assert [(g.index, g.model) for g in gpus] == [
        (0, "Tesla K80"),
        (1, "NVIDIA GeForce RTX 3090"),
    ]
    assert versions == {"driver": "470.57.02"}


def test_proc_folder_without_gpus_or_version(tmp_path):
    assert readers.read_proc(tmp_path) == ((), {})
    with pytest.raises(readers.ReaderError, match="kernel module is not loaded"):
        readers.read_proc(tmp_path / "missing")


def test_nvml_reads_everything_and_closes():
    nvml = FakeNvml(FakeGpu())
    gpus, versions = readers.read_nvml(nvml)
    assert gpus == (
        devices.Gpu(
            model="NVIDIA A100-SXM4-80GB",
            memory=80 * GIB,
            memory_used=GIB,
            index=0,
            uuid="GPU-2a000000-0000-4000-8000-000000000000",
            compute_capability="8.0",
        ),
    )
    assert versions == {"driver": "570.133.20", "CUDA of the driver": "12.8"}
    assert nvml.open == 0


def test_nvml_reads_mig_instances():
    whole, first, second = readers.read_nvml(FakeNvml(mig_gpu()))[0]
    assert (whole.mig, whole.memory) == ("on", 80 * GIB)
    assert (first.mig, first.memory, first.index) == ("1g.20gb", 20 * GIB, 0)
    assert (second.mig, second.compute_capability) == ("1g.10gb+me", "8.0")


def test_nvml_what_a_gpu_does_not_support_is_none():
    refused = nvml_error("NOT_SUPPORTED")
    gpu = FakeGpu(model=refused, uuid=refused, memory=refused, capability=refused)
    assert readers.read_nvml(FakeNvml(gpu))[0] == (devices.Gpu(index=0),)


def test_nvml_a_lost_gpu_hides_no_other():
    lost, good = readers.read_nvml(
        FakeNvml(FakeGpu(handle=nvml_error("GPU_IS_LOST")), FakeGpu())
    )[0]
    assert lost == devices.Gpu(model="unknown (GPU is lost)", index=0)
    assert (good.index, good.memory) == (1, 80 * GIB)


def test_nvml_closes_after_a_failure():
    nvml = FakeNvml(FakeGpu(model=RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        readers.read_nvml(nvml)
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("LIBRARY_NOT_FOUND", "NVML Shared Library Not Found"),
        ("DRIVER_NOT_LOADED", "Driver Not Loaded"),
        ("LIB_RM_VERSION_MISMATCH", "RM has detected an NVML/RM version mismatch."),
        ("NO_PERMISSION", "Insufficient Permissions"),
        ("UNKNOWN", "Unknown Error"),
    ],
)
def test_ask_turns_every_nvml_error_into_a_reason(failure, reason):
    nvml = FakeNvml(failure=nvml_error(failure))
    answer, said = readers.ask(lambda: readers.read_nvml(nvml), seconds=5)
    assert answer is None
    assert said.startswith("NVMLError_")
    assert said.endswith(f": {reason}")


def test_ask_does_not_wait_for_a_call_that_hangs():
    start = time.perf_counter()
    answer = readers.ask(lambda: time.sleep(3), seconds=0.05)
    assert answer == (None, "No answer within 0.05 s.")
    assert time.perf_counter() - start < 2


def test_ask_names_an_error_without_text():
    def fail():
        raise OSError

    assert readers.ask(fail, seconds=5) == (None, "OSError")


# CUDA_VISIBLE_DEVICES.

MIXED = readers.parse_nvidia_smi(SMI_TWO + SMI_MIG.replace("GPU 0", "GPU 2"))


@pytest.mark.parametrize(
    ("mask", "positions"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", [0]),
        ("2,1", [2, 1]),
        (" 3 , 1", [3, 1]),
        ("0,2,-1,1", [0, 2]),
        ("0,8,1", [0]),
        ("0,,1", [0]),
        ("1,1", []),
        ("GPU-80000000-0000-4000-8000-000000000000", [0]),
        ("GPU-83,gpu-81", [3, 1]),
        ("GPU-8", []),
        ("GPU-ff,0", []),
        ("1,GPU-82", [1, 2]),
    ],
)
def test_mask_on_eight_gpus(mask, positions):
    gpus = readers.parse_nvidia_smi(SMI_EIGHT)
    assert visible_positions(gpus, mask) == positions


@pytest.mark.parametrize(
    ("mask", "positions"),
    [
        (None, [0, 1]),
        ("2", [3]),
        ("GPU-3a", [3]),
        ("MIG-3c000000-0000-5000-8000-000000000000", [4]),
        ("MIG-3c,MIG-3b", [4]),
        ("1,MIG-3b", [1, 3]),
        ("MIG-ff", []),
    ],
)
def test_mask_with_mig_shows_at_most_one_instance(mask, positions):
    assert [gpu.mig for gpu in MIXED] == [None, None, "on", "1g.20gb", "1g.10gb+me"]
    assert visible_positions(MIXED, mask) == positions


def test_mask_with_nothing_but_mig():
    gpus = readers.parse_nvidia_smi(SMI_MIG)
    assert visible_positions(gpus, None) == [1]
    assert visible_positions(gpus[:1], "0") == []
    assert visible_positions(gpus[:1], None) == []
    assert visible_positions((), None) == []
    assert visible_positions((), "0") == []


# The driver's three interfaces together.


def no_proc():
    raise readers.ReaderError("/proc/driver/nvidia does not exist")


def no_smi(*, seconds):
    raise readers.ReaderError(f"nvidia-smi was not found in {seconds}")


def no_nvml():
    raise nvml_error("LIBRARY_NOT_FOUND")


def test_nvml_is_asked_first_and_then_nvidia_smi_is_not():
    gpus, versions, sources = detection.ask_driver(
        nvml=lambda: readers.read_nvml(FakeNvml(FakeGpu(), FakeGpu(uuid="GPU-other"))),
        smi=lambda **_: pytest.fail("nvidia-smi was asked"),
        proc=lambda: ((devices.Gpu(index=0),), {"driver": "1.0"}),
    )
    assert len(gpus) == 2
    assert versions["driver"] == "570.133.20"
    assert [(s.name, s.num_gpus) for s in sources] == [
        ("NVML", 2),
        ("nvidia-smi -L", None),
        ("/proc/driver/nvidia", 1),
    ]


def test_nvidia_smi_answers_where_nvml_does_not():
    gpus, versions, sources = detection.ask_driver(
        nvml=no_nvml, smi=lambda **_: SMI_MIG, proc=no_proc
    )
    assert [gpu.mig for gpu in gpus] == ["on", "1g.20gb", "1g.10gb+me"]
    assert versions == {}
    assert [s.num_gpus for s in sources] == [None, 1, None]
    assert "Shared Library Not Found" in sources[0].detail
    assert sources[2].detail == "/proc/driver/nvidia does not exist"


def test_proc_answers_where_the_others_do_not(tmp_path):
    folder = write_proc(tmp_path, PROC_RTX)
    gpus, versions, sources = detection.ask_driver(
        nvml=no_nvml, smi=no_smi, proc=lambda: readers.read_proc(folder)
    )
    assert [gpu.model for gpu in gpus] == ["NVIDIA GeForce RTX 3090"]
    assert versions == {"driver": "470.57.02"}
    assert [s.num_gpus for s in sources] == [None, None, 1]


def test_nvml_without_gpus_does_not_hide_what_proc_shows(tmp_path):
    folder = write_proc(tmp_path, PROC_RTX, version=None)
    gpus, _, sources = detection.ask_driver(
        nvml=lambda: readers.read_nvml(FakeNvml()),
        smi=no_smi,
        proc=lambda: readers.read_proc(folder),
    )
    assert len(gpus) == 1
    assert [s.num_gpus for s in sources] == [0, None, 1]


def nobody_answers():
    return detection.ask_driver(nvml=no_nvml, smi=no_smi, proc=no_proc)


def test_nobody_answers():
    gpus, versions, sources = nobody_answers()
    assert (gpus, versions) == ((), {})
    assert [s.num_gpus for s in sources] == [None] * 3
    assert all(s.detail for s in sources)


def test_version_mismatch_leaves_the_kernel_modules_view(tmp_path):
    folder = write_proc(tmp_path, PROC_RTX)

    def mismatch():
        raise nvml_error("LIB_RM_VERSION_MISMATCH")

    gpus, versions, sources = detection.ask_driver(
        nvml=mismatch,
        smi=lambda **_: SMI_MISMATCH,
        proc=lambda: readers.read_proc(folder),
    )
    assert (len(gpus), versions) == (1, {"driver": "470.57.02"})
    assert "version mismatch" in sources[0].detail
    assert "Driver/library version mismatch" in sources[1].detail


# What TensorFlow says.


def fake_tensorflow(*names):
    found = [
        types.SimpleNamespace(name=f"/physical_device:{name}", device_type=name[:3])
        for name in names
    ]
    config = types.SimpleNamespace(list_physical_devices=lambda: found)
    return lambda: types.SimpleNamespace(config=config)


def test_tensorflow_names_as_with_tf_device():
    view = tensorflow_view.ask_tensorflow(fake_tensorflow("CPU:0", "GPU:0", "GPU:1"))
    assert view == TensorFlowView(gpus=("/GPU:0", "/GPU:1"), cpus=("/CPU:0",))


def test_tensorflow_missing_or_broken_is_a_reason():
    def broken():
        raise ImportError("libnope.so: cannot open shared object file")

    view = tensorflow_view.ask_tensorflow(broken)
    assert view.gpus is None
    assert view.detail == "ImportError: libnope.so: cannot open shared object file"


def test_tensorflow_lines_on_stderr_are_caught(monkeypatch, capfd):
    def noisy():
        os.write(2, b"E0000 00:00:1795568938.69 6755 cuda_platform.cc:52] no cuInit\n")
        sys.stderr.write("W0000 00:00:1795568938.69 6755 gpu.cc:1] careful\n")
        return fake_tensorflow("CPU:0")()

    with open(2, "w", closefd=False) as stream:
        # Pytest's own sys.stderr goes past file descriptor 2.
        monkeypatch.setattr(sys, "stderr", stream)
        view = tensorflow_view.ask_tensorflow(noisy)
    assert set(view.messages) == {
        "E cuda_platform.cc:52: no cuInit",
        "W gpu.cc:1: careful",
    }
    os.write(2, b"after\n")
    assert "after" in capfd.readouterr().err
    assert view.cpus == ("/CPU:0",)


def test_log_keeps_warnings_and_errors_once():
    line = "E0000 00:00:1795568938.690330    6755 cuda.cc:52] failed call to cuInit"
    lines = [
        "WARNING: All log messages before absl::InitializeLog() is called are written",
        "I0000 00:00:1795568938.760898    6755 cudart_stub.cc:31] Could not find cuda",
        line,
        line.replace("6755", "6756"),
        "W0000 00:00:1795568938.760898    6755 gpu.cc:9] Skipping registering",
    ]
    assert tensorflow_view.parse_log(lines) == (
        "E cuda.cc:52: failed call to cuInit",
        "W gpu.cc:9: Skipping registering",
    )


def test_build_is_read_from_text_without_running_it():
    text = (
        "import collections\nbuild_info = collections.OrderedDict("
        "[('cuda_version', '12.5.1'), ('is_cuda_build', True)])\n"
    )
    expected = {"cuda_version": "12.5.1", "is_cuda_build": True}
    assert tensorflow_view.parse_build_info(text) == expected
    for other in ("", "build_info = open('x')", "build_info = f([1])", "def ("):
        assert tensorflow_view.parse_build_info(other) == {}


def test_build_is_what_tensorflow_says():
    import tensorflow as tf

    assert tensorflow_view.read_build() == dict(tf.sysconfig.get_build_info())


# The report.


def report(smi, view, mask=None, **arguments):
    gpus = readers.parse_nvidia_smi(smi)
    sources = [devices.Source("NVML", sum(not gpu.is_instance for gpu in gpus))]
    return detection.build_report(
        gpus, view, sources=sources, driver_versions={}, mask=mask, **arguments
    )


def tensorflow_with(count):
    return TensorFlowView(tuple(f"/GPU:{i}" for i in range(count)), ("/CPU:0",))


@pytest.mark.parametrize(
    ("smi", "count"), [(SMI_NONE, 0), (SMI_ONE, 1), (SMI_TWO, 2), (SMI_EIGHT, 8)]
)
def test_report_joins_driver_and_tensorflow(smi, count):
    joined = report(smi, tensorflow_with(count))
    assert [gpu.name for gpu in joined.gpus] == [f"/GPU:{i}" for i in range(count)]
    assert [gpu.index for gpu in joined.gpus] == list(range(count))
    assert joined.driver_gpus == joined.gpus
    assert joined.notes == ()


def test_report_of_a_masked_machine_follows_the_masks_order():
    masked = report(SMI_EIGHT, tensorflow_with(2), mask="5,2")
    assert [(g.name, g.index) for g in masked.gpus] == [("/GPU:0", 5), ("/GPU:1", 2)]
    assert [g.index for g in masked.driver_gpus if g.visible] == [2, 5]
    assert masked.driver_gpus[5].name == "/GPU:0"
    assert 'CUDA_VISIBLE_DEVICES is "5,2".' in str(masked)
    assert str(masked).count("hidden") == 6


def test_report_of_a_machine_that_hides_all():
    hidden = report(SMI_TWO, tensorflow_with(0), mask="-1")
    assert hidden.gpus == ()
    assert [gpu.visible for gpu in hidden.driver_gpus] == [False, False]


def test_report_of_mig():
    split = report(SMI_MIG, tensorflow_with(1))
    assert [(g.name, g.mig) for g in split.gpus] == [("/GPU:0", "1g.20gb")]
    assert [g.name for g in split.driver_gpus] == [None, "/GPU:0", None]
    assert "at most one MIG instance" in split.notes[0]
    assert "GPUs that the driver shows: 1\n" in str(split)


def test_report_where_tensorflow_uses_none():
    unused = report(SMI_TWO, tensorflow_with(0))
    assert unused.gpus == ()
    assert len(unused.driver_gpus) == 2
    assert "see 2 GPUs, TensorFlow can use 0" in unused.notes[0]
    assert str(unused).count("not used") == 2


def test_report_does_not_guess_which_gpu_tensorflow_took():
    partly = report(SMI_TWO, tensorflow_with(1))
    assert partly.gpus == (devices.Gpu(name="/GPU:0"),)
    assert [gpu.name for gpu in partly.driver_gpus] == [None, None]
    assert "which is which cannot be told" in partly.notes[0]
    assert str(partly).count("not known") == 2


def test_report_of_gpus_that_only_tensorflow_knows():
    alone = report("", tensorflow_with(1))
    assert alone.gpus == (devices.Gpu(name="/GPU:0"),)
    assert alone.driver_gpus == ()


@pytest.mark.parametrize("view", [None, TensorFlowView(detail="ImportError: no")])
def test_report_without_tensorflow_gives_what_the_driver_shows(view):
    driver = report(SMI_TWO, view, mask="1")
    assert [(gpu.name, gpu.index) for gpu in driver.gpus] == [(None, 1)]
    assert "GPUs that a program may use: 1" in str(driver)
    assert "TensorFlow has not said" in driver.notes[0]
    assert driver.cpus[0].name is None


def test_report_warns_where_cuda_and_driver_count_differently():
    both = SMI_ONE + SMI_TWO.splitlines()[1] + "\n"
    assert "fastest first" in report(both, tensorflow_with(2)).notes[0]
    assert report(both, tensorflow_with(2), by_bus=True).notes == ()


EXACT = devices.DeviceReport(
    gpus=(devices.Gpu("/GPU:0", "NVIDIA <A100>", 80 * GIB, GIB, 1),),
    cpus=(devices.Cpu("/CPU:0", "A processor", 2, 4),),
    driver_gpus=(
        devices.Gpu(model="NVIDIA <A100>", index=0, visible=False),
        devices.Gpu(
            "/GPU:0",
            "NVIDIA <A100>",
            80 * GIB,
            GIB,
            1,
            "GPU-2b000000-0000-4000-8000-000000000000",
            "8.0",
        ),
    ),
    sources=(devices.Source("NVML", 2), devices.Source("TensorFlow", 1)),
    mask="1",
    memory=16 * GIB,
    memory_available=8 * GIB,
    versions={"Python": "3.12.0"},
    build={},
    messages=("E cuda.cc:1: a < b",),
)


def test_report_reads_so_in_a_terminal():
    assert str(EXACT) == (
        """\
GPUs that TensorFlow can use: 1
TensorFlow's name  model          memory    in use
-----------------  -------------  --------  -------
/GPU:0             NVIDIA <A100>  80.0 GiB  1.0 GiB

GPUs that the driver shows: 2
number  model          memory    in use   capability  MIG  UUID           TensorFlow
------  -------------  --------  -------  ----------  ---  -------------  ----------
0       NVIDIA <A100>  unknown   unknown  -           -                   hidden
1       NVIDIA <A100>  80.0 GiB  1.0 GiB  8.0         -    GPU-2b000000…  /GPU:0
CUDA_VISIBLE_DEVICES is "1".

Where GPUs were looked for
source      GPUs  remark
----------  ----  ------
NVML        2
TensorFlow  1

Processor and memory
TensorFlow's name  model        cores  threads
-----------------  -----------  -----  -------
/CPU:0             A processor  2      4
Main memory: 8.0 GiB free of 16.0 GiB.

Versions
what    version
------  -------
Python  3.12.0
What TensorFlow was built with is not known.

What TensorFlow wrote while it looked
E cuda.cc:1: a < b"""
    )


def test_report_reads_so_in_a_notebook():
    page = EXACT._repr_html_()
    cell = '<td style="text-align:left">'
    assert page.startswith(
        "<p><b>GPUs that TensorFlow can use: 1</b></p>\n<table><thead><tr>"
    )
    assert (
        f"<tr>{cell}/GPU:0</td>{cell}NVIDIA &lt;A100&gt;</td>{cell}80.0 GiB</td>"
        f"{cell}1.0 GiB</td></tr></tbody></table>" in page
    )
    assert page.endswith("<p>E cuda.cc:1: a &lt; b</p>")
    assert page.count("<table>") == 5
    assert "<A100>" not in page


@pytest.mark.parametrize(
    ("build", "text"),
    [
        ({"is_cuda_build": False}, "without CUDA: it cannot use an NVIDIA GPU"),
        (
            {
                "is_cuda_build": True,
                "cuda_version": "12.5.1",
                "cudnn_version": "9",
                "cuda_compute_capabilities": ["sm_60", "compute_90"],
            },
            "CUDA 12.5.1 and cuDNN 9, for sm_60, compute_90.",
        ),
    ],
)
def test_report_says_what_tensorflow_was_built_with(build, text):
    assert text in str(dataclasses.replace(EXACT, build=build))


# This machine.


def test_machine_without_a_driver(monkeypatch):
    answers = nobody_answers()
    monkeypatch.setattr(detection, "ask_driver", lambda **_: answers)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = devices.detect_devices(tensorflow=False)
    assert (found.gpus, found.driver_gpus, found.mask) == ((), (), None)
    assert [source.num_gpus for source in found.sources] == [None] * 4
    assert found.sources[-1].detail == "Not asked."


def test_this_machine():
    import tensorflow as tf

    found = devices.detect_devices()
    assert [cpu.name for cpu in found.cpus] == ["/CPU:0"]
    assert found.cpus[0].threads == os.cpu_count()
    assert len(found.gpus) == len(tf.config.list_physical_devices("GPU"))
    assert found.versions["tensorflow"] == tf.__version__
    assert 0 < found.memory_available <= found.memory
    assert found.sources[-1] == devices.Source("TensorFlow", len(found.gpus))
    assert found.build["is_cuda_build"] == tf.test.is_built_with_cuda()


def test_cpu_model_of_machines_without_proc(tmp_path):
    assert detection._cpu_model(tmp_path / "missing")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n")
    assert detection._cpu_model(cpuinfo) == "Some CPU @ 2.0GHz"


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_import_and_driver_report_do_not_load_tensorflow():
    done = run_python(
        "import sys\n"
        "from workbench import devices\n"
        "devices.detect_devices(tensorflow=False); devices.measure_load()\n"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_detection_starts_no_device_and_writes_nothing():
    done = run_python(
        "from workbench import devices\n"
        "found = devices.detect_devices()\n"
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "print(len(found.cpus))"
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


# Memory settings. TensorFlow's own rules hold; only the list of GPUs is pretended.

PRETEND_GPU = """
import tensorflow as tf
from tensorflow.python.eager import context
from workbench import devices

context.context()._initialize_physical_devices()
gpu = context.PhysicalDevice("/physical_device:GPU:0", "GPU")
if {late}:
    tf.constant(1.0)
context.context()._physical_devices.append(gpu)
context.context()._memory_growth_map[gpu] = None
for call in {calls}:
    try:
        print(eval("devices." + call))
    except (RuntimeError, ValueError) as error:
        print(type(error).__name__, error)
"""


def settings_with_a_gpu(*calls, late=False):
    code = PRETEND_GPU.format(calls=calls, late=late)
    done = run_python(code, CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_grow_memory_may_be_called_twice():
    said = settings_with_a_gpu("grow_memory()", "grow_memory().gpus")
    assert said == "/GPU:0: memory is taken as it is needed. ('/GPU:0',)"


def test_limit_memory_then_grow_memory_is_refused():
    said = settings_with_a_gpu("limit_memory(2048)", "grow_memory()")
    assert said.startswith("/GPU:0: at most 2048 MiB for tensors on each. ValueError")
    assert said.endswith(
        "choose one of `grow_memory` and `limit_memory`. Received: grow_memory()"
    )


def test_after_tensorflow_has_started_both_say_what_to_do():
    said = settings_with_a_gpu("grow_memory()", "limit_memory(1024)", late=True)
    assert said.count("RuntimeError TensorFlow has already started its devices") == 2
    assert said.count("Restart the kernel and call this first") == 2
    assert "Received: grow_memory()" in said
    assert said.endswith("Received: limit_memory(1024)")


def test_without_a_gpu_nothing_changes_and_it_says_so(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [])
    for setting in (devices.grow_memory(), devices.limit_memory(1024)):
        assert setting.gpus == ()
        assert "sees no GPU" in str(setting)


@pytest.mark.parametrize(
    "megabytes", [0, -1, 0.5, float("nan"), float("inf"), "1024", None, True]
)
def test_limit_memory_checks_its_argument(megabytes):
    with pytest.raises(ValueError, match=r"`megabytes` must be .*>= 1 \(MiB") as caught:
        devices.limit_memory(megabytes)
    assert str(caught.value).endswith(f"Received: megabytes={megabytes!r}")


# Load.


def test_load_of_this_machine():
    first = devices.measure_load()
    second = devices.measure_load(first)
    for reading in (first, second):
        assert 0 <= reading.cpu_percent <= 100
        assert 0 < reading.process_memory < reading.memory
        assert 0 < reading.memory_used <= reading.memory
    assert second.cpu_seconds[1] >= first.cpu_seconds[1]


def test_load_of_the_processor_is_the_share_between_two_readings(monkeypatch):
    before = dataclasses.replace(devices.measure_load(), cpu_seconds=(10.0, 100.0))
    monkeypatch.setattr(load, "_cpu_seconds", lambda: (13.0, 112.0))
    assert devices.measure_load(before).cpu_percent == 25
    monkeypatch.setattr(load, "_cpu_seconds", lambda: (10.0, 100.0))
    assert devices.measure_load(before).cpu_percent == 0


def test_load_of_gpus():
    nvml = FakeNvml(FakeGpu(), mig_gpu())
    loads = devices.measure_load(nvml=nvml).gpus
    model = "NVIDIA A100-SXM4-80GB"
    assert loads == (
        devices.GpuLoad(0, model, 25.0, GIB, 80 * GIB, 41),
        devices.GpuLoad(1, f"{model} MIG 1g.20gb", None, 0, 20 * GIB, None),
        devices.GpuLoad(1, f"{model} MIG 1g.10gb+me", None, 0, 10 * GIB, None),
    )
    assert nvml.open == 0


def test_load_of_an_idle_gpu_is_zero_and_not_unknown():
    reading = devices.measure_load(nvml=FakeNvml(FakeGpu(utilization=0)))
    assert reading.gpus[0].percent == 0
    assert ("GPU 0", 0.0, "0 %, 41 °C") in reading.rows()


@pytest.mark.parametrize(
    "nvml",
    [
        FakeNvml(failure=nvml_error("UNKNOWN")),
        FakeNvml(FakeGpu(handle=nvml_error("UNKNOWN"))),
    ],
)
def test_load_when_nvml_is_lost(nvml):
    reading = devices.measure_load(nvml=nvml)
    assert reading.gpus == ()
    assert reading.problem == "NVML says: Unknown Error"
    assert "No reading of GPUs. NVML says: Unknown Error" in str(reading)
    assert nvml.open == 0


def test_load_reads_so_in_a_terminal():
    reading = devices.Load(
        gpus=(devices.GpuLoad(0, "A100", 25.0, GIB, 4 * GIB, 41),),
        cpu_percent=50.0,
        memory_used=6 * GIB,
        memory=8 * GIB,
        process_memory=2 * GIB,
    )
    assert str(reading) == (
        "what          in use\n"
        "------------  ------------------\n"
        "Processor     50 %\n"
        "Main memory   6.0 GiB of 8.0 GiB\n"
        "This process  2.0 GiB of 8.0 GiB\n"
        "GPU 0         25 %, 41 °C\n"
        "GPU 0 memory  1.0 GiB of 4.0 GiB"
    )
    assert [row[1] for row in reading.rows()] == [0.5, 0.75, 0.25, 0.25, 0.25]


def test_main_memory_ends_at_the_containers_limit(tmp_path):
    limit, none, missing = (tmp_path / name for name in ("limit", "none", "missing"))
    limit.write_text("104857600\n")
    none.write_text("max\n")
    whole = psutil.virtual_memory().total
    assert load.main_memory([none, missing])[0] == whole
    assert load.main_memory([missing, limit]) == (104857600, 104857600)

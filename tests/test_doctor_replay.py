"""The doctor on what the real TensorFlow does with a driver that is pretended."""

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from tests import stub_driver
from tests.machines import gpu
from workbench import devices
from workbench.devices.doctor import diagnose_machine, loader, reading

ALL = ("driver", "nvml", "cuda")
CARD = "sys/bus/pci/devices/0000:01:00.0"
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Jul 13 16:14\n"
DLOPEN = r"Cannot dlopen some GPU libraries"


def failed(name):
    return rf"failed call to cuInit: .*{name}"


@dataclasses.dataclass(frozen=True)
class Replay:
    """One pretended machine.

    `folders` are put on the loader's path; `finding` comes first, None when all is
    well; `number` GPUs TensorFlow lists; `line` stands in its log, None when it
    writes no error and no warning about it.
    """

    folders: tuple
    finding: str | None
    number: int = 0
    line: str | None = None
    environment: dict = dataclasses.field(default_factory=dict)
    gpus: tuple = (gpu(),)
    files: dict = dataclasses.field(default_factory=dict)
    module: str | None = "550.144.03"
    nodes: tuple = ("nvidia0", "nvidiactl", "nvidia-uvm")
    card: bool = True
    wheels: bool = False
    ending: int = 0


def status(number):
    return {"STUB_CUINIT": str(number)}


BARE = {"gpus": (), "module": None, "nodes": ()}
NO_DRIVER = failed(r"UNKNOWN ERROR \(303\)")

REPLAYS = {
    "all is well": Replay(ALL, None, 1),
    "two GPUs": Replay(
        ALL, None, 2, gpus=(gpu(0), gpu(1)), environment={"STUB_COUNT": "2"}
    ),
    "no card": Replay((), None, 0, NO_DRIVER, card=False, **BARE),
    "no driver": Replay((), "no-driver", 0, NO_DRIVER, **BARE),
    "container closed": Replay(
        (), "container-without-gpu", 0, NO_DRIVER, files={".dockerenv": ""}, **BARE
    ),
    "toolkit's stub": Replay(
        ("lib/stubs", "nvml", "cuda"),
        "stub-library",
        0,
        failed("CUDA_ERROR_STUB_LIBRARY"),
        status(34),
    ),
    "masked": Replay(
        ALL,
        "masked",
        0,
        failed("CUDA_ERROR_NO_DEVICE"),
        {**status(100), "CUDA_VISIBLE_DEVICES": "-1"},
    ),
    "module not loaded": Replay(
        ALL,
        "module-not-loaded",
        0,
        failed("CUDA_ERROR_NO_DEVICE"),
        status(100),
        **BARE,
    ),
    "driver updated": Replay(
        ("driver-470", "nvml", "cuda"),
        "driver-mismatch",
        0,
        failed("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        status(803),
        module="460.91.03",
    ),
    "cuInit 100": Replay(
        ALL, "no-device", 0, failed("CUDA_ERROR_NO_DEVICE"), status(100)
    ),
    "cuInit 802": Replay(
        ALL, "fabric-manager", 0, failed("CUDA_ERROR_SYSTEM_NOT_READY"), status(802)
    ),
    "cuInit 803": Replay(
        ALL,
        "system-driver-mismatch",
        0,
        failed("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        status(803),
    ),
    "cuInit 804": Replay(
        ALL,
        "compat-unsupported",
        0,
        failed("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
        status(804),
    ),
    "cuInit 999": Replay(
        ALL, "cuinit-unknown", 0, failed("CUDA_ERROR_UNKNOWN"), status(999)
    ),
    "cuInit crashes": Replay(ALL, "cuinit-crash", environment=status(-11), ending=-11),
    "no NVML": Replay(("driver", "cuda"), "no-nvml"),
    "no CUDA": Replay(("driver", "nvml"), "cuda-missing", 0, DLOPEN),
    "CUDA 13": Replay(("driver", "nvml", "cuda-13"), "cuda-other-version", 0, DLOPEN),
    "half a library": Replay(
        ("driver", "nvml", "broken", "cuda"), "cuda-broken", 0, DLOPEN
    ),
    "CUDA as wheels": Replay(
        ("driver", "nvml"), "cuda-not-found", 0, DLOPEN, wheels=True
    ),
    "RTX 5090": Replay(
        ALL,
        "gpu-too-new",
        1,
        r"not built with CUDA kernel binaries compatible with compute capability 12\.0",
        {"STUB_CAPABILITY": "120"},
        gpus=(gpu(0, "NVIDIA GeForce RTX 5090", "12.0"),),
    ),
    "K80": Replay(
        ALL,
        "gpu-too-old",
        1,
        r"not built with CUDA kernel binaries compatible with compute capability 3\.7",
        {"STUB_CAPABILITY": "37"},
        gpus=(gpu(0, "Tesla K80", "3.7"),),
    ),
}
# With a driver of this machine's own, these cannot be pretended.
WITHOUT = {"libcuda.so.1": "driver", "libnvidia-ml.so.1": "nvml"}

pytestmark = pytest.mark.skipif(
    stub_driver.COMPILER is None or sys.platform != "linux",
    reason="needs Linux and a C compiler, to build the pretended driver",
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The built libraries, and TensorFlow's own as if it were installed there."""
    folder = tmp_path_factory.mktemp("stub")
    stub_driver.build(folder)
    (folder / "lib/stubs").mkdir(parents=True)
    (folder / "lib/stubs/libcuda.so.1").symlink_to(folder / "driver/libcuda.so.1")
    (folder / "broken").mkdir()
    (folder / "broken/libcublasLt.so.12").write_bytes(b"\x7fELF")
    for number, name in (("470.57.02", "driver-470"),):
        compiled = stub_driver.compile_library(
            folder / name, f"libcuda.so.{number}", stub_driver.CUDA_SOURCE
        )
        (folder / name / "libcuda.so.1").symlink_to(compiled)
    tensorflow = reading._tensorflow_folder()
    stub_driver.make_site(folder / "bare", tensorflow)
    stub_driver.make_site(folder / "site", tensorflow, folder / "cuda")
    (folder / "other/nvidia/cu13/lib").mkdir(parents=True)
    (folder / "other/nvidia/cu13/lib/libcublas.so.13").write_bytes(b"")
    return folder


def environment_of(replay, places):
    folders = [str(places / name) for name in replay.folders]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "LD_LIBRARY_PATH": ":".join(folders), **replay.environment}


def site_of(replay, places):
    return places / ("site" if replay.wheels else "bare")


@pytest.fixture(scope="module")
def seen(places):
    """What TensorFlow makes of each pretended machine."""
    jobs = {
        name: (site_of(replay, places) / "tensorflow", environment_of(replay, places))
        for name, replay in REPLAYS.items()
    }
    return stub_driver.list_all(jobs)


def make_root(replay, root):
    root.joinpath("sys/bus/pci/devices").mkdir(parents=True)
    if replay.card:
        stub_driver.write(root, f"{CARD}/vendor", "0x10de\n")
        stub_driver.write(root, f"{CARD}/class", "0x030200\n")
    if replay.module:
        text = VERSION.format(replay.module)
        stub_driver.write(root, "proc/driver/nvidia/version", text)
    for name in replay.nodes:
        stub_driver.write(root, f"dev/{name}")
    for name, text in replay.files.items():
        stub_driver.write(root, name, text)
    return root


def skip_where_it_cannot_be_pretended(replay):
    own = loader.find_libraries([])
    for name, folder in WITHOUT.items():
        given = any(each.startswith((folder, "lib/")) for each in replay.folders)
        if own[name].path and not given:
            pytest.skip(f"this machine has {name} of its own")


@pytest.mark.parametrize("name", REPLAYS)
def test_the_doctor_agrees_with_tensorflow(name, places, seen, tmp_path, monkeypatch):
    replay, said = REPLAYS[name], seen[name]
    skip_where_it_cannot_be_pretended(replay)
    site = site_of(replay, places)
    monkeypatch.setattr(reading, "_tensorflow_folder", lambda: site / "tensorflow")
    imports = [str(site)]
    if "cuda-13" in replay.folders:
        imports.append(str(places / "other"))
    monkeypatch.setattr(reading, "_import_folders", lambda: imports)
    machine = devices.read_machine(
        environment=environment_of(replay, places),
        root=make_root(replay, tmp_path),
        ask_driver=lambda *, seconds: (replay.gpus, {}, []),
        seconds=120,
        log=said.log,
    )
    codes = [finding.code for finding in diagnose_machine(machine)]
    assert codes[:1] == ([replay.finding] if replay.finding else [])
    # What TensorFlow itself did with it:
    assert said.returncode == replay.ending
    assert said.number == replay.number
    text = "\n".join(said.log)
    if replay.line:
        assert re.search(replay.line, text)
    else:
        assert "failed call to cuInit" not in text
        assert "dlopen" not in text
        assert "not built with CUDA kernel" not in text
    # The record holds all of it: what was stored elsewhere says the same.
    machine.save(tmp_path / "machine.json")
    loaded = diagnose_machine(devices.load_machine(tmp_path / "machine.json"))
    assert [finding.code for finding in loaded] == codes


def test_the_log_alone_names_what_it_can(seen):
    for name in ("masked", "cuInit 803", "cuInit 804", "cuInit 802", "RTX 5090"):
        machine = devices.Machine(
            pci=(devices.doctor.machine.PciCard("0000:01:00.0", "nvidia"),),
            versions={"tensorflow": "2.21.0"},
            build={"is_cuda_build": True},
            environment=REPLAYS[name].environment,
            log=seen[name].log,
        )
        assert diagnose_machine(machine)[0].code == REPLAYS[name].finding


def test_python_lists_and_logs_the_same(places, seen):
    replay = REPLAYS["RTX 5090"]
    code = (
        "import tensorflow as tf\n"
        "print(*[d.name for d in tf.config.list_physical_devices()], sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment_of(replay, places),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert tuple(done.stdout.split()) == seen["RTX 5090"].devices
    assert re.search(replay.line, done.stderr)

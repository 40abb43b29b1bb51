"""Tests of the doctor, on machines that are written down; no GPU is needed."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

import workbench.__main__ as command
from tests.machines import (
    BARE,
    BUILD,
    HEALTHY,
    HOME,
    LINUX,
    MIG_MACHINE,
    NO_CUDA,
    PAIR,
    PLAIN,
    SICK,
    SITE,
    UUID,
    but,
    gpu,
    masked,
)
from workbench import devices
from workbench.devices.doctor import diagnose_machine, loader, reading
from workbench.devices.doctor.causes import CAUSES
from workbench.devices.doctor.machine import CuInit, Library, hide_private

ROOT = pathlib.Path(__file__).parents[1]
RECORDS = {
    "after_update": "driver updated, not restarted",
    "container": "container closed",
    "new_card": "RTX 5090, from the log",
    "workstation": "libcusolver beside the path",
}
FULL_UUID = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}-")


# Recorded and simulated machines.


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_machine_has_no_finding_and_one_line(name):
    diagnosis = diagnose_machine(HEALTHY[name])
    assert diagnosis == []
    known = HEALTHY[name].has_gpu is not None or HEALTHY[name].system != "Linux"
    assert str(diagnosis).startswith("All is well: " if known else "Unknown whether ")
    assert not known or "\n" not in str(diagnosis)


@pytest.mark.parametrize("name", SICK)
def test_the_first_finding_names_the_cause(name):
    code, machine = SICK[name]
    diagnosis = diagnose_machine(machine)
    assert diagnosis[0].code == code
    for finding in diagnosis:
        parts = dataclasses.asdict(finding)
        assert all(parts[part] for part in ("cause", "evidence", "meaning", "remedy"))
        assert "{" not in "".join(map(str, parts.values())).replace(
            "{limits: {nvidia", ""
        )
        assert not FULL_UUID.search(str(finding))
        assert HOME not in finding.evidence
        for text in (finding.cause, finding.remedy, finding.check):
            assert text in str(diagnosis)


def test_there_are_enough_machines_and_each_cause_has_one():
    assert len(HEALTHY) >= 10
    assert len(HEALTHY) + len(SICK) >= 40
    assert {code for code, _ in SICK.values()} == set(CAUSES)
    assert len(CAUSES) >= 20


@pytest.mark.parametrize("name", SICK)
def test_a_machine_comes_back_from_its_file(name, tmp_path):
    _, machine = SICK[name]
    machine.save(tmp_path / "machine.json")
    loaded = devices.load_machine(tmp_path / "machine.json")
    first, second = diagnose_machine(machine), diagnose_machine(loaded)
    assert [f.code for f in first] == [f.code for f in second]
    assert [f.evidence for f in first] == [f.evidence for f in second]
    text = (tmp_path / "machine.json").read_text()
    assert HOME not in text
    assert not FULL_UUID.search(text)


def test_the_records_of_the_notebook_are_of_these_machines():
    for path in (ROOT / "notebooks/data/machines").glob("*.json"):
        name = RECORDS[path.stem]
        loaded = diagnose_machine(devices.load_machine(path))
        assert [finding.code for finding in loaded] == [SICK[name][0]]
        assert path.read_text() == SICK[name][1].to_json()


# What findings say.


def only(machine):
    (finding,) = diagnose_machine(machine)
    return finding


def test_evidence_is_the_exact_reading():
    finding = only(SICK["driver updated, seen in the log only"][1])
    assert finding.evidence == (
        "TensorFlow's log: kernel version 460.91.3 does not match DSO version 470.57.2"
    )
    first = diagnose_machine(SICK["driver updated, not restarted"][1])[0]
    assert first.evidence.startswith("kernel module 460.91.03, library 470.57.02; NVML")
    finding = only(SICK["RTX 5090"][1])
    assert finding.evidence == (
        "NVIDIA GeForce RTX 5090 has compute capability 12.0, TensorFlow was built for "
        "sm_60, sm_70, sm_80, sm_89, compute_90"
    )


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        (
            "libcusolver beside the path",
            'export LD_LIBRARY_PATH="$HOME'
            f'{SITE.removeprefix(HOME)}/nvidia/cusolver/lib:$LD_LIBRARY_PATH"',
        ),
        ("toolkit's stub", 'export LD_LIBRARY_PATH="/opt/lib"'),
        ("cuInit 803", 'export LD_LIBRARY_PATH="/opt/lib"'),
        ("mask with a hole", "export CUDA_VISIBLE_DEVICES=0 "),
        ("two MIG instances wanted", "export CUDA_VISIBLE_DEVICES=MIG-3b3b4c50 "),
        ("mask counted from one", "export CUDA_VISIBLE_DEVICES=0 "),
        ("Apptainer without --nv", "apptainer exec --nv "),
        ("card for a virtual machine", "sudo driverctl unset-override 0000:81:00.0"),
        ("cuDNN too old, from the log", '"nvidia-cudnn-cu12>=9.3.0"'),
        ("module refused by Secure Boot", "sudo mokutil --import "),
        ("K80", "tensorflow[and-cuda]==2.10.*"),
    ],
)
def test_the_remedy_fits_the_machine(name, remedy):
    code, machine = SICK[name]
    finding = diagnose_machine(machine)[0]
    assert finding.code == code
    shown = (
        finding.remedy
        if "$HOME" not in remedy
        else finding.remedy.replace(HOME, "$HOME")
    )
    assert remedy in shown


def test_what_one_cause_explains_is_no_second_finding():
    codes = [f.code for f in diagnose_machine(SICK["driver updated, not restarted"][1])]
    assert codes == ["driver-mismatch"]
    masked_pair = but(PAIR, environment=masked("-1"), cuinit=CuInit(804))
    codes = [f.code for f in diagnose_machine(masked_pair)]
    assert codes == ["compat-unsupported", "masked"]


def test_two_causes_are_two_findings_and_the_root_comes_first():
    codes = [finding.code for finding in diagnose_machine(BARE)]
    assert codes == ["no-driver", "cuda-missing"]


def test_what_tensorflow_sees_here_overrules_what_would_block_it():
    blocked = but(LINUX, libraries=NO_CUDA, files=(), cuinit=CuInit(999))
    assert [f.code for f in diagnose_machine(blocked)] == [
        "cuinit-unknown",
        "cuda-missing",
    ]
    assert diagnose_machine(but(blocked, seen=1)) == []


@pytest.mark.parametrize(
    ("capability", "code"),
    [
        ("3.7", "gpu-too-old"),
        ("5.2", "gpu-too-old"),
        ("6.0", None),
        ("6.1", None),
        ("7.5", None),
        ("8.6", None),
        ("8.9", None),
        ("9.0", None),
        ("10.0", "gpu-too-new"),
        ("12.0", "gpu-too-new"),
        (None, None),
    ],
)
def test_card_and_build(capability, code):
    codes = [
        f.code for f in diagnose_machine(but(LINUX, gpus=(gpu(0, "X", capability),)))
    ]
    assert codes == [code] * (code is not None)


def test_a_hidden_card_is_not_judged():
    old_and_new = (gpu(0), gpu(1, "Tesla K80", "3.7"))
    assert diagnose_machine(but(PAIR, gpus=old_and_new, environment=masked("0"))) == []
    found = diagnose_machine(but(PAIR, gpus=old_and_new))
    assert [finding.code for finding in found] == ["gpu-too-old"]


def test_private_names_are_hidden():
    text = f"{HOME}/x and {UUID.format(3)} and MIG-3b3b4c5d-0000-5000-8000-000000000000"
    assert hide_private(text) == "~/x and GPU-2a3b4c53 and MIG-3b3b4c5d"


def test_a_finding_reads_so_in_a_terminal():
    assert str(only(SICK["masked"][1])) == (
        """\
CUDA_VISIBLE_DEVICES hides every GPU
Seen: CUDA_VISIBLE_DEVICES='-1', GPUs of the driver: 2
It means: That is right where the processor is wanted. The variable counts when
TensorFlow first looks for devices.
Remedy:
    unset CUDA_VISIBLE_DEVICES  # then start Python, or the kernel, again
Check again:
    python -m workbench doctor"""
    )


def test_a_diagnosis_reads_so_in_a_notebook():
    page = diagnose_machine(BARE)._repr_html_()
    assert page.startswith(
        "<p>TensorFlow and the GPU: 2 findings, likeliest first.</p>"
    )
    assert "<p><b>1. The NVIDIA driver is not installed</b></p>" in page
    assert "<pre>sudo ubuntu-drivers install &amp;&amp; sudo reboot</pre>" in page


def test_versions_to_paste_name_no_uuid():
    text = str(diagnose_machine(MIG_MACHINE).versions())
    assert "MIG 1g.10gb" in text
    assert "550.144.03" in text
    assert "8.0" in text
    assert not FULL_UUID.search(text)


# Arguments.


@pytest.mark.parametrize("seconds", [0, -1, "2", None, True, float("inf")])
def test_seconds_must_be_positive(seconds):
    with pytest.raises(ValueError, match="`seconds` must be a finite number > 0"):
        devices.diagnose(seconds=seconds)


def test_machine_must_be_one():
    with pytest.raises(TypeError, match=r"`machine` must be a `Machine`.*Received"):
        devices.diagnose({"system": "Linux"})


@pytest.mark.parametrize("text", ["", "[]", "{}x", '{"nonsense": 1}', '{"gpus": [1]}'])
def test_a_file_that_is_no_record_says_so(text, tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"`filepath` must be a machine's record"):
        devices.load_machine(path)


# Reading a machine.


def write(root, name, text=""):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def nobody(*, seconds):
    return (), {}, [devices.Source("NVML", None, "nobody")]


def read(root, environment=None, **arguments):
    return devices.read_machine(
        environment=environment or {},
        root=root,
        ask_driver=nobody,
        cuinit=False,
        **arguments,
    )


def test_files_of_a_machine_are_read(tmp_path):
    place = "sys/bus/pci/devices/0000:01:00"
    for number, kind in ((0, "0x030000"), (1, "0x040300")):
        write(tmp_path, f"{place}.{number}/vendor", "0x10de\n")
        write(tmp_path, f"{place}.{number}/class", f"{kind}\n")
    write(tmp_path, "sys/bus/pci/devices/0000:02:00.0/vendor", "0x8086\n")
    write(tmp_path, "drivers/nouveau/module")
    (tmp_path / f"{place}.0/driver").symlink_to(tmp_path / "drivers/nouveau")
    for name in ("nvidia0", "nvidia1", "nvidia-uvm", "nvidia-caps", "null"):
        write(tmp_path, f"dev/{name}")
    write(
        tmp_path,
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13\n",
    )
    write(tmp_path, ".dockerenv")
    boot = tmp_path / reading._SECURE_BOOT
    boot.parent.mkdir(parents=True)
    boot.write_bytes(b"\x06\0\0\0\x01")
    machine = read(tmp_path, {"CUDA_VISIBLE_DEVICES": "1", "SECRET": "x"}, log="a\nb")
    assert machine.pci == (devices.doctor.machine.PciCard("0000:01:00.0", "nouveau"),)
    assert machine.nodes == dict.fromkeys(
        ("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia-uvm"), "open"
    )
    assert machine.gpu_nodes == ("/dev/nvidia0", "/dev/nvidia1")
    assert machine.kernel_module == "470.57.02"
    assert (machine.container, machine.secure_boot) == ("docker", True)
    assert machine.environment == {"CUDA_VISIBLE_DEVICES": "1"}
    assert machine.log == ("a", "b")
    assert machine.seen is None


def test_a_machine_without_any_file(tmp_path):
    machine = read(tmp_path)
    assert (machine.pci, machine.nodes, machine.kernel_module) == (None, {}, None)
    assert (machine.container, machine.secure_boot, machine.wsl_driver) == (
        "",
        None,
        False,
    )
    assert machine.has_gpu is None


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"APPTAINER_CONTAINER": "x.sif"}, "apptainer"),
        ({"container": "lxc"}, "lxc"),
    ],
)
def test_kinds_of_containers(environment, kind, tmp_path):
    assert read(tmp_path, environment).container == kind


def test_build_and_needs_are_read_from_files():
    import tensorflow as tf

    machine = devices.read_machine(cuinit=False)
    assert machine.build == dict(tf.sysconfig.get_build_info())
    assert machine.versions["tensorflow"] == tf.__version__
    assert machine.needs["nvidia-cudnn-cu12"] == "9.3.0.75"
    assert len(machine.libraries) == 9


def test_what_tensorflow_has_seen_here_is_read():
    import tensorflow as tf

    number = len(tf.config.list_physical_devices("GPU"))
    assert reading._seen() == number


def test_folders_of_the_loader(tmp_path, monkeypatch):
    write(tmp_path, "one/libcudnn.so.9")
    write(tmp_path, "two/libcudnn.so.9")
    write(tmp_path, "three/libcuda.so.550.144.03")
    (tmp_path / "three/libcuda.so.1").symlink_to("libcuda.so.550.144.03")
    cache = tmp_path / "cache"
    cache.write_bytes(f"x\0{tmp_path}/three/libcuda.so.1\0libc.so\0".encode())
    monkeypatch.setattr(loader, "_CACHE", cache)
    found = loader.find_libraries([str(tmp_path / "one"), str(tmp_path / "two")])
    assert found["libcudnn.so.9"] == Library(str(tmp_path / "one/libcudnn.so.9"))
    path = found["libcuda.so.1"].path
    assert path == str(tmp_path / "three/libcuda.so.550.144.03")
    assert found["libcublasLt.so.12"].is_missing


def test_the_runpath_is_read_as_readelf_reads_it(tmp_path):
    folder = reading._tensorflow_folder()
    library = folder / "libtensorflow_framework.so.2"
    link = tmp_path / "tensorflow" / library.name
    link.parent.mkdir()
    link.symlink_to(library)
    for name in ("cudnn", "cublas", "cusolver", "unknown"):
        (tmp_path / "nvidia" / name / "lib").mkdir(parents=True)
    found = {os.path.normpath(each) for each in loader.read_runpath(link)}
    # The package keeps cusolver's folder in another of its libraries, so it is not
    # searched: when this fails, TensorFlow has mended it.
    assert found == {str(tmp_path / f"nvidia/{n}/lib") for n in ("cudnn", "cublas")}
    write(tmp_path, "text.so", "no library")
    assert loader.read_runpath(tmp_path / "text.so") == []
    assert loader.read_runpath(tmp_path / "missing.so") == []


# The driver in a process of its own.

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(
    COMPILER is None, reason="needs a C compiler, to build a driver in trouble"
)


def build_driver(folder, body):
    source = folder / "driver.c"
    source.write_text(
        "#include <signal.h>\n#include <unistd.h>\n"
        f"int cuInit(unsigned flags) {{ {body} }}\n"
        "int cuDeviceGetCount(int *count) { *count = 3; return 0; }\n"
        "int cuDriverGetVersion(int *version) { *version = 12080; return 0; }\n"
    )
    library = folder / "libcuda.so.1"
    arguments = [COMPILER, "-shared", "-fPIC", "-o", library, source]
    subprocess.run(arguments, check=True, timeout=60)
    return {"LD_LIBRARY_PATH": str(folder)}


@needs_compiler
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 0;", CuInit(0, 3)),
        ("return 803;", CuInit(803)),
        ("raise(SIGSEGV); return 0;", CuInit(ending="signal 11")),
        ("_exit(3); return 0;", CuInit(ending="exit status 3")),
    ],
)
def test_cuinit_is_tried_elsewhere(body, said, tmp_path):
    libraries, cuinit, cuda = loader.Probe(build_driver(tmp_path, body)).read(60)
    assert cuinit == said
    assert cuda == ("12.8" if said.status is not None else None)
    assert libraries["libcuda.so.1"].path == str(tmp_path / "libcuda.so.1")
    assert libraries["libcudart.so.12"].is_missing


@needs_compiler
def test_a_driver_that_hangs_is_left_behind(tmp_path):
    probe = loader.Probe(build_driver(tmp_path, "for (;;) pause();"))
    process = probe._driver
    begin = time.monotonic()
    _, cuinit, _ = probe.read(2)
    assert time.monotonic() - begin < 60
    assert cuinit == CuInit(ending="no answer in time")
    assert process.wait(60) < 0
    finding = only(but(LINUX, cuinit=cuinit))
    assert finding.cause.startswith("Unknown: cuInit did not answer")


def test_no_driver_library_is_no_answer_of_cuinit(tmp_path):
    broken = tmp_path / "libcuda.so.1"
    broken.write_bytes(b"\x7fELF")
    libraries, cuinit, _ = loader.Probe({"LD_LIBRARY_PATH": str(tmp_path)}).read(60)
    assert cuinit is None
    assert libraries["libcuda.so.1"].is_broken
    machine = but(LINUX, libraries=libraries, cuinit=None)
    assert diagnose_machine(machine)[0].code == "driver-broken"


# The whole, and the command.


def test_this_machine_is_read_without_tensorflow():
    code = (
        "import pathlib, sys\n"
        "from workbench import devices\n"
        "devices.diagnose(cuinit=False)\n"
        "devices.diagnose(seconds=60)\n"
        "maps = pathlib.Path('/proc/self/maps').read_text()\n"
        "loaded = [m for m in ('tensorflow', 'keras') if m in sys.modules]\n"
        "print(loaded, 'libcuda' in maps, 'libcudart' in maps)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("[] False False\n", "")


def test_without_tensorflow_it_says_so():
    code = (
        "import importlib.abc, importlib.metadata, sys\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('tensorflow', 'keras'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "version = importlib.metadata.version\n"
        "def gone(name):\n"
        "    if name in ('tensorflow', 'keras'):\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "importlib.metadata.version = gone\n"
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n: None if n == 'tensorflow' else find(n)\n"
        "from workbench.__main__ import main\n"
        "sys.exit(main(['doctor', '--quick']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "1. TensorFlow is not installed in this Python" in done.stdout


def test_the_command_prints_what_diagnose_says(capsys, tmp_path):
    path = tmp_path / "machine.json"
    SICK["cuInit 999"][1].save(path)
    assert command.main(["doctor", "--machine", str(path)]) == 1
    said = capsys.readouterr().out
    assert said.startswith(str(diagnose_machine(SICK["cuInit 999"][1])))
    assert "To paste into an issue" in said
    assert re.search(r"^tensorflow +2\.21\.0$", said, re.MULTILINE)
    assert re.search(r"^cuInit +999$", said, re.MULTILINE)


def test_the_command_keeps_a_record_and_reads_a_log(capsys, tmp_path):
    PLAIN.save(tmp_path / "plain.json")
    LINUX.save(tmp_path / "linux.json")
    log = tmp_path / "log.txt"
    log.write_text("\n".join(SICK["no CUDA libraries, from the log"][1].log))
    arguments = ["doctor", "--log", str(log), "--machine"]
    assert command.main([*arguments, str(tmp_path / "plain.json")]) == 0
    kept = tmp_path / "kept.json"
    arguments += [str(tmp_path / "linux.json"), "--save", str(kept)]
    assert command.main(arguments) == 1
    assert "1. CUDA libraries are missing" in capsys.readouterr().out
    assert json.loads(kept.read_text())["log"] == list(
        SICK["no CUDA libraries, from the log"][1].log
    )


@pytest.mark.parametrize(
    "arguments",
    [["--machine", "nowhere.json"], ["--log", "nowhere.txt"], ["--save", "no/where"]],
)
def test_the_command_says_which_file_fails(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert command.main(["doctor", "--quick", *arguments]) == 2
    assert arguments[1].split("/")[0] in capsys.readouterr().err


def test_the_wheel_of_these_fixtures_is_the_one_installed():
    assert {**tensorflow_build(), **BUILD} == tensorflow_build()


def tensorflow_build():
    return devices.doctor.reading.tensorflow_view.read_build()

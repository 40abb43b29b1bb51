"""Machines for the doctor: a few whole ones, and many that differ in little.

The texts of tools are recorded ones, with other UUIDs and names.
"""

import dataclasses

from workbench.devices import Gpu, Source
from workbench.devices.doctor.machine import (
    CUDA_LIBRARIES,
    CuInit,
    Library,
    Machine,
    PciCard,
)

GIB = 2**30
UUID = "GPU-2a3b4c5{}-0000-4000-8000-000000000000"
MIG = "MIG-3b3b4c5{}-0000-5000-8000-000000000000"
HOME = "/".join(("", "home", "ada"))
SITE = f"{HOME}/venv/lib/python3.12/site-packages"
WSL2 = "5.15.153.1-microsoft-standard-WSL2"
BUILD = {
    "cuda_compute_capabilities": ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"],
    "cuda_version": "12.5.1",
    "cudnn_version": "9",
    "is_cuda_build": True,
    "is_rocm_build": False,
}
CPU_BUILD = {"is_cuda_build": False, "is_rocm_build": False}
VERSIONS = {"Python": "3.12.3", "tensorflow": "2.21.0", "keras": "3.15.1"}
DRIVER = {"driver": "550.144.03", "CUDA of the driver": "12.4"}
DENIED = {"/dev/nvidia0": "denied", "/dev/nvidiactl": "open", "/dev/nvidia-uvm": "open"}

FOLDERS = {
    "libcudart.so.12": "cuda_runtime",
    "libcublas.so.12": "cublas",
    "libcublasLt.so.12": "cublas",
    "libcufft.so.11": "cufft",
    "libcusolver.so.11": "cusolver",
    "libcusparse.so.12": "cusparse",
    "libcudnn.so.9": "cudnn",
}
WHEELS = tuple(f"{SITE}/nvidia/{FOLDERS[name]}/lib/{name}" for name in CUDA_LIBRARIES)


def absent(*names):
    """Libraries that the loader does not find."""
    text = "cannot open shared object file: No such file or directory"
    return {name: Library(None, f"{name}: {text}") for name in names}


def driver(version="550.144.03", folder="/usr/lib/x86_64-linux-gnu"):
    """The driver's two libraries."""
    return {
        "libcuda.so.1": Library(f"{folder}/libcuda.so.{version}"),
        "libnvidia-ml.so.1": Library(f"{folder}/libnvidia-ml.so.{version}"),
    }


NO_DRIVER = absent("libcuda.so.1", "libnvidia-ml.so.1")
NO_CUDA = absent(*CUDA_LIBRARIES)
CUDA = {name: Library(path) for name, path in zip(CUDA_LIBRARIES, WHEELS, strict=True)}


def gpu(index=0, model="NVIDIA A100-SXM4-80GB", capability="8.0", **fields):
    uuid = UUID.format(index)
    return Gpu(None, model, 80 * GIB, GIB, index, uuid, capability, **fields)


def instance(number):
    model = "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
    return Gpu(None, model, 10 * GIB, 0, 0, MIG.format(number), "8.0", mig="1g.10gb")


SPLIT = (dataclasses.replace(gpu(), mig="on"), instance(0), instance(1))


def silent(error="LibraryNotFound", reason="NVML Shared Library Not Found"):
    """What was asked, where nobody shows a GPU."""
    return (
        Source("NVML", None, f"NVMLError_{error}: {reason}"),
        Source("nvidia-smi -L", None, "The program nvidia-smi was not found."),
        Source("/proc/driver/nvidia", None, "/proc/driver/nvidia does not exist"),
    )


# Whole machines.

PLAIN = Machine(
    release="6.8.0-45-generic",
    versions=VERSIONS,
    needs={"nvidia-cudnn-cu12": "9.3.0.75"},
    build=BUILD,
    pci=(),
    sources=silent(),
    libraries={**NO_DRIVER, **NO_CUDA},
)
LINUX = dataclasses.replace(
    PLAIN,
    versions={**VERSIONS, **DRIVER, "nvidia-cudnn-cu12": "9.10.2.21"},
    pci=(PciCard("0000:01:00.0", "nvidia"),),
    nodes={
        "/dev/nvidia0": "open",
        "/dev/nvidiactl": "open",
        "/dev/nvidia-uvm": "open",
    },
    kernel_module="550.144.03",
    gpus=(gpu(),),
    sources=(Source("NVML", 1),),
    libraries={**driver(), **CUDA},
    files=WHEELS,
    cuinit=CuInit(0, 1),
)
BARE = dataclasses.replace(
    PLAIN,
    pci=(PciCard("0000:01:00.0"),),
    sources=silent("DriverNotLoaded", "Driver Not Loaded"),
)
DOCKER = dataclasses.replace(
    LINUX,
    container="docker",
    environment={
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    },
)
CLOSED = dataclasses.replace(
    DOCKER,
    nodes={},
    gpus=(),
    cuinit=None,
    libraries={**NO_DRIVER, **CUDA},
    sources=silent(),
)
WSL = dataclasses.replace(
    LINUX,
    release=WSL2,
    pci=(),
    nodes={"/dev/dxg": "open"},
    kernel_module=None,
    wsl_driver=True,
    gpus=(gpu(model="NVIDIA GeForce RTX 3060 Laptop GPU", capability="8.6"),),
    libraries={**driver("1.1", "/usr/lib/wsl/drivers/nvam.inf_amd64_1"), **CUDA},
)
PAIR = dataclasses.replace(LINUX, gpus=(gpu(0), gpu(1)), cuinit=CuInit(0, 2))
MIG_MACHINE = dataclasses.replace(LINUX, gpus=SPLIT)
WINDOWS = Machine(
    system="Windows",
    release="11",
    architecture="AMD64",
    versions={**VERSIONS, **DRIVER},
    build=CPU_BUILD,
    gpus=(gpu(model="NVIDIA GeForce RTX 4070", capability="8.9"),),
    sources=(Source("NVML", 1),),
)
MAC = Machine(
    system="Darwin",
    release="24.1.0",
    architecture="arm64",
    versions=VERSIONS,
    build=CPU_BUILD,
    sources=silent(),
)


def but(machine, **fields):
    """The machine with some of its fields different; dicts are added to."""
    for name, value in fields.items():
        if isinstance(value, dict) and name not in ("build", "nodes"):
            fields[name] = {**getattr(machine, name), **value}
    return dataclasses.replace(machine, **fields)


def masked(text):
    return {"CUDA_VISIBLE_DEVICES": text}


# Machines on which all is well.

HEALTHY = {
    "cpu only": PLAIN,
    "cpu only, masked": but(PLAIN, environment=masked("-1")),
    "cpu only, wheel without CUDA": but(PLAIN, build=CPU_BUILD),
    "cpu only, TensorFlow's usual complaint": but(
        PLAIN,
        log=(
            "E0000 00:00:1.2 33 cuda_platform.cc:52] failed call to cuInit: INTERNAL: "
            "CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
        ),
    ),
    "cpu only, container made for GPUs": but(
        PLAIN,
        container="docker",
        environment={"NVIDIA_VISIBLE_DEVICES": "all"},
    ),
    "one A100": LINUX,
    "one A100, seen by TensorFlow": but(LINUX, seen=1),
    "one A100, CUDA from the system": but(
        LINUX,
        libraries={name: Library(f"/usr/local/cuda/lib64/{name}") for name in CUDA},
        files=(),
    ),
    "H100, compiled from PTX": but(LINUX, gpus=(gpu(0, "NVIDIA H100", "9.0"),)),
    "T4": but(LINUX, gpus=(gpu(0, "Tesla T4", "7.5"),)),
    "P100": but(LINUX, gpus=(gpu(0, "Tesla P100", "6.0"),)),
    "two A100": PAIR,
    "two A100, one masked": but(PAIR, environment=masked("1")),
    "two A100, list ended by -1": but(PAIR, environment=masked("0,-1,1")),
    "MIG": MIG_MACHINE,
    "MIG, instance chosen": but(MIG_MACHINE, environment=masked(MIG.format(1))),
    "container": DOCKER,
    "container with cuda-compat on an A100": but(
        DOCKER, libraries=driver("555.42.06", "/usr/local/cuda-12.5/compat")
    ),
    "Kubernetes": but(DOCKER, container="kubernetes"),
    "WSL2": WSL,
    "WSL2 on a laptop without NVIDIA": but(
        PLAIN, release=WSL2, nodes={"/dev/dxg": "open"}
    ),
    "cuInit not tried": but(LINUX, cuinit=None),
    "TensorFlow sees what the doctor cannot": but(
        LINUX, cuinit=CuInit(ending="no answer in time"), seen=1
    ),
    "macOS": MAC,
    "bus not readable": but(PLAIN, pci=None),
}

# Machines in trouble: the code of the first finding, and the machine.

SICK = {
    "TensorFlow missing": (
        "tensorflow-missing",
        dataclasses.replace(PLAIN, versions={"Python": "3.12.3"}, build={}),
    ),
    "cpu wheel": ("cpu-wheel", but(LINUX, build=CPU_BUILD)),
    "cpu wheel, no driver either": ("cpu-wheel", but(BARE, build=CPU_BUILD)),
    "cpu wheel over the other": (
        "two-wheels",
        but(LINUX, build=CPU_BUILD, versions={"tensorflow-cpu": "2.21.0"}),
    ),
    "Grace Hopper": (
        "cpu-wheel-arm",
        but(LINUX, build=CPU_BUILD, architecture="aarch64"),
    ),
    "Windows": ("native-windows", WINDOWS),
    "WSL1": ("wsl1", but(PLAIN, release="4.4.0-19041-Microsoft", pci=None)),
    "macOS with Metal": (
        "metal-plugin",
        but(MAC, versions={"tensorflow-metal": "1.2.0"}),
    ),
    "no driver": ("no-driver", BARE),
    "no driver, and its complaint": (
        "no-driver",
        but(BARE, log=HEALTHY["cpu only, TensorFlow's usual complaint"].log),
    ),
    "nouveau": (
        "nouveau",
        but(BARE, pci=(PciCard("0000:01:00.0", "nouveau"),)),
    ),
    "nouveau beside an installed driver": (
        "nouveau",
        but(
            LINUX,
            pci=(PciCard("0000:01:00.0", "nouveau"),),
            kernel_module=None,
            gpus=(),
            nodes={},
            cuinit=CuInit(100),
        ),
    ),
    "card for a virtual machine": (
        "card-set-aside",
        but(BARE, pci=(PciCard("0000:81:00.0", "vfio-pci"),)),
    ),
    "driver for another processor": (
        "driver-broken",
        but(
            LINUX,
            libraries={
                "libcuda.so.1": Library(None, "libcuda.so.1: wrong ELF class: 32")
            },
            cuinit=None,
        ),
    ),
    "toolkit's stub": (
        "stub-library",
        but(
            LINUX,
            libraries=driver("1", "/usr/local/cuda/lib64/stubs"),
            environment={"LD_LIBRARY_PATH": "/usr/local/cuda/lib64/stubs:/opt/lib"},
            cuinit=CuInit(34),
        ),
    ),
    "container closed": ("container-without-gpu", CLOSED),
    "container closed, bus not readable": (
        "container-without-gpu",
        but(CLOSED, pci=None, kernel_module=None),
    ),
    "container that asked for none": (
        "container-without-gpu",
        but(CLOSED, environment={"NVIDIA_VISIBLE_DEVICES": "void"}),
    ),
    "Apptainer without --nv": (
        "container-without-gpu",
        but(CLOSED, container="apptainer"),
    ),
    "container with utility only": (
        "container-without-driver",
        but(
            DOCKER,
            libraries=absent("libcuda.so.1"),
            environment={"NVIDIA_DRIVER_CAPABILITIES": "utility"},
            cuinit=None,
        ),
    ),
    "container with compute only": (
        "no-nvml",
        but(
            DOCKER,
            libraries=absent("libnvidia-ml.so.1"),
            environment={"NVIDIA_DRIVER_CAPABILITIES": "compute"},
            gpus=(),
        ),
    ),
    "WSL2 without dxg": (
        "wsl-without-gpu",
        but(WSL, nodes={}, gpus=(), cuinit=CuInit(100)),
    ),
    "WSL2, path": (
        "wsl-path",
        but(WSL, libraries=NO_DRIVER, gpus=(), cuinit=None),
    ),
    "WSL2 with a Linux driver": (
        "wsl-linux-driver",
        but(WSL, libraries=driver(), gpus=(), cuinit=CuInit(100)),
    ),
    "module not loaded": (
        "module-not-loaded",
        but(
            LINUX,
            kernel_module=None,
            nodes={},
            gpus=(),
            sources=silent("DriverNotLoaded", "Driver Not Loaded"),
            cuinit=CuInit(100),
        ),
    ),
    "module refused by Secure Boot": (
        "module-not-loaded",
        but(
            LINUX,
            kernel_module=None,
            nodes={},
            gpus=(),
            secure_boot=True,
            cuinit=CuInit(100),
        ),
    ),
    "driver updated, not restarted": (
        "driver-mismatch",
        but(
            LINUX,
            kernel_module="460.91.03",
            libraries=driver("470.57.02"),
            gpus=(),
            sources=silent(
                "LibRmVersionMismatch", "RM has detected an NVML/RM version mismatch."
            ),
            cuinit=CuInit(804),
        ),
    ),
    "driver updated, seen by nvidia-smi only": (
        "driver-mismatch",
        but(
            LINUX,
            libraries={"libcuda.so.1": Library("/usr/lib/libcuda.so.1")},
            sources=(
                Source(
                    "nvidia-smi -L",
                    None,
                    "Ended with status 18: Failed to initialize NVML: Driver/library "
                    "version mismatch NVML library version: 550.144",
                ),
            ),
            cuinit=CuInit(803),
        ),
    ),
    "driver updated, seen in the log only": (
        "driver-mismatch",
        but(
            LINUX,
            cuinit=None,
            log=(
                "E0000 00:00:1.2 33 cuda_diagnostics.cc:303] kernel version 460.91.3 "
                "does not match DSO version 470.57.2 -- cannot find working devices",
            ),
        ),
    ),
    "cuInit 803": (
        "system-driver-mismatch",
        but(
            DOCKER,
            libraries=driver("580.65.06", "/usr/local/cuda-13.0/compat"),
            environment={"LD_LIBRARY_PATH": "/usr/local/cuda-13.0/compat:/opt/lib"},
            cuinit=CuInit(803),
        ),
    ),
    "cuInit 804": (
        "compat-unsupported",
        but(
            DOCKER,
            gpus=(gpu(0, "NVIDIA GeForce RTX 3090", "8.6"),),
            libraries=driver("555.42.06", "/usr/local/cuda-12.5/compat"),
            cuinit=CuInit(804),
        ),
    ),
    "cuInit 802": (
        "fabric-manager",
        but(LINUX, gpus=tuple(map(gpu, range(8))), cuinit=CuInit(802)),
    ),
    "cuInit 999": ("cuinit-unknown", but(LINUX, cuinit=CuInit(999))),
    "cuInit 999, from the log": (
        "cuinit-unknown",
        but(
            LINUX,
            cuinit=None,
            log=(
                "E0000 00:00:1.2 33 cuda_platform.cc:52] failed call to cuInit: "
                "INTERNAL: CUDA error: Failed call to cuInit: CUDA_ERROR_UNKNOWN: "
                "unknown error",
            ),
        ),
    ),
    "cuInit 999, no uvm": (
        "no-uvm",
        but(
            LINUX,
            nodes={"/dev/nvidia0": "open", "/dev/nvidiactl": "open"},
            cuinit=CuInit(999),
        ),
    ),
    "not in the group": ("no-permission", but(LINUX, nodes=DENIED, cuinit=CuInit(100))),
    "cuInit 100, nobody knows why": ("no-device", but(LINUX, cuinit=CuInit(100))),
    "cuInit 304": ("cuinit-other", but(LINUX, cuinit=CuInit(304))),
    "cuInit crashes": ("cuinit-crash", but(LINUX, cuinit=CuInit(ending="signal 11"))),
    "cuInit hangs": (
        "cuinit-silent",
        but(LINUX, cuinit=CuInit(ending="no answer in time")),
    ),
    "fallen off the bus": (
        "gpu-lost",
        but(
            LINUX,
            gpus=(Gpu(model="unknown (GPU is lost)", index=0),),
            cuinit=CuInit(999),
        ),
    ),
    "NVML lost in a container": (
        "nvml-lost",
        but(
            DOCKER,
            gpus=(),
            cuinit=None,
            sources=(
                Source("NVML", None, "NVMLError_Unknown: Unknown Error"),
                Source(
                    "nvidia-smi -L",
                    None,
                    "Ended with status 255: Failed to initialize NVML: Unknown Error",
                ),
            ),
        ),
    ),
    "masked": (
        "masked",
        but(PAIR, environment=masked("-1"), cuinit=CuInit(100)),
    ),
    "masked by an empty variable": (
        "masked",
        but(PAIR, environment=masked(""), cuinit=CuInit(100)),
    ),
    "mask of another machine": (
        "mask-unmatched",
        but(
            LINUX,
            environment=masked("GPU-9a3b4c5d-0000-4000-8000-000000000009"),
            cuinit=CuInit(100),
        ),
    ),
    "mask counted from one": (
        "mask-unmatched",
        but(LINUX, environment=masked("1"), cuinit=CuInit(100)),
    ),
    "mask, and nobody shows GPUs": (
        "mask-unmatched",
        but(LINUX, environment=masked("cuda:0"), gpus=(), cuinit=CuInit(100)),
    ),
    "mask with a hole": ("mask-partial", but(PAIR, environment=masked("0,2,1"))),
    "MIG without instances": (
        "mig-without-instance",
        but(LINUX, gpus=SPLIT[:1], cuinit=CuInit(100)),
    ),
    "two MIG instances wanted": (
        "mig-several",
        but(MIG_MACHINE, environment=masked(f"{MIG.format(0)},{MIG.format(1)}")),
    ),
    "driver of CUDA 11": (
        "driver-too-old",
        but(
            LINUX,
            versions={"driver": "470.57.02", "CUDA of the driver": "11.4"},
            kernel_module="470.57.02",
            libraries=driver("470.57.02"),
        ),
    ),
    "no CUDA libraries": ("cuda-missing", but(LINUX, libraries=NO_CUDA, files=())),
    "no CUDA libraries, from the log": (
        "cuda-missing",
        but(
            LINUX,
            log=(
                "W0000 00:00:1.2 33 gpu_device.cc:2365] Cannot dlopen some GPU "
                "libraries. Please make sure the missing libraries mentioned above",
            ),
        ),
    ),
    "libcusolver beside the path": (
        "cuda-not-found",
        but(LINUX, libraries=absent("libcusolver.so.11")),
    ),
    "CUDA of the system beside the path": (
        "cuda-not-found",
        but(
            LINUX,
            libraries=NO_CUDA,
            files=tuple(f"/usr/local/cuda-12.5/lib64/{name}" for name in NO_CUDA),
        ),
    ),
    "path set in the notebook": (
        "cuda-too-late",
        but(
            LINUX,
            libraries=absent("libcusolver.so.11"),
            environment={"LD_LIBRARY_PATH": f"{SITE}/nvidia/cusolver/lib"},
            late=("LD_LIBRARY_PATH",),
        ),
    ),
    "CUDA 13": (
        "cuda-other-version",
        but(
            LINUX,
            libraries=NO_CUDA,
            files=(
                f"{SITE}/nvidia/cu13/lib/libcublas.so.13",
                f"{SITE}/nvidia/cu13/lib/libcudart.so.13",
            ),
        ),
    ),
    "cuDNN 8": (
        "cuda-other-version",
        but(
            LINUX,
            libraries=absent("libcudnn.so.9"),
            files=(f"{SITE}/nvidia/cudnn/lib/libcudnn.so.8",),
        ),
    ),
    "half a library": (
        "cuda-broken",
        but(
            LINUX,
            libraries={
                "libcublasLt.so.12": Library(None, f"{WHEELS[2]}: file too short")
            },
        ),
    ),
    "cuDNN too old": (
        "cudnn-too-old",
        but(LINUX, versions={"nvidia-cudnn-cu12": "9.1.0.70"}),
    ),
    "cuDNN too old, from the log": (
        "cudnn-too-old",
        but(
            LINUX,
            seen=1,
            log=(
                "E0000 00:00:1.2 33 cuda_dnn.cc:461] Loaded runtime CuDNN library: "
                "9.1.0 but source was compiled with: 9.3.0.  CuDNN library needs to",
            ),
        ),
    ),
    "RTX 5090": (
        "gpu-too-new",
        but(LINUX, gpus=(gpu(0, "NVIDIA GeForce RTX 5090", "12.0"),), seen=1),
    ),
    "RTX 5090, from the log": (
        "gpu-too-new",
        but(
            LINUX,
            gpus=(gpu(0, "NVIDIA GeForce RTX 5090", None),),
            log=(
                "W0000 00:00:1.2 33 gpu_device.cc:2459] TensorFlow was not built with "
                "CUDA kernel binaries compatible with compute capability 12.0a. CUDA "
                "kernels will be jit-compiled from PTX",
            ),
        ),
    ),
    "K80": ("gpu-too-old", but(LINUX, gpus=(gpu(0, "Tesla K80", "3.7"),))),
    "looked too early": ("looked-too-early", but(LINUX, seen=0)),
    "nobody knows": (
        "unknown",
        but(LINUX, gpus=(), sources=(), cuinit=CuInit(0, 0), seen=0),
    ),
}

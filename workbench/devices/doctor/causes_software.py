"""Causes in what is installed for TensorFlow, and how it fits the card."""

from workbench.devices.doctor.cause import Cause

PLATFORM = (
    Cause(
        "tensorflow-missing",
        "TensorFlow is not installed in this Python",
        "The Python that runs here has no TensorFlow; another one may have it.",
        'python -m pip install "tensorflow[and-cuda]"',
    ),
    Cause(
        "native-windows",
        "TensorFlow uses no GPU on native Windows",
        "Since 2.11 TensorFlow for Windows has no CUDA. Inside WSL2, Linux on Windows, "
        "it uses the card, with the NVIDIA driver of Windows.",
        "wsl --install",
        "wsl -- nvidia-smi -L",
    ),
    Cause(
        "wsl1",
        "This is WSL1, which shows no GPU",
        "Only WSL2 passes the card of Windows on to Linux.",
        "wsl --set-version {distribution} 2",
        "wsl --list --verbose",
    ),
    Cause(
        "metal-plugin",
        "The plugin tensorflow-metal does not fit this TensorFlow",
        "Apple's plugin does not load, or fails, with TensorFlow 2.18 and later. The "
        "processor works.",
        "python -m pip uninstall -y tensorflow-metal",
    ),
    Cause(
        "two-wheels",
        "Two packages of TensorFlow lie in one folder, and the one for processors won",
        "Both write into the same folder; what was installed last counts.",
        "python -m pip uninstall -y tensorflow tensorflow-cpu && "
        'python -m pip install "tensorflow[and-cuda]"',
    ),
    Cause(
        "cpu-wheel-arm",
        "This TensorFlow was built without CUDA, as all wheels for this processor are",
        "The packages for Linux on ARM know no GPU. NVIDIA's container holds a "
        "TensorFlow that does.",
        "docker run --gpus all -it nvcr.io/nvidia/tensorflow:25.02-tf2-py3",
    ),
    Cause(
        "cpu-wheel",
        "This TensorFlow was built without CUDA",
        "It can use the processor only, and says nothing about it.",
        "python -m pip uninstall -y tensorflow tensorflow-cpu && "
        'python -m pip install "tensorflow[and-cuda]"',
    ),
)

LIBRARIES = (
    Cause(
        "no-nvml",
        "The driver's library libnvidia-ml.so.1 cannot be opened",
        "Without it TensorFlow lists no GPU and says nothing.",
        "{nvml}",
        "nvidia-smi -L",
    ),
    Cause(
        "cuda-not-found",
        "CUDA libraries are on this disk, but the loader does not find them",
        "TensorFlow looks in LD_LIBRARY_PATH, as it was when Python started, in "
        "some of the folders of site-packages/nvidia, and in the loader's cache. "
        "Release 2.21 forgets the folder of libcusolver.so.11.",
        'export LD_LIBRARY_PATH="{folders}:$LD_LIBRARY_PATH"  # then restart Python',
    ),
    Cause(
        "cuda-too-late",
        "LD_LIBRARY_PATH was changed inside this Python, which is too late",
        "The loader reads the variable once, when the process starts.",
        'export LD_LIBRARY_PATH="{folders}"  # then restart Python',
    ),
    Cause(
        "cuda-other-version",
        "The CUDA libraries here are of another version than TensorFlow needs",
        "A library of another major version is another library.",
        'python -m pip install "tensorflow[and-cuda]=={tensorflow}"',
    ),
    Cause(
        "cuda-broken",
        "A CUDA library is there and cannot be opened",
        "Its file is damaged or incomplete, or a library that it needs is.",
        'python -m pip install --force-reinstall "tensorflow[and-cuda]=={tensorflow}"',
    ),
    Cause(
        "cuda-missing",
        "CUDA libraries are missing",
        "The driver does not bring them. TensorFlow skips all GPUs if one of them "
        "is missing, and does not say which.",
        'python -m pip install "tensorflow[and-cuda]=={tensorflow}"',
    ),
    Cause(
        "cudnn-too-old",
        "cuDNN is older than the one this TensorFlow was built with",
        "The GPU is listed, and the first convolution fails.",
        'python -m pip install --upgrade "nvidia-cudnn-cu12>={needed}"',
        blocking=False,
    ),
)

CARDS = (
    Cause(
        "gpu-too-new",
        "The GPU is newer than this TensorFlow",
        "Its kernels are not in the package. TensorFlow lists the GPU, compiles for "
        "half an hour or fails with CUDA_ERROR_INVALID_PTX.",
        "docker run --gpus all -it nvcr.io/nvidia/tensorflow:25.02-tf2-py3",
        blocking=False,
    ),
    Cause(
        "gpu-too-old",
        "The GPU is older than this TensorFlow supports",
        "TensorFlow lists it all the same, and the first kernel fails. Its own advice, "
        "to wait while kernels are compiled, does not hold for old cards.",
        "{older}",
        blocking=False,
    ),
    Cause(
        "mask-partial",
        "CUDA_VISIBLE_DEVICES hides more GPUs than it seems to",
        "The first entry that names no GPU hides itself and all after it.",
        "export CUDA_VISIBLE_DEVICES={suggestion}  # then restart Python",
        blocking=False,
    ),
    Cause(
        "mig-several",
        "Of several MIG instances a program sees only one",
        "CUDA shows a program at most one instance; use one process for each.",
        "export CUDA_VISIBLE_DEVICES={suggestion}  # then restart Python",
        blocking=False,
    ),
    Cause(
        "looked-too-early",
        "TensorFlow in this process looked for devices before they could be seen",
        "It looks once in a process and remembers; now a program could see them.",
        "exit()  # restart Python, or the notebook's kernel",
    ),
    Cause(
        "unknown",
        "Unknown: TensorFlow sees no GPU, and none of the known causes applies",
        "TensorFlow's own log may say more; set this before Python starts.",
        "export TF_CPP_VMODULE=dso_loader=3,cuda_platform=3,cuda_diagnostics=3",
        'python -c "import tensorflow as tf; tf.config.list_physical_devices()" '
        "2> log.txt; python -m workbench doctor --log log.txt",
    ),
)

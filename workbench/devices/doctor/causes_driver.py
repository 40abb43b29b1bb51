"""Causes between the card and CUDA: how the driver is reached, and what it says."""

from workbench.devices.doctor.cause import Cause

ACCESS = (
    Cause(
        "container-without-gpu",
        "This container was started without the GPU",
        "The machine has an NVIDIA GPU, but its device files were not passed in.",
        "{start}",
        "nvidia-smi -L",
    ),
    Cause(
        "container-without-driver",
        "This container has the GPU, but not the driver's CUDA library",
        "The container runtime passes the driver's libraries in by capability; "
        "compute brings libcuda, utility brings nvidia-smi and NVML.",
        "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE",
    ),
    Cause(
        "card-set-aside",
        "The card is set aside for a virtual machine",
        "The kernel gave it to vfio-pci, so this system cannot use it.",
        "sudo driverctl unset-override {address}",
        "lspci -k -d 10de:",
    ),
    Cause(
        "nouveau",
        "The card is held by the open driver nouveau",
        "CUDA needs NVIDIA's own driver, and a card has one driver at a time.",
        "echo 'blacklist nouveau' | sudo tee /etc/modprobe.d/no-nouveau.conf && "
        "sudo update-initramfs -u && sudo reboot",
        "lspci -k -d 10de:",
    ),
    Cause(
        "no-driver",
        "The NVIDIA driver is not installed",
        "The card is there, and libcuda.so.1, which comes with the driver and not "
        "with CUDA or TensorFlow, is not.",
        "sudo ubuntu-drivers install && sudo reboot",
        "nvidia-smi -L",
    ),
    Cause(
        "driver-broken",
        "The driver's library libcuda.so.1 is there and cannot be opened",
        "It is damaged, or made for another kind of processor.",
        "sudo apt-get install --reinstall libnvidia-compute-{major}",
        "nvidia-smi -L",
    ),
    Cause(
        "stub-library",
        "The CUDA toolkit's stand-in was opened instead of the driver's library",
        "The folder stubs is for linking on machines without a driver. Programs must "
        "not find it when they run.",
        'export LD_LIBRARY_PATH="{path}"',
    ),
    Cause(
        "wsl-without-gpu",
        "Windows does not pass its GPU on to this Linux",
        "The device /dev/dxg is missing: the kernel of WSL2 is too old, or the GPU is "
        "turned off in .wslconfig.",
        "wsl --update && wsl --shutdown",
        "ls /dev/dxg",
    ),
    Cause(
        "wsl-path",
        "The driver that Windows lends is there, but not on the loader's path",
        "Windows puts it into /usr/lib/wsl/lib.",
        "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/wsl.conf && sudo ldconfig",
    ),
    Cause(
        "wsl-linux-driver",
        "A Linux driver inside WSL2 hides the one that Windows lends",
        "Inside WSL2 there must be no NVIDIA driver of its own.",
        "sudo apt-get purge -y '^(lib)?nvidia-.*' '^libcuda.*' && sudo ldconfig",
    ),
)

DRIVER = (
    Cause(
        "module-not-loaded",
        "The driver is installed, but its kernel module is not loaded",
        "After an update of the kernel the module is built anew; {secure_boot}",
        "{load}",
        "cat /proc/driver/nvidia/version",
    ),
    Cause(
        "driver-mismatch",
        "The loaded kernel module and the driver's library differ in version",
        "The driver was updated while the old module stayed loaded.",
        "{restart}",
        "nvidia-smi -L",
    ),
    Cause(
        "system-driver-mismatch",
        "cuInit says 803: the driver's parts do not fit together",
        "The library is newer than the kernel module allows, usually one from a "
        "cuda-compat package or a container made for a newer driver.",
        "{compat}",
    ),
    Cause(
        "compat-unsupported",
        "cuInit says 804: the compatibility library does not work on this card",
        "Libraries of cuda-compat work on data-center cards only; on others the "
        "driver itself must be new enough.",
        "{compat}",
    ),
    Cause(
        "fabric-manager",
        "cuInit says 802: the system is not ready",
        "GPUs joined by NVSwitch need the service nvidia-fabricmanager, in the "
        "driver's version.",
        "sudo systemctl enable --now nvidia-fabricmanager",
        "systemctl status nvidia-fabricmanager",
    ),
    Cause(
        "gpu-lost",
        "A GPU has fallen off the bus",
        "The driver lost contact: heat, power, a loose card, or a defect. "
        "`sudo dmesg | grep Xid` says more.",
        "sudo reboot",
        "nvidia-smi -L",
    ),
    Cause(
        "nvml-lost",
        "NVML was lost while this container ran",
        "The container's right to the device files was taken away, which happens "
        "when systemd reloads its units on the host.",
        "docker restart CONTAINER",
        "nvidia-smi -L",
    ),
    Cause(
        "masked",
        "CUDA_VISIBLE_DEVICES hides every GPU",
        "That is right where the processor is wanted. The variable counts when "
        "TensorFlow first looks for devices.",
        "unset CUDA_VISIBLE_DEVICES  # then start Python, or the kernel, again",
    ),
    Cause(
        "mask-unmatched",
        "CUDA_VISIBLE_DEVICES names no GPU of this machine, and so hides all",
        "Its entries are numbers from 0 or UUIDs, and the first that names none "
        "hides itself and all after it.",
        "export CUDA_VISIBLE_DEVICES={suggestion}  # then restart Python",
    ),
    Cause(
        "mig-without-instance",
        "The GPU is split by MIG and has no instance",
        "In MIG mode programs use instances only, and none was created.",
        "sudo nvidia-smi mig -cgi 0 -C",
        "nvidia-smi -L",
    ),
    Cause(
        "no-permission",
        "This user may not open the device files of the GPU",
        "They belong to a group that this user is not in.",
        'sudo usermod -aG {group} "$USER"  # then log in again',
        "ls -l /dev/nvidia*",
    ),
    Cause(
        "no-uvm",
        "The device file /dev/nvidia-uvm is missing",
        "CUDA needs the module nvidia-uvm, which is loaded on first use, as root.",
        "{uvm}",
        "ls /dev/nvidia-uvm",
    ),
    Cause(
        "cuinit-unknown",
        "cuInit says 999: unknown error",
        "Mostly the module nvidia-uvm is in a bad state, often after suspend.",
        "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
    ),
    Cause(
        "no-device",
        "cuInit says 100: CUDA finds no device",
        "The driver works and shows CUDA no GPU; none of the causes above was seen.",
        "sudo nvidia-smi  # as root it creates missing device files",
        "nvidia-smi -L",
    ),
    Cause(
        "cuinit-crash",
        "The driver's cuInit crashes",
        "The process that called it was ended by {signal}. The driver is damaged.",
        "sudo apt-get install --reinstall libnvidia-compute-{major}",
    ),
    Cause(
        "cuinit-other",
        "cuInit says {status}",
        "What keeps the driver from starting is not known; its kernel messages may "
        "say more.",
        "sudo dmesg | grep -i -e nvrm -e xid",
    ),
    Cause(
        "cuinit-silent",
        "Unknown: cuInit did not answer in time",
        "On a busy machine, or with many GPUs and no persistence mode, it takes "
        "longer; a driver in trouble never answers.",
        "sudo nvidia-smi -pm 1",
        "python -m workbench doctor --seconds 30",
    ),
    Cause(
        "driver-too-old",
        "The driver is older than the CUDA of this TensorFlow",
        "A driver runs programs of its own CUDA generation and of older ones.",
        "sudo ubuntu-drivers install && sudo reboot",
        "nvidia-smi",
    ),
)

"""All that the doctor knows of a machine, as one plain record that can be stored."""

import dataclasses
import json
import pathlib
import re

from workbench.devices.records import Gpu, Source
from workbench.devices.visibility import visible_positions
from workbench.files import atomic_write

DRIVER_LIBRARY = "libcuda.so.1"
MANAGEMENT_LIBRARY = "libnvidia-ml.so.1"
WSL_FOLDER = "/usr/lib/wsl/lib"
# What TensorFlow opens before it registers a GPU; all of them must be there.
CUDA_LIBRARIES = (
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libcudnn.so.9",
)

_UUID = re.compile(r"\b((?:GPU|MIG)-[0-9a-f]{8})-[0-9a-f-]{9,}", re.IGNORECASE)
_HOME = re.compile(r"/(?:home|Users)/[^/:\s\"']+")


def shorten_uuids(text):
    """Shortens UUIDs of GPUs.

    Args:
        text: str.

    Returns:
        str. What is left of a UUID is enough for `CUDA_VISIBLE_DEVICES`.
    """
    return _UUID.sub(r"\1", text)


def hide_private(text):
    """Shortens UUIDs and paths of home folders, so that a text may be shown around.

    Args:
        text: str.

    Returns:
        str.
    """
    return _HOME.sub("~", shorten_uuids(text))


@dataclasses.dataclass(frozen=True)
class PciCard:
    """An NVIDIA card on the PCI bus.

    Attributes:
        address: str such as `"0000:01:00.0"`.
        driver: str, the kernel driver that holds it, `""` when none does.
    """

    address: str
    driver: str = ""


@dataclasses.dataclass(frozen=True)
class Library:
    """What came of looking for a shared library.

    Attributes:
        path: str, the file behind it, or None when it was not found or not opened.
        error: str, what the loader said, else `""`.
    """

    path: str | None = None
    error: str = ""

    @property
    def is_missing(self):
        """Whether it, or one that it needs, does not exist for the loader; bool."""
        return self.path is None and "No such file" in self.error

    @property
    def is_broken(self):
        """Whether it exists and cannot be opened; bool."""
        return self.path is None and not self.is_missing


@dataclasses.dataclass(frozen=True)
class CuInit:
    """What the driver's `cuInit` said in a process of its own.

    Attributes:
        status: int, CUDA's number, 0 for success; None when it never came back.
        count: int, devices that CUDA then shows, or None.
        ending: str, how the process ended when it did not come back, else `""`.
    """

    status: int | None = None
    count: int | None = None
    ending: str = ""


@dataclasses.dataclass(frozen=True)
class Machine:
    """One machine, as far as it can be read without starting a device.

    Attributes:
        system: str, `"Linux"`, `"Windows"` or `"Darwin"`.
        release: str, the kernel's.
        architecture: str such as `"x86_64"`.
        container: str, what kind this process runs in, `""` for none.
        secure_boot: bool, or None when not known.
        environment: dict of the variables that matter, only those that are set.
        late: Tuple of str, variables of the loader that this process set too late.
        versions: dict of str: Python, TensorFlow, Keras, NVIDIA's packages, driver.
        needs: dict NVIDIA package -> lowest version for this TensorFlow, str.
        build: dict, what TensorFlow was built with; empty when not known.
        pci: Tuple of `PciCard`, or None when the bus cannot be read.
        nodes: dict path in `/dev` -> `"open"` or `"denied"` to this user.
        kernel_module: str, version of the loaded NVIDIA module, or None.
        wsl_driver: bool, whether Windows lends its driver's library to this Linux.
        gpus: Tuple of `Gpu` that the driver shows.
        sources: Tuple of `Source`, who was asked for them.
        libraries: dict name -> `Library`; names that were not looked for are missing.
        files: Tuple of str, files of CUDA libraries of any version on this disk.
        cuinit: `CuInit`, or None when it was not tried.
        seen: int, GPUs that TensorFlow in this process has listed, or None when it
            is not loaded or has not looked.
        log: Tuple of str, lines of TensorFlow's log.
    """

    system: str = "Linux"
    release: str = ""
    architecture: str = "x86_64"
    container: str = ""
    secure_boot: bool | None = None
    environment: dict = dataclasses.field(default_factory=dict)
    late: tuple = ()
    versions: dict = dataclasses.field(default_factory=dict)
    needs: dict = dataclasses.field(default_factory=dict)
    build: dict = dataclasses.field(default_factory=dict)
    pci: tuple | None = None
    nodes: dict = dataclasses.field(default_factory=dict)
    kernel_module: str | None = None
    wsl_driver: bool = False
    gpus: tuple = ()
    sources: tuple = ()
    libraries: dict = dataclasses.field(default_factory=dict)
    files: tuple = ()
    cuinit: CuInit | None = None
    seen: int | None = None
    log: tuple = ()

    @property
    def is_wsl(self):
        """Whether this Linux runs inside Windows; bool."""
        return self.system == "Linux" and "microsoft" in self.release.lower()

    @property
    def mask(self):
        """`CUDA_VISIBLE_DEVICES`, or None when it is not set; str."""
        return self.environment.get("CUDA_VISIBLE_DEVICES")

    @property
    def gpu_nodes(self):
        """The device files of single GPUs, tuple of str."""
        return tuple(
            sorted(path for path in self.nodes if re.search(r"nvidia\d+$", path))
        )

    @property
    def visible(self):
        """The GPUs that the mask lets a program see, tuple of `Gpu`."""
        return tuple(self.gpus[i] for i in visible_positions(self.gpus, self.mask))

    @property
    def has_gpu(self):
        """Whether there is an NVIDIA GPU: True, False, or None when not known."""
        shown = (
            *self.gpus,
            *(self.pci or ()),
            *self.gpu_nodes,
            *filter(None, (self.kernel_module, self.wsl_driver)),
            *filter(None, (self.cuinit and self.cuinit.count, self.seen)),
        )
        if shown:
            return True
        return False if self.pci is not None and not self.is_wsl else None

    def to_json(self):
        """Returns the record as text, UUIDs shortened and home folders left out."""
        return hide_private(json.dumps(dataclasses.asdict(self), indent=1)) + "\n"

    def save(self, filepath):
        """Stores the record, so that it can be diagnosed on another machine.

        Args:
            filepath: path of the JSON file.
        """
        with atomic_write(filepath) as file:
            file.write(self.to_json().encode())


def load_machine(filepath):
    """Loads a machine's record.

    Args:
        filepath: path, what `Machine.save` or `doctor --save` wrote.

    Returns:
        `Machine`.

    Raises:
        ValueError: If the file holds no such record.
    """
    try:
        return from_plain(json.loads(pathlib.Path(filepath).read_text()))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            "`filepath` must be a machine's record, as `python -m workbench doctor "
            f"--save FILE` writes it ({error}). Received: filepath={filepath!r}"
        ) from error


def from_plain(fields):
    """Makes a machine of what `dataclasses.asdict` and JSON leave of it.

    Args:
        fields: dict.

    Returns:
        `Machine`.
    """
    fields = {**fields}
    for name, kind in (("pci", PciCard), ("gpus", Gpu), ("sources", Source)):
        if fields.get(name) is not None:
            fields[name] = tuple(kind(**each) for each in fields[name])
    for name in ("late", "files", "log"):
        fields[name] = tuple(fields.get(name, ()))
    fields["libraries"] = {
        name: Library(**each) for name, each in fields.get("libraries", {}).items()
    }
    if fields.get("cuinit") is not None:
        fields["cuinit"] = CuInit(**fields["cuinit"])
    return Machine(**fields)

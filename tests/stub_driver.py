"""A driver that is only pretended, and TensorFlow's own library looking at it.

The driver's library and NVML are some lines of C; what they answer stands in
variables. CUDA's libraries are empty, which is enough to be listed.
"""

import concurrent.futures
import dataclasses
import pathlib
import shutil
import subprocess
import sys

from tests.machines import FOLDERS
from workbench.devices.doctor.machine import CUDA_LIBRARIES

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

CUDA_SOURCE = r"""
#include <signal.h>
#include <stdlib.h>
#include <string.h>
static int number(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}
int cuInit(unsigned flags) {
  int status = number("STUB_CUINIT", 0);
  if (status < 0) raise(-status);
  return status;
}
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGetCount(int *count) { *count = number("STUB_COUNT", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
  strncpy(name, "NVIDIA Stub", length);
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  int capability = number("STUB_CAPABILITY", 80);
  *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 1;
  if (attribute == 16) *value = 80; /* multiprocessors; few would be ignored */
  return 0;
}
int cuDeviceGetPCIBusId(char *name, int length, int device) {
  strncpy(name, "0000:01:00.0", length);
  return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 1ull << 34; return 0; }
int cuGetErrorName(int status, const char **name) {
  *name = status == 34 ? "CUDA_ERROR_STUB_LIBRARY"
        : status == 100 ? "CUDA_ERROR_NO_DEVICE"
        : status == 802 ? "CUDA_ERROR_SYSTEM_NOT_READY"
        : status == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
        : status == 804 ? "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"
        : "CUDA_ERROR_UNKNOWN";
  return 0;
}
int cuGetErrorString(int status, const char **text) { *text = "a stub"; return 0; }
"""
NVML_SOURCE = """
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
"""

# Lists devices as `tf.config.list_physical_devices` does, by the same function of
# TensorFlow's library, without the seconds that the Python package takes to load.
# A `std::vector<std::string>` is three pointers; each string begins with a pointer to
# its characters and their number, and takes 32 bytes.
LIST_DEVICES = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
name = (
    "_ZN10tensorflow13DeviceFactory22ListAllPhysicalDevicesEPSt6vectorINSt7__cxx1112"
    "basic_stringIcSt11char_traitsIcESaIcEEESaIS7_EE"
)
class Status(ctypes.Structure):
    _fields_ = [("state", ctypes.c_uint64)]
vector = (ctypes.c_void_p * 3)()
library[name].restype = None
library[name](ctypes.byref(Status()), ctypes.byref(vector))
for place in range(vector[0], vector[1], 32):
    text, length = (ctypes.c_uint64 * 2).from_address(place)
    print(ctypes.string_at(text, length).decode())
"""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What TensorFlow's library listed and wrote."""

    devices: tuple
    log: tuple
    returncode: int

    @property
    def number(self):
        """How many GPUs it lists."""
        return sum("GPU" in name for name in self.devices)


def compile_library(folder, name, source):
    """Builds a shared library."""
    folder.mkdir(parents=True, exist_ok=True)
    code = folder / "source.c"
    code.write_text(source)
    arguments = [COMPILER, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o"]
    subprocess.run([*arguments, folder / name, code], check=True, timeout=60)
    code.unlink()
    return folder / name


def build(folder):
    """Builds the folders `driver`, `nvml` and `cuda`, each to be put on the path."""
    compile_library(folder / "driver", "libcuda.so.1", CUDA_SOURCE)
    compile_library(folder / "nvml", "libnvidia-ml.so.1", NVML_SOURCE)
    empty = compile_library(folder / "empty", "libempty.so", "int nothing;\n")
    (folder / "cuda").mkdir()
    for name in CUDA_LIBRARIES:
        shutil.copy(empty, folder / "cuda" / name)


def make_site(folder, tensorflow, cuda=None):
    """A folder of packages with TensorFlow's libraries, and `cuda` as wheels lay it."""
    place = folder / "tensorflow"
    place.mkdir(parents=True)
    for name in ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2"):
        (place / name).symlink_to(tensorflow / name)
    for name in CUDA_LIBRARIES if cuda else ():
        target = folder / "nvidia" / FOLDERS[name] / "lib"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(cuda / name, target)
    return place


def list_devices(place, environment):
    """Lets TensorFlow's library list the devices, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_DEVICES, place / "libtensorflow_cc.so.2"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Seen(
        tuple(done.stdout.split()), tuple(done.stderr.splitlines()), done.returncode
    )


def list_all(jobs):
    """Several of them, two at a time; `jobs` is a dict name -> arguments."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = {name: pool.submit(list_devices, *job) for name, job in jobs.items()}
        return {name: each.result() for name, each in running.items()}


def write(root, name, text=""):
    """Writes one file below a root that stands in for the machine's own."""
    path = pathlib.Path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

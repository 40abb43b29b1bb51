"""Where the loader looks for a library, and what it finds, in a process of its own."""

import contextlib
import json
import pathlib
import re
import struct
import subprocess
import sys
import threading
import time

from workbench.devices.doctor.machine import (
    CUDA_LIBRARIES,
    DRIVER_LIBRARY,
    MANAGEMENT_LIBRARY,
    CuInit,
    Library,
)

_PROBE = pathlib.Path(__file__).with_name("probe.py")
_CACHE = pathlib.Path("/etc/ld.so.cache")
_FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
_LOAD, _DYNAMIC, _STRINGS, _RUNPATH = 1, 2, 5, 29
_GRACE = 0.5


class Probe:
    """Libraries opened, and `cuInit` called, in two processes that run by themselves.

    Args:
        environment: dict, the processes' environment.
    """

    def __init__(self, environment):
        self._started = time.monotonic()
        self._driver = _spawn(["cuInit", DRIVER_LIBRARY], environment)
        self._others = _spawn([MANAGEMENT_LIBRARY, *CUDA_LIBRARIES], environment)

    def read(self, seconds):
        """Waits for the answers, and ends what has not ended.

        Args:
            seconds: float, seconds since the start, after which it waits no more.

        Returns:
            `(libraries, cuinit, cuda)`: dict name -> `Library`, `CuInit` or None when
            there is no driver library, and the driver's CUDA version, str or None.
        """
        until = self._started + seconds
        others, _ = _answers(self._others, until)
        driver, ending = _answers(self._driver, until)
        libraries = {
            fact["library"]: Library(fact["path"], fact["error"])
            for fact in (*driver, *others)
            if "library" in fact
        }
        said = {key: value for fact in driver for key, value in fact.items()}
        if "status" in said:
            cuda = said["cuda"]
            version = f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda > 0 else None
            return libraries, CuInit(said["status"], said["count"]), version
        opened = libraries.get(DRIVER_LIBRARY)
        if opened and not opened.path:
            return libraries, None, None
        return libraries, CuInit(ending=said.get("ending") or ending), None


def _spawn(arguments, environment):
    return subprocess.Popen(  # noqa: S603, this interpreter and a file of this package
        [sys.executable, "-I", "-S", str(_PROBE), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def _answers(process, until):
    ending = ""
    try:
        said, _ = process.communicate(timeout=max(0.05, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        ending = "no answer in time"
        try:
            said, _ = process.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired as error:
            # Stuck inside the kernel, where no signal reaches it.
            threading.Thread(target=process.wait, daemon=True).start()
            said = error.stdout or b""
    else:
        if process.returncode < 0:
            ending = f"signal {-process.returncode}"
        elif process.returncode:
            ending = f"exit status {process.returncode}"
    return [_parse(line) for line in said.decode(errors="replace").splitlines()], ending


def _parse(line):
    # A process that is ended may leave half a line.
    with contextlib.suppress(ValueError):
        return json.loads(line)
    return {}


def find_libraries(folders):
    """Looks for the same libraries as `Probe`, in folders only; nothing is opened.

    Args:
        folders: List of str that the loader searches before its cache.

    Returns:
        dict name -> `Library`.
    """
    cache = _CACHE.read_bytes() if _CACHE.is_file() else b""
    return {
        name: _find(name, folders, cache)
        for name in (DRIVER_LIBRARY, MANAGEMENT_LIBRARY, *CUDA_LIBRARIES)
    }


def _find(name, folders, cache):
    cached = re.findall(rb"(/[^\0]*/)" + re.escape(name.encode()) + rb"\0", cache)
    for folder in (*folders, *(each.decode() for each in cached), *_FOLDERS):
        path = pathlib.Path(folder, name)
        if path.is_file():
            return Library(str(path.resolve()))
    error = "cannot open shared object file: No such file or directory"
    return Library(None, f"{name}: {error}")


def read_runpath(path):
    """Reads where a library tells the loader to look for what it opens.

    Args:
        path: path of a 64-bit ELF file.

    Returns:
        List of str, folders that exist, each once; empty when the file is another.
    """
    with contextlib.suppress(OSError, struct.error, ValueError, KeyError):
        with pathlib.Path(path).open("rb") as file:
            text = _runpath(file)
        origin = str(pathlib.Path(path).parent)
        folders = (part.replace("$ORIGIN", origin) for part in text.split(":"))
        known = dict.fromkeys(str(pathlib.Path(each)) for each in folders if each)
        return [each for each in known if pathlib.Path(each).is_dir()]
    return []


def _runpath(file):
    header = file.read(64)
    if header[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    (start,) = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    segments = []
    for number in range(count):
        file.seek(start + number * size)
        kind, _, offset, address, _, length = struct.unpack("<IIQQQQ", file.read(40))
        segments.append((kind, offset, address, length))
    _, offset, _, length = next(each for each in segments if each[0] == _DYNAMIC)
    file.seek(offset)
    entries = dict(struct.iter_unpack("<QQ", file.read(length)))
    place = entries[_STRINGS]
    for kind, offset, address, length in segments:
        if kind == _LOAD and address <= place < address + length:
            file.seek(offset + place - address + entries[_RUNPATH])
            return file.read(1 << 16).split(b"\0")[0].decode()
    raise ValueError("no table of names")

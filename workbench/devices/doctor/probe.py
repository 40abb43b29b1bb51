"""A program of its own: opens libraries, and with `cuInit` also starts the driver.

It runs in another process, because a driver in trouble can crash or hang whoever
calls it. Each line that it writes is one JSON object, so that what it found before it
ended is kept. `cuInit` opens no context and takes no memory of a GPU.

    python -I -S probe.py [cuInit] NAME ...
"""

import ctypes
import json
import pathlib
import sys

_MAPS = pathlib.Path("/proc/self/maps")


def main(arguments):
    """Opens each library; with `cuInit` first, calls it in the first library."""
    names = [name for name in arguments if name != "cuInit"]
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            _tell(library=name, path=None, error=str(error))
            continue
        _tell(library=name, path=_place(name), error="")
        if "cuInit" in arguments and name == names[0]:
            _start(library)


def _start(library):
    try:
        status = library.cuInit(0)
    except AttributeError as error:
        _tell(ending=str(error))
        return
    count = ctypes.c_int(-1)
    known = status == 0 and library.cuDeviceGetCount(ctypes.byref(count)) == 0
    version = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    _tell(status=status, count=count.value if known else None, cuda=version.value)


def _place(name):
    """The file that was opened, its links resolved."""
    stem = name.partition(".so")[0] + ".so"
    for line in _MAPS.read_text().splitlines():
        path = line.partition("/")[2]
        if path.rpartition("/")[2].startswith(stem):
            return f"/{path}"
    return name


def _tell(**facts):
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

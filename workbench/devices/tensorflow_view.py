"""What TensorFlow says of itself and of the devices it sees."""

import ast
import contextlib
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import pathlib
import re

from workbench.logs import caught_stderr

# Google's log format: level, month and day, time, thread, place, text.
_LOG_LINE = re.compile(r"([IWEF])\d{4} [\d:.]+\s+\d+ (\S+)\] (.*)")
_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tf-nightly", "keras")


@dataclasses.dataclass(frozen=True)
class TensorFlowView:
    """What TensorFlow sees.

    Attributes:
        gpus: Tuple of str such as `"/GPU:0"`, or None when it did not answer.
        cpus: Tuple of str such as `"/CPU:0"`, or None when it did not answer.
        detail: str, why it did not answer, else `""`.
        messages: Tuple of str, warnings and errors it wrote while it looked.
    """

    gpus: tuple | None = None
    cpus: tuple | None = None
    detail: str = ""
    messages: tuple = ()


def ask_tensorflow(load=lambda: importlib.import_module("tensorflow")):
    """Asks TensorFlow for its devices, without starting them.

    Listing physical devices opens no context and takes no GPU memory. What
    TensorFlow writes to stderr meanwhile is caught: its lines at import ignore every
    log setting.

    Args:
        load: Callable that returns the module `tensorflow`.

    Returns:
        `TensorFlowView`; it does not raise when TensorFlow is missing or broken.
    """
    with caught_stderr() as lines:
        try:
            devices = load().config.list_physical_devices()
            detail = ""
        except Exception as error:  # noqa: BLE001, a broken install can raise anything
            devices = None
            detail = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    messages = parse_log(lines)
    if devices is None:
        return TensorFlowView(detail=detail, messages=messages)
    names = [f"/{d.name.removeprefix('/physical_device:')}" for d in devices]
    return TensorFlowView(
        gpus=tuple(name for name in names if name.startswith("/GPU:")),
        cpus=tuple(name for name in names if name.startswith("/CPU:")),
        messages=messages,
    )


def parse_log(lines):
    """Keeps the warnings and errors of TensorFlow's log.

    Args:
        lines: Iterable of str.

    Returns:
        Tuple of str such as `"E cuda_platform.cc:52: failed call to cuInit"`, each
        once, without times and thread numbers.
    """
    found = (_LOG_LINE.match(line) for line in lines)
    kept = (line.groups() for line in found if line and line.group(1) in "WEF")
    return tuple(dict.fromkeys(f"{level} {at}: {text}" for level, at, text in kept))


def read_versions():
    """Reads installed versions without importing the packages.

    Returns:
        dict of distribution name -> version, only those installed.
    """
    versions = {}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def read_build():
    """Reads what TensorFlow was built with, without importing it.

    Returns:
        dict as `tf.sysconfig.get_build_info()` gives, empty when not found.
    """
    spec = importlib.util.find_spec("tensorflow")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = pathlib.Path(folder) / "python" / "platform" / "build_info.py"
        if path.is_file():
            return parse_build_info(path.read_text())
    return {}


def parse_build_info(text):
    """Reads `build_info = collections.OrderedDict([...])` without running it.

    Args:
        text: str, the file `tensorflow/python/platform/build_info.py`.

    Returns:
        dict, empty when the text is of another form.
    """
    with contextlib.suppress(SyntaxError, ValueError, TypeError):
        for node in ast.parse(text).body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id="build_info")],
                    value=ast.Call(args=[pairs]),
                ):
                    return dict(ast.literal_eval(pairs))
    return {}

"""The memory that ways of doing the same thing take, each in a process of its own."""

import dataclasses
import gc
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback

import cloudpickle
import psutil

from workbench.reports import Note, Report, Table

# A fork has all modules already; elsewhere each process imports them anew.
_METHOD = "fork" if sys.platform == "linux" else "spawn"
_PAUSE = 0.001  # seconds between two looks


@dataclasses.dataclass(frozen=True)
class MemoryCosts(Report):
    """What each way took, in multiples of `unit`.

    Attributes:
        unit: int, bytes, such as the size of one copy.
        peak: dict of name -> float, the most it held at a time.
        kept: dict of name -> float, what its result holds.
    """

    unit: int
    peak: dict
    kept: dict

    def blocks(self):
        """Returns the report's content, rounded to whole multiples."""
        yield Note(f"In copies of {self.unit / 1e6:,.0f} MB, rounded.")
        rows = [
            (name, f"{peak:.0f}", f"{self.kept[name]:.0f}")
            for name, peak in self.peak.items()
        ]
        yield Table(("way", "at most", "afterwards"), tuple(rows))


def measure_memory(ways, *, unit, prepare=None):
    """Measures how much memory each function takes, in a process of its own.

    Counted is what the process has for itself, not the pages of files that it maps
    unchanged, which the system drops when it needs room and which processes share.

    Args:
        ways: Dict of name -> function without arguments. What it returns is what is
            kept. Functions of a notebook will do.
        unit: Positive int, bytes that count as 1.
        prepare: Function without arguments that runs before, in each process, and does
            not count, such as one that starts TensorFlow; or None.

    Returns:
        `MemoryCosts`.

    Raises:
        ValueError: If `unit` < 1.
        RuntimeError: If a function raises; with its traceback.
    """
    if not isinstance(unit, int) or unit < 1:
        raise ValueError(f"`unit` must be an int >= 1 (bytes). Received: unit={unit}")
    packed = {name: cloudpickle.dumps((prepare, way)) for name, way in ways.items()}
    with tempfile.TemporaryDirectory() as folder:
        task = pathlib.Path(folder, "task")
        task.write_bytes(cloudpickle.dumps(packed))
        code = f"from workbench.experiments import memory; memory.main({str(task)!r})"
        if _METHOD == "fork":  # by its path, since the package would import Keras
            code = f"import runpy; runpy.run_path({__file__!r})['main']({str(task)!r})"
        run = subprocess.run(  # noqa: S603, this file itself
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    lines = run.stdout.splitlines()
    if run.returncode or not lines:
        raise RuntimeError(f"`ways` could not be measured:\n{run.stderr[-2000:]}")
    measured = json.loads(lines[-1])
    failed = [f"{name!r}: {error}" for name, (_, _, error) in measured.items() if error]
    if failed:
        raise RuntimeError("\n".join(["`ways` must run without errors:", *failed]))
    return MemoryCosts(
        unit,
        {name: peak / unit for name, (peak, _, _) in measured.items()},
        {name: kept / unit for name, (_, kept, _) in measured.items()},
    )


def main(task):
    """Measures what `measure_memory` wrote down, and prints the bytes as JSON."""
    packed = cloudpickle.loads(pathlib.Path(task).read_bytes())
    context = multiprocessing.get_context(_METHOD)
    for pickled in packed.values() if _METHOD == "fork" else ():
        cloudpickle.loads(pickled)  # imports what they need, and starts nothing
    measured = {name: _watch(context, pickled) for name, pickled in packed.items()}
    sys.stdout.write(f"\n{json.dumps(measured)}\n")


def _watch(context, pickled):
    """Runs one way; returns its peak and what it keeps, in bytes, and its error."""
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, pickled))
    process.start()
    theirs.close()
    try:
        ours.recv()
        start = peak = _own_bytes(process.pid)
        ours.send(None)
        while not ours.poll(_PAUSE):
            peak = max(peak, _own_bytes(process.pid))
        error = ours.recv()
        kept = _own_bytes(process.pid)
        ours.send(None)
    except (EOFError, OSError, psutil.Error):
        process.join()
        return 0, 0, f"its process ended with code {process.exitcode}"
    process.join()
    return max(peak, kept) - start, kept - start, error


def _run(pipe, pickled):
    prepare, way = cloudpickle.loads(pickled)
    error = result = None
    try:
        if prepare is not None:
            prepare()
        gc.collect()
        pipe.send(None)
        pipe.recv()
        result = way()
    except Exception:  # noqa: BLE001, it is told to whoever asked
        error = traceback.format_exc()
    gc.collect()
    pipe.send(error)
    pipe.recv()
    del result
    os._exit(0)  # what TensorFlow tears down is nothing to wait for


def _own_bytes(pid):
    """Memory that a process has for itself, in bytes."""
    if sys.platform == "linux":
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        return 0  # it has ended
    return psutil.Process(pid).memory_full_info().uss

"""What each notebook takes: memory at its peak, seconds to the first plot.

Usage: python -m benchmarks.notebooks [notebooks/04_clipping.ipynb …]

Runs notebooks one after the other, each in a kernel of its own, as a student would
with *Run All Cells*. Memory is read from `/proc`, so this needs Linux. *Peak* is all of
the kernel's memory at its highest, with the libraries that it maps from files; *own* is
what it and its processes have for themselves, which no other kernel can share and the
system cannot drop. The first plot counts from the start of the kernel, on the cores
that this machine has.
"""

import contextlib
import os
import pathlib
import sys
import threading
import time

import nbformat
import psutil
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
PAUSE = 0.05  # seconds between two looks
WIDTHS = (24, 6, 6, 10, 7)
COLUMNS = ("notebook", "peak", "own", "first plot", "whole")


class Watched(NotebookClient):
    """A client that notes when the first plot has come."""

    first_plot = None

    def process_message(self, msg, cell, cell_index):
        """Looks at each output on its way."""
        data = msg["content"].get("data", {})
        if self.first_plot is None and (
            "image/png" in data or "<img" in data.get("text/html", "")
        ):
            self.first_plot = time.perf_counter()
        return super().process_message(msg, cell, cell_index)


def status(pid, name, file="status"):
    """MiB of one line of a file in /proc; 0.0 for a process that is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return 0.0
    lines = (line.split() for line in text.splitlines())
    found = [int(line[1]) for line in lines if line[:1] == [f"{name}:"]]
    return found[0] / 1024 if found else 0.0


def family(pid):
    """MiB that a process and all that it started have for themselves."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        pids = [pid, *(child.pid for child in process.children(recursive=True))]
        return sum(status(one, "Pss_Anon", "smaps_rollup") for one in pids)
    return 0.0


class Peak(threading.Thread):
    """Looks at a process and its children until it is stopped."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.mebibytes, self.done = pid, 0.0, threading.Event()

    def run(self):
        """Keeps the largest sum."""
        while not self.done.wait(PAUSE):
            self.mebibytes = max(self.mebibytes, family(self.pid))

    def stop(self):
        """Ends the looking; returns MiB."""
        self.done.set()
        self.join()
        return self.mebibytes


def measure(path):
    """Runs a notebook; returns its peak and its own in MiB, then two times."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    client = Watched(notebook, timeout=600, kernel_name="python3", resources=where)
    begin = time.perf_counter()
    with client.setup_kernel():
        pid = client.km.provisioner.pid
        peak = Peak(pid)
        peak.start()
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        whole = time.perf_counter() - begin
        own, highest = peak.stop(), status(pid, "VmHWM")
    plot = (client.first_plot or float("nan")) - begin
    return highest, own, plot, whole


def row(*texts):
    """One line of the table."""
    first, *rest = texts
    cells = [f"{text:>{width}}" for text, width in zip(rest, WIDTHS[1:], strict=True)]
    return "  ".join([f"{first:{WIDTHS[0]}}", *cells])


def main(arguments):
    """Prints one line per notebook, in MiB and seconds."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    paths = [pathlib.Path(name).resolve() for name in arguments]
    print(f"MiB and seconds, on {len(os.sched_getaffinity(0))} cores")
    print(row(*COLUMNS))
    for path in paths or sorted((ROOT / "notebooks").glob("*.ipynb")):
        highest, own, plot, whole = measure(path)
        numbers = (f"{highest:.0f}", f"{own:.0f}", f"{plot:.1f}", f"{whole:.1f}")
        print(row(path.stem, *numbers), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

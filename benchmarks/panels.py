"""What 500 monitors leave behind once they are closed: memory, widgets, threads.

Usage: python -m benchmarks.panels [count]
"""

import ctypes
import gc
import sys
import threading

import ipywidgets
import keras
import numpy as np
import psutil

from workbench.training import Run
from workbench.widgets import TrainingMonitor

WARM_UP = 80  # until the allocator has what it needs


def _finished_run():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    run = Run(model, (np.ones((320, 4)), np.ones(320))).start()
    run.wait()
    return run


def _left(process):
    gc.collect()
    # What is free but kept by the allocator did not leak.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    comms = len(ipywidgets.widgets.widget._instances)
    return process.memory_info().rss / 2**20, comms, threading.active_count()


def measure(count):
    """Returns MiB, comms and threads that `count` closed monitors leave behind."""
    run, process = _finished_run(), psutil.Process()
    for _ in range(WARM_UP):
        TrainingMonitor(run).close()
    before = _left(process)
    for _ in range(count):
        TrainingMonitor(run).close()
    return np.subtract(_left(process), before)


if __name__ == "__main__":
    count = int(sys.argv[1]) if sys.argv[1:] else 500
    memory, comms, threads = measure(count)
    print(f"{count} monitors: {memory:+.1f} MiB, {comms:+.0f} comms, ", end="")
    print(f"{threads:+.0f} threads")

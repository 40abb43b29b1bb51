"""What 500 monitors leave behind once they are closed: memory, widgets, threads.

Usage: python benchmarks/panels.py
"""

import gc
import threading

import ipywidgets
import keras
import numpy as np
import psutil

from workbench.training import Run
from workbench.widgets import TrainingMonitor

COUNT = 500


def _finished_run():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    run = Run(model, (np.ones((320, 4)), np.ones(320))).start()
    run.wait()
    return run


def _left(process):
    gc.collect()
    comms = len(ipywidgets.widgets.widget._instances)
    return process.memory_info().rss / 2**20, comms, threading.active_count()


if __name__ == "__main__":
    run, process = _finished_run(), psutil.Process()
    for _ in range(20):
        TrainingMonitor(run).close()
    memory, comms, threads = _left(process)
    for _ in range(COUNT):
        TrainingMonitor(run).close()
    after = _left(process)
    print(f"{COUNT} monitors: {after[0] - memory:+.1f} MiB, ", end="")
    print(f"{after[1] - comms:+d} comms, {after[2] - threads:+d} threads")

"""A hundred starts of workers of which one is missing or killed.

    python -m benchmarks.launching [--starts 100] [--tensorflow 6]

Each start launches two workers on this machine; one never joins, or is killed, or
fails, at a random moment. Counted are the starts whose loss was reported, the longest
time to that report, and the processes that were left. So many as `--tensorflow` says
train a model meanwhile; the rest only meet, since importing TensorFlow takes seconds.
"""

import argparse
import contextlib
import pathlib
import random
import sys
import tempfile
import time

import psutil

from workbench import devices

FAULTS = ("killed", "failed", "missing")
BEGIN = """
import os, pathlib, signal, subprocess, sys, time
from workbench import devices
folder, fault, after = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
# Waiting in TensorFlow, a worker hears no SIGTERM; here it never does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
index = devices.read_cluster().index
(folder / f"{index}").write_text(f"{os.getpid()} {child.pid}")

def end():
    time.sleep(after)
    (folder / "time").write_text(repr(time.time()))
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)

if index == 1 and fault == "missing":
    time.sleep(600)
"""
MEET = """
devices.wait_for_workers(seconds=60)
if index == 1:
    end()
time.sleep(600)
"""
TRAIN = """
strategy = devices.multi_worker_strategy(seconds=60)
import threading
import keras, numpy as np
with strategy.scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
data = np.zeros((64, 4), "float32"), np.zeros((64, 1), "float32")
if index == 1:
    threading.Thread(target=end).start()
model.fit(*data, epochs=100_000, verbose=0)
"""


def start(code, fault, after):
    """Launches once; returns seconds from the loss to its report, and what is left."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        command = [sys.executable, "-c", BEGIN + code, temporary, fault, str(after)]
        begun = time.time()
        reported = None
        try:
            devices.launch_workers(command)
        except devices.WorkerError as error:
            if error.index == 1:
                reported = time.time()
        with contextlib.suppress(FileNotFoundError):
            begun = float((folder / "time").read_text())
        pids = [
            int(pid) for each in "01" for pid in (folder / each).read_text().split()
        ]
        return reported and reported - begun, sum(map(lives, pids))


def lives(pid):
    """Whether a process runs; one that has just been killed gets a second to go."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False  # dead, until its parent looks
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.01)
    return True


def main():
    """Prints counts and the longest times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--tensorflow", type=int, default=6)
    arguments = parser.parse_args()
    draw = random.Random(0)  # noqa: S311, no secret
    found = {fault: [] for fault in FAULTS}
    for number in range(arguments.starts):
        # One in twenty is missing: it takes its twelve seconds.
        fault = "missing" if number % 20 == 19 else FAULTS[number % 2]
        code = TRAIN if number < arguments.tensorflow else MEET
        after = draw.uniform(0, 3 if code == TRAIN else 0.5)
        found[fault].append(start(code, fault, after))
    for fault, results in found.items():
        times = [seconds for seconds, _ in results if seconds is not None]
        left = sum(number for _, number in results)
        print(
            f"{fault:8} {len(results):3} starts, {len(times):3} reported, after "
            f"{max(times, default=0):5.2f} s at most; {left} processes left"
        )


if __name__ == "__main__":
    main()

"""Exact resume: kills by the thousand, and what a checkpoint costs.

`kills` trains 27 configurations, in which every pair of optimizer, layer, data, rate
and extra occurs: each once without a kill, then with SIGKILL at random moments and
inside random disk operations, with `checkpoints.fit` and, as the control, with
`BackupAndRestore`; everything is compared bit for bit.

`cost` trains models whose weights and Adam's moments have 10, 100 and 500 MB, and
compares with `model.save`: how long training stands still for a checkpoint, how long
the background needs until it is on disk, and how much slower training gets with a
checkpoint every 10 s. All in one run, the compared ones in turn.

    python -m benchmarks.checkpoints kills [--kills 40] [--processes 2]
    python -m benchmarks.checkpoints cost [--sizes 10 100 500]
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np

from workbench import checkpoints
from workbench.checkpoints import state
from workbench.checkpoints.store import Store

REPEATS = 5
WARM_UP = 10  # steps
INTERVAL = 10.0  # seconds
WIDTH = 1024


def run_kills(name, arguments, *, control):
    command = [sys.executable, "-m", "tests.kill_harness"]
    for option in ("kills", "seed", "processes"):
        command += [f"--{option}", str(getattr(arguments, option))]
    command += ["--control"] * control
    cases = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            cases.append(json.loads(line))
            print(name, line.strip(), flush=True)
    assert process.returncode == 0
    kills, failed, sums = (collections.Counter() for _ in range(3))
    for case in cases:
        kills.update(case["kills"])
        failed.update(case["failed"])
        sums.update({k: case[k] for k in ("runs", "different", "twice", "lost")})
    print(
        f"{name}: {len(cases)} configurations, {sum(kills.values())} kills "
        f"({', '.join(f'{n} {kind}' for kind, n in kills.items())}), {sums['runs']} "
        f"runs; {sums['different']} runs differ ({dict(failed)}); samples seen twice "
        f"{sums['twice']}, lost {sums['lost']}"
    )


def model_of(megabytes):
    """Dense layers whose weights and Adam's two moments have so many MB."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Input((WIDTH,))]
    left = megabytes * 1e6 / 12 / WIDTH  # rows of weights
    while left > 0:
        units = int(min(WIDTH, max(left // 2, 1)))
        layers += [keras.layers.Dense(units, "tanh"), keras.layers.Dense(WIDTH)]
        left -= 2 * units
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


class Timed(checkpoints.Session):
    """Saves when told to, and notes for how long training stands still."""

    def __init__(self, *arguments, **others):
        super().__init__(*arguments, **others)
        self.wanted, self.stalls = False, []

    def _due(self, steps):
        return self.wanted

    def _save(self, *arguments, **others):
        begin = time.perf_counter()
        super()._save(*arguments, **others)
        self.stalls.append(time.perf_counter() - begin)


class Windows(keras.callbacks.Callback):
    """Windows of so many steps, with a checkpoint at the start of every other."""

    def __init__(self):
        super().__init__()
        self.session = None
        self.seconds = [], []
        self._steps, self._number = 0, -1
        self._size = self._begin = None

    def get_state(self):
        """It remembers nothing that training changes."""

    def set_state(self, state):
        """Never called, since there is no state."""

    def on_train_batch_end(self, batch, logs=None):
        """Ends windows, and has a checkpoint made."""
        self.session.wanted = False
        self._steps += 1
        now = time.perf_counter()
        if self._size is None:
            self._find_size(now)
        elif self._steps == self._size:
            if self._number >= 0:  # the one before warms up
                self.seconds[self._number % 2].append(now - self._begin)
            self._steps, self._begin = 0, now
            self._number += 1
            self.session.wanted = self._number % 2 == 1
            self.model.stop_training = self._number == 2 * REPEATS

    def _find_size(self, now):
        if self._steps == WARM_UP:  # what is compiled is compiled
            self._begin = now
        elif self._steps > WARM_UP and now - self._begin > INTERVAL / 4:
            self._size = 4 * (self._steps - WARM_UP)
            self._steps, self._begin = 0, now


def train_in_windows(model, folder):
    """Returns seconds of windows without and with a checkpoint, and of the stalls."""
    x = np.random.default_rng(0).normal(size=(4096, WIDTH)).astype("float32")
    windows = Windows()
    others = {"epochs": 10**6, "batch_size": 8, "callbacks": [windows]}
    data = x, np.ones((len(x), 1), "float32")
    with Timed(model, data, filepath=folder, **others) as session:
        windows.session = session
        session.fit()
    without, with_one = map(np.array, windows.seconds)
    return without, with_one, session.stalls[1:-1]  # the first makes the buffers


def save_in_turn(model, folder, manifest):
    """Returns seconds of `model.save`, of durable writes of our own, and bytes."""
    variables, buffers = state.variables_of(model), state.HostBuffers()
    store = Store(folder / "writes")
    store.folder.mkdir()
    saves, writes = [], []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        model.save(folder / "model.keras")
        saves.append(time.perf_counter() - begin)
        (folder / "model.keras").unlink()
        tensors = buffers.copy(variables)
        begin = time.perf_counter()
        store.write(tensors, manifest, keep=3)
        writes.append(time.perf_counter() - begin)
    return saves[1:], writes[1:], sum(t.nbytes for t in tensors.values())


def cost(megabytes, folder):
    """Returns a dict of seconds and of the ratios that are promised."""
    model = model_of(megabytes)
    without, with_one, stalls = train_in_windows(model, folder / "run")
    manifest = checkpoints.list_checkpoints(folder / "run")[-1].manifest
    saves, writes, size = save_in_turn(model, folder, manifest)
    save, write, stall = map(np.median, (saves, writes, stalls))
    slower = with_one / without - 1
    return {
        "MB": round(size / 1e6),
        "model.save": f"{save:.3f} s",
        "stall": f"{stall:.4f} s, {stall / save:.3f} of it",
        "durable write": f"{write:.3f} s, {write / save:.2f} of it",
        "window": f"{np.median(without):.1f} s",
        "slower with a checkpoint": f"{np.median(slower):+.3f}, of "
        + " ".join(f"{value:+.3f}" for value in slower),
    }


def run_cost(arguments):
    for megabytes in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            found = cost(megabytes, pathlib.Path(folder))
        print("; ".join(f"{k} {v}" for k, v in found.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("kills", "cost"))
    parser.add_argument("--kills", type=int, default=40, help="for each configuration")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=(10, 100, 500))
    parser.add_argument("--folder", help="on the disk to measure")
    arguments = parser.parse_args()
    if arguments.what == "cost":
        run_cost(arguments)
        return
    run_kills("checkpoints.fit", arguments, control=False)
    run_kills("BackupAndRestore", arguments, control=True)


if __name__ == "__main__":
    main()

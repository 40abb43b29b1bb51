"""Exact resume: kills by the thousand, and what a checkpoint costs.

`kills` trains 27 configurations, in which every pair of optimizer, layer, data, rate
and extra occurs: each once without a kill, then with SIGKILL at random moments and
inside random disk operations, with `checkpoints.fit` and, as the control, with
`BackupAndRestore`; everything is compared bit for bit.

`cost` trains models whose weights and Adam's moments have 10, 100 and 500 MB, and
compares with `model.save`: how long training stands still for a checkpoint, how long
the background needs until it is on disk, and how much slower training gets with a
checkpoint every 10 s. What is compared is measured in turn, many times within one
training: windows of so many steps with a checkpoint and without, just long enough for
the whole of the write, then `model.save`, then a write alone. So a load on the machine
hits both, and the middle of the ratios tells; the quartiles beside it say how sure it
is. CPU seconds count the background's work too, even where another core does it.

    python -m benchmarks.checkpoints kills [--kills 40] [--processes 2]
    python -m benchmarks.checkpoints cost [--sizes 10 100 500] [--pairs 15]
"""

import argparse
import collections
import json
import os
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


class Turns(keras.callbacks.Callback):
    """Measures in turn, between the steps of a training; `run` is one long plan.

    Args:
        folder: path of an empty folder, for what is compared with.
        pairs: int, how often.
    """

    def __init__(self, folder, pairs):
        super().__init__()
        self.session = None
        self.times = {True: [], False: []}  # of windows: (wall, CPU) seconds
        self.saves, self.writes = [], []
        self._folder, self._pairs = folder, pairs
        self._store, self._buffers = Store(folder / "writes"), state.HostBuffers()
        self._plan = None

    def get_state(self):
        """It remembers nothing that training changes."""

    def set_state(self, state):
        """Never called, since there is no state."""

    def on_train_batch_end(self, batch, logs=None):
        """Goes on with the plan."""
        self._plan = self._plan or self._run()
        self.model.stop_training = next(self._plan, "end") == "end"

    def _run(self):
        for _ in range(WARM_UP):  # what is compiled is compiled
            yield
        self._store.folder.mkdir()
        self._compare()  # the first makes buffers and files
        steps = yield from self._steps_of_a_window()
        self.saves, self.writes = [], []
        for number in range(self._pairs):
            for with_one in (number % 2 == 0, number % 2 == 1):
                self.session.wanted = with_one
                begin = time.perf_counter(), time.process_time()
                for _ in range(steps):
                    yield
                    self.session.wanted = False
                now = time.perf_counter(), time.process_time()
                self.times[with_one].append(np.subtract(now, begin))
                self.session._look_after_writer()
            self._compare()

    def _steps_of_a_window(self):
        self._compare()
        begin = time.perf_counter()
        for _ in range(WARM_UP):
            yield
        step = (time.perf_counter() - begin) / WARM_UP
        return int(max(1.0, 4 * max(self.writes)) / step) + 1

    def _compare(self):
        begin = time.perf_counter()
        self.model.save(self._folder / "model.keras")
        self.saves.append(time.perf_counter() - begin)
        (self._folder / "model.keras").unlink()
        tensors = self._buffers.copy(state.variables_of(self.model))
        (first,) = checkpoints.list_checkpoints(self.session.folder)[:1]
        begin = time.perf_counter()
        self._store.write(tensors, first.manifest, keep=3)
        self.writes.append(time.perf_counter() - begin)
        self.size = sum(array.nbytes for array in tensors.values())


def cost(megabytes, folder, pairs):
    """Returns a dict of what one line says."""
    model = model_of(megabytes)
    x = np.random.default_rng(0).normal(size=(4096, WIDTH)).astype("float32")
    turns = Turns(folder, pairs)
    others = {"epochs": 10**6, "batch_size": 8, "callbacks": [turns], "keep": 2}
    data = x, np.ones((len(x), 1), "float32")
    with Timed(model, data, filepath=folder / "run", **others) as session:
        turns.session = session
        session.fit()
    saves, writes = np.array(turns.saves), np.array(turns.writes)
    stalls = np.array(session.stalls[1 : 1 + pairs])  # the first makes the buffers
    extra = np.subtract(turns.times[True], turns.times[False])
    window = np.median(turns.times[False], axis=0)
    return {
        "MB": round(turns.size / 1e6),
        "model.save": f"{np.median(saves):.3f} s",
        "stall": f"{np.median(stalls):.4f} s, {spread(stalls / saves)} of it",
        "durable write": f"{np.median(writes):.3f} s, {spread(writes / saves)} of it",
        "window": f"{window[0]:.1f} s, {window[1]:.1f} CPU s",
        f"slower at one in {INTERVAL:.0f} s": spread(extra[:, 0] / INTERVAL),
        "CPU seconds for one": f"{spread(extra[:, 1])}, of {os.cpu_count()} cores' "
        f"{INTERVAL:.0f} s {spread(extra[:, 1] / os.cpu_count() / INTERVAL)}",
    }


def spread(values):
    """The middle, and the quartiles."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def run_cost(arguments):
    for megabytes in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            found = cost(megabytes, pathlib.Path(folder), arguments.pairs)
        print("; ".join(f"{k} {v}" for k, v in found.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("kills", "cost"))
    parser.add_argument("--kills", type=int, default=40, help="for each configuration")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=(10, 100, 500))
    parser.add_argument("--pairs", type=int, default=15, help="for each size")
    parser.add_argument("--folder", help="on the disk to measure")
    arguments = parser.parse_args()
    if arguments.what == "cost":
        run_cost(arguments)
        return
    run_kills("checkpoints.fit", arguments, control=False)
    run_kills("BackupAndRestore", arguments, control=True)


if __name__ == "__main__":
    main()

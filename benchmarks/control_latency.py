"""From a key on the slider to the step that uses the new rate, per ipykernel version.

JupyterLab in a headless Chromium; the training runs in the background. Prints how
many of the presses took effect within 100 ms plus one batch. The training is one long
epoch: between two, Keras runs no step for up to some tenths of a second.

Usage: python -m benchmarks.control_latency [version …]
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from tests.browser.lab import Lab

VERSIONS = ("7.3.0", "6.31.0", "7.4.0")
PRESSES = 100
ALLOWED_SECONDS = 0.1
SOURCE = """
from workbench.logs import quiet
with quiet():
    import keras
    import tensorflow as tf
import time
import numpy as np
import ipykernel
from workbench.training import Run
from workbench.widgets import TrainingMonitor

class Stamps(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.ends = []
    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.time())

model = keras.Sequential([keras.layers.Input((256,))]
    + [keras.layers.Dense(1024, "relu") for _ in range(3)] + [keras.layers.Dense(10)])
model.compile(keras.optimizers.SGD(1e-3), "mse")
stamps = Stamps()
x = np.random.default_rng(0).random((12800, 256), "float32")
data = tf.data.Dataset.from_tensor_slices((x, x[:, :10])).batch(128).repeat(1000)
run = Run(model, data, callbacks=[stamps])
monitor = TrainingMonitor(run)
run.start()
monitor
"""


def measure(version):
    """Returns the ipykernel that ran, milliseconds a batch, and seconds per press."""
    with tempfile.TemporaryDirectory() as name:
        folder, kernel = pathlib.Path(name, "lab"), pathlib.Path(name, "kernel")
        folder.mkdir()
        packages = [f"ipykernel=={version}", "nest-asyncio", "nest-asyncio2"]
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
            + [f"--target={kernel}", *packages],
            check=True,
        )
        with Lab(folder, search_path=[kernel]) as lab:
            lab.run_notebook("latency.ipynb", SOURCE)
            return _press(lab)


def _press(lab):
    page = lab.page
    page.evaluate(
        "window.presses = []; document.addEventListener('keydown', "
        "() => window.presses.push(Date.now() / 1000), true)"
    )
    while lab.evaluate("len(run.records)") < 20:
        time.sleep(0.1)
    page.locator(".widget-vbox .noUi-handle").first.focus()
    for i in range(PRESSES):
        # Not Locator.press, which waits for the page to stand still.
        page.keyboard.press("ArrowLeft" if i % 10 < 5 else "ArrowRight")
        time.sleep(0.3)
    time.sleep(2)
    ends = np.array(lab.evaluate("stamps.ends"))
    changes = np.array(lab.evaluate("[change.step for change in run.changes]"))
    begun = ends[changes - 2]
    pressed = np.array(page.evaluate("window.presses"))
    place = np.searchsorted(begun, pressed)
    seconds = np.append(begun, np.inf)[place] - pressed
    version = lab.evaluate("ipykernel.__version__")
    lab.evaluate("run.stop()")
    return version, float(np.median(np.diff(ends))), seconds


if __name__ == "__main__":
    for wanted in sys.argv[1:] or VERSIONS:
        version, batch, seconds = measure(wanted)
        good = int((seconds <= ALLOWED_SECONDS + batch).sum())
        median, worst = 1000 * np.sort(seconds)[[PRESSES // 2, PRESSES * 95 // 100 - 1]]
        print(
            f"ipykernel {version}: {good} of {PRESSES} within 100 ms + one batch of "
            f"{1000 * batch:.0f} ms; median {median:.0f} ms, 95th {worst:.0f} ms",
            flush=True,
        )

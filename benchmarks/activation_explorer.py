"""How long the activation explorer takes to draw 512 maps of 56 x 56.

From the click in the page of a real Chromium to the painted canvas: the click travels
to the kernel, the maps are arranged there, sent, colored and drawn. A change of the
input computes all layers as well; that share is measured in the kernel. For comparison
the same maps as 512 axes of matplotlib, as keract draws them.

    python -m benchmarks.activation_explorer [--rounds 20]
"""

import argparse
import pathlib
import tempfile

import numpy as np

from tests.browser.lab import Lab

NAME = "explorer.ipynb"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

import time

import numpy as np

from workbench import plots
from workbench.widgets import ActivationExplorer

keras.utils.set_random_seed(0)
wide = [keras.layers.Conv2D(512, 1, name=name) for name in ("first", "second")]
small = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="small")
model = keras.Sequential([keras.Input((56, 56, 3)), small, *wide])
x = np.random.default_rng(0).random((40, 56, 56, 3), "float32")


def milliseconds(work):
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)


def compute():
    panel._reading.compute(1, training=False)


def draw_axes():
    maps = panel._reading.maps.values[0]
    figure, axes = plots.new_figure(20, 16, nrows=20, ncols=26)
    figure.set_layout_engine("none")
    for axis, values in zip(axes.flat, maps, strict=False):
        axis.imshow(values)
        axis.set_axis_off()
    plots.to_png(figure)
"""
PANEL = """
panel = ActivationExplorer(model, x)
panel
"""
# Resolves once the frame that shows what was drawn has been painted.
WATCH = """(root, act) => new Promise(resolve => {
    const begin = performance.now();
    const watch = new MutationObserver(() => {
        watch.disconnect();
        requestAnimationFrame(() => setTimeout(
            () => resolve(performance.now() - begin), 0));
    });
    watch.observe(root, {attributes: true, attributeFilter: ["data-drawn"]});
    if (act.item) root.querySelector(`[data-key="${act.item}"]`).click();
    if (act.button) {
        for (const button of document.querySelectorAll(".widget-toggle-button"))
            if (button.textContent.trim() === act.button) button.click();
    }
    if (act.key) document.querySelector(".noUi-handle").dispatchEvent(
        new KeyboardEvent("keydown", {key: act.key, bubbles: true}));
})"""


def show(name, times):
    low, middle, high = np.percentile(times, [10, 50, 90])
    print(f"{name:34} median {middle:4.0f} ms (10 % {low:.0f}, 90 % {high:.0f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, Lab(pathlib.Path(folder)) as lab:
        lab.run_notebook(NAME, SETUP, PANEL)
        measure(lab, rounds)


def measure(lab, rounds):
    root = lab.page.locator(".workbench-tiles").first

    def times(*acts):
        found = [root.evaluate(WATCH, acts[i % len(acts)]) for i in range(rounds + 2)]
        return found[2:]

    show("another layer", times({"item": "second"}, {"item": "first"}))
    show("another scale", times({"button": "unit"}, {"button": "layer"}))
    inputs = times({"key": "ArrowRight"})
    compute = [lab.evaluate("milliseconds(compute)") for _ in range(rounds)]
    show("another input", inputs)
    show("  of it computing all layers", compute)
    ratio = lab.evaluate("milliseconds(draw_axes)") / np.median(inputs)
    print(f"512 axes of matplotlib take {ratio:.0f} times as long as another input")


if __name__ == "__main__":
    main()

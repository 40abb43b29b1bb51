"""Every panel without a mouse and without eyes: axe-core, labels, keys."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.lab import wait_for

NAME = "accessibility.ipynb"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

import numpy as np

from workbench import data, widgets
from workbench.embeddings import load_vectors
from workbench.training import Run

keras.utils.set_random_seed(0)
(digits, labels), held_out = data.load_mnist()
stack = [
    keras.Input((28, 28)),
    keras.layers.Reshape((28, 28, 1)),
    keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="maps"),
    keras.layers.Flatten(),
    keras.layers.Dense(10),
]
model = keras.Sequential(stack)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
few = digits[:320], labels[:320]
run = Run(model, few, filepath="run", save_every=5).start()
_ = run.wait()
model.save("model.keras")
"""
PANELS = {
    "DevicePanel": "widgets.DevicePanel(refresh_seconds=30.0)",
    "TrainingMonitor": "widgets.TrainingMonitor(run)",
    "ClipLab": "widgets.ClipLab(model, few)",
    "ScheduleStudio": "widgets.ScheduleStudio(model, few)",
    "StrengthMap": "widgets.StrengthMap(model, few, validation_data=held_out)",
    "ResumePanel": "widgets.ResumePanel(run)",
    "FormatTable": "widgets.FormatTable('.', model=model, data=few)",
    "ActivationExplorer": "widgets.ActivationExplorer(model, digits[:8])",
    "EmbeddingExplorer": "widgets.EmbeddingExplorer(load_vectors(data.GLOVE))",
}
# What is wrong with JupyterLab's own page is not for these tests: axe looks into one
# panel at a time.
_MARK = """(node, name) => node.dataset.checked = name"""
_OPTIONS = {"resultTypes": ["violations"]}
_NAMELESS = """root => {
    const can = "a[href], button, input, select, textarea, summary, [tabindex]";
    return [...root.querySelectorAll(can)]
        .filter(node => node.tabIndex >= 0 && !node.disabled && node.offsetParent)
        .filter(node => {
            const label = node.getAttribute("aria-label") || node.title
                || (node.labels && [...node.labels].map(l => l.textContent).join(""))
                || node.textContent;
            return !label.trim();
        })
        .map(node => node.outerHTML.slice(0, 200));
}"""
_NAME_OF_FOCUS = """() => {
    const node = document.activeElement;
    const label = [...(node.labels || [])].map(label => label.textContent).join("");
    return (label || node.getAttribute("aria-label") || node.textContent).trim();
}"""


@pytest.fixture(scope="module")
def page(lab):
    """A notebook with every panel, each in a cell of its own."""
    cells = [
        f"{name.lower()} = {made}\n{name.lower()}" for name, made in PANELS.items()
    ]
    lab.run_notebook(NAME, SETUP, *cells)
    return lab.page


@pytest.fixture
def panel(page, name):
    """The place of a panel on the page, with all its parts there."""
    place = page.locator(".workbench-panel").nth(list(PANELS).index(name))
    place.evaluate("node => node.scrollIntoView()")
    place.locator("button, [role=application]").first.wait_for()
    place.evaluate(_MARK, name)
    return place


def serious(page, name):
    """What axe-core finds serious or critical in a panel."""
    found = Axe().run(page, context=f"[data-checked={name}]", options=_OPTIONS)
    return [
        f"{finding['id']}: {node['html'][:300]}\n    {node['failureSummary']}"
        for finding in found.response["violations"]
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
    ]


@pytest.mark.parametrize("name", PANELS)
def test_axe_finds_nothing_serious(page, panel, name):
    wait_for(lambda: panel.evaluate(_NAMELESS) == [])
    assert serious(page, name) == []


@pytest.mark.parametrize("name", ["ClipLab"])
def test_axe_would_find_a_slider_without_a_name(page, panel, name):
    handle = panel.locator(".noUi-handle").first
    named = handle.get_attribute("aria-label")
    assert named == "Threshold"
    handle.evaluate("node => node.removeAttribute('aria-label')")
    (finding,) = serious(page, name)
    assert finding.startswith("aria-input-field-name")
    handle.evaluate("(node, name) => node.setAttribute('aria-label', name)", named)


@pytest.mark.parametrize("name", ["ClipLab"])
def test_tab_reaches_each_control_that_can_be_used(page, panel, name):
    panel.get_by_label("Clip", exact=True).focus()
    reached = []
    for _ in range(6):
        reached.append(page.evaluate(_NAME_OF_FOCUS))
        page.keyboard.press("Tab")
    compare = ["Compare methods side by side", "Compare methods"]
    assert reached == ["Clip", "Threshold", "Start", "Start from new weights", *compare]


@pytest.mark.parametrize("name", ["ActivationExplorer"])
def test_arrows_go_through_the_maps(lab, page, panel, name):
    told = panel.locator(".workbench-tiles [role=status]")
    panel.get_by_role("treeitem", name="maps").click()
    wait_for(lambda: lab.evaluate("activationexplorer.layer") == "maps")
    maps = panel.locator("canvas")
    wait_for(lambda: "What maps puts out" in (maps.get_attribute("aria-label") or ""))
    maps.focus()
    page.keyboard.press("ArrowRight")
    wait_for(lambda: told.inner_text().startswith("channel 0, row 6, column 6: "))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    wait_for(lambda: told.inner_text().startswith("channel 1, row 7, column 6: "))
    page.keyboard.press("Enter")
    wait_for(lambda: lab.evaluate("activationexplorer.unit") == 1)
    pictures = panel.locator("img:visible")
    wait_for(lambda: pictures.count() == 9)
    wait_for(lambda: all(p.get_attribute("alt") for p in pictures.all()))
    page.keyboard.press("Escape")
    wait_for(lambda: told.inner_text().startswith("Hover for a value"))


@pytest.mark.parametrize("name", ["EmbeddingExplorer"])
def test_arrows_go_over_the_map_of_words(lab, page, panel, name):
    field = panel.locator("[role=application]")
    told = panel.locator(".workbench-points [role=status]")
    field.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    wait_for(lambda: " · word " in told.inner_text())
    word = told.inner_text().split(" · ")[0]
    page.keyboard.press("Enter")
    wait_for(lambda: lab.evaluate("embeddingexplorer.word") == word)
    for _ in range(6):
        page.keyboard.press("+")
    seen = int(
        wait_for(
            lambda: field.locator("..").locator("..").get_attribute("data-visible")
        )
    )
    page.keyboard.press("a")
    wait_for(lambda: 0 < lab.evaluate("len(embeddingexplorer.selection)") <= seen)
    page.keyboard.press("Escape")
    wait_for(lambda: lab.evaluate("len(embeddingexplorer.selection)") == 0)

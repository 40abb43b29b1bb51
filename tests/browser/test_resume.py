"""A kernel restarted in the middle of a run; the same cells again; the same record."""

import os
import pathlib

import pytest

from tests.browser.lab import PANEL, button, wait_for
from workbench.checkpoints import list_checkpoints

NAME = "resume.ipynb"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

import dataclasses
import time

from workbench import data
from workbench.training import Run
from workbench.widgets import ResumePanel, TrainingMonitor


class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)


def make_run(folder, *callbacks):
    (x, y), (x_test, y_test) = data.load_mnist()
    keras.utils.set_random_seed(7)
    stack = [keras.layers.Flatten(), keras.layers.Dropout(0.2), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((28, 28)), *stack])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return Run(
        model,
        (x[:1280], y[:1280]),
        epochs=6,
        validation_data=(x_test, y_test),
        filepath=folder,
        save_every=25,
        callbacks=callbacks,
    )


def record_of(run):
    names = ("step", "loss", "learning_rate", "gradient_norm")
    told = {name: getattr(run.records, name).tolist() for name in names}
    weights = [w.tobytes().hex() for w in run.model.get_weights()]
    changes = [dataclasses.astuple(change) for change in run.changes]
    return told, run.history.history, changes, weights
"""
RUN = """
run = make_run("run", Slow())
monitor = TrainingMonitor(run)
monitor
"""
RESUME = """
panel = ResumePanel(run)
panel
"""
STEPS = 240


@pytest.fixture(scope="module")
def notebook(lab):
    """The notebook with the monitor of a run and the panel of its folder, all run."""
    lab.run_notebook(NAME, SETUP, RUN, RESUME)
    return lab


def statuses(lab):
    return lab.page.get_by_role("status").all_inner_texts()


def test_a_restart_in_the_middle_changes_nothing(notebook):
    lab = notebook
    button(lab.page.locator(PANEL), "Start").first.click()
    wait_for(lambda: lab.evaluate("len(run.records)") > 90)
    lab.restart_kernel()
    saved = list_checkpoints(lab.folder / "run")[-1].steps
    assert 75 <= saved < STEPS
    lab.run_all()
    assert lab.errors() == []
    assert lab.evaluate("len(run.records)") == 0
    wait_for(lambda: any(f"goes on after step {saved}" in t for t in statuses(lab)))
    lab.screenshot("resume_next_day")
    button(lab.page.locator(PANEL), "Continue").first.click()
    wait_for(lambda: any("Finished · step 240 of 240" in t for t in statuses(lab)))
    lab.evaluate("globals().update(whole=make_run('whole').start())")
    wait_for(lambda: lab.evaluate("whole.state") == "finished")
    assert lab.evaluate("record_of(whole) == record_of(run)")
    assert lab.evaluate("len(run.records)") == STEPS


def test_the_panel_shows_the_checkpoints_and_branches(notebook):
    lab = notebook
    wait_for(lambda: any("is the end of training" in t for t in statuses(lab)))
    table = lab.page.locator(f"{PANEL} table").last
    wait_for(lambda: table.locator("tbody tr").count() == 3)
    wait_for(lambda: table.inner_text().count("every byte") == 3)
    found = list_checkpoints(lab.folder / "run")
    assert [c.steps for c in found] == [200, 225, 240]
    menu = lab.page.get_by_label("Checkpoint", exact=True)
    menu.select_option(index=1)
    wait_for(lambda: lab.evaluate("panel.chosen") == found[1].name)
    field = lab.page.get_by_role("textbox", name="New folder")
    field.fill("other")
    field.press("Enter")
    button(lab.page.locator(PANEL), "Branch").first.click()
    wait_for(lambda: any("A branch is in other" in text for text in statuses(lab)))
    (copy,) = list_checkpoints(lab.folder / "other")
    assert copy.steps == 225
    assert lab.evaluate("panel.error") == ""
    save_picture(lab)


def save_picture(lab):
    """Takes the panel's picture alone, where WORKBENCH_SCREENSHOTS names a folder."""
    folder = os.environ.get("WORKBENCH_SCREENSHOTS")
    if folder:
        panel = lab.page.locator(f"{PANEL}:has(table)").first
        panel.screenshot(path=pathlib.Path(folder) / "resume_panel.png")


def test_no_request_leaves_the_machine(notebook):
    assert notebook.requests_outside() == []

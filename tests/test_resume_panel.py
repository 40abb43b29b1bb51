"""The panel of checkpoints from Python: what lies there, what is damaged, branches."""

import shutil
import threading

import keras
import numpy as np
import pytest

from tests.models import compiled, mlp, state_of
from tests.test_training import SECONDS, assert_equal_states
from tests.waiting import wait_for
from workbench import checkpoints
from workbench.checkpoints import list_checkpoints
from workbench.plots.checkpoints import history_of, plot_checkpoints
from workbench.training import Run
from workbench.widgets import ResumePanel

EPOCHS = 3


def train(folder, digits, **arguments):
    """Three epochs of twenty steps, a checkpoint every seven."""
    arguments = {"epochs": EPOCHS, "keep": 4, "validation_data": digits, **arguments}
    model = compiled(mlp, keras.optimizers.Adam(1e-3))
    history = checkpoints.fit(
        model, digits, filepath=folder, save_every=7, **arguments
    ).history
    return model, history


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """Folder of a finished training, its model and History."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, *train(folder, digits)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of that folder, to be played with."""
    return shutil.copytree(trained[0], tmp_path / "run")


@pytest.fixture
def open_panel():
    """Makes panels; closes them afterwards."""
    made = []

    def make(*arguments):
        made.append(ResumePanel(*arguments))
        return made[-1]

    yield make
    for panel in made:
        panel.close()


def damage(checkpoint):
    file = checkpoint.path / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_it_shows_checkpoints_with_their_metrics(open_panel, folder, trained):
    panel = open_panel(folder)
    found = list_checkpoints(folder)
    assert panel.checkpoints == found
    assert [c.steps for c in found] == [42, 49, 56, 60]
    assert panel.chosen == found[-1].name
    assert "The newest, after step 60, is the end of training." in panel._text.value
    for checkpoint in found:
        assert checkpoint.name in panel._table.value
        assert f"{checkpoint.metrics['loss']:.4f}" in panel._table.value
    assert f"{trained[2]['val_accuracy'][-1]:.4f}" in panel._table.value
    assert "2 + 2 steps" in panel._table.value
    wait_for(lambda: panel._table.value.count("every byte") == len(found))
    assert "after steps: 42, 49, 56, 60." in panel._plot.value
    assert panel._repr_mimebundle_()["image/png"]


def test_the_curve_is_the_history(folder, trained):
    found = list_checkpoints(folder)
    history = history_of(found[-1])
    assert history == trained[2]
    axes = plot_checkpoints(found, "accuracy", found[1]).axes[0]
    curve, validation, chosen = axes.get_lines()
    np.testing.assert_array_equal(curve.get_xdata(), [20, 40, 60])
    np.testing.assert_array_equal(curve.get_ydata(), history["accuracy"])
    np.testing.assert_array_equal(validation.get_ydata(), history["val_accuracy"])
    assert chosen.get_xdata()[0] == 49
    places = axes.collections[0].get_offsets()
    expected = [[c.steps, c.metrics["accuracy"]] for c in found]
    np.testing.assert_allclose(places, expected)


def test_damaged_ones_are_reported_and_passed_over(open_panel, folder):
    found = list_checkpoints(folder)
    damage(found[-1])
    (found[1].path / "manifest.json").write_text("{}")
    panel = open_panel(folder)
    wait_for(lambda: found[-1].name in panel.damaged)
    assert "does not match its SHA-256" in panel.damaged[found[1].name]
    assert "does not match its SHA-256" in panel.damaged[found[-1].name]
    wait_for(lambda: panel.chosen == found[2].name)
    assert panel._table.value.count("damaged: ") == 2
    assert "Damaged: 2" in panel._text.value


def test_one_that_is_damaged_later_is_reported_too(open_panel, folder):
    panel = open_panel(folder)
    wait_for(lambda: len(panel._checked) == 4)
    damage(panel.checkpoints[0])
    wait_for(lambda: panel.damaged)


def test_a_branch_goes_on_from_any_checkpoint(open_panel, folder, digits, tmp_path):
    panel = open_panel(folder)
    panel.chosen = panel.checkpoints[1].name
    panel.new_filepath = str(tmp_path / "other")
    panel._branch.click()
    assert panel.error == ""
    assert panel.branched == str(tmp_path / "other")
    assert "A branch is in" in panel._text.value
    (copy,) = list_checkpoints(tmp_path / "other")
    assert copy.steps == 49
    assert list_checkpoints(folder) == panel.checkpoints
    model, history = train(tmp_path / "other", digits, epochs=EPOCHS + 1)
    straight, expected = train(tmp_path / "straight", digits, epochs=EPOCHS + 1)
    assert history == expected
    assert_equal_states(model, straight)


def test_a_branch_into_a_folder_in_use_is_refused_in_words(open_panel, folder):
    panel = open_panel(folder)
    panel.new_filepath = str(folder)
    panel._branch.click()
    assert "`filepath` must hold no checkpoint yet" in panel._error_view.value
    with pytest.raises(ValueError, match="`filepath` must hold no checkpoint yet"):
        panel.branch(folder)


def test_a_choice_that_is_not_there_is_told(open_panel, folder):
    panel = open_panel(folder)
    panel.chosen = "nonsense"
    assert "`chosen` must be one of" in panel.error


def test_a_choice_in_the_middle_of_a_refresh_is_not_lost(
    open_panel, folder, monkeypatch
):
    panel = open_panel(folder)
    wanted = panel.checkpoints[0].name
    wish = threading.Thread(target=setattr, args=(panel, "chosen", wanted))
    look = panel._reader.look

    def look_while_the_reader_chooses():
        found, damaged, checked = look()
        if wish.ident is None:
            wish.start()
            wait_for(lambda: panel.chosen == wanted)  # then it waits for the lock
            panel.chosen = panel.checkpoints[-1].name
        return found, damaged, checked

    with panel._lock, panel._following():
        monkeypatch.setattr(panel._reader, "look", look_while_the_reader_chooses)
        panel._refresh()
    wish.join(SECONDS)
    assert panel.chosen == wanted
    assert panel._choice.value == wanted


def test_the_mouse_does_what_the_traits_do(open_panel, folder, tmp_path):
    panel = open_panel(folder)
    panel._choice.value = panel.checkpoints[0].name
    assert panel.chosen == panel.checkpoints[0].name
    assert f"▸ {panel.chosen}" in panel._table.value
    panel._metrics.value = "accuracy"
    assert panel.metric == "accuracy"
    assert panel.alt.startswith("accuracy over the steps")
    panel._target.value = str(tmp_path / "other")
    assert panel.new_filepath == str(tmp_path / "other")
    panel._folder.value = str(tmp_path / "nothing")
    assert panel.checkpoints == ()
    assert "There is no checkpoint yet." in panel._text.value
    assert panel._branch.disabled
    panel.filepath = str(folder)
    assert panel._folder.value == str(folder)
    assert len(panel.checkpoints) == 4


def test_it_follows_a_run_that_writes(open_panel, digits, tmp_path):
    model = compiled(mlp, "sgd")
    run = Run(model, digits, epochs=10_000, filepath=tmp_path / "run", save_every=5)
    panel = open_panel(run)
    assert panel.model is model
    assert panel.filepath == str(tmp_path / "run")
    run.start()
    wait_for(lambda: panel.checkpoints)
    kept = panel.checkpoints[0].name
    panel.chosen = kept
    wait_for(lambda: kept not in [c.name for c in panel.checkpoints])
    wait_for(lambda: panel.chosen == panel.checkpoints[-1].name)
    run.stop()
    run.wait(SECONDS)
    steps = len(run.records)
    wait_for(lambda: f"after step {steps}, is where it goes on" in panel._text.value)
    assert panel.damaged == {}
    assert panel.error == ""


def test_a_run_without_a_folder_is_refused(digits):
    with pytest.raises(ValueError, match="`source` must be a folder of checkpoints"):
        ResumePanel(Run(compiled(mlp, "sgd"), digits))


def test_it_explains_what_would_come_back(open_panel, folder):
    model = compiled(mlp, keras.optimizers.Adam(1e-3))
    before = state_of(model)
    panel = open_panel(folder, model)
    panel._explain.click()
    assert panel.error == ""
    assert str(panel.report)
    assert panel._report_view.value == panel.report._repr_html_()
    after = state_of(model)
    assert all(np.array_equal(before[path], after[path]) for path in before)
    panel.chosen = panel.checkpoints[0].name
    assert panel.report is None
    without = open_panel(folder)
    assert without._explain.disabled
    with pytest.raises(ValueError, match="`model` must be the keras"):
        without.explain()


def test_closed_panels_leave_no_thread(folder):
    before = set(threading.enumerate())
    panels = [ResumePanel(folder) for _ in range(3)]
    for panel in panels:
        panel.close()
    wait_for(lambda: set(threading.enumerate()) <= before)

"""The Strength Map panel, driven from Python as the mouse would."""

import base64

import keras
import numpy as np
import pytest

from tests.models import compiled, mlp
from tests.test_training import SECONDS
from tests.waiting import wait_for
from workbench.experiments import StrengthGrid
from workbench.widgets import StrengthMap


@pytest.fixture
def make_panel(digits, closed_after):
    """Makes panels and closes them afterwards."""

    def make(model=None, **arguments):
        model = compiled(mlp, keras.optimizers.SGD(0.1)) if model is None else model
        return closed_after(StrengthMap(model, digits, **arguments))

    return make


def test_the_strength_acts_on_the_next_step_of_the_copy(make_panel):
    model = compiled(mlp, keras.optimizers.SGD(0.1))
    before = model.get_weights()
    panel = make_panel(model, epochs=10_000)
    panel.kind, panel.strength = "L2", 1e-4
    panel._view.start.click()
    wait_for(lambda: panel.step > 5)
    panel._view.number.value = 0.05  # what the mouse does
    assert panel.strength == 0.05
    wait_for(lambda: panel.run.changes)
    change = panel.run.changes[0]
    assert (change.name, change.new) == ("penalty", pytest.approx(0.05))
    wait_for(lambda: len(panel.run.records) > change.step + 20)
    panel.stop()
    panel.run.wait(SECONDS)
    records = panel._recorder.records
    # Norms are those after a step; the next step pays for them.
    squares = np.square(records.norms.astype("float64")).sum(axis=1)
    step = change.step
    assert records.penalty[step - 2] == pytest.approx(
        1e-4 * squares[step - 3], rel=1e-4
    )
    assert records.penalty[step - 1] == pytest.approx(
        0.05 * squares[step - 2], rel=1e-4
    )
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)
    wait_for(lambda: panel.state == "stopped")
    assert "data loss" in panel._view.text.value
    assert panel.error == ""


def test_the_numbers_shown_are_those_recorded(make_panel):
    panel = make_panel(epochs=2)
    panel.kind, panel.strength = "proximal L1", 0.02
    panel.start()
    panel.run.wait(SECONDS)
    # The panel looks at the state first, and at the numbers a moment later.
    last = float(panel.run.records.loss[-1])
    wait_for(lambda: panel.state == "finished" and panel.data_loss == last)
    assert panel.step == panel.total_steps == 40
    records = panel._recorder.records
    kernels = [v for v in panel.run.model.trainable_variables if v.name == "kernel"]
    zeros = np.concatenate([k.numpy().ravel() == 0 for k in kernels]).mean()
    assert panel.zeros == pytest.approx(zeros, rel=1e-4)
    assert zeros > 0.1
    assert panel.penalty == records.penalty[-1] == 0  # the step is not in the loss
    assert panel.data_loss == pytest.approx(panel.run.records.loss[-1])
    wait_for(lambda: "over 40 steps of proximal L1" in panel._view.plot.value)


def test_max_norm_is_the_reciprocal(make_panel):
    panel = make_panel()
    panel.kind, panel.strength = "max-norm", 4.0
    panel.start()
    panel.run.wait(SECONDS)
    kernel = panel.run.model.get_layer("hidden").kernel.numpy()
    assert np.linalg.norm(kernel, axis=0).max() <= 0.25 + 1e-6


def test_the_map_is_drawn_in_the_background(make_panel, digits):
    panel = make_panel(strengths=(1e-3, 1.0), seeds=(0, 1), validation_data=digits)
    panel.chosen = ("L2", "L1")
    panel._view.compare.click()
    assert panel.comparing
    wait_for(lambda: not panel.comparing)
    assert panel.error == ""
    grid = panel.grid
    assert isinstance(grid, StrengthGrid)
    assert grid.kinds == ("L2", "L1")
    assert grid.values["val_accuracy"]["L2"].shape == (2, 2)
    strong, weak = grid.values["norm"]["L2"][::-1]
    assert (strong < weak).all()
    assert "<details>" in panel._view.table.value
    assert "over the strength of L2, L1" in panel._view.curves.value


def test_keep_puts_the_weights_into_the_model(make_panel):
    model = compiled(mlp, "sgd")
    panel = make_panel(model)
    with pytest.raises(RuntimeError, match="`keep` needs a run that has ended"):
        panel.keep()
    panel.start()
    panel.run.wait(SECONDS)
    panel.keep()
    for mine, copied in zip(
        model.get_weights(), panel.run.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, copied)


def test_pause_and_end(make_panel):
    panel = make_panel(epochs=10_000)
    panel.start()
    panel.paused = True
    wait_for(lambda: panel.state == "paused")
    panel._view.pause.value = False
    wait_for(lambda: panel.state == "running")
    with pytest.raises(RuntimeError, match="A copy trains already"):
        panel.start()
    with pytest.raises(ValueError, match="cannot change while"):
        panel.kind = "L1"
    panel.stop()
    wait_for(lambda: panel.state == "stopped")
    panel.compare()
    panel.end()
    wait_for(lambda: not panel.comparing)
    assert panel.error == ""
    assert panel.grid.interrupted
    assert "Ended before" in panel._view.table.value
    with pytest.raises(ValueError, match="no variant came to its end"):
        panel.grid.plot()


def test_an_error_while_the_result_is_shown_ends_the_map(make_panel, monkeypatch):
    panel = make_panel(strengths=(1e-3,), seeds=(0,))
    panel.chosen = ("L2",)

    def broken(_grid):
        raise ZeroDivisionError

    monkeypatch.setattr(panel._view, "show_map", broken)
    panel.compare()
    wait_for(lambda: not panel.comparing)
    assert "ZeroDivisionError" in panel.error


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("strength", 0.0, "`strength` must be a finite number > 0"),
        ("strength", -1.0, "`strength` must be a finite number > 0"),
        ("kind", "L3", "`kind` must be one of"),
        ("chosen", ("L3",), "`chosen` must name some of"),
    ],
)
def test_values_out_of_range_are_refused(name, value, message, make_panel):
    panel = make_panel()
    before = getattr(panel, name)
    with pytest.raises(ValueError, match=message):
        setattr(panel, name, value)
    assert getattr(panel, name) == before


def test_what_goes_wrong_is_shown(make_panel):
    panel = make_panel(strengths=(-1.0,))
    panel._view.compare.click()
    assert "`strengths` must be finite numbers" in panel.error
    with pytest.raises(ValueError, match="must be compiled"):
        StrengthMap(keras.Sequential([keras.layers.Dense(1)]), None)


def test_a_page_without_a_kernel_has_a_picture(make_panel):
    bundle = make_panel()._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert repr(make_panel()) == "StrengthMap(model, data)"

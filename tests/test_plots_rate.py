"""The rate plot: who decided which step, and what a range test saw."""

import keras
import numpy as np
import pytest

from tests.models import compiled, mlp
from tests.test_training import SECONDS, AtStep, cosine
from workbench.plots import plot_range_test, plot_rates, to_png
from workbench.plots.rates import deciders
from workbench.schedules import find_learning_rate
from workbench.training import Change, Run, load_records


@pytest.fixture(scope="module")
def run(digits):
    """A schedule, then a callback, then a hand, then the schedule again."""
    few = digits[0][:320], digits[1][:320]
    model = compiled(mlp, keras.optimizers.SGD(cosine()))
    other = keras.optimizers.schedules.ExponentialDecay(0.2, 5, 0.5)
    run = Run(
        model,
        few,
        callbacks=[
            AtStep(2, lambda: setattr(model.optimizer, "learning_rate", 0.01)),
            AtStep(4, lambda: run.set("learning_rate", other)),
            AtStep(8, lambda: run.set("learning_rate", None)),
        ],
    )
    run.start().wait(SECONDS)
    return run


def lines_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.lines}


def test_one_axis_shows_schedule_callback_and_hand(run):
    lines = lines_of(plot_rates(run))
    rate = run.records.learning_rate
    places = {
        "as compiled": [0, 1, 8, 9],
        "a callback": [2, 3],
        "by hand": [4, 5, 6, 7],
    }
    for label, steps in places.items():
        drawn = lines[label].get_ydata()
        np.testing.assert_array_equal(np.flatnonzero(np.isfinite(drawn)), steps)
        np.testing.assert_array_equal(drawn[steps], rate[steps])
    planned = lines["its schedule, had nobody acted"].get_ydata()
    np.testing.assert_allclose(planned, [float(cosine()(i)) for i in range(10)], 1e-6)
    figure = plot_rates(run)
    assert [text.get_text() for text in figure.axes[0].texts] == ["ExponentialDecay"]
    assert to_png(figure).startswith(b"\x89PNG")


def test_saved_records_draw_the_same(run, tmp_path):
    run.save(tmp_path / "run.npz")
    lines = lines_of(plot_rates(load_records(tmp_path / "run.npz"), cosine()))
    for label, line in lines_of(plot_rates(run)).items():
        if not label.startswith("_"):
            np.testing.assert_array_equal(lines[label].get_ydata(), line.get_ydata())


def test_saved_records_need_no_schedule_and_a_run_may_be_empty(run, digits, tmp_path):
    run.save(tmp_path / "run.npz")
    lines = lines_of(plot_rates(load_records(tmp_path / "run.npz")))
    assert "its schedule, had nobody acted" not in lines
    waiting = Run(compiled(mlp, keras.optimizers.SGD(0.1)), digits)
    assert plot_rates(waiting).axes[0].get_title(loc="left") == "Learning rate"


def test_the_last_change_before_a_step_decides():
    changes = [
        Change(1, "learning_rate", 0.1, 0.2, "callback"),
        Change(3, "learning_rate", 0.2, 0.3),
        Change(3, "learning_rate", 0.3, 0.1, "callback"),
        Change(5, "learning_rate", 0.1, None),
    ]
    assert deciders(6, changes).tolist() == ["callback"] * 4 + ["compiled"] * 2


def test_a_callback_of_every_step_gets_a_line_without_marks(digits):
    class Falls(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.1 / (1 + batch)

    few = digits[0][:200], digits[1][:200]
    run = Run(compiled(mlp, "sgd"), few, batch_size=4, callbacks=[Falls()]).start()
    run.wait(SECONDS)
    expected = 0.1 / np.arange(1, len(run.records) + 1)
    np.testing.assert_allclose(run.records.learning_rate, expected, rtol=1e-6)
    labels = [line.get_label() for line in plot_rates(run).axes[0].lines]
    assert [label for label in labels if not label.startswith("_")] == ["a callback"]


def test_a_range_test_is_drawn_with_its_suggestion(digits):
    few = digits[0][:256], digits[1][:256]
    test = find_learning_rate(compiled(mlp, "adam"), few, seeds=2, steps=16)
    lines = lines_of(plot_range_test(test))
    median = lines["median, smoothed"]
    np.testing.assert_array_equal(median.get_ydata(), test.smoothed)
    assert f"suggested: {test.suggestion:.2g}" in lines
    assert len(lines) == 4  # two seeds, the median, the suggestion

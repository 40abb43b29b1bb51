"""Figures: alternative text, curves that show the data, a redraw that is cheap."""

import io

import numpy as np
import pytest
from PIL import Image

from workbench.plots import RunFigure, image_tag, new_figure, plot_run, show
from workbench.plots.run import _smooth, _thinned
from workbench.steps import Recorder


def recorded(count):
    recorder = Recorder()
    for i in range(count):
        recorder.append(1 / (i + 1), 0.1, float(i + 1), 0.01)
    return recorder.snapshot()


def test_show_carries_the_picture_and_its_words():
    figure, axes = new_figure()
    axes.plot([1, 2])
    page = show(figure, 'a "rising" line').data
    assert 'alt="a &quot;rising&quot; line"' in page
    assert "data:image/png;base64,iVBOR" in page


def test_a_picture_without_words_is_refused():
    with pytest.raises(ValueError, match="`alt` must say in words"):
        image_tag(b"", " ")


def test_an_update_changes_the_picture_and_little_else():
    drawing = RunFigure()
    drawing.update(recorded(100), {"accuracy": [(50, 0.5)]}, total_steps=200)
    first = drawing.to_png()
    drawing.update(recorded(110), {"accuracy": [(50, 0.5), (110, 0.6)]}, 200)
    second = drawing.to_png()
    assert first != second
    images = [
        np.array(Image.open(io.BytesIO(p)).convert("RGB"), int) for p in (first, second)
    ]
    changed = np.abs(images[0] - images[1]).max(-1) > 64
    assert 0 < changed.mean() < 0.1


def test_the_picture_does_not_depend_on_what_was_drawn_before():
    drawn_twice, drawn_once = RunFigure(), RunFigure()
    drawn_twice.update(recorded(100))
    drawn_twice.to_png()
    for drawing in (drawn_twice, drawn_once):
        drawing.update(recorded(450))
    assert drawn_twice.to_png() == drawn_once.to_png()


def test_plot_run_shows_all_four_curves():
    class Finished:
        records = recorded(50)
        metrics = {"accuracy": [(50, 0.5)], "val_loss": [(50, 0.4)]}  # noqa: RUF012

    figure = plot_run(Finished())
    labels = {line.get_label() for axes in figure.axes for line in axes.get_lines()}
    assert {"each batch", "smoothed", "accuracy", "val_loss"} <= labels
    assert all(axes.get_lines() for axes in figure.axes)


def test_smoothing_is_the_mean_of_the_last_25_and_passes_over_nan():
    values = np.arange(100.0)
    values[60] = np.nan
    expected = [np.nanmean(values[max(0, i - 24) : i + 1]) for i in range(100)]
    np.testing.assert_allclose(_smooth(values), expected)


def test_thinning_keeps_peaks_order_and_the_last_point():
    y = np.zeros(10_000)
    y[1234], y[5678], y[-1] = 9.0, -9.0, 1.0
    x, thin = _thinned(np.arange(10_000), y)
    assert len(x) <= 402
    assert (np.diff(x) > 0).all()
    assert {9.0, -9.0} <= set(thin)
    assert x[-1] == 9999


def test_no_data_and_only_nan_can_be_drawn():
    drawing = RunFigure()
    drawing.update(recorded(0))
    recorder = Recorder()
    recorder.append(np.nan, 0.0, np.nan, 0.0)
    drawing.update(recorder.snapshot(), {"accuracy": []})
    assert drawing.to_png().startswith(b"\x89PNG")

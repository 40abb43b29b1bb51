"""Schedule Studio, driven from Python as the mouse would; the model stays as it is."""

import base64
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from ipywidgets.widgets.widget import _instances

from tests.models import compiled, mlp, mlp_with_dropout, state_of
from tests.waiting import wait_for
from workbench import clipping
from workbench.experiments import Variant, compare
from workbench.plots.schedule_figure import ScheduleFigure
from workbench.schedules import OneCycle, Warmup, sample_schedule
from workbench.schedules.editing import (
    scaled,
    settings_of,
    usual_schedules,
    with_settings,
)
from workbench.widgets import ScheduleStudio
from workbench.widgets.model_copies import ModelCopies

SECONDS = 60
keras_schedules = keras.optimizers.schedules


def net(optimizer=None):
    return compiled(mlp, optimizer or keras.optimizers.SGD(0.1, momentum=0.9))


@pytest.fixture
def make_studio(digits):
    """Makes panels and closes them afterwards."""
    studios = []

    def make(model=None, **arguments):
        studios.append(ScheduleStudio(model or net(), digits, **arguments))
        return studios[-1]

    yield make
    for studio in studios:
        studio.close()


@pytest.fixture
def endless(make_studio):
    """A panel whose training does not come to its end by itself."""
    return make_studio(epochs=5000)


def finish(studio):
    studio.run.wait(SECONDS)
    wait_for(lambda: studio.state == "finished")


def taken(studio):
    return studio.branches[-1].series("learning_rate")


# Editing


def test_it_begins_with_the_rate_of_the_model(make_studio):
    studio = make_studio(epochs=2)
    assert (studio.schedule, studio.settings) == ("constant", {"learning_rate": 0.1})
    assert studio.total_steps == 40
    for name, schedule in studio.schedules.items():
        rates = sample_schedule(schedule, 40)
        assert rates.max() == pytest.approx(0.1, rel=0.02), name


def test_a_compiled_schedule_and_schedules_of_ones_own_come_first(make_studio):
    own = keras_schedules.CosineDecay(0.2, 40)
    mine = {"mine": OneCycle(0.5, 40), "fixed": 0.3}
    studio = make_studio(net(keras.optimizers.SGD(own)), schedules=mine)
    assert list(studio.schedules)[:3] == ["as compiled", "mine", "fixed"]
    assert studio.schedule == "as compiled"
    np.testing.assert_array_equal(studio.sampled("as compiled")[0], np.float32(0.2))
    assert studio.schedules["constant"] == 0.2


def test_an_edit_is_drawn_and_remembered(make_studio):
    studio = make_studio(epochs=2)
    studio.schedule = "exponential decay"
    before = studio._picture()
    studio.edit(decay_rate=0.1, decay_steps=7)
    expected = sample_schedule(keras_schedules.ExponentialDecay(0.1, 7, 0.1), 40)
    np.testing.assert_array_equal(studio.sampled("exponential decay"), expected)
    key = "learning_rate", "exponential decay (used)"
    wait_for(lambda: np.array_equal(studio._drawing._lines[key].get_ydata(), expected))
    wait_for(lambda: studio._picture() != before)
    studio.schedule = "staircase"
    assert studio.settings["staircase"] is True
    studio.schedule = "exponential decay"
    assert studio.settings["decay_rate"] == 0.1


def field_of(studio, name):
    fields = studio._view.settings.children
    return next(field for field in fields if field.description == name)


def test_fields_do_what_the_traits_do(make_studio):
    studio = make_studio(epochs=2)
    studio._view.schedule.value = "staircase"
    assert studio.schedule == "staircase"
    field_of(studio, "decay_steps").value = 5
    field_of(studio, "staircase").value = False
    assert studio.settings["decay_steps"] == 5
    assert studio.settings["staircase"] is False
    studio.edit(decay_rate=0.25)
    assert field_of(studio, "decay_rate").value == 0.25
    studio.schedule = "piecewise constant"
    field_of(studio, "values").value = "0.3, 0.2; 1e-3"
    assert studio.settings["values"] == [0.3, 0.2, 0.001]
    studio._view.warmup_steps.value = 10
    assert isinstance(studio.planned(), Warmup)
    np.testing.assert_allclose(studio.sampled("piecewise constant")[5], 0.15)


def test_no_two_fields_have_one_name(make_studio):
    studio = make_studio()
    for name in studio.schedules:
        studio.schedule = name
        names = [field.description for field in studio._view.settings.children]
        assert len(set(names)) == len(names), name


def test_what_is_impossible_is_refused_and_the_fields_go_back(make_studio):
    studio = make_studio(epochs=2)
    studio.schedule = "polynomial decay"
    with pytest.raises(ValueError, match=r"finite rates >= 0.*schedule=Polynomial"):
        studio.edit(end_learning_rate=-0.1)
    with pytest.raises(ValueError, match="`schedule` must give finite rates >= 0"):
        studio.edit(initial_learning_rate=float("nan"))
    with pytest.raises(ValueError, match="`settings` must name some of"):
        studio.edit(speed=3)
    with pytest.raises(TypeError, match="`decay_steps` must be a int"):
        studio.edit(decay_steps="many")
    with pytest.raises(ValueError, match="`warmup_steps` must be an int >= 0"):
        studio.warmup_steps = -1
    field = field_of(studio, "end_learning_rate")
    field.value = -0.5
    assert "`schedule` must give finite rates >= 0" in studio.error
    assert field.value == studio.settings["end_learning_rate"] == 0.001
    studio.schedule = "piecewise constant"
    text = field_of(studio, "values")
    shown = text.value
    text.value = "0.1, fast"
    assert "`values` must be numbers with commas between them" in studio.error
    assert text.value == shown


def test_wrong_names_are_refused(make_studio):
    studio = make_studio()
    with pytest.raises(ValueError, match="`schedule` must be one of"):
        studio.schedule = "by magic"
    with pytest.raises(ValueError, match="`optimizer` must be one of"):
        studio.optimizer = "by magic"
    with pytest.raises(ValueError, match="`chosen` must name some of"):
        studio.chosen = ("by magic",)
    with pytest.raises(ValueError, match="`schedule` must give finite rates >= 0"):
        make_studio(schedules={"mine": keras_schedules.PolynomialDecay(0.1, 10, -1.0)})


def test_datasets_of_unknown_size_are_counted_and_endless_ones_refused(digits):
    dataset = tf.data.Dataset.from_tensor_slices(digits).batch(64)
    unknown = dataset.filter(lambda *_: True)
    studio = ScheduleStudio(net(), unknown, epochs=3)
    assert studio.total_steps == 30
    assert len(studio.sampled("piecewise constant")) == 30
    studio.close()
    with pytest.raises(ValueError, match="`data` must end"):
        ScheduleStudio(net(), dataset.repeat())


# Training


def test_the_training_follows_the_schedule(make_studio):
    studio = make_studio(epochs=2)
    studio.schedule, studio.warmup_steps = "cosine decay", 8
    studio.start()
    finish(studio)
    schedule = Warmup(keras_schedules.CosineDecay(0.1, 40), 8)
    np.testing.assert_allclose(taken(studio), sample_schedule(schedule, 40), rtol=1e-5)
    assert studio.run.changes == ()


def test_an_edit_is_followed_from_the_next_step_on(endless):
    studio = endless
    studio.start()
    wait_for(lambda: studio.branches[-1].step > 5)
    studio.edit(learning_rate=0.025)
    wait_for(lambda: studio.run.changes)
    studio.schedule = "exponential decay"
    studio.edit(initial_learning_rate=0.5, decay_steps=100)

    def follows_the_last_edit():
        change = studio.run.changes[-1]
        return change.new == pytest.approx(0.5 * 0.5 ** ((change.step - 1) / 100))

    wait_for(follows_the_last_edit)
    last = studio.run.changes[-1].step
    wait_for(lambda: studio.branches[-1].step > last + 5)
    rates = taken(studio)
    expected = 0.5 * 0.5 ** (np.arange(last - 1, len(rates)) / 100)
    np.testing.assert_allclose(rates[last - 1 :], expected, rtol=1e-4)
    first = studio.run.changes[0].step
    np.testing.assert_allclose(rates[: first - 1], 0.1, rtol=1e-6)
    np.testing.assert_allclose(rates[first - 1], 0.025, rtol=1e-6)


def test_the_hand_decides_until_it_gives_back(endless):
    studio = endless
    studio.schedule = "exponential decay"
    studio.start()
    wait_for(lambda: studio.branches[-1].step > 5)
    studio._view.learning_rate.value = 0.01
    wait_for(lambda: studio.run.changes)
    assert studio.learning_rate == pytest.approx(0.01)
    studio.momentum = 0.5
    wait_for(lambda: len(studio.run.changes) == 2)
    assert studio._view.momentum.value == 0.5
    studio._view.give_back.click()
    wait_for(lambda: len(studio.run.changes) == 3)
    last = studio.run.changes[-1].step
    wait_for(lambda: studio.branches[-1].step > last + 3)
    by_hand, momentum, back = studio.run.changes
    assert momentum.name == "momentum"
    rates = taken(studio)
    np.testing.assert_allclose(rates[by_hand.step - 1 : back.step - 1], 0.01, rtol=1e-6)
    expected = studio.sampled("exponential decay")[last - 1]
    np.testing.assert_allclose(rates[last - 1], expected, rtol=1e-5)


def test_nothing_to_steer_is_an_error(make_studio):
    studio = make_studio(net(keras.optimizers.SGD(0.1)), epochs=5000)
    with pytest.raises(ValueError, match="`learning_rate` steers a copy that trains"):
        studio.learning_rate = 0.1
    studio.start()
    with pytest.raises(ValueError, match="`momentum` needs an optimizer that has one"):
        studio.momentum = 0.5
    with pytest.raises(ValueError, match="`learning_rate` must be a finite number"):
        studio.learning_rate = -1.0
    with pytest.raises(ValueError, match="`optimizer` cannot change while"):
        studio.optimizer = "Adam"
    with pytest.raises(RuntimeError, match="A copy trains already"):
        studio.start()
    wait_for(lambda: studio._view.optimizer.disabled)
    assert not studio._view.schedule.disabled


def test_another_optimizer_trains_the_copy(make_studio):
    studio = make_studio()
    studio.optimizer = "Lion"
    assert "sign" in studio._view.rule.value
    studio.edit(learning_rate=0.001)
    studio.start()
    finish(studio)
    assert isinstance(studio.run.model.optimizer, keras.optimizers.Lion)
    assert studio.momentum == 0.9


def test_pause_resume_and_stop(endless):
    studio = endless
    studio._view.start.click()
    wait_for(lambda: studio.step > 3)
    studio._view.pause.value = True
    wait_for(lambda: studio.state == "paused")
    stood = studio.branches[-1].step
    time.sleep(0.2)
    assert studio.branches[-1].step == stood
    studio.paused = False
    wait_for(lambda: studio.branches[-1].step > stood)
    studio._view.stop.click()
    wait_for(lambda: studio.state == "stopped")


# Going back


def test_going_back_without_a_change_is_the_same_bit_for_bit(make_studio):
    model = compiled(mlp_with_dropout, keras.optimizers.Adam(0.01))
    studio = make_studio(model, epochs=2)
    studio.schedule = "cosine decay"
    studio.start()
    finish(studio)
    # What is chosen later does not change what the training was begun with.
    studio.schedule, studio.warmup_steps = "one-cycle", 5
    studio.rewind_step = 17
    studio._view.rewind.click()
    studio.run.wait(SECONDS)
    first, again = studio.branches
    for name in ("loss", "learning_rate"):
        np.testing.assert_array_equal(again.series(name), first.series(name))
    pairs = zip(
        state_of(first.run.model).values(),
        state_of(again.run.model).values(),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_going_back_with_another_rate_draws_both_ways(make_studio):
    studio = make_studio(epochs=2)
    studio.start()
    finish(studio)
    studio.rewind_rate = 0.02
    studio.rewind(25)
    studio.run.wait(SECONDS)
    first, other = studio.branches
    np.testing.assert_allclose(other.series("learning_rate")[25:], 0.02, rtol=1e-6)
    np.testing.assert_array_equal(other.series("loss")[:26], first.series("loss")[:26])
    wait_for(lambda: ("loss", "back at 25, 1") in studio._drawing._lines)
    wait_for(lambda: "went back at step 25" in studio._view.text.value)
    studio.rewind(30)
    studio.run.wait(SECONDS)
    # On the way that was gone last.
    assert studio.branches[2].parent is other
    with pytest.raises(ValueError, match="`step` must be an int from 0 to 39"):
        studio.rewind(40)


def test_there_is_nothing_to_go_back_on(make_studio):
    studio = make_studio()
    with pytest.raises(RuntimeError, match="Nothing was trained yet"):
        studio.rewind(0)
    assert studio._view.rewind.disabled


# Comparing and finding


def test_compare_is_what_experiments_compare_gives(make_studio, digits):
    model = net(keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0))
    studio = make_studio(model, epochs=2)
    studio.schedule = "exponential decay"
    studio.edit(decay_rate=0.1)
    studio.chosen = ("constant", "exponential decay")
    studio._view.compare.click()
    wait_for(lambda: not studio.comparing and studio.comparison)
    assert studio.error == ""
    clip = clipping.ByGlobalNorm(1.0)
    variants = {
        "constant": Variant(keras.optimizers.SGD(0.1, momentum=0.9), clip),
        "exponential decay": Variant(
            keras.optimizers.SGD(
                keras_schedules.ExponentialDecay(0.1, 10, 0.1), momentum=0.9
            ),
            clip,
        ),
    }
    expected = compare(ModelCopies(model).make, digits, variants, epochs=2)
    for name, record in expected.records.items():
        np.testing.assert_array_equal(studio.comparison.records[name].loss, record.loss)
        assert name in studio._view.table.value
    # The copy that trains alone sees the same batches.
    studio.start()
    finish(studio)
    losses = studio.branches[-1].series("loss")
    np.testing.assert_allclose(
        losses, expected.records["exponential decay"].loss, rtol=1e-3
    )


def test_a_rate_is_found_and_used(make_studio):
    model = net()
    before = state_of(model)
    studio = make_studio(model, epochs=2)
    with pytest.raises(RuntimeError, match="No rate was found yet"):
        studio.use_suggestion()
    studio._view.find.click()
    assert studio.finding
    with pytest.raises(RuntimeError, match="A search is under way already"):
        studio.find()
    wait_for(lambda: not studio.finding)
    assert studio.error == ""
    low, high = studio.interval
    assert low <= studio.suggestion <= high
    studio.schedule = "one-cycle"
    studio._view.use_suggestion.click()
    assert studio.error == ""
    used = float(f"{studio.suggestion:.2g}")
    assert studio.settings["maximum_learning_rate"] == pytest.approx(used, rel=0.01)
    assert f"{used:.2g}" in studio._view.found.value
    for path, values in state_of(model).items():
        np.testing.assert_array_equal(values, before[path])


def test_what_a_search_raises_appears_in_the_panel(make_studio):
    studio = make_studio(net(keras.optimizers.SGD(0.1)))
    studio._data = (studio._data[0][:4], studio._data[1][:4])
    studio.find()
    wait_for(lambda: not studio.finding)
    assert "batch" in studio.error
    assert 'role="alert"' in studio._error_view.value
    assert not studio._view.find.disabled


# The rest


def test_the_model_is_not_changed_unless_it_is_told_to(make_studio):
    model = net()
    before = state_of(model)
    studio = make_studio(model)
    studio.start()
    finish(studio)
    for path, values in state_of(model).items():
        np.testing.assert_array_equal(values, before[path])
    studio.keep()
    for mine, copied in zip(model.weights, studio.run.model.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), copied.numpy())


def test_close_leaves_neither_threads_nor_widgets(make_studio):
    make_studio().close()
    threads, widgets = threading.active_count(), set(_instances)
    studio = make_studio(epochs=5000)
    studio.schedule = "cosine decay"
    studio.start()
    studio.compare()
    wait_for(lambda: studio.step > 3)
    studio.close()
    assert set(_instances) == widgets
    wait_for(lambda: threading.active_count() <= threads)


def test_it_prints_the_same_each_time_and_has_a_picture(make_studio):
    studio = make_studio()
    assert repr(studio) == "ScheduleStudio(model, data)"
    picture = base64.b64decode(studio._repr_mimebundle_()["image/png"])
    assert picture.startswith(b"\x89PNG")
    studio.log_scale = True
    wait_for(lambda: studio._picture() != picture)
    assert "10 others" not in studio.alt
    assert "constant" in studio.alt


# Settings of schedules


def test_settings_of_every_schedule_come_back():
    for name, schedule in usual_schedules(0.1, 100, 20).items():
        again = with_settings(schedule, **settings_of(schedule))
        np.testing.assert_array_equal(
            sample_schedule(again, 100), sample_schedule(schedule, 100), err_msg=name
        )
        twice = sample_schedule(scaled(schedule, 2.0), 100)
        # A floor that is no rate, such as a cosine's share, stays.
        np.testing.assert_allclose(
            twice, 2 * sample_schedule(schedule, 100), rtol=1e-5, err_msg=name
        )


def test_usual_schedules_suit_short_trainings_too():
    for steps in (1, 2, 3, 7):
        for name, schedule in usual_schedules(0.1, steps, 1).items():
            assert np.isfinite(sample_schedule(schedule, steps)).all(), name


def test_a_schedule_that_is_no_longer_chosen_leaves_the_figure():
    figure = ScheduleFigure()
    rates = {"a": np.full(10, 0.1), "b": np.full(10, 0.2)}
    figure.update(rates, "a", (), 10)
    assert set(figure._lines) == {
        ("learning_rate", "a (used)"),
        ("learning_rate", "b"),
    }
    figure.update({"b": rates["b"]}, "b", (), 10, log_scale=True)
    assert set(figure._lines) == {("learning_rate", "b (used)")}
    texts = [t.get_text() for t in figure.axes["learning_rate"].get_legend().texts]
    assert texts == ["b (used)"]
    low, high = figure.axes["learning_rate"].get_ylim()
    assert low < 0.2 < high

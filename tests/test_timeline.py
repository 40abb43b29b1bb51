"""Going back to an earlier step, and taking the same or another way from there."""

import functools

import keras
import numpy as np
import pytest

from tests.models import compiled, mlp_with_dropout, state_of
from tests.waiting import wait_for
from workbench import clipping
from workbench.experiments import Variant, compare
from workbench.training import timeline
from workbench.training.timeline import Timeline

SECONDS = 60
BATCH_SIZE = 32
layers = keras.layers


def net():
    """With dropout, batch normalization and momentum: all that has a state."""
    return compiled(noisy, keras.optimizers.SGD(0.05, momentum=0.9))


def noisy():
    model = mlp_with_dropout()
    return keras.Sequential(
        [*model.layers[:-1], layers.BatchNormalization(), *ending()]
    )


def ending():
    return [layers.Dense(10)]


def finished(branch):
    branch.run.wait(SECONDS)
    return branch


def assert_same_end(one, other):
    for path_and_value, value in zip(
        state_of(one.run.model).values(),
        state_of(other.run.model).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(path_and_value, value)


@pytest.fixture(scope="module")
def two_epochs(digits):
    """40 steps in two epochs, trained to the end; more branches come with each test."""
    line = Timeline(net, digits, epochs=2, batch_size=BATCH_SIZE)
    finished(line.start())
    return line


def test_the_steps_are_those_of_compare(digits):
    build = functools.partial(compiled, noisy, keras.optimizers.SGD(0.05, momentum=0.9))
    line = Timeline(
        lambda: compiled(noisy, keras.optimizers.SGD(0.05, momentum=0.9), seed=0),
        digits,
        epochs=2,
        batch_size=BATCH_SIZE,
    )
    branch = finished(line.start())
    assert (line.steps_per_epoch, line.total_steps) == (20, 40)
    build = functools.partial(build, seed=0)
    variants = {"same": Variant()}
    record = compare(build, digits, variants, epochs=2, batch_size=BATCH_SIZE).records
    np.testing.assert_allclose(branch.series("loss"), record["same"].loss, rtol=1e-3)


@pytest.mark.parametrize("step", [0, 7, 20, 33])
def test_nothing_changed_is_the_same_bit_for_bit(two_epochs, step):
    first = two_epochs.branches[0]
    again = finished(two_epochs.rewind(step, branch=first))
    assert again.parent is first
    assert again.cut == step
    assert again.first == step // 10 * 10
    np.testing.assert_array_equal(again.series("loss"), first.series("loss"))
    assert_same_end(first, again)


def test_another_rate_differs_from_its_step_on(two_epochs):
    first = two_epochs.branches[0]
    other = finished(two_epochs.rewind(13, branch=first, learning_rate=0.001))
    rates = other.series("learning_rate")
    np.testing.assert_allclose(rates[:13], 0.05, rtol=1e-6)
    np.testing.assert_allclose(rates[13:], 0.001, rtol=1e-6)
    losses, before = other.series("loss"), first.series("loss")
    # The rate changes what comes after the 14th step, whose loss is still the same.
    np.testing.assert_array_equal(losses[:14], before[:14])
    assert (losses[14:] != before[14:]).all()


def test_a_branch_of_a_branch_repeats_what_both_were_told(two_epochs):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.02, 10, 0.5)
    first = two_epochs.branches[0]
    changes = {"learning_rate": schedule, "momentum": 0.5}
    other = finished(two_epochs.rewind(13, branch=first, **changes))
    again = finished(two_epochs.rewind(34))
    assert again.parent is other
    assert again.first == 30
    for name in ("loss", "learning_rate"):
        np.testing.assert_array_equal(again.series(name), other.series(name))
    assert_same_end(other, again)
    expected = [float(schedule(step)) for step in range(13, 40)]
    np.testing.assert_allclose(again.series("learning_rate")[13:], expected, rtol=1e-6)


def test_what_was_changed_later_by_hand_is_not_repeated(digits):
    line = Timeline(net, digits, epochs=50, batch_size=BATCH_SIZE)
    first = line.start()
    wait_for(lambda: first.step > 30)
    first.run.set("learning_rate", 0.5)
    wait_for(lambda: first.run.changes)
    change = first.run.changes[0].step
    wait_for(lambda: first.step > change + 5)
    first.run.stop()
    finished(first)
    before, after = line.rewind(change - 1), line.rewind(change + 2, branch=first)
    for branch in (before, after):
        wait_for(lambda branch=branch: branch.step > change + 5)
        branch.run.stop()
        finished(branch)
    rates = [branch.series("learning_rate")[change + 4] for branch in (before, after)]
    np.testing.assert_allclose(rates, [0.05, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(
        after.series("loss")[: change + 5], first.series("loss")[: change + 5]
    )


def test_a_schedule_and_a_clip_go_on_where_they_were(digits):
    def build():
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 40)
        return compiled(noisy, keras.optimizers.Adam(schedule))

    clip = clipping.AutoClip(50, window=8)
    line = Timeline(build, digits, epochs=2, batch_size=BATCH_SIZE, clip=clip)
    first = finished(line.start())
    again = finished(line.rewind(25))
    np.testing.assert_array_equal(again.series("loss"), first.series("loss"))
    assert again.series("learning_rate")[-1] < 0.001


def test_long_trainings_are_thinned(digits, monkeypatch):
    monkeypatch.setattr(timeline, "_MOST_SNAPSHOTS", 4)
    line = Timeline(net, digits, epochs=5, batch_size=BATCH_SIZE)
    first = finished(line.start())
    assert sorted(first.snapshots()) == [0, 40, 80]
    again = finished(line.rewind(79))
    assert again.first == 40
    np.testing.assert_array_equal(again.series("loss"), first.series("loss"))


def test_a_dataset_comes_as_it_is(digits):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(digits).batch(BATCH_SIZE)
    line = Timeline(net, data, epochs=2)
    first = finished(line.start())
    again = finished(line.rewind(25))
    np.testing.assert_array_equal(again.series("loss"), first.series("loss"))


@pytest.mark.parametrize("step", [-1, 40, 1.5, True])
def test_there_is_no_such_step(two_epochs, step):
    with pytest.raises(ValueError, match=r"`step` must be an int from 0 to 39 \(steps"):
        two_epochs.rewind(step)


def test_there_is_nothing_to_go_back_on(digits):
    with pytest.raises(RuntimeError, match="Nothing was trained yet"):
        Timeline(net, digits).rewind(0)


def test_metrics_begin_anew_with_each_epoch(two_epochs):
    points = dict(two_epochs.branches[0].run.metrics["accuracy"])
    model = two_epochs.branches[0].run.model
    # After the last of 40 steps the mean is that of the second epoch alone.
    assert model.metrics_variables[1].numpy() == 20 * BATCH_SIZE
    assert 0 < list(points.values())[-1] <= 1

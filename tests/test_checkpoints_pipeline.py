"""Data as a stream of batches that goes on at any step."""

import numpy as np
import pytest
import tensorflow as tf

from workbench.checkpoints.feeding import ArrayFeed
from workbench.checkpoints.pipeline import PipelineFeed


@pytest.mark.parametrize(
    "pipeline",
    [
        pytest.param(lambda d: d.shuffle(8, seed=3).batch(3), id="shuffle"),
        pytest.param(lambda d: d.cache().shuffle(9, seed=1).batch(3), id="cache"),
        pytest.param(lambda d: d.shuffle(8, seed=3).take(15).batch(3), id="take"),
        pytest.param(lambda d: d.shuffle(8, seed=3).repeat(2).batch(3), id="repeat"),
        pytest.param(
            lambda d: d.shuffle(8, seed=3).map(lambda v: v * 2).batch(3).prefetch(2),
            id="map",
        ),
    ],
)
def test_a_pipeline_goes_on_from_any_step(pipeline):
    def feed():
        tf.random.set_seed(7)
        return PipelineFeed(pipeline(tf.data.Dataset.range(20)))

    def read(epoch, step, state):
        place, states, batches = feed(), [], []
        steps = place.steps_per_epoch
        stream = iter(place.dataset(epoch, step, state))
        for done in range(epoch * steps + step, 3 * steps):
            if done % steps == 0:
                place.begin_epoch()
            states.append((*divmod(done, steps), place.capture()))
            batches.append(next(stream).numpy().tolist())
        return batches, states

    wanted, states = read(0, 0, None)
    assert len({str(batch) for batch in wanted}) > len(wanted) / 2
    for done, place in enumerate(states):
        assert read(*place)[0] == wanted[done:]


def test_what_is_shuffled_is_read_again_from_its_beginning():
    """What TensorFlow saves of a shuffle leads to another order now and then."""
    data = tf.data.Dataset.range(44)
    for shuffled in (data.shuffle(20, seed=5), data.shuffle(20, seed=5).prefetch(2)):
        feed = PipelineFeed(shuffled.batch(8))
        feed.begin_epoch()
        assert feed.capture() is None
        assert feed.notes == []
    plain = PipelineFeed(data.batch(8))
    plain.begin_epoch()
    assert plain.capture()


def test_each_epoch_has_every_sample_once():
    feed = ArrayFeed((np.arange(50), np.arange(50)), 8, seed=3, shuffle=True)
    batches = [x.numpy() for x, _ in feed.dataset(1, 2, None).take(5 + 7)]
    rest, epoch = np.concatenate(batches[:5]), np.concatenate(batches[5:])
    assert sorted(epoch) == list(range(50))
    assert len(set(rest)) == 50 - 16

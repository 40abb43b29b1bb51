"""Statistics of activations against NumPy, over batches, and during training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests import zoo
from tests.models import cnn, compiled, state_of
from workbench.activations import RecordActivations, capture, statistics
from workbench.training import Run


@pytest.fixture(scope="module")
def network():
    """A CNN with one dead unit and a saturated tanh."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 3, activation="relu", name="maps"),
            layers.MaxPool2D(name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(20, activation="tanh", name="bounded"),
            layers.Dense(10, name="last"),
        ]
    )
    kernel, bias = model.layers[0].get_weights()
    bias[2] = -50.0
    model.layers[0].set_weights([kernel, bias])
    model.get_layer("bounded").kernel.assign(
        model.get_layer("bounded").kernel.numpy() * 5
    )
    return model


@pytest.fixture(scope="module")
def images(digits):
    return digits[0][:100, ..., None]


@pytest.mark.parametrize("sample", [None, 2048])
def test_statistics_are_those_of_numpy(network, images, sample):
    found = statistics(network, images, sample=sample)
    caught = capture(network, images)
    assert list(found) == list(caught)
    assert found.num_samples == 100
    for key, value in caught.items():
        s, exact = found[key], value.astype("float64")
        assert s.count == exact.size
        assert s.shape == exact.shape[1:]
        np.testing.assert_allclose(s.mean, exact.mean(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(s.deviation, exact.std(), rtol=1e-5)
        alive = (exact != 0).reshape(-1, exact.shape[-1]).any(0)
        np.testing.assert_array_equal(s.dead, ~alive)
        error = s.histogram.rank_error
        assert (error == 0) == (sample is None or exact[0].size * 32 <= sample)
        assert s.share_error == error
        assert abs(s.zeros - (exact == 0).mean()) <= max(2 * error, 1e-12)
        assert (s.nan, s.inf) == (0, 0)
    assert found["maps"].dead_share == pytest.approx(1 / 6)
    bounded = caught["bounded"]
    expected = (np.abs(bounded) >= 0.98).mean()
    assert expected > 0.1
    error = found["bounded"].histogram.rank_error
    assert abs(found["bounded"].saturated - expected) <= max(2 * error, 1e-12)
    assert np.isnan(found["last"].saturated)


@pytest.mark.parametrize("sample", [None, 2048])
def test_quantiles_keep_the_error_they_state(network, images, sample):
    found = statistics(network, images, sample=sample)
    caught = capture(network, images)
    for key, value in caught.items():
        histogram = found[key].histogram
        for q in (0.01, 0.1, 0.5, 0.9, 0.99):
            low, high = np.quantile(
                value,
                np.clip([q - histogram.rank_error, q + histogram.rank_error], 0, 1),
            )
            slack = histogram.value_error * max(abs(low), abs(high)) + 1e-30
            assert low - slack <= histogram.quantile(q) <= high + slack, (key, q)


def test_without_histograms_the_rest_is_the_same(network, images):
    whole = statistics(network, images, sample=None)
    found = statistics(network, images, histograms=False)
    for key, s in whole.items():
        other = found[key]
        assert (other.mean, other.deviation) == (s.mean, s.deviation)
        np.testing.assert_array_equal(other.dead, s.dead)
        assert abs(other.zeros - s.zeros) <= other.share_error + 1e-12
        assert other.histogram is None
    assert (s.share_error, found["maps"].share_error > 0) == (0, True)
    assert "maps" in str(found)
    with pytest.raises(ValueError, match="`histograms=True`"):
        found["maps"].quantile(0.5)


def test_bars_are_the_histogram_of_numpy(network, images):
    found = statistics(network, images, sample=None)
    value = capture(network, images, "last")["last"]
    edges, shares = found["last"].histogram.bars(10)
    expected = np.histogram(value, edges)[0] / value.size
    np.testing.assert_allclose(shares, expected, atol=0.02)
    assert shares.sum() == pytest.approx(0.998, abs=0.003)


def test_batches_of_any_size_give_the_same(network, images):
    whole = statistics(network, images, batch_size=100, sample=None)
    small = statistics(network, images, batch_size=7, sample=None)
    data = tf.data.Dataset.from_tensor_slices(images).batch(33)
    streamed = statistics(network, data, sample=None)
    bounded = statistics(network, images, max_bytes=300_000, sample=None)
    for other in (small, streamed, bounded):
        assert other.num_samples == 100
        for key, s in whole.items():
            np.testing.assert_allclose(other[key].mean, s.mean, rtol=1e-5)
            np.testing.assert_allclose(other[key].deviation, s.deviation, rtol=1e-5)
            assert other[key].zeros == s.zeros
            np.testing.assert_array_equal(other[key].dead, s.dead)
            assert other[key].quantile(0.9) == pytest.approx(s.quantile(0.9), rel=1e-4)


def test_nan_and_inf_are_counted_and_left_out():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Rescaling(2.0, name="twice"), layers.Dense(2)]
    )
    x = np.arange(30, dtype="float32").reshape(10, 3)
    x[1, 2], x[4, 0], x[5, 0] = np.nan, np.inf, -np.inf
    s = statistics(model, x, "twice", batch_size=4)["twice"]
    finite = 2 * x[np.isfinite(x)].astype("float64")
    assert (s.nan, s.inf) == (1, 2)
    assert s.count == 30
    assert s.mean == pytest.approx(finite.mean())
    assert s.deviation == pytest.approx(finite.std())
    assert s.histogram.count == finite.size
    assert s.quantile(0.5) == pytest.approx(np.median(finite), rel=0.04)


def test_values_of_both_signs_that_cancel_are_not_dead():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3, use_bias=False)])
    x = np.array([[1.0, 1.0], [-1.0, -1.0]], "float32")
    (s,) = statistics(model, x).values()
    assert s.mean == pytest.approx(0, abs=1e-7)
    assert not s.dead.any()


@pytest.mark.parametrize("kind", zoo.VARIED, ids=lambda kind: kind.__name__)
def test_every_kind_is_measured_and_stays_as_it_was(kind):
    model, x = zoo.built(kind)
    before = zoo.state_of(model)
    size = None if kind is zoo.stateful else 2
    found = statistics(model, x, batch_size=size or 3, training=True)
    assert zoo.state_of(model) == before
    caught = capture(model, x)
    for key in caught:
        numbers = [
            leaf
            for leaf in keras.tree.flatten(caught[key])
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiuV"
        ]
        names = [n for n in found if n == key or n.startswith(f"{key}[")]
        reported = [n for n in found.missing if n == key or n.startswith(f"{key}[")]
        assert len(names) + len(reported) >= max(len(numbers), 1)
    assert str(found)
    assert "<table>" in found._repr_html_()


def test_what_cannot_be_measured_is_refused(network, images):
    with pytest.raises(ValueError, match=r"`max_bytes` must hold.*bytes here"):
        statistics(network, images, max_bytes=100)
    with pytest.raises(ValueError, match="at least one sample"):
        statistics(network, images[:0])
    with pytest.raises(ValueError, match="at least one batch"):
        statistics(network, iter([]))
    with pytest.raises(ValueError, match="`sample` must be an int >= 1"):
        statistics(network, images, sample=0)
    s = statistics(network, images, "last")["last"]
    with pytest.raises(ValueError, match=r"`q` must lie in \[0, 1\]"):
        s.quantile(2)


# During training


def test_recording_changes_no_bit_of_a_training(digits):
    x, y = digits
    plain = compiled(cnn, "adam")
    plain.fit(x, y, verbose=0)
    model = compiled(cnn, "adam")
    recorder = RecordActivations(x[:64], every=7, statistics="dead_share")
    model.fit(x, y, verbose=0, callbacks=[recorder])
    for a, b in zip(state_of(plain).values(), state_of(model).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(recorder.step, [7, 14])


def test_a_run_shows_what_is_recorded_beside_its_metrics(digits):
    x, y = digits
    model = compiled(cnn, "sgd")
    last = model.layers[-1].name
    recorder = RecordActivations(x[:64], [last], every=10)
    run = Run(model, (x, y), callbacks=[recorder]).start()
    run.wait(60)
    assert [step for step, _ in run.metrics[f"mean {last}"]] == [10, 20]
    expected = statistics(model, x[:64], last, batch_size=256)[last]
    assert recorder.values("mean")[last][-1] == expected.mean
    assert "accuracy" in run.metrics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistics": "median"}, "`statistics` must hold some of"),
        ({"every": 0}, "`every` must be >= 1"),
    ],
)
def test_what_cannot_be_recorded_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecordActivations(zoo.ROW, **arguments)
    with pytest.raises(ValueError, match="read again"):
        RecordActivations(iter([zoo.ROW]))
    with pytest.raises(ValueError, match="which were recorded"):
        RecordActivations(zoo.ROW).values("inf")

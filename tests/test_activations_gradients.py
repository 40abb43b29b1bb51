"""Gradients of activations and weights, and the maps made of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests import zoo
from workbench.activations import (
    grad_cam,
    grad_cam_plus_plus,
    gradients,
    occlusion,
    saliency,
    smooth_grad,
)

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def head(*extra):
    return [
        layers.GlobalAveragePooling2D(name="mean"),
        *extra,
        layers.Dense(3, activation="softmax", name="classes"),
    ]


def flat_network():
    return zoo.chain(
        (8, 8, 3), layers.Conv2D(4, 3, activation="tanh", name="maps"), *head()
    )


def nested_network():
    body = zoo.chain((8, 8, 3), layers.Conv2D(4, 3, activation="tanh", name="maps"))
    return zoo.chain((8, 8, 3), body, *head())


class Inside(keras.Model):
    """A subclassed model around a nested one."""

    def __init__(self):
        super().__init__()
        self.body = zoo.chain(
            (8, 8, 3), layers.Conv2D(4, 3, activation="tanh", name="maps")
        )
        self.mean, self.classes = head()

    def call(self, x):
        return self.classes(self.mean(self.body(x)))


def made(build):
    keras.utils.set_random_seed(2)
    model = build()
    model(zoo.IMAGES)
    return model


def parts_of(model):
    """The maps' layer and the classes' layer."""
    found = {layer.name: layer for layer in model._flatten_layers()}
    return found["maps"], found["classes"]


def by_hand(model, x, target):
    """Score before the softmax, from the layers themselves, with its slopes."""
    maps_layer, classes = parts_of(model)
    x = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        maps = maps_layer(x)
        logits = tf.reduce_mean(maps, [1, 2]) @ classes.kernel + classes.bias
        score = tf.gather(logits, target, batch_dims=1)
    slopes = tape.gradient(score, x), tape.gradient(score, maps)
    return score.numpy(), maps.numpy(), *(slope.numpy() for slope in slopes)


KINDS = pytest.mark.parametrize("build", [flat_network, nested_network, Inside])


# Gradients


@pytest.mark.parametrize("build", [flat_network, Inside])
def test_gradients_are_those_of_a_tape_over_the_layers(build):
    model = made(build)
    model.compile("sgd", "sparse_categorical_crossentropy")
    y = np.array([0, 2])
    before = zoo.state_of(model)
    found = gradients(model, zoo.IMAGES, y, pre_activations=True)
    assert zoo.state_of(model) == before
    assert not model._compile_loss.built
    maps_layer, classes = parts_of(model)
    weights = [*maps_layer.trainable_variables, *classes.trainable_variables]
    with tf.GradientTape() as tape:
        maps = maps_layer(zoo.IMAGES)
        mean = tf.reduce_mean(maps, [1, 2])
        logits = mean @ classes.kernel + classes.bias
        loss = SOFTMAX(y, logits)
    expected = tape.gradient(loss, [maps, mean, logits, [v.value for v in weights]])
    prefix = "" if build is flat_network else f"{model.body.name}/"
    acts = found.activations
    np.testing.assert_allclose(acts[f"{prefix}maps"], expected[0], atol=1e-7)
    np.testing.assert_allclose(acts["mean"], expected[1], atol=1e-7)
    before_softmax = acts["classes/pre_activation"]
    np.testing.assert_allclose(before_softmax, expected[2], atol=1e-7)
    assert "pre_activations=True" in found.missing["classes"]
    for variable, value in zip(weights, expected[3], strict=True):
        np.testing.assert_allclose(found.weights[variable.path], value, atol=1e-7)
    assert found.loss == pytest.approx(float(loss), abs=1e-6)
    assert list(found) == [*acts, *found.weights]


def test_penalties_belong_to_the_loss():
    keras.utils.set_random_seed(0)
    model = zoo.chain(
        (4,),
        layers.Dense(
            3,
            kernel_regularizer=keras.regularizers.L2(0.1),
            activity_regularizer=keras.regularizers.L2(0.2),
        ),
    )
    model.compile("sgd", "mse")
    y = np.ones((3, 3), "float32")
    found = gradients(model, zoo.ROW, y)
    assert not model.layers[0]._loss_ids
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=y, y_pred=model(zoo.ROW))
    variables = [v.value for v in model.trainable_variables]
    for value, expected in zip(
        found.weights.values(), tape.gradient(loss, variables), strict=True
    ):
        np.testing.assert_allclose(value, expected, atol=1e-6)
    assert found.loss == pytest.approx(float(loss), abs=1e-6)


def test_norms_are_those_of_the_gradients():
    model = made(flat_network)
    loss = keras.losses.SparseCategoricalCrossentropy()
    whole = gradients(model, zoo.IMAGES, np.array([0, 1]), loss=loss)
    norms = gradients(model, zoo.IMAGES, np.array([0, 1]), loss=loss, norms_only=True)
    assert list(whole) == list(norms)
    for key, value in whole.norms().items():
        assert norms.norms()[key] == pytest.approx(value, rel=1e-5)
        assert np.shape(norms[key]) == ()
        expected = np.linalg.norm(np.ravel(whole[key]).astype("float64"))
        assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", zoo.VARIED, ids=lambda kind: kind.__name__)
def test_every_kind_is_differentiated_or_reported(kind):
    model, x = zoo.built(kind)
    before = zoo.state_of(model)

    def loss(_y, outputs):
        leaves = [v for v in keras.tree.flatten(outputs) if tf.is_tensor(v)]
        floats = [tf.cast(v, "float32") for v in leaves if v.dtype.is_floating]
        return sum((tf.reduce_sum(v * v) for v in floats), tf.constant(0.0))

    found = gradients(model, x, None, loss=loss, training=True)
    assert zoo.state_of(model) == before
    for variable in model.trainable_variables:
        assert variable.path in found or variable.path in found.missing
    for key, value in found.weights.items():
        (variable,) = [v for v in model.trainable_variables if v.path == key]
        assert value.shape == tuple(variable.shape)
        assert np.isfinite(value).all()
    assert str(found)


def test_a_loss_is_needed():
    model = made(flat_network)
    with pytest.raises(ValueError, match="`loss` must be given"):
        gradients(model, zoo.IMAGES, np.array([0, 1]))
    with pytest.raises(ValueError, match="fit the model's inputs"):
        gradients(model, zoo.ROW, np.array([0, 1]), loss="mse")


# Maps


@KINDS
def test_saliency_is_the_slope_of_the_score(build):
    model = made(build)
    before = zoo.state_of(model)
    target = np.array([2, 0])
    _, _, slopes, _ = by_hand(model, zoo.IMAGES, target)
    found = saliency(model, zoo.IMAGES, target)
    np.testing.assert_allclose(found, np.abs(slopes).max(-1), atol=1e-6)
    best = model(zoo.IMAGES).numpy().argmax(1)
    np.testing.assert_array_equal(
        saliency(model, zoo.IMAGES), saliency(model, zoo.IMAGES, best)
    )
    of_function = saliency(
        model, zoo.IMAGES, lambda logits: tf.gather(logits, target, batch_dims=1)
    )
    np.testing.assert_allclose(of_function, found, atol=1e-7)
    assert zoo.state_of(model) == before


def test_without_logits_the_probability_is_differentiated():
    model = made(flat_network)
    x = tf.constant(zoo.IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = model(x)[:, 1]
    expected = np.abs(tape.gradient(score, x)).max(-1)
    found = saliency(model, zoo.IMAGES, 1, from_logits=False)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@KINDS
def test_grad_cam_is_equation_2(build):
    model = made(build)
    target = np.array([1, 0])
    _, maps, _, slopes = by_hand(model, zoo.IMAGES, target)
    weights = slopes.mean((1, 2))
    expected = np.maximum(np.einsum("bhwc,bc->bhw", maps, weights), 0)
    expected = tf.image.resize(expected[..., None], (8, 8))[..., 0]
    found = grad_cam(model, zoo.IMAGES, target)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    named = grad_cam(model, zoo.IMAGES, target, layer="maps")
    np.testing.assert_array_equal(found, named)


@KINDS
def test_grad_cam_plus_plus_is_equation_19(build):
    model = made(build)
    target = np.array([1, 0])
    _, maps, _, slopes = by_hand(model, zoo.IMAGES, target)
    expected = np.zeros(maps.shape[:3])
    for b in range(len(maps)):
        for c in range(maps.shape[-1]):
            a, g = maps[b, ..., c].astype("float64"), slopes[b, ..., c]
            alpha = g**2 / (2 * g**2 + a.sum() * g**3)
            expected[b] += (alpha * np.maximum(g, 0)).sum() * a
    expected = np.maximum(expected, 0).astype("float32")
    expected = tf.image.resize(expected[..., None], (8, 8))[..., 0]
    found = grad_cam_plus_plus(model, zoo.IMAGES, target)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@KINDS
def test_smooth_grad_is_the_mean_of_noisy_slopes(build):
    model = made(build)
    target = np.array([1, 0])
    rng = np.random.default_rng(7)
    x = zoo.IMAGES
    spread = 0.2 * (x.max((1, 2, 3)) - x.min((1, 2, 3)))[:, None, None, None]
    total = 0
    for _ in range(4):
        noisy = x + (spread * rng.standard_normal(x.shape, "float32")).astype("float32")
        total = total + by_hand(model, noisy, target)[2].astype("float64") / 4
    found = smooth_grad(model, x, target, num_samples=4, noise=0.2, seed=7)
    np.testing.assert_allclose(found, np.abs(total).max(-1), atol=1e-6)
    without = smooth_grad(model, x, target, num_samples=2, noise=0)
    np.testing.assert_allclose(without, saliency(model, x, target), atol=1e-7)


@KINDS
def test_occlusion_is_the_fall_of_the_score(build):
    model = made(build)
    target = np.array([1, 0])
    before = by_hand(model, zoo.IMAGES, target)[0]
    expected, covered = np.zeros((2, 8, 8)), np.zeros((2, 8, 8))
    for i in (0, 2, 4, 5):
        for j in (0, 2, 4, 5):
            copies = zoo.IMAGES.copy()
            copies[:, i : i + 3, j : j + 3] = 0.5
            fall = before - by_hand(model, copies, target)[0]
            expected[:, i : i + 3, j : j + 3] += fall[:, None, None]
            covered[:, i : i + 3, j : j + 3] += 1
    kept = zoo.IMAGES.copy()
    found = occlusion(
        model, zoo.IMAGES, target, patch=3, stride=2, fill=0.5, batch_size=5
    )
    np.testing.assert_allclose(found, expected / covered, atol=1e-6)
    np.testing.assert_array_equal(zoo.IMAGES, kept)


def test_gray_images_need_no_channel_axis():
    keras.utils.set_random_seed(0)
    model = zoo.chain((8, 8), layers.Reshape((8, 8, 1)), layers.Conv2D(2, 3), *head())
    x = zoo.IMAGES[..., 0]
    for method in (saliency, smooth_grad, grad_cam, grad_cam_plus_plus, occlusion):
        found = method(model, x)
        assert found.shape == (2, 8, 8)
        assert found.dtype == "float32"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: saliency(m, zoo.IMAGES, 3), "between -3 and 2"),
        (lambda m: saliency(m, zoo.ROW), "batch of images"),
        (lambda m: saliency(m, [zoo.IMAGES, zoo.IMAGES]), "one array of images"),
        (lambda m: grad_cam(m, zoo.IMAGES, layer="mean"), "must put out maps"),
        (lambda m: grad_cam(m, zoo.IMAGES, layer="mapz"), "nearest are 'maps'"),
        (lambda m: occlusion(m, zoo.IMAGES, patch=0), "`patch` must be an int >= 1"),
        (lambda m: smooth_grad(m, zoo.IMAGES, num_samples=0), "`num_samples` must"),
        (lambda m: smooth_grad(m, zoo.IMAGES, noise=-1), "`noise` must be >= 0"),
    ],
)
def test_what_makes_no_map_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(made(flat_network))


def test_several_outputs_need_a_function():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    y = layers.Conv2D(2, 3)(inputs)
    outputs = {"a": layers.GlobalMaxPooling2D()(y), "b": y}
    model = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="`target` must be a function"):
        saliency(model, zoo.IMAGES)
    found = saliency(model, zoo.IMAGES, lambda outputs: outputs["a"][:, 0])
    assert found.max() > 0

"""The clip methods against TensorFlow, optax and NumPy, as plain functions."""

import dataclasses
import math

import keras
import numpy as np
import optax
import pytest
import tensorflow as tf

from workbench import clipping, steps

CLIPS = {
    "none": clipping.NoClip(),
    "value": clipping.ByValue(0.3),
    "norm": clipping.ByNorm(0.5),
    "global": clipping.ByGlobalNorm(0.7),
    "adaptive": clipping.Adaptive(0.01),
    "rescue": clipping.Rescue(),
    "custom": clipping.Custom(lambda gradients, _: [g * 0.5 for g in gradients]),
}
clips = pytest.mark.parametrize("name", CLIPS)
tuned = pytest.mark.parametrize("name", ["value", "norm", "global", "adaptive"])


def random(*shape, scale=1.0, seed=0):
    values = np.random.default_rng(seed).normal(size=shape)
    return (values * scale).astype("float32")


SHAPES = {
    "mlp": [(20, 30), (30,), (30, 4), (4,)],
    "convolution": [(3, 3, 4, 8), (8,), (5, 4, 8), (1, 6), (6, 1), ()],
}


def embedding_step(rows=40, width=5, lookups=64):
    indices = np.random.default_rng(1).integers(rows, size=lookups)
    slices = tf.IndexedSlices(
        tf.constant(random(lookups, width)),
        tf.constant(indices),
        tf.constant([rows, width], tf.int64),
    )
    gradients = [slices, tf.constant(random(width, seed=2))]
    variables = [random(rows, width, seed=3), random(width, seed=4)]
    return gradients, variables


def dense_step(shapes, scale=1.0):
    gradients = [random(*s, scale=scale, seed=i) for i, s in enumerate(shapes)]
    variables = [random(*s, seed=i + 9) for i, s in enumerate(shapes)]
    return [tf.constant(g) for g in gradients], [tf.constant(v) for v in variables]


def dense(gradients):
    return [np.asarray(tf.convert_to_tensor(g)) for g in gradients]


def axes_of(shape):
    whole = sum(size != 1 for size in shape) <= 1
    return None if whole else tuple(range(len(shape) - 1))


def closed_form(name, gradients, variables):
    """The definition, in float64 NumPy."""
    gradients = [np.asarray(g, "float64") for g in gradients]
    clip = CLIPS[name]
    if name in ("none", "rescue"):
        return gradients
    if name == "custom":
        return [g * 0.5 for g in gradients]
    if name == "value":
        return [np.clip(g, -clip.clipvalue, clip.clipvalue) for g in gradients]
    if name == "norm":
        return [g / max(1, np.linalg.norm(g) / clip.clipnorm) for g in gradients]
    if name == "global":
        norm = math.sqrt(sum((g**2).sum() for g in gradients))
        return [g / max(1, norm / clip.global_clipnorm) for g in gradients]
    result = []
    for gradient, variable in zip(gradients, variables, strict=True):
        axis = axes_of(gradient.shape)

        def norm(values, axis=axis):
            squares = np.square(values.astype("float64"))
            return np.sqrt(squares.sum(axis=axis, keepdims=True))

        limit = clip.factor * np.maximum(norm(np.asarray(variable)), clip.epsilon)
        result.append(gradient / np.maximum(1, norm(gradient) / limit))
    return result


def tensorflow_form(name, gradients):
    clip = CLIPS[name]
    if name == "value":
        return [tf.clip_by_value(g, -clip.clipvalue, clip.clipvalue) for g in gradients]
    if name == "norm":
        return [tf.clip_by_norm(g, clip.clipnorm) for g in gradients]
    return tf.clip_by_global_norm(gradients, clip.global_clipnorm)[0]


def optax_form(name, gradients, variables):
    clip = CLIPS[name]

    def update(transform, updates, params=None):
        return transform.update(updates, transform.init(updates), params)[0]

    if name == "value":
        return update(optax.clip(clip.clipvalue), gradients)
    if name == "global":
        return update(optax.clip_by_global_norm(clip.global_clipnorm), gradients)
    if name == "norm":  # per tensor, each on its own
        by_norm = optax.clip_by_global_norm(clip.clipnorm)
        return [update(by_norm, [g])[0] for g in gradients]
    return [
        # Left to itself optax takes rank 3 for attention, not for Conv1D.
        update(optax.adaptive_grad_clip(clip.factor, axis=axes_of(g.shape)), [g], [v])[
            0
        ]
        for g, v in zip(gradients, variables, strict=True)
    ]


def assert_close(result, reference):
    for ours, theirs in zip(dense(result), dense(reference), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=0)


@clips
@pytest.mark.parametrize("case", [*SHAPES, "embedding"])
def test_clip_equals_its_definition(name, case):
    if case == "embedding":
        gradients, variables = embedding_step()
    else:
        gradients, variables = dense_step(SHAPES[case])
    expected = closed_form(name, dense(gradients), variables)
    assert_close(CLIPS[name](gradients, variables), expected)


@tuned
@pytest.mark.parametrize("case", [*SHAPES, "embedding"])
def test_clip_equals_tensorflow_and_optax_on_the_dense_gradient(name, case):
    if case == "embedding":
        gradients, variables = embedding_step()
    else:
        gradients, variables = dense_step(SHAPES[case])
    ours = CLIPS[name](gradients, variables)
    if name != "adaptive":
        assert_close(ours, tensorflow_form(name, dense(gradients)))
    assert_close(ours, optax_form(name, dense(gradients), dense(variables)))


def test_adaptive_agrees_with_optax_by_itself_on_dense_and_conv2d_kernels():
    gradients, variables = dense_step([(20, 30), (3, 3, 4, 8), (8,)])
    transform = optax.adaptive_grad_clip(0.01)
    expected, _ = transform.update(dense(gradients), None, dense(variables))
    assert_close(clipping.Adaptive(0.01)(gradients, variables), expected)


@clips
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-3, 1e30])
def test_sizes_that_float32_squares_do_not_survive(name, scale):
    gradients, variables = dense_step(SHAPES["mlp"], scale)
    clipped = CLIPS[name](gradients, variables)
    assert_close(clipped, closed_form(name, gradients, variables))


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "custom"])
def test_small_gradients_keep_every_bit(name):
    gradients, variables = dense_step(SHAPES["mlp"], 1e-6)
    for ours, raw in zip(CLIPS[name](gradients, variables), gradients, strict=True):
        np.testing.assert_array_equal(ours, raw)


@clips
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("sparse", [False, True])
def test_half_precision_is_the_float32_computation_cast_back(name, dtype, sparse):
    gradients, variables = embedding_step() if sparse else dense_step(SHAPES["mlp"])
    halves = [tf.cast(g, dtype) for g in gradients]
    singles = [tf.cast(g, "float32") for g in halves]
    clip = CLIPS[name]
    expected = [tf.cast(g, dtype) for g in clip(singles, variables)]
    for ours, theirs in zip(clip(halves, variables), expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(*dense([ours, theirs]))


@clips
def test_none_stays_in_its_place(name):
    gradients, variables = dense_step(SHAPES["mlp"])
    with_none = [gradients[0], None, *gradients[2:]]
    clipped = CLIPS[name](tuple(with_none), variables)
    assert clipped[1] is None
    del with_none[1], clipped[1], variables[1]
    assert_close(clipped, CLIPS[name](with_none, variables))
    assert CLIPS[name]([None, None], variables[:2]) == [None, None]
    assert CLIPS[name]([], []) == []


@clips
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_poisons_nothing(name, bad):
    gradients, variables = dense_step(SHAPES["mlp"])
    poisoned = gradients[1].numpy()
    poisoned[3] = bad
    clipped = CLIPS[name]([gradients[0], poisoned, *gradients[2:]], variables)
    if name == "rescue":
        assert_close(clipped, [0.02 * v for v in variables])
    elif name == "custom":
        assert not np.isfinite(clipped[1]).all()  # the function's own business
    else:
        assert all(not g.any() for g in dense(clipped))


def test_variables_may_be_keras_variables():
    gradients, variables = dense_step(SHAPES["mlp"])
    for clip in CLIPS.values():
        expected = clip(gradients, variables)
        for kind in (keras.Variable, tf.Variable):
            assert_close(clip(gradients, [kind(v) for v in variables]), expected)


@pytest.mark.parametrize("indices", [[], [2], [1, 1, 1], [3, 0, 3, 2, 0, 3]])
def test_sum_duplicates(indices):
    slices = tf.IndexedSlices(
        tf.constant(random(len(indices), 2)),
        tf.constant(indices, tf.int64),
        tf.constant([4, 2]),
    )
    summed = steps.sum_duplicates(slices)
    assert summed.values.shape == slices.values.shape
    assert set(summed.indices.numpy()) == set(indices)
    np.testing.assert_allclose(*dense([summed, slices]), rtol=1e-6)
    used = summed.values.numpy().any(axis=1)
    rows = summed.indices.numpy()[used]
    assert sorted(rows) == sorted(set(indices))


@pytest.mark.parametrize("jit_compile", [False, True])
@tuned
@pytest.mark.parametrize("sparse", [False, True])
def test_many_thresholds_at_once_and_in_xla(name, jit_compile, sparse):
    gradients, variables = embedding_step() if sparse else dense_step(SHAPES["mlp"])
    clip, field = CLIPS[name], CLIPS[name].threshold
    thresholds = tf.constant([0.004, 0.3, 9.0])

    def one(threshold):
        return [
            tf.convert_to_tensor(g)
            for g in dataclasses.replace(clip, **{field: threshold})(
                gradients, variables
            )
        ]

    @tf.function(jit_compile=jit_compile)
    def many():
        return tf.vectorized_map(one, thresholds, fallback_to_while_loop=False)

    for i, rows in enumerate(zip(*[g.numpy() for g in many()], strict=True)):
        if i < len(thresholds):
            assert_close(rows, one(thresholds[i]))


@pytest.mark.parametrize("jit_compile", [False, True])
@clips
def test_stacked_gradients_and_weights(name, jit_compile):
    shapes = SHAPES["mlp"]
    gradients, variables = dense_step([(3, *shape) for shape in shapes])
    gradients[1] = tf.constant(gradients[1].numpy() * [[1], [np.nan], [1]])
    clip = CLIPS[name]

    @tf.function(jit_compile=jit_compile)
    def many():
        return tf.vectorized_map(
            lambda both: clip(*both),
            (gradients, variables),
            fallback_to_while_loop=False,
        )

    clipped = many()
    for k in range(3):
        expected = clip([g[k] for g in gradients], [v[k] for v in variables])
        assert_close([g[k] for g in clipped], expected)


@pytest.mark.parametrize("jit_compile", [False, True])
@clips
def test_derivatives_are_finite_even_at_zero(name, jit_compile):
    gradients, variables = dense_step(SHAPES["mlp"])
    gradients[2] = tf.zeros_like(gradients[2])

    @tf.function(jit_compile=jit_compile)
    def derivative():
        with tf.GradientTape() as tape:
            tape.watch(gradients)
            clipped = CLIPS[name](gradients, variables)
            total = tf.add_n([tf.reduce_sum(tf.abs(g)) for g in clipped])
        return tape.gradient(total, gradients)

    assert all(np.isfinite(d).all() for d in derivative())


def test_the_keras_trap_of_repeated_lookups():
    """16 lookups of one row, limit 1: Keras moves it by 4 or 16, ours by 1."""

    def moved(optimizer):
        embedding = keras.layers.Embedding(3, 1, embeddings_initializer="zeros")
        embedding.build()
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(embedding(np.ones((16,), "int32")))
        weights = embedding.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        return -float(weights[0][1, 0])

    sgd = keras.optimizers.SGD
    assert moved(sgd(1.0)) == 16.0
    assert moved(sgd(1.0, clipnorm=1.0)) == pytest.approx(4.0)
    assert moved(sgd(1.0, global_clipnorm=1.0)) == pytest.approx(4.0)
    assert moved(sgd(1.0, clipvalue=1.0)) == 16.0
    for method in (clipping.ByValue, clipping.ByNorm, clipping.ByGlobalNorm):
        assert moved(method(1).wrap(sgd(1.0))) == pytest.approx(1.0)


@pytest.mark.parametrize("past", [clipping.AutoClip(10), clipping.ZClip(2.5, 0.97)])
def test_methods_with_a_past_refuse_a_plain_call(past):
    with pytest.raises(ValueError, match=r"past steps.*wrap\(optimizer\)"):
        past(*dense_step(SHAPES["mlp"]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clipping.ByValue(0), "`clipvalue` must be .*Received: clipvalue=0"),
        (lambda: clipping.ByNorm(-1.0), "`clipnorm` must be a positive finite"),
        (lambda: clipping.ByNorm("1"), "`clipnorm` must be"),
        (lambda: clipping.ByNorm(True), "`clipnorm` must be"),
        (lambda: clipping.ByNorm(None), "`clipnorm` must be"),
        (lambda: clipping.ByGlobalNorm(math.inf), "`global_clipnorm` must be"),
        (lambda: clipping.ByGlobalNorm(math.nan), "`global_clipnorm` must be"),
        (lambda: clipping.Adaptive(0.01, 0), "`epsilon` must be"),
        (lambda: clipping.Rescue(-0.02), "`factor` must be"),
        (lambda: clipping.AutoClip(0), "`percentile` must be"),
        (lambda: clipping.AutoClip(101), "`percentile` must be"),
        (lambda: clipping.AutoClip(10, window=1), "`window` must be"),
        (lambda: clipping.AutoClip(10, window=9.5), "`window` must be"),
        (lambda: clipping.ZClip(0, 0.9), "`z` must be"),
        (lambda: clipping.ZClip(2, 1), "`decay` must be"),
        (lambda: clipping.ZClip(2, 0.9, 0), "`warmup_steps` must be"),
        (lambda: clipping.Custom(3), "`function` must be callable"),
    ],
)
def test_arguments_are_checked(make, message):
    error = TypeError if "callable" in message else ValueError
    with pytest.raises(error, match=message):
        make()


def test_clips_are_values():
    assert clipping.ByNorm(1) == clipping.ByNorm(1.0)
    assert clipping.ByNorm(np.float32(0.5)).clipnorm == 0.5
    assert repr(clipping.ZClip(2.5, 0.97)).startswith("ZClip(z=2.5, decay=0.97")
    with pytest.raises(dataclasses.FrozenInstanceError):
        clipping.ByNorm(1).clipnorm = 2
    for clip in CLIPS.values():
        field = clip.threshold
        assert field is None or hasattr(clip, field)


@pytest.mark.parametrize(
    "returned", [lambda g, _: g[:-1], lambda g, _: [None, *g[1:]], lambda _g, _v: []]
)
def test_a_function_must_return_as_many_gradients(returned):
    with pytest.raises(ValueError, match="`function` must return 4 gradients"):
        clipping.Custom(returned)(*dense_step(SHAPES["mlp"]))


def numpy_autoclip(norms, percentile, window):
    return [
        np.percentile(norms[max(0, i + 1 - window) : i + 1], percentile)
        for i in range(len(norms))
    ]


def numpy_zclip(norms, z, decay, warmup_steps):
    mean = np.mean(norms[:warmup_steps])
    variance = np.var(norms[:warmup_steps])
    limits = list(norms[:warmup_steps])
    for norm in norms[warmup_steps:]:
        deviation = variance**0.5
        score = (norm - mean) / (deviation + 1e-6)
        limit = mean + z * deviation / (score / z) if score > z else norm
        mean = decay * mean + (1 - decay) * limit
        variance = decay * variance + (1 - decay) * (limit - mean) ** 2
        limits.append(limit)
    return limits


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("clip", "reference"),
    [
        (clipping.AutoClip(10, window=20), lambda n: numpy_autoclip(n, 10, 20)),
        (clipping.AutoClip(95), lambda n: numpy_autoclip(n, 95, 1000)),
        (clipping.ZClip(2.5, 0.97), lambda n: numpy_zclip(n, 2.5, 0.97, 25)),
        (clipping.ZClip(1.0, 0.9, 3), lambda n: numpy_zclip(n, 1.0, 0.9, 3)),
    ],
)
def test_limits_from_the_past_step_by_step(clip, reference, jit_compile):
    norms = np.random.default_rng(5).lognormal(0, 1, size=80)
    norms[40] = 1e30
    limit = tf.function(clip.limit, jit_compile=jit_compile)
    state = tf.constant(clip.initial_state, tf.float64)
    ours = []
    for norm in norms:
        value, state = limit(tf.constant(norm), state)
        ours.append(value.numpy())
    np.testing.assert_allclose(ours, reference(norms), rtol=1e-9)

"""Clipping inside a run: for its length only, live, and recorded per layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models import compiled, lstm, mlp, mlp_with_dropout
from tests.test_training import SECONDS, AtStep, assert_equal_states
from workbench.clipping import (
    AutoClip,
    ByGlobalNorm,
    ByNorm,
    NoClip,
    Rescue,
)
from workbench.training import Run


@pytest.mark.parametrize("clip", [ByGlobalNorm(0.5), ByNorm(0.1), AutoClip(50)])
def test_a_clipped_run_has_the_bits_of_fit_with_a_wrapped_optimizer(clip, digits):
    plain = compiled(mlp_with_dropout, clip.wrap(keras.optimizers.Adam()))
    plain.fit(*digits, verbose=0)
    model = compiled(mlp_with_dropout, keras.optimizers.Adam())
    optimizer = model.optimizer
    Run(model, digits, clip=clip).start().wait(SECONDS)
    assert model.optimizer is optimizer
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    inner = plain.optimizer.inner_optimizer.variables
    for a, b in zip(optimizer.variables, inner, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_no_clip_has_the_bits_of_a_plain_fit(digits):
    plain = compiled(lstm, keras.optimizers.SGD(0.05))
    plain.fit(*digits, verbose=0)
    model = compiled(lstm, keras.optimizers.SGD(0.05))
    run = Run(model, digits, clip=NoClip()).start()
    run.wait(SECONDS)
    assert_equal_states(model, plain)
    layers = run.layers
    np.testing.assert_array_equal(layers.norm_before, layers.norm_after)
    assert not layers.clipped.any()


def test_layers_hold_the_norms_of_an_eager_replay(digits):
    x, y = (array[:160] for array in digits)
    run = Run(
        compiled(mlp, keras.optimizers.SGD(0.1)),
        (x, y),
        clip=ByGlobalNorm(0.5),
        shuffle=False,
    ).start()
    run.wait(SECONDS)
    replay = compiled(mlp, keras.optimizers.SGD(0.1))
    assert run.layers.paths[0].endswith("hidden/kernel")
    for i in range(5):
        batch = slice(32 * i, 32 * i + 32)
        with tf.GradientTape() as tape:
            loss = replay.loss(y[batch], replay(x[batch], training=True))
        gradients = tape.gradient(loss, replay.trainable_variables)
        norms = [np.linalg.norm(g.numpy()) for g in gradients]
        clipped, norm = tf.clip_by_global_norm(gradients, 0.5)
        replay.optimizer.apply(clipped, replay.trainable_variables)
        np.testing.assert_allclose(run.layers.norm_before[i], norms, rtol=1e-4)
        factor = min(1.0, 0.5 / norm.numpy())
        np.testing.assert_allclose(
            run.layers.norm_after[i], np.array(norms) * factor, rtol=1e-4
        )
        assert run.layers.clipped[i].all() == (factor < 1)
        np.testing.assert_allclose(run.layers.cosine[i], 1.0, atol=1e-5)
        np.testing.assert_allclose(run.records.gradient_norm[i], norm, rtol=1e-4)


def test_the_threshold_holds_from_the_next_step_and_retraces_nothing(digits):
    traces = []

    class Counts(keras.layers.Layer):
        def call(self, x):
            traces.append(1)
            return x

    model = compiled(lambda: mlp(Counts()), keras.optimizers.SGD(0.1))
    traces.clear()
    counts = []
    run = Run(
        model,
        digits,
        clip=ByGlobalNorm(100.0),
        callbacks=[
            AtStep(3, lambda: counts.append(len(traces))),
            AtStep(5, lambda: run.set("clip", 0.25)),
            AtStep(10, lambda: run.set("clip", None)),
            AtStep(20, lambda: counts.append(len(traces))),
        ],
    ).start()
    run.wait(SECONDS)
    after = np.sqrt((run.layers.norm_after**2).sum(1))
    np.testing.assert_allclose(after[5:10], 0.25, rtol=1e-4)
    np.testing.assert_allclose(
        np.delete(after, slice(5, 10)),
        np.delete(run.records.gradient_norm, slice(5, 10)),
        rtol=1e-4,
    )
    assert counts[0] == counts[1]
    assert [(c.step, c.name, c.new) for c in run.changes] == [
        (6, "clip", 0.25),
        (11, "clip", 100.0),
    ]


def test_a_model_compiled_with_a_wrapped_optimizer_is_recognized(digits):
    model = compiled(mlp, ByGlobalNorm(0.5).wrap(keras.optimizers.SGD(0.1)))
    run = Run(model, digits)
    run.set("clip", 0.25)
    run.learning_rate = 0.2
    run.start().wait(SECONDS)
    np.testing.assert_allclose(run.records.learning_rate, 0.2, rtol=1e-6)
    after = np.sqrt((run.layers.norm_after**2).sum(1))
    np.testing.assert_allclose(after, 0.25, rtol=1e-4)
    assert (run.records.gradient_norm > 0.3).all()  # the raw norm, before the clip
    assert float(model.optimizer.threshold.numpy()) == 0.25


def test_under_loss_scaling_the_true_gradient_is_clipped(digits):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(mlp, keras.optimizers.SGD(0.1))
    finally:
        keras.config.set_dtype_policy("float32")
    inner = model.optimizer.inner_optimizer
    run = Run(model, digits, clip=ByGlobalNorm(0.25)).start()
    run.wait(SECONDS)
    after = np.sqrt((run.layers.norm_after[-10:] ** 2).sum(1))
    np.testing.assert_allclose(after, 0.25, rtol=1e-2)
    assert model.optimizer.inner_optimizer is inner


def poisoned(digits):
    x = digits[0].copy()
    x[32 * 4] = np.nan
    return x, digits[1]


def test_a_skipped_step_leaves_nan_in_the_layers(digits):
    model = compiled(mlp, keras.optimizers.SGD(0.1))
    run = Run(model, poisoned(digits), clip=ByNorm(1.0), shuffle=False).start()
    with pytest.raises(FloatingPointError, match="step 5: the input batch"):
        run.wait(SECONDS)
    run.resume()
    run.wait(SECONDS)
    assert np.isnan(run.layers.norm_before[4]).all()
    assert not run.layers.clipped[4].any()
    assert np.isfinite(np.delete(run.layers.norm_before, 4, 0)).all()


def test_rescue_goes_through_what_others_skip(digits):
    model = compiled(mlp, keras.optimizers.SGD(0.1))
    run = Run(model, poisoned(digits), clip=Rescue(), shuffle=False).start()
    run.wait(SECONDS)
    assert run.problem is None
    assert not np.isfinite(run.records.gradient_norm[4])
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_after_an_exception_the_optimizer_is_the_old_one(digits):
    model = compiled(mlp, keras.optimizers.SGD(0.1))
    optimizer = model.optimizer

    def fail():
        raise OSError("disk full")

    run = Run(model, digits, clip=ByNorm(1.0), callbacks=[AtStep(3, fail)]).start()
    with pytest.raises(OSError, match="disk full"):
        run.wait(SECONDS)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations.numpy()) == 3


def test_misuse_is_refused(digits):
    with pytest.raises(ValueError, match="clipnorm"):
        Run(compiled(mlp, keras.optimizers.SGD(clipnorm=1.0)), digits, clip=ByNorm(1.0))
    run = Run(compiled(mlp, "sgd"), digits)
    with pytest.raises(ValueError, match=r"a threshold needs `Run\(…, clip="):
        run.set("clip", 1.0)
    assert run.layers is None
    run = Run(compiled(mlp, "sgd"), digits, clip=ByNorm(1.0))
    with pytest.raises(ValueError, match=r"`clipnorm` must be .*clipnorm=-1"):
        run.set("clip", -1)


def test_layer_records_stay_bounded():
    from workbench.steps import LayerRecorder

    recorder = LayerRecorder(most=10)
    for step in range(1, 101):
        recorder.append(step, np.full(2, step))
    steps, arrays = recorder.snapshot()
    assert len(steps) <= 10
    assert steps[0] == 1
    assert len(set(np.diff(steps))) == 1
    np.testing.assert_array_equal(arrays[:, 0], steps)

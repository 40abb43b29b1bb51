"""Capturing: every kind of model, the values of a plain call, and no trace left."""

import errno
import gc
import threading
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

from tests import zoo
from workbench.activations import Capture, capture, load_capture
from workbench.training import Run


def leaves(value):
    return [
        np.asarray(leaf).astype("float64") if leaf.dtype.kind in "fV" else leaf
        for leaf in keras.tree.flatten(value)
        if isinstance(leaf, np.ndarray)
    ]


def as_arrays(value):
    def convert(leaf):
        return np.asarray(ops.convert_to_numpy(leaf)) if tf.is_tensor(leaf) else leaf

    return keras.tree.map_structure(convert, value)


def assert_same(value, expected, tolerance=0.0):
    keras.tree.assert_same_structure(value, expected)
    for a, b in zip(leaves(value), leaves(expected), strict=True):
        if a.dtype.kind in "OSU":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def calls_of(model, x, **arguments):
    """An independent record: each layer's own `call`, wrapped, eagerly."""
    found = {}
    below = [layer for layer in model._flatten_layers() if layer is not model]
    for layer in below:

        def watch(*args, _call=layer.call, _layer=layer, **kwargs):
            outputs = _call(*args, **kwargs)
            found.setdefault(_layer.name, []).append(as_arrays(outputs))
            return outputs

        vars(layer)["call"] = watch
    try:
        with keras.StatelessScope():
            outputs = model(x, **arguments)
    finally:
        for layer in below:
            del vars(layer)["call"]
    return found, as_arrays(outputs)


def originals():
    return [
        vars(keras.Operation)["__call__"],
        vars(keras.layers.TimeDistributed)["call"],
        vars(keras.layers.MultiHeadAttention)["_compute_attention"],
        vars(keras.layers.Attention)["_apply_scores"],
        keras.src.backend.rnn,
        vars(Function)["__call__"],
        "activation" in vars(keras.layers.Layer),
    ]


BEFORE = originals()


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    yield
    assert originals() == BEFORE


# Whose steps over time are stacked, or stay in a loop.
LOOPED = (
    "lstm",
    "lstm_with_states",
    "gru_unrolled",
    "simple_rnn_backwards",
    "stacked_cells",
    "masked",
    "stateful",
    "bidirectional",
    "time_distributed",
    "convolutional_lstm",
    "looping",
)


# Every kind


@pytest.mark.parametrize("kind", zoo.KINDS, ids=lambda kind: kind.__name__)
def test_every_call_is_captured_or_reported_with_its_eager_value(kind):
    model, x = zoo.built(kind)
    before = zoo.state_of(model)
    caught = capture(model, x, inputs=True, pre_activations=True)
    assert zoo.state_of(model) == before
    eager = capture(model, x, inputs=True, pre_activations=True, run_eagerly=True)
    half = kind in (zoo.mixed_precision, zoo.bfloat16)
    if kind is not zoo.looping:
        assert list(caught) == list(eager)
        assert caught.missing == eager.missing
    for key, value in caught.items():
        assert_same(value, eager[key], tolerance=1e-2 if half else 1e-6)
    keys = [*caught, *caught.missing]
    named = {part for key in keys for part in key.split("#")[0].split("/")}
    hidden = [model, getattr(model, "_functional", None)]
    hidden += [getattr(layer, "_functional", None) for layer in model._flatten_layers()]
    for layer in model._flatten_layers():
        if isinstance(layer, layers.InputLayer) or any(layer is h for h in hidden):
            continue
        assert layer.name in named


@pytest.mark.parametrize("kind", zoo.KINDS, ids=lambda kind: kind.__name__)
def test_eager_values_are_those_of_a_bare_call_bit_for_bit(kind):
    model, x = zoo.built(kind)
    for training in (False, True):
        compare_with_bare_call(kind, model, x, training=training)


def compare_with_bare_call(kind, model, x, *, training):
    arguments = {"training": training} if model._call_has_training_arg else {}
    raw = [v.numpy() for v in zoo.tensorflow_variables(model)]
    expected, outputs = calls_of(model, x, **arguments)
    for variable, value in zip(zoo.tensorflow_variables(model), raw, strict=True):
        variable.assign(value)
    before = zoo.state_of(model)
    caught = capture(model, x, training=training, run_eagerly=True)
    assert zoo.state_of(model) == before
    assert_same(caught.outputs, outputs)
    compared = 0
    for name, values in expected.items():
        keys = [k for k in caught if k.split("#")[0].rsplit("/", 1)[-1] == name]
        extras = ("pre-activation", "attention scores")
        keys = [key for key in keys if caught.kinds[key] not in extras]
        if len(keys) != len(values):
            stepped = kind.__name__ in LOOPED and len(values) > len(keys)
            assert stepped, f"{name}: {len(keys)} captured, {len(values)} calls"
            continue
        for key, value in zip(keys, values, strict=True):
            assert_same(caught[key], value)
            compared += 1
    assert compared or kind in (zoo.looping, zoo.decorated)


def test_values_equal_those_of_the_rebuilt_functional_model():
    for kind in (zoo.convolutional, zoo.separable, zoo.residual, zoo.list_inputs):
        model, x = zoo.built(kind)
        own = [layer for layer in model.layers if layer.name not in ("input_layer",)]
        own = [la for la in own if not isinstance(la, layers.InputLayer)]
        rebuilt = keras.Model(model.inputs, {la.name: la.output for la in own})
        caught = capture(model, x)
        graph = tf.function(lambda x, m=rebuilt: m(x, training=False), autograph=False)
        for name, value in graph(keras.tree.map_structure(tf.constant, x)).items():
            np.testing.assert_array_equal(caught[name], value, err_msg=name)


def test_an_application_is_captured_whole():
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, classes=10
    )
    x = np.random.default_rng(0).random((1, 32, 32, 3), "float32")
    own = [la for la in model.layers if not isinstance(la, layers.InputLayer)]
    rebuilt = keras.Model(model.inputs, {la.name: la.output for la in own})
    graph = tf.function(lambda x: rebuilt(x, training=False), autograph=False)
    caught = capture(model, x)
    expected = graph(tf.constant(x))
    assert set(caught) == set(expected)
    assert not caught.missing
    for name, value in expected.items():
        np.testing.assert_array_equal(caught[name], value, err_msg=name)


# What keys and structures mean


def test_paths_come_from_the_call_stack():
    model, x = zoo.built(zoo.nested)
    assert list(capture(model, x)) == ["inner/deep", "inner", model.layers[-1].name]
    model, x = zoo.built(zoo.nested_twice)
    keys = list(capture(model, x))
    block = model.layers[-1].name
    assert keys[0] == f"{block}/deep"
    assert keys[3] == f"{block}/deep#2"
    assert keys[-1] == f"{block}#2"


def test_each_call_of_a_shared_layer_is_kept():
    model, x = zoo.built(zoo.shared)
    caught = capture(model, x)
    assert [key.split("_")[0] for key in caught] == ["shared", "tanh", "shared#2"]
    again = model.get_layer("shared")(np.tanh(caught["shared"]))
    np.testing.assert_allclose(caught["shared#2"], again, atol=1e-6)


def test_what_layers_do_inside_themselves_is_no_call():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.ZeroPadding2D(name="pad")])
    assert list(capture(model, zoo.IMAGES)) == ["pad"]


def test_inputs_are_captured_under_their_names():
    model, x = zoo.built(zoo.dict_inputs)
    caught = capture(model, x, inputs=True)
    np.testing.assert_array_equal(caught["input_z"], x["input_z"])
    np.testing.assert_array_equal(caught["input_a"], x["input_a"])
    assert caught.kinds["input_a"] == "input"
    model, x = zoo.built(zoo.several_outputs)
    assert "input_like" in capture(model, x)


def test_pre_activations_are_what_goes_into_the_activation():
    model, x = zoo.built(zoo.sequential)
    caught = capture(model, x, pre_activations=True)
    dense = model.layers[0]
    before = caught[f"{dense.name}/pre_activation"]
    expected = x @ dense.kernel.numpy() + dense.bias.numpy()
    np.testing.assert_allclose(before, expected, atol=1e-6)
    np.testing.assert_array_equal(np.maximum(before, 0), caught[dense.name])
    # The last layer is linear: before and after are one.
    assert f"{model.layers[-1].name}/pre_activation" not in caught


def test_attention_scores_are_those_that_keras_returns():
    model, x = zoo.built(zoo.multi_head_attention)
    layer = next(la for la in model.layers if "attention" in la.name)
    _, expected = layer(x, x, use_causal_mask=True, return_attention_scores=True)
    scores = capture(model, x, layer.name)[f"{layer.name}/attention_scores"]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_allclose(scores.sum(-1), 1.0, atol=1e-6)
    assert not np.triu(scores, 1).any()
    assert list(capture(model, x, layer.name, scores=False)) == [layer.name]
    # The second computation, which brings the scores, is no call of the model's.
    assert not [key for key in capture(model, x) if "softmax" in key]


@pytest.mark.parametrize("kind", [zoo.lstm, zoo.gru_unrolled, zoo.masked])
def test_cells_are_captured_at_each_time_step(kind):
    model, x = zoo.built(kind)
    layer = next(la for la in model.layers if isinstance(la, layers.RNN))
    caught = capture(model, x)
    key = f"{layer.name}/{layer.cell.name}"
    output, states = caught[key]
    states = keras.tree.flatten(states)
    assert all(state.shape == output.shape for state in [output, *states])
    # By hand: the cell, step by step.
    sequence = caught[model.layers[0].name] if kind is zoo.masked else x
    mask = np.ones(x.shape[:2], bool) if kind is not zoo.masked else x != 0
    hidden = [np.zeros(output[:, 0].shape, "float32") for _ in states]
    for t in range(x.shape[1]):
        y, new = layer.cell(sequence[:, t], list(hidden))
        new = keras.tree.flatten(new)
        keep = mask[:, t, None]
        hidden = [np.where(keep, n, h) for n, h in zip(new, hidden, strict=True)]
        shown = np.where(keep, y, output[:, t])
        np.testing.assert_allclose(output[:, t], shown, atol=1e-6)
        for state, expected in zip(states, hidden, strict=True):
            kept = np.where(keep, state[:, t], expected)
            np.testing.assert_allclose(kept, expected, atol=1e-6)


def test_time_distributed_layers_are_stacked_over_time():
    model, x = zoo.built(zoo.time_distributed)
    caught = capture(model, x)
    outer = model.layers[-1]
    first = outer.layer.layers[0]
    key = f"{outer.name}/{outer.layer.name}/{first.name}"
    np.testing.assert_allclose(caught[key], first(x), atol=1e-6)


def test_what_stays_inside_a_loop_is_reported():
    model, x = zoo.built(zoo.looping)
    caught = capture(model, x)
    (path,) = caught.missing
    assert path.endswith("looped")
    assert "inside a loop" in caught.missing[path]
    with pytest.raises(KeyError, match="could not be captured"):
        caught[path]
    # Eagerly the loop is Python's.
    assert [key for key in capture(model, x, run_eagerly=True) if "looped" in key]


def test_layers_in_a_call_that_xla_compiles_are_followed():
    class Compiled(zoo.Decorated):
        @tf.function(jit_compile=True)
        def call(self, x):
            return 2 * self.inside(x)

    model, x = Compiled(), zoo.ROW
    model.inside.build(x.shape)  # what XLA builds, Keras makes anew at each call
    expected = model(x)
    for eagerly in (False, True):
        caught = capture(model, x, run_eagerly=eagerly)
        assert list(caught) == ["inside"]
        np.testing.assert_allclose(2 * caught["inside"], expected, atol=1e-6)


# Which layers


def test_layers_are_named_in_many_ways():
    model, x = zoo.built(zoo.subclassed)
    assert list(capture(model, x, "block_1")) == ["block_1"]
    assert list(capture(model, x, "block_*")) == ["block_0", "block_1"]
    assert list(capture(model, x, "first")) == ["first", "first#2", "first#3"]
    assert list(capture(model, x, "first#2")) == ["first#2"]
    assert list(capture(model, x, 0)) == list(capture(model, x, "first"))
    assert list(capture(model, x, -1)) == [model.layers[-1].name]
    assert list(capture(model, x, layers.Dropout)) == [model.dropout.name]
    assert list(capture(model, x, [model.blocks[0], "block_1"])) == [
        "block_0",
        "block_1",
    ]


def test_a_selection_does_not_compute_what_comes_after():
    class Touch(layers.Layer):
        def call(self, x):
            noted = tf.numpy_function(note, [x], tf.float32)
            return tf.ensure_shape(noted, x.shape)

    def note(x):
        seen.append(1)
        return x

    seen = []
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="early"), Touch(name="late")]
    )
    capture(model, zoo.ROW, "late")
    assert seen
    seen.clear()
    assert list(capture(model, zoo.ROW, "early")) == ["early"]


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ("blok_1", ValueError, "nearest are 'block_1'"),
        (7, ValueError, "indices from -4 to 3"),
        (layers.Conv2D, ValueError, "such as"),
        ([], ValueError, "at least one layer"),
        (1.5, TypeError, "names, paths, patterns"),
        (True, TypeError, "names, paths, patterns"),
    ],
)
def test_unknown_layers_are_refused(wanted, error, message):
    model, x = zoo.built(zoo.subclassed)
    with pytest.raises(error, match=message):
        capture(model, x, wanted)


# What it is captured from


def test_batches_are_joined(digits):
    model, x = zoo.built(zoo.convolutional)
    x = np.concatenate([x, x + 1, x - 1])
    whole = capture(model, x)
    parts = capture(model, x, batch_size=4)
    data = tf.data.Dataset.from_tensor_slices((x, np.zeros(6))).batch(4)
    of_data = capture(model, data)
    of_iterator = capture(model, iter([x[:4], x[4:]]))
    for key, value in whole.items():
        for other in (parts, of_data, of_iterator):
            np.testing.assert_allclose(other[key], value, atol=1e-6)
    np.testing.assert_allclose(parts.outputs, whole.outputs, atol=1e-6)


def test_an_unbuilt_model_is_built_from_what_it_is_given():
    keras.utils.set_random_seed(0)
    model = zoo.Subclassed()
    caught = capture(model, zoo.ROW)
    assert model.built
    assert_same(caught.outputs, as_arrays(model(zoo.ROW)), 1e-6)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (zoo.ROW[:0], "at least one sample"),
        (zoo.X, r"of shape \(batch, 4\).*Received: shape \(3, 6, 4\)"),
        (tf.data.Dataset.from_tensor_slices(zoo.ROW).batch(2).take(0), "one batch"),
        ([zoo.ROW, zoo.ROW], "fit the model's inputs"),
        ([], "at least one array"),
    ],
)
def test_what_does_not_fit_is_refused(x, message):
    model, _ = zoo.built(zoo.sequential)
    with pytest.raises(ValueError, match=message):
        capture(model, x)


def test_a_batch_size_must_be_positive():
    model, x = zoo.built(zoo.sequential)
    with pytest.raises(ValueError, match="`batch_size` must be an int >= 1"):
        capture(model, x, batch_size=0)
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        capture(layers.Dense(2), x)


# No trace is left


def test_the_arrays_passed_in_are_neither_changed_nor_lent():
    model, x = zoo.built(zoo.sequential)
    x = x.copy()
    kept = x.copy()
    caught = capture(model, x, inputs=True)
    np.testing.assert_array_equal(x, kept)
    name = next(iter(caught))
    x[:] = 99
    np.testing.assert_array_equal(caught[name], kept)
    with pytest.raises(ValueError, match="read-only"):
        caught[name][:] = 0


def test_captured_weights_do_not_change_with_the_model():
    class Weights(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(4,), initializer="ones")

        def call(self, x):
            return self.w + 0 * x, self.w

    model = keras.Sequential([keras.Input((4,)), Weights(name="weights")])
    _, w = capture(model, zoo.ROW)["weights"]
    model.layers[0].w.assign_add([5.0] * 4)
    np.testing.assert_array_equal(w, np.ones(4))
    _, w = capture(model, zoo.ROW)["weights"]
    np.testing.assert_array_equal(w, np.full(4, 6.0))


def test_after_an_error_nothing_stays_patched():
    class Failing(layers.Layer):
        fails = False

        def call(self, x):
            if self.fails:
                raise RuntimeError("on purpose")
            return x

    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), Failing()])
    model.layers[-1].fails = True
    before = zoo.state_of(model)
    for eagerly in (False, True):
        with pytest.raises(RuntimeError, match="on purpose"):
            capture(model, zoo.ROW, pre_activations=True, run_eagerly=eagerly)
    assert zoo.state_of(model) == before
    assert originals() == BEFORE


def test_nothing_is_compiled_and_compile_state_stays():
    model, x = zoo.built(zoo.convolutional)
    capture(model, x)
    assert not model.compiled
    model.compile("sgd", "mse")
    function, loss = model.predict_function, model._compile_loss
    capture(model, x, training=True)
    assert model.predict_function is function
    assert model._compile_loss is loss
    assert not loss.built


def test_settings_changed_after_a_capture_are_seen():
    model, x = zoo.built(zoo.sequential)
    before = capture(model, x)
    model.layers[0].activation = keras.activations.tanh
    after = capture(model, x)
    name = model.layers[0].name
    assert (before[name] >= 0).all()
    assert (after[name] < 0).any()
    model.layers[1].rate = 0.9
    dropped = capture(model, x, training=True)[model.layers[1].name]
    assert (dropped == 0).mean() > 0.5


def test_a_captured_model_can_be_deleted():
    model, x = zoo.built(zoo.convolutional)
    capture(model, x)
    capture(model, x, 0)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_capturing_beside_a_training_changes_no_bit_of_it(digits):
    x, y = digits

    def train(*, beside):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((28, 28)),
                layers.Flatten(),
                layers.Dense(16, activation="relu"),
                layers.Dropout(0.2),
                layers.BatchNormalization(),
                layers.Dense(10),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        run = Run(model, (x, y), epochs=1, batch_size=32).start()
        caught = 0
        while beside and not run.ended.is_set():
            capture(model, x[:8], training=True, pre_activations=True)
            capture(model, x[: 1 + caught % 3], run_eagerly=True)
            caught += 1
        run.wait(60)
        assert caught or not beside
        return [v.numpy() for v in model.variables]

    for a, b in zip(train(beside=False), train(beside=True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_captures_in_several_threads_do_not_mix():
    models = [zoo.built(kind) for kind in (zoo.subclassed, zoo.shared, zoo.lstm)]
    expected = [list(capture(model, x)) for model, x in models]
    wrong = []

    def work(i):
        model, x = models[i]
        for n in range(4):
            found = list(capture(model, x[: n % 2 + 1], pre_activations=False))
            if found != expected[i]:
                wrong.append((i, found))

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1, 2, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


# Files


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "kind", [zoo.subclassed, zoo.lstm_with_states, zoo.bfloat16, zoo.strings]
)
def test_captures_are_saved_and_loaded(tmp_path, ending, kind):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
        if kind is zoo.strings:
            return
    model, x = zoo.built(kind)
    caught = capture(model, x, inputs=kind is not zoo.strings)
    caught.missing["left/out"] = "for a reason"
    path = tmp_path / f"caught{ending}"
    caught.save(path)
    loaded = load_capture(path)
    assert isinstance(loaded, Capture)
    assert list(loaded) == list(caught)
    assert loaded.kinds == caught.kinds
    assert loaded.missing == caught.missing
    for key, value in caught.items():
        assert_same(loaded[key], value)
        for a, b in zip(leaves(loaded[key]), leaves(value), strict=True):
            assert a.dtype == b.dtype
    assert_same(loaded.outputs, caught.outputs)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_full_disk_leaves_what_was_there(tmp_path, ending):
    resource = pytest.importorskip("resource")
    model, x = zoo.built(zoo.sequential)
    caught = capture(model, x)
    path = tmp_path / f"caught{ending}"
    caught.save(path)
    before = path.read_bytes()
    # A file may not grow beyond this: the write fails half way, as on a full disk.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OSError, match="can be written") as caught_error:
            caught.save(path)
        with pytest.raises(OSError, match="can be written"):
            caught.save(tmp_path / f"new{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught_error.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_none_are_refused(tmp_path):
    model, x = zoo.built(zoo.sequential)
    caught = capture(model, x)
    with pytest.raises(ValueError, match=r"must end in \.npz or \.safetensors"):
        caught.save(tmp_path / "caught.pkl")
    with pytest.raises(FileNotFoundError):
        caught.save(tmp_path / "nowhere" / "caught.npz")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match=r"`Capture\.save` wrote"):
        load_capture(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        load_capture(tmp_path / "none.npz")


def test_a_capture_prints_well():
    model, x = zoo.built(zoo.looping)
    caught = capture(model, x)
    assert repr(caught) == "<Capture of 2 outputs, 1 missing>"
    assert "Missing: " in str(caught)
    assert "(3, 2)" in str(caught)
    assert "<table>" in caught._repr_html_()

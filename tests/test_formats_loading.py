"""Loading what is harmless, and measuring what each format keeps."""

import importlib
import json
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests import hostile, hostile_graphs
from workbench import clipping, formats
from workbench.formats import samples


@keras.saving.register_keras_serializable(package="tests_of_formats")
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


def dense_model(*extra, seed=1, loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(seed)
    stack = [
        keras.Input((4,), name="x"),
        layers.Dense(8, "relu", name="hidden"),
        *extra,
    ]
    model = keras.Sequential([*stack, layers.Dense(3, "softmax", name="out")])
    model.compile("adam", loss)
    return model


@pytest.fixture
def trained():
    model = dense_model()
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 4), "float32"), rng.integers(0, 3, 32)
    model.fit(x, y, verbose=0)
    return model, (x, y)


# Loading


def test_loads_what_keras_would(tmp_path, trained):
    model, (x, _) = trained
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        loaded = formats.load_model(tmp_path / name)
        np.testing.assert_array_equal(loaded(x), model(x))
        assert isinstance(loaded.optimizer, keras.optimizers.Adam)
    assert formats.load_model(tmp_path / "m.keras", compile=False).compiled is False


def test_recognises_a_file_under_another_name(tmp_path, trained):
    model, (x, _) = trained
    model.save(tmp_path / "m.keras")
    (tmp_path / "m.keras").rename(tmp_path / "m.h5")
    np.testing.assert_array_equal(formats.load_model(tmp_path / "m.h5")(x), model(x))


def test_knows_the_workbench_classes_in_a_new_process(tmp_path):
    model = dense_model()
    model.compile(clipping.ByGlobalNorm(0.5).wrap(keras.optimizers.SGD()), "mse")
    model.save(tmp_path / "m.keras")
    code = (
        "import sys; from workbench import formats; "
        f"m = formats.load_model({str(tmp_path / 'm.keras')!r}); "
        "sys.stdout.write(repr(m.optimizer.clip))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "ByGlobalNorm(global_clipnorm=0.5)"


def test_refuses_hostile_files_and_says_why(tmp_path):
    config = hostile.sequential(hostile.dense(), hostile.PAYLOADS["lambda"])
    path = tmp_path / "m.keras"
    path.write_bytes(hostile.zipped(hostile.keras_members(config)))
    with pytest.raises(formats.RiskyFileError) as caught:
        formats.load_model(path)
    text = str(caught.value)
    assert "config.json/config/layers/1: runs Python code that the file carries" in text
    assert "trust=['Lambda']" in text
    assert caught.value.report.kind == "Keras model (.keras)"
    path.write_bytes(
        hostile.zipped([*hostile.keras_members(config).items(), ("../x", "")])
    )
    with pytest.raises(formats.RiskyFileError, match="No trust helps against this"):
        formats.load_model(path, trust=["Lambda"])


def test_nothing_of_a_refused_file_reaches_keras(tmp_path, monkeypatch):
    def fail(*arguments, **others):
        raise AssertionError("Keras was asked to load it")

    monkeypatch.setattr(keras.saving, "load_model", fail)
    path = tmp_path / "m.h5"
    path.write_bytes(hostile.h5_model(hostile.sequential(hostile.PAYLOADS["tfsm"])))
    with pytest.raises(formats.RiskyFileError):
        formats.load_model(path)


def test_trust_in_a_lambda_lets_it_run(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: 3 * x)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(formats.RiskyFileError):
        formats.load_model(tmp_path / "m.keras")
    loaded = formats.load_model(tmp_path / "m.keras", trust=["Lambda"])
    np.testing.assert_array_equal(loaded(np.ones((1, 2))), [[3.0, 3.0]])
    with pytest.raises(TypeError, match="`trust` must be a list"):
        formats.load_model(tmp_path / "m.keras", trust="Lambda")


class Tripled(layers.Layer):
    def call(self, x):
        return 3 * x


def test_classes_of_the_reader_are_those_that_the_reader_brings(tmp_path):
    dense_model(Doubled()).save(tmp_path / "registered.keras")
    assert formats.inspect_file(tmp_path / "registered.keras").risks
    path = tmp_path / "registered.keras"
    assert formats.load_model(path, compile=False).layers
    path = tmp_path / "own.keras"
    dense_model(Tripled()).save(path)
    with pytest.raises(formats.RiskyFileError, match=r'=\{"Tripled": …\}'):
        formats.load_model(path)
    brought = {"Tripled": Tripled}
    assert formats.load_model(path, custom_objects=brought, compile=False).layers


def test_other_kinds_are_named_with_a_remedy(tmp_path, trained):
    model, _ = trained
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=r"Keras weights .*: build the model, then"):
        formats.load_model(tmp_path / "m.weights.h5")
    (tmp_path / "m.onnx").write_bytes(hostile_graphs.onnx_model())
    with pytest.raises(ValueError, match="onnxruntime"):
        formats.load_model(tmp_path / "m.onnx")
    with pytest.raises(FileNotFoundError):
        formats.load_model(tmp_path / "nowhere")


# Comparing


def test_what_each_format_keeps_of_a_trained_model(tmp_path, trained):
    model, data = trained
    before = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    seen = []
    table = formats.compare_formats(
        model, tmp_path / "all", data, progress=lambda *step: seen.append(step)
    )
    after = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    exact = (".keras", ".weights.h5", "TF checkpoint")
    for name in exact:
        result = table[name]
        gaps = result.outputs, result.weights, result.optimizer, result.next_step
        assert gaps == (0, 0, 0, 0), result
        assert result.size > 0
    assert table[".npz"].weights == 0
    assert table[".npz"].optimizer is None
    assert table[".npz"].next_step > 0
    assert table["JSON"].weights is None
    assert table["JSON"].outputs > 0
    for name in ("SavedModel", "frozen GraphDef"):
        assert table[name].weights == 0
        assert table[name].next_step is None
    for name in ("SavedModel", "frozen GraphDef", "LiteRT", "ONNX"):
        assert table[name].outputs < 1e-5
        assert table[name].error == ""
    # A fault of Keras 3.15's `.h5`, so that it is seen when it is mended.
    assert table[".h5"].outputs == table[".h5"].weights == 0
    assert "the next step fails" in table[".h5"].error
    assert [number for number, _ in seen] == list(range(10))
    assert table.notes == ()
    files = formats.inspect_file(tmp_path / "all" / "model.keras")
    assert files.size == table[".keras"].size


def test_random_state_is_what_keras_files_lose(tmp_path):
    model = dense_model(layers.Dropout(0.5))
    table = formats.compare_formats(
        model, tmp_path, formats=[".keras", "TF checkpoint"]
    )
    for result in table.results:
        assert (result.outputs, result.weights, result.optimizer) == (0, 0, 0)
    assert table[".keras"].next_step > 0


def test_the_table_reads_well(tmp_path, trained):
    model, data = trained
    chosen = [".keras", "JSON", "SavedModel"]
    table = formats.compare_formats(model, tmp_path, data, formats=chosen)
    lines = str(table).splitlines()
    assert lines[0].split()[:3] == ["format", "outputs", "weights"]
    assert lines[2].split()[:5] == [".keras", "equal", "equal", "equal", "equal"]
    assert lines[4].split()[:5] == ["SavedModel", "equal", "equal", "lost", "lost"]
    assert "<td" in table._repr_html_()


def test_models_that_cannot_do_all_get_a_table_all_the_same(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    table = formats.compare_formats(model, tmp_path / "a", formats=[".keras"])
    assert table[".keras"].weights == 0
    assert table[".keras"].next_step is None
    assert "not compiled" in table.notes[0]
    odd = dense_model(loss="categorical_crossentropy")
    bad = np.ones((2, 4)), np.ones((2, 7))
    table = formats.compare_formats(odd, tmp_path / "b", bad, formats=[".keras"])
    assert "Pass `data=(x, y)` that fits" in table.notes[0]
    own = dense_model(Tripled())
    table = formats.compare_formats(own, tmp_path / "c", formats=[".keras", ".npz"])
    assert "custom_objects" in table[".keras"].error
    assert table[".npz"].weights == 0


def test_compare_formats_says_what_it_needs(tmp_path, trained):
    model, _ = trained
    with pytest.raises(ValueError, match="`formats` must be names among"):
        formats.compare_formats(model, tmp_path, formats=["keras"])
    with pytest.raises(ValueError, match=r"`model` must be a built keras\.Model"):
        formats.compare_formats(keras.Sequential([layers.Dense(2)]), tmp_path)
    (tmp_path / "model.keras").touch()
    with pytest.raises(FileExistsError, match=r"must not hold model\.keras yet"):
        formats.compare_formats(model, tmp_path)


def test_a_missing_package_is_named_with_its_command(tmp_path, trained, monkeypatch):
    real = importlib.import_module

    def without_onnx(name, *arguments):
        if name in ("onnx", "onnxruntime"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", without_onnx)
    table = formats.compare_formats(trained[0], tmp_path, formats=["ONNX"])
    assert "pip install onnx tf2onnx" in table["ONNX"].error


# Graphs and conversions


def two_inputs():
    keras.utils.set_random_seed(2)
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = layers.Concatenate()([layers.Dense(4)(a), b])
    return keras.Model({"a": a, "b": b}, layers.Dense(2)(joined))


def test_frozen_graphs_are_called_by_name(tmp_path):
    model = two_inputs()
    function = formats.freeze(model, tmp_path / "g.pb")
    x = samples.sample_inputs(model)
    expected = model(x).numpy()
    report = formats.inspect_file(tmp_path / "g.pb")
    assert report.kind == "TensorFlow graph (GraphDef), frozen"
    assert [line.split()[0] for line in report.inputs] == ["a", "b"]
    (output,) = function(x["a"], x["b"]).values()
    np.testing.assert_allclose(output, expected, rtol=1e-6)
    loaded = formats.load_graph(tmp_path / "g.pb")
    assert loaded.inputs == ("a:0", "b:0")
    (output,) = loaded(x["a"], x["b"]).values()
    np.testing.assert_allclose(output, expected, rtol=1e-6)


def test_any_operation_of_a_graph_can_be_fetched(tmp_path):
    model = two_inputs()
    formats.freeze(model, tmp_path / "g.pb")
    graph = tf.compat.v1.GraphDef.FromString((tmp_path / "g.pb").read_bytes())
    inner = next(node.name for node in graph.node if node.op == "ConcatV2")
    loaded = formats.load_graph(tmp_path / "g.pb", ["a", "b"], [inner])
    x = samples.sample_inputs(model)
    (found,) = loaded(x["a"], x["b"]).values()
    expected = np.concatenate([model.layers[1](x["a"]), x["b"]], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"`outputs` must name operations .*nowhere"):
        formats.load_graph(tmp_path / "g.pb", ["a", "b"], ["nowhere"])
    with pytest.raises(ValueError, match=r"one per input: a:0, b:0\. Received: 1"):
        loaded(x["a"])


def test_saved_models_freeze_to_the_same_outputs(tmp_path):
    model = dense_model()
    model.export(tmp_path / "saved", verbose=False)
    function = formats.freeze(tmp_path / "saved", tmp_path / "g.pb")
    x = samples.sample_inputs(model)
    (output,) = function(x).values()
    np.testing.assert_allclose(output, model(x), rtol=1e-6)
    with pytest.raises(ValueError, match="`signature` must be one of"):
        formats.freeze(tmp_path / "saved", tmp_path / "h.pb", signature="other")


def test_loops_freeze_too(tmp_path):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5, 2)), layers.LSTM(3)])
    function = formats.freeze(model, tmp_path / "g.pb")
    x = samples.sample_inputs(model)
    (output,) = function(x).values()
    np.testing.assert_allclose(output, model(x), atol=1e-6)
    (output,) = formats.load_graph(tmp_path / "g.pb")(x).values()
    np.testing.assert_allclose(output, model(x), atol=1e-6)


def test_dangerous_or_unfrozen_graphs_are_not_loaded(tmp_path):
    graph = hostile_graphs.graph("ReadFile")
    (tmp_path / "bad.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(formats.RiskyFileError, match=r"trust=\['op ReadFile'\]"):
        formats.load_graph(tmp_path / "bad.pb")
    with tf.Graph().as_default() as plain:
        tf.compat.v1.get_variable("w", (2,))
    (tmp_path / "open.pb").write_bytes(plain.as_graph_def().SerializeToString())
    with pytest.raises(ValueError, match="must be a frozen GraphDef"):
        formats.load_graph(tmp_path / "open.pb")


@pytest.mark.parametrize("suffix", [".pb", ".tflite", ".onnx"])
def test_conversions_compare_the_outputs(tmp_path, suffix):
    model = dense_model()
    conversion = formats.convert(model, tmp_path / f"m{suffix}")
    assert conversion.difference < 1e-5
    assert conversion.size == (tmp_path / f"m{suffix}").stat().st_size
    assert formats.inspect_file(tmp_path / f"m{suffix}").is_harmless
    assert "outputs" in str(conversion)


def test_a_conversion_of_another_model_is_seen_to_differ(tmp_path):
    model, other = dense_model(seed=1), dense_model(seed=2)
    formats.freeze(other, tmp_path / "g.pb")
    x = samples.sample_inputs(model)
    (output,) = formats.load_graph(tmp_path / "g.pb")(x).values()
    from workbench.formats.converting import largest_difference

    assert largest_difference(model(x), output) > 0.01
    assert largest_difference(np.ones(2), np.ones(3)) == float("inf")


def test_convert_refuses_other_endings(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.pb, \.onnx, \.tflite"):
        formats.convert(dense_model(), tmp_path / "m.caffe")


# Weights out of old and new files


def scope_model():
    keras.utils.set_random_seed(5)
    first, second = layers.Dense(8, name="layer1"), layers.Dense(3, name="layer2")
    return keras.Sequential([keras.Input((4,)), first, second])


def old_checkpoint(folder, *, version=2):
    """What a program of 2016 leaves: layer1/weights, layer1/biases, Adam's slots."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        for name, shape in (("layer1", (4, 8)), ("layer2", (8, 3))):
            with v1.variable_scope(name):
                v1.get_variable("weights", shape)
                v1.get_variable("biases", shape[1:], initializer=v1.ones_initializer())
        total = tf.add_n([tf.reduce_sum(v**2) for v in v1.trainable_variables()])
        v1.train.AdamOptimizer().minimize(total)
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver(write_version=version)
        saver.save(session, str(folder / "model.ckpt"))
        return {v.op.name: session.run(v) for v in v1.trainable_variables()}


@pytest.mark.parametrize("version", [1, 2])
def test_checkpoints_of_tensorflow_1_move_into_keras(tmp_path, version):
    values = old_checkpoint(tmp_path, version=version)
    model = scope_model()
    report = formats.move_weights(tmp_path / "model.ckpt", model)
    assert len(report.moved) == 4
    assert report.misfits == {}
    assert report.missing == ()
    for layer in ("layer1", "layer2"):
        kernel, bias = model.get_layer(layer).get_weights()
        np.testing.assert_array_equal(kernel, values[f"{layer}/weights"])
        np.testing.assert_array_equal(bias, values[f"{layer}/biases"])
    assert "layer1/weights/Adam" in report.unused
    assert "4 of 4 variables came from the file" in str(report)


def test_files_of_keras_2_move_into_keras_3(tmp_path):
    kernel, bias = np.ones((4, 8), "float32"), np.zeros(8, "float32")
    config = hostile.sequential(hostile.dense())
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["keras_version"] = "2.2.4"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights/layer1/layer1")
        group["kernel:0"], group["bias:0"] = kernel, bias
        file.create_group("model_weights/layer2/layer2")["kernel:0"] = np.ones((9, 3))
    report = formats.inspect_file(tmp_path / "old.h5")
    assert report.versions["Keras"] == "2.2.4"
    model = scope_model()
    moved = formats.move_weights(tmp_path / "old.h5", model)
    assert sorted(moved.moved) == ["layer1/bias", "layer1/kernel"]
    assert moved.misfits["layer2/kernel"][1:] == ((9, 3), (8, 3))
    assert moved.missing == ("layer2/bias",)
    np.testing.assert_array_equal(model.get_layer("layer1").kernel, kernel)
    assert "(9, 3) does not fit (8, 3)" in str(moved)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5", "c/x", "m.npz"])
def test_every_kind_of_file_gives_its_weights(tmp_path, name):
    source, target = scope_model(), scope_model()
    for variable in target.variables:
        variable.assign(variable + 1)
    path = tmp_path / name
    if name == "m.npz":
        np.savez(path, **{v.path: np.asarray(v) for v in source.variables})
    elif name == "c/x":
        checkpoint = tf.train.Checkpoint(
            layer1=_named(source, 0), layer2=_named(source, 1)
        )
        checkpoint.write(str(path))
    elif name == "m.weights.h5":
        source.save_weights(path)
    else:
        source.save(path)
    report = formats.move_weights(path, target)
    assert len(report.moved) == 4, report
    for one, other in zip(source.variables, target.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_in_several_files_are_read_together(tmp_path):
    model = scope_model()
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=2e-7)
    assert len(list(tmp_path.glob("*.h5"))) > 1
    arrays = formats.read_weights(tmp_path / "m.weights.json")
    shapes = sorted(array.shape for array in arrays.values())
    assert shapes == [(3,), (4, 8), (8,), (8, 3)]


def _named(model, index):
    layer = model.layers[index]
    kernel, bias = (tf.Variable(v) for v in layer.get_weights())
    return tf.train.Checkpoint(kernel=kernel, bias=bias)


def test_frozen_graphs_give_their_weights_by_other_names(tmp_path):
    source, target = scope_model(), scope_model()
    target.get_layer("layer2").kernel.assign(np.zeros((8, 3)))
    formats.freeze(source, tmp_path / "g.pb")
    arrays = formats.read_weights(tmp_path / "g.pb")
    kernels = [n for n, value in arrays.items() if value.shape == (8, 3)]
    report = formats.move_weights(arrays, target, {"layer2/kernel": kernels[0]})
    assert report.moved["layer2/kernel"] == kernels[0]
    np.testing.assert_array_equal(
        target.get_layer("layer2").kernel, source.get_layer("layer2").kernel
    )
    with pytest.raises(ValueError, match="`names` must name arrays of the file"):
        formats.move_weights(arrays, target, {"layer2/kernel": "nowhere"})


def test_move_weights_guesses_nothing_where_two_fit():
    model = scope_model()
    arrays = {f"{part}/layer1/kernel": np.ones((4, 8)) for part in ("a", "b")}
    before = np.array(model.get_layer("layer1").kernel)
    report = formats.move_weights(arrays, model)
    assert "layer1/kernel" in report.missing
    np.testing.assert_array_equal(model.get_layer("layer1").kernel, before)
    names = {"layer1": "a/layer1"}
    arrays["a/layer1/bias"] = np.ones(8)
    report = formats.move_weights(arrays, model, names)
    assert report.moved["layer1/kernel"] == "a/layer1/kernel"


def test_reading_weights_refuses_what_is_risky_or_none(tmp_path):
    bad = hostile.weights(hostile.HDF5["external-link"])
    (tmp_path / "bad.h5").write_bytes(bad)
    with pytest.raises(formats.RiskyFileError, match="another file"):
        formats.read_weights(tmp_path / "bad.h5")
    (tmp_path / "m.onnx").write_bytes(hostile_graphs.onnx_model())
    (tmp_path / "m.json").write_text(scope_model().to_json())
    for name in ("m.onnx", "m.json"):
        with pytest.raises(ValueError, match="`filepath` must be a file with weights"):
            formats.read_weights(tmp_path / name)
    with pytest.raises(ValueError, match="`model` must be built"):
        formats.move_weights({}, keras.Sequential([layers.Dense(2)]))


def test_what_changes_its_variables_cannot_be_frozen(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.RandomFlip()])
    model.export(tmp_path / "saved", verbose=False)
    with pytest.raises(ValueError, match="`model` must not change its variables"):
        formats.freeze(tmp_path / "saved", tmp_path / "g.pb")
    assert not (tmp_path / "g.pb").exists()

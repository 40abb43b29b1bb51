"""Model files that do no harm, as Keras and TensorFlow write them.

`write_all(folder)` writes them: every layer class, optimizer, loss, metric and so on,
and every format. `benchmarks/formats.py` adds the models of `keras.applications`.
"""

import inspect
import io
import json
import pickle
import struct
import zipfile

import keras
import ml_dtypes
import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from keras import layers
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from tests import hostile, hostile_graphs
from workbench import checkpoints, clipping

# What the constructor of a layer needs, where it needs something.
_CELL = {"units": 2}
ARGUMENTS = {
    "Activation": {"activation": "relu"},
    "CategoryEncoding": {"num_tokens": 3},
    "CenterCrop": {"height": 2, "width": 2},
    "ConvLSTM1D": {"filters": 2, "kernel_size": 2},
    "Dot": {"axes": 1},
    "Discretization": {"bin_boundaries": [0.0, 1.0]},
    "EinsumDense": {"equation": "ab,bc->ac", "output_shape": 2},
    "Embedding": {"input_dim": 5, "output_dim": 2},
    "GroupedQueryAttention": {
        "head_dim": 2,
        "num_query_heads": 2,
        "num_key_value_heads": 1,
    },
    "HashedCrossing": {"num_bins": 3},
    "Hashing": {"num_bins": 3},
    "InputLayer": {"shape": (3,)},
    "IntegerLookup": {"vocabulary": [1, 2, 3]},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 2},
    "Permute": {"dims": (2, 1)},
    "RepeatVector": {"n": 2},
    "Rescaling": {"scale": 2.0},
    "Reshape": {"target_shape": (-1,)},
    "RandomPosterization": {"factor": 4},
    "ReversibleEmbedding": {"input_dim": 5, "output_dim": 2},
    "StringLookup": {"vocabulary": ["a", "/etc/hostname", "http://x.org"]},
    "TextVectorization": {"vocabulary": ["a", "~/x", ".."]},
}
_GUESSES = {
    "activation": "relu",
    "factor": 0.2,
    "filters": 2,
    "height": 4,
    "height_factor": 0.2,
    "kernel_size": 2,
    "max_number": 3,
    "output_size": 2,
    "pool_size": 2,
    "rate": 0.1,
    "stddev": 0.1,
    "units": 2,
    "width": 4,
    "width_factor": 0.2,
}
CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}


def make(cls, known=None):
    """Makes an object of a class of Keras's, with guessed arguments."""
    name = cls.__name__
    if name in ARGUMENTS:
        return cls(**ARGUMENTS[name])
    arguments = {}
    for parameter in inspect.signature(cls.__init__).parameters.values():
        needed = parameter.default is inspect.Parameter.empty
        plain = parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
        if needed and plain and parameter.name != "self":
            arguments[parameter.name] = (known or {}).get(
                parameter.name, _GUESSES.get(parameter.name)
            )
    return cls(**arguments)


def layer_objects():
    """Every layer class, an object of each; dict name -> layer."""
    made = {}
    for name, cls in sorted(vars(layers).items()):
        if not inspect.isclass(cls) or name in CODE or cls.__name__ in made:
            continue
        if not issubclass(cls, layers.Layer) or cls is layers.Layer:
            continue
        known = {
            "layer": layers.LSTM(2) if name == "Bidirectional" else layers.Dense(2),
            "cell": layers.LSTMCell(2),
            "cells": [layers.GRUCell(2)],
            "layers": [layers.RandomFlip()],
        }
        if name == "Wrapper":
            continue  # the base of others, not in `keras.layers` of a file
        made[cls.__name__] = make(cls, known)
    return made


def objects(module, base, arguments=None):
    """An object of each class in a module of Keras's; dict name -> object."""
    made = {}
    for name, cls in sorted(vars(module).items()):
        if inspect.isclass(cls) and issubclass(cls, base) and cls is not base:
            made[name] = make(cls, arguments)
    return made


def serialized():
    """Configs of a small model with one class of Keras's each, in turn."""
    for name, item in layer_objects().items():
        yield (
            f"layer-{name}",
            hostile.sequential(keras.saving.serialize_keras_object(item)),
        )
    dense = hostile.dense
    for group, found in _parts_of_dense().items():
        for name, item in found.items():
            config = dense(**{group: keras.saving.serialize_keras_object(item)})
            yield f"{group}-{name}", hostile.sequential(config)
    for name, item in _parts_of_compile().items():
        compiled = {name.split("-")[0]: keras.saving.serialize_keras_object(item)}
        yield name, hostile.sequential(dense(), compile_config=compiled)


def _parts_of_dense():
    functions = vars(keras.activations)
    return {
        "kernel_initializer": objects(
            keras.initializers, keras.initializers.Initializer, {"value": 1.0}
        ),
        "kernel_regularizer": objects(
            keras.regularizers, keras.regularizers.Regularizer
        ),
        "kernel_constraint": objects(keras.constraints, keras.constraints.Constraint),
        "activation": {
            name: value
            for name, value in functions.items()
            if inspect.isfunction(value)
            and name not in ("get", "serialize", "deserialize")
        },
    }


def _parts_of_compile():
    found = {}
    rates = objects(
        keras.optimizers.schedules,
        keras.optimizers.schedules.LearningRateSchedule,
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 3,
            "first_decay_steps": 3,
            "decay_rate": 0.5,
            "boundaries": [1],
            "values": [0.1, 0.2],
        },
    )
    for name, rate in rates.items():
        found[f"optimizer-{name}"] = keras.optimizers.SGD(rate)
    inner = {
        "inner_optimizer": keras.optimizers.SGD(),
        "optimizers_and_layers": [],
        "exclude_layers": [],
    }
    for name, cls in sorted(vars(keras.optimizers).items()):
        bases = name in ("Optimizer", "MultiOptimizer")
        if inspect.isclass(cls) and issubclass(cls, keras.Optimizer) and not bases:
            found[f"optimizer-{name}"] = make(cls, inner)
    found["optimizer-clipped"] = clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.SGD())
    for name, item in objects(keras.losses, keras.losses.Loss).items():
        found[f"loss-{name}"] = item
    numbers = {
        "num_classes": 3,
        "target_class_ids": [0],
        "recall": 0.5,
        "precision": 0.5,
        "specificity": 0.5,
        "sensitivity": 0.5,
        "fn": keras.losses.mean_squared_error,
    }
    for name, item in objects(keras.metrics, keras.metrics.Metric, numbers).items():
        found[f"metrics-{name}"] = item
    return found


def small_models():
    """Built and compiled models, of several kinds; dict name -> model."""
    keras.utils.set_random_seed(0)
    text = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(20, 4),
            layers.Bidirectional(layers.LSTM(3)),
            layers.Dense(1),
        ]
    )
    image = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.RandomFlip(),
            layers.Conv2D(2, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    hidden = layers.Dense(3, kernel_regularizer="l2")(layers.Concatenate()([a, b]))
    branched = keras.Model([a, b], {"y": layers.Dropout(0.1)(hidden) + 1.0})
    found = {"text": text, "image": image, "branched": branched}
    found["image"].compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    found["text"].compile(clipping.ByNorm(1.0).wrap(keras.optimizers.SGD()), "mse")
    found["branched"].compile(keras.optimizers.RMSprop(), {"y": "mse"})
    return found


def written_by_keras(folder):
    """The small models in every format of Keras's."""
    for name, model in small_models().items():
        for suffix in (".keras", ".h5", ".weights.h5"):
            path = folder / f"model-{name}{suffix}"
            if suffix == ".weights.h5":
                model.save_weights(path)
            else:
                model.save(path)
            yield path
        json_path = folder / f"model-{name}.json"
        json_path.write_text(model.to_json())
        yield json_path
        packed = folder / f"model-{name}-packed.keras"
        with zipfile.ZipFile(folder / f"model-{name}.keras") as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
        packed.write_bytes(hostile.zipped(members, zipfile.ZIP_DEFLATED))
        yield packed
        shards = folder / f"model-{name}-shards"
        shards.mkdir()
        model.save_weights(shards / "m.weights.json", max_shard_size=2e-6)
        yield shards / "m.weights.json"
        unpacked = folder / f"model-{name}-unpacked"
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(unpacked)
        yield unpacked
        if name != "text":  # a clipped optimizer is not for TensorFlow's checkpoints
            checkpoint = tf.train.Checkpoint(model=model)
            checkpoint.save(folder / f"checkpoint-{name}" / "c")
            yield folder / f"checkpoint-{name}" / "c-1"
            yield folder / f"checkpoint-{name}"


def written_by_tensorflow(folder):
    """SavedModels, graphs, LiteRT."""
    model = small_models()["branched"]
    model.export(folder / "saved-keras", verbose=False)
    yield folder / "saved-keras"
    yield folder / "saved-keras" / "saved_model.pb"
    yield folder / "saved-keras" / "variables" / "variables.index"
    model.export(folder / "lite.tflite", format="litert", verbose=False)
    yield folder / "lite.tflite"
    function = tf.function(lambda a, b: model([a, b])).get_concrete_function(
        tf.TensorSpec((None, 4)), tf.TensorSpec((None, 4))
    )
    frozen = convert_variables_to_constants_v2(function).graph.as_graph_def()
    for name, graph in (
        ("frozen", frozen),
        ("traced", function.graph.as_graph_def()),
    ):
        yield _written(folder / f"{name}.pb", graph.SerializeToString())
        text = text_format.MessageToString(graph)
        yield _written(folder / f"{name}.pbtxt", text.encode())
    yield from _written_by_old_tensorflow(folder)
    module = tf.Module()
    words = tf.lookup.KeyValueTensorInitializer(
        ["a", "b"], tf.constant([1, 2], "int64")
    )
    module.table = tf.lookup.StaticHashTable(words, -1)
    module.f = tf.function(
        module.table.lookup,
        input_signature=[tf.TensorSpec([None], "string")],
    )
    tf.saved_model.save(module, folder / "saved-table")
    yield folder / "saved-table"


def _written_by_old_tensorflow(folder):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 4), "x")
        weight = v1.get_variable("layer/w", (4, 2))
        y = tf.matmul(x, weight, name="y")
        loss = tf.reduce_mean(y)
        v1.train.AdamOptimizer().minimize(loss)
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        (folder / "v1").mkdir()
        saver.save(session, str(folder / "v1" / "model.ckpt"))
        old = v1.train.Saver(write_version=v1.train.SaverDef.V1)
        old.save(session, str(folder / "v1" / "old.ckpt"))
        v1.saved_model.simple_save(
            session, str(folder / "saved-v1"), {"x": x}, {"y": y}
        )
        graph = session.graph.as_graph_def()
    for name in ("model.ckpt", "model.ckpt.index", "model.ckpt.meta", "old.ckpt"):
        yield folder / "v1" / name
    yield folder / "v1"
    yield folder / "saved-v1"
    yield _written(folder / "v1.pb", graph.SerializeToString())
    yield _written(folder / "v1.pbtxt", text_format.MessageToString(graph).encode())


def written_by_the_workbench(folder):
    """A folder of its checkpoints, and one of them."""
    model = keras.Sequential([keras.Input((3,)), layers.Dropout(0.1), layers.Dense(1)])
    model.compile("adam", "mse")
    own = folder / "own"
    data = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    checkpoints.fit(model, data, filepath=own, epochs=2, batch_size=4, save_every=2)
    yield own
    yield max(path for path in own.iterdir() if path.is_dir())


def _written(path, data):
    path.write_bytes(data)
    return path


def plain_files():
    """Arrays and pickles of plain data, and what the hostile ones are made from."""
    array = np.arange(6, dtype="float32").reshape(2, 3)
    for dtype in ("float32", "float16", "int64", "bool", "complex64", "<U3", "S4"):
        buffer = io.BytesIO()
        np.savez(buffer, a=array.astype(dtype), b=np.zeros(0, dtype))
        yield f"arrays-{dtype.strip('<')}.npz", buffer.getvalue()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=array)
    yield "arrays-packed.npz", buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2, [("x", "f4"), ("y", "i4", (2,))]))
    yield "array-fields.npy", buffer.getvalue()
    data = {"weights": [array, array.astype(ml_dtypes.bfloat16)], "names": ("a", 1.5)}
    for protocol in range(6):
        yield f"data-{protocol}.pkl", pickle.dumps(data, protocol)
        plain = pickle.dumps({"a": [1, 2.5, None, "x", b"y"]}, protocol)
        yield f"plain-{protocol}.pkl", plain
    header = json.dumps(
        {
            "__metadata__": {"by": "a test"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
        }
    ).encode()
    size = struct.pack("<Q", len(header))
    yield "tensors.safetensors", size + header + array.tobytes() + b"\0\0"
    yield "by-hand.onnx", hostile_graphs.onnx_model()
    inner = hostile_graphs.field(1, hostile_graphs.onnx_node())
    branch = hostile_graphs.field(1, "then_branch") + hostile_graphs.field(6, inner)
    node = hostile_graphs.onnx_node("If", attribute=hostile_graphs.field(5, branch))
    yield "by-hand-if.onnx", hostile_graphs.onnx_model(node)
    yield "by-hand.tflite", hostile_graphs.tflite_model()
    yield "by-hand-flex.tflite", hostile_graphs.tflite_model("FlexErf", 32)
    for kind, write in hostile.CONTAINERS.items():
        for place, put in hostile.POSITIONS.items():
            yield f"container-{place}-{kind}", write(put(hostile.dense()))


def write_all(folder):
    """Writes all of them and returns their paths, folders among them."""
    paths = []
    for name, config in serialized():
        container = hostile.CONTAINERS["stored.keras" if len(paths) % 2 else "model.h5"]
        suffix = ".keras" if len(paths) % 2 else ".h5"
        paths.append(_written(folder / f"{name}{suffix}", container(config)))
    for name, data in plain_files():
        paths.append(_written(folder / name, data))
    outside = folder / "onnx-beside"
    outside.mkdir()
    (outside / "w.bin").write_bytes(bytes(8))
    tensor = hostile_graphs.onnx_tensor(location="w.bin", offset="0", length="8")
    model = hostile_graphs.onnx_model(tensor=tensor)
    paths.append(_written(outside / "m.onnx", model))
    saver = folder / "saver"
    saver.mkdir()
    (saver / "saved_model.pb").write_bytes(hostile_graphs.harmless_saver())
    paths += [saver, *written_by_keras(folder), *written_by_tensorflow(folder)]
    paths += written_by_the_workbench(folder)
    return paths

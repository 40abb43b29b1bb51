"""The ways to save a model and to get something back, one class each."""

import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from workbench.formats import converting, graph_calls, weights
from workbench.formats.loading import load_model


class Way:
    """A way to save.

    Attributes:
        name: str.
        filename: str, what is written into the folder.
        needs: str, what must be there besides the file to use it.
        keeps_weights: bool.
        keeps_optimizer: bool.

    A subclass has `save(model, path)`, and either `load(path, twin)`, which returns a
    model that can train, or `call(path)`, which returns a function of the model's
    inputs. `twin()` makes a model of the same structure with other weights.
    """

    name = filename = needs = ""
    keeps_weights = keeps_optimizer = True

    def save(self, model, path):
        """Writes the model."""
        raise NotImplementedError

    def load(self, path, twin):
        """Returns a model that can go on training, or None."""
        del path, twin

    def call(self, path):
        """Returns a function from the inputs to the outputs, or None."""
        del path

    def arrays(self, path):
        """Returns the weights that are in it, a list of arrays, or None."""
        del path


class KerasFile(Way):
    """`model.save("….keras")`."""

    name, filename = ".keras", "model.keras"

    def __init__(self, custom_objects):
        self._custom_objects = custom_objects

    def save(self, model, path):
        """Writes the model."""
        model.save(path)

    def load(self, path, twin):
        """Returns the model; the class of a file of one's own is trusted."""
        return load_model(path, custom_objects=self._custom_objects)


class OldFile(KerasFile):
    """`model.save("….h5")`."""

    name, filename = ".h5", "model.h5"


class Weights(Way):
    """`model.save_weights("….weights.h5")`."""

    name, filename, needs = ".weights.h5", "model.weights.h5", "the code of the model"

    def save(self, model, path):
        """Writes the weights."""
        model.save_weights(path)

    def load(self, path, twin):
        """Returns a twin with the weights."""
        model = twin()
        model.load_weights(path)
        return model


class Checkpoint(Way):
    """`tf.train.Checkpoint(model=model).write(…)`."""

    name, filename, needs = "TF checkpoint", "checkpoint/model", "the code of the model"

    def save(self, model, path):
        """Writes a checkpoint."""
        tf.train.Checkpoint(model=model).write(str(path))

    def load(self, path, twin):
        """Returns a twin with everything that the checkpoint holds."""
        model = twin()
        tf.train.Checkpoint(model=model).read(str(path)).expect_partial()
        return model


class Arrays(Way):
    """`np.savez(…)` with the weights by their paths."""

    name, filename, needs = ".npz", "weights.npz", "the code of the model"
    keeps_optimizer = False

    def save(self, model, path):
        """Writes the arrays."""
        np.savez(path, **{v.path: np.asarray(v) for v in model.variables})

    def load(self, path, twin):
        """Returns a twin with the arrays."""
        model = twin()
        arrays = weights.read_weights(path)
        paths = {v.path: p for v, p in zip(model.variables, arrays, strict=True)}
        for variable in model.variables:
            variable.assign(arrays[paths[variable.path]])
        return model


class Json(Way):
    """`model.to_json()`: the structure without weights."""

    name, filename = "JSON", "model.json"
    keeps_weights = keeps_optimizer = False

    def __init__(self, custom_objects):
        self._custom_objects = custom_objects

    def save(self, model, path):
        """Writes the structure."""
        pathlib.Path(path).write_text(model.to_json())

    def load(self, path, twin):
        """Returns a model with new weights."""
        text = pathlib.Path(path).read_text()
        json.loads(text)
        return keras.models.model_from_json(text, custom_objects=self._custom_objects)


class SavedModel(Way):
    """`model.export(…)`."""

    name, filename = "SavedModel", "saved_model"

    def save(self, model, path):
        """Writes the forward pass."""
        model.export(path, verbose=False)

    def call(self, path):
        """Returns the endpoint that Keras exports."""
        loaded = tf.saved_model.load(str(path))

        def serve(x):
            # The loaded object holds the variables.
            return loaded.serve(x)

        return serve

    def arrays(self, path):
        """Returns the arrays of its checkpoint."""
        found = weights.read_weights(pathlib.Path(path) / "variables" / "variables")
        return list(found.values())


class Frozen(Way):
    """`workbench.formats.freeze`."""

    name, filename = "frozen GraphDef", "frozen.pb"

    def save(self, model, path):
        """Writes the graph."""
        graph_calls.freeze(model, path)

    def call(self, path):
        """Returns the graph as a function."""
        function = graph_calls.load_graph(path)
        return lambda x: list(function(*tf.nest.flatten(x)).values())

    def arrays(self, path):
        """Returns its constants."""
        return list(weights.read_weights(path).values())


class LiteRT(Way):
    """`model.export(…, format="litert")`."""

    name, filename = "LiteRT", "model.tflite"

    def save(self, model, path):
        """Writes the model for phones."""
        model.export(path, format="litert", verbose=False)

    def call(self, path):
        """Returns the interpreter as a function."""
        function = converting.litert_function(path)
        return lambda x: function(*tf.nest.flatten(x))


class Onnx(Way):
    """`model.export(…, format="onnx")`."""

    name, filename = "ONNX", "model.onnx"

    def save(self, model, path):
        """Writes the graph for other runtimes."""
        converting.export_onnx(model, path)

    def call(self, path):
        """Returns a session of the runtime as a function."""
        function = converting.onnx_function(path)
        return lambda x: function(*tf.nest.flatten(x))


def all_ways(custom_objects=None):
    """Returns every `Way`, a dict by name."""
    made = (
        KerasFile(custom_objects),
        OldFile(custom_objects),
        Weights(),
        Checkpoint(),
        Arrays(),
        Json(custom_objects),
        SavedModel(),
        Frozen(),
        LiteRT(),
        Onnx(),
    )
    return {way.name: way for way in made}

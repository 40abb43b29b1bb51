"""Conversions for other runtimes, the outputs compared."""

import dataclasses
import importlib
import pathlib

import numpy as np
import tensorflow as tf

from workbench.formats import advice
from workbench.formats.graph_calls import freeze
from workbench.formats.samples import sample_inputs
from workbench.reports import Note, Report, format_bytes


@dataclasses.dataclass(frozen=True)
class Conversion(Report):
    """A model in another format, and how far its outputs are from the model's.

    Attributes:
        filepath: `pathlib.Path` of what was written.
        difference: float, the largest of all output numbers' differences.
        size: int, bytes.
    """

    filepath: pathlib.Path
    difference: float
    size: int

    def blocks(self):
        """Returns one sentence."""
        text = (
            "the same outputs, bit for bit"
            if self.difference == 0
            else f"outputs that differ by at most {self.difference:.1e}"
        )
        yield Note(f"{self.filepath}: {format_bytes(self.size)}, {text}.")


def convert(model, filepath, x=None):
    """Converts a model by the ending of a name, and compares the outputs.

    Args:
        model: Built `keras.Model`.
        filepath: str or path: `.pb` for a frozen GraphDef, `.onnx` for ONNX, `.tflite`
            for LiteRT.
        x: Inputs to compare on, as the model takes them; None for random ones.

    Returns:
        `Conversion`.

    Raises:
        ImportError: If a package is needed that is not installed.
        ValueError: If the ending is another, or the model is not built.
    """
    path = pathlib.Path(filepath)
    writers = {
        ".pb": lambda: _listed(freeze(model, path)),
        ".onnx": lambda: export_onnx(model, path) or onnx_function(path),
        ".tflite": lambda: _export_litert(model, path) or litert_function(path),
    }
    if path.suffix not in writers:
        raise ValueError(
            f"`filepath` must end in {', '.join(writers)}. Received: {filepath}"
        )
    x = sample_inputs(model) if x is None else x
    with advice.held_back():
        function = writers[path.suffix]()
    difference = largest_difference(
        model(x, training=False), function(*tf.nest.flatten(x))
    )
    return Conversion(path, difference, path.stat().st_size)


def _listed(function):
    return lambda *values: list(function(*values).values())


def largest_difference(one, other):
    """Returns the largest difference of two structures of numbers; inf if unlike.

    Where the order of outputs is lost, as in a frozen graph, shapes decide.
    """
    ones = [np.asarray(v) for v in tf.nest.flatten(one)]
    others = [np.asarray(v) for v in tf.nest.flatten(other)]
    if sorted(v.shape for v in ones) != sorted(v.shape for v in others):
        return float("inf")
    if [v.shape for v in ones] != [v.shape for v in others]:
        ones, others = (sorted(vs, key=lambda v: v.shape) for vs in (ones, others))
    gaps = [
        float(np.max(np.abs(a.astype("float64") - b.astype("float64")), initial=0.0))
        for a, b in zip(ones, others, strict=True)
        if a.dtype.kind != "O"
    ]
    return max(gaps, default=0.0)


def _needed(feature, *names):
    """Imports optional packages, or says which to install."""
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(
            f"{feature} needs the packages {', '.join(names)}, not installed here: "
            f"pip install {' '.join(names)}"
        ) from error


def export_onnx(model, filepath):
    """Writes a model as ONNX with Keras's own `export`.

    Args:
        model: Built `keras.Model`.
        filepath: str or path.

    Raises:
        ImportError: If `tf2onnx` or `onnx` is not installed.
    """
    _needed("ONNX export", "onnx", "tf2onnx")
    if not model._called:
        model(sample_inputs(model))  # Keras exports only what was called once
    model.export(str(filepath), format="onnx", verbose=False)


def onnx_function(filepath):
    """Returns an ONNX file as a function of its inputs, in their order.

    Raises:
        ImportError: If `onnxruntime` is not installed.
    """
    (runtime,) = _needed("Running ONNX", "onnxruntime")
    session = runtime.InferenceSession(
        pathlib.Path(filepath), providers=["CPUExecutionProvider"]
    )
    names = [entry.name for entry in session.get_inputs()]

    def call(*values):
        fed = {n: np.asarray(v) for n, v in zip(names, values, strict=True)}
        return session.run(None, fed)

    return call


def _export_litert(model, filepath):
    model.export(str(filepath), format="litert", verbose=False)


def litert_function(filepath):
    """Returns a LiteRT file as a function of its inputs, in their order."""
    with advice.held_back():
        # It says that LiteRT's own package will replace it one day.
        interpreter = tf.lite.Interpreter(str(filepath))

    def call(*values):
        inputs = interpreter.get_input_details()
        for entry, value in zip(_in_order(inputs), values, strict=True):
            interpreter.resize_tensor_input(entry["index"], np.shape(value))
        interpreter.allocate_tensors()
        for entry, value in zip(_in_order(inputs), values, strict=True):
            interpreter.set_tensor(entry["index"], np.asarray(value, entry["dtype"]))
        interpreter.invoke()
        return [
            interpreter.get_tensor(entry["index"])
            for entry in interpreter.get_output_details()
        ]

    return call


def _in_order(entries):
    # Keras calls the arguments of its endpoint by position.
    return sorted(entries, key=lambda entry: entry["name"])

"""Frozen graphs: made from a SavedModel or a model, and called by name."""

import pathlib

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from workbench.files import atomic_write
from workbench.formats.inspecting import inspect_file
from workbench.formats.loading import check
from workbench.formats.samples import input_structure


class GraphFunction:
    """A graph that is called by the names of its inputs and outputs.

    Attributes:
        inputs: Tuple of str, names of tensors to feed, such as "x:0".
        outputs: Tuple of str, names of tensors that a call returns.

    Args:
        graph_def: `tf.compat.v1.GraphDef` without variables.
        inputs: Sequence of str, names of operations or tensors.
        outputs: The same.
    """

    def __init__(self, graph_def, inputs, outputs):
        self.inputs = tuple(_tensor_name(name) for name in inputs)
        self.outputs = tuple(_tensor_name(name) for name in outputs)
        operations = {node.name: node.op for node in graph_def.node}
        for argument, names in (("inputs", self.inputs), ("outputs", self.outputs)):
            for name in names:
                if name.split(":")[0] not in operations:
                    raise ValueError(
                        f"`{argument}` must name operations of the graph; "
                        f"`inspect_file` lists them. Received: {name}"
                    )
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.import_graph_def(graph_def, name=""), []
        )
        graph = wrapped.graph
        self._call = wrapped.prune(
            [graph.get_tensor_by_name(name) for name in self.inputs],
            [graph.get_tensor_by_name(name) for name in self.outputs],
        )

    def __call__(self, *values):
        """Runs the graph.

        Args:
            *values: One array or tensor per input, in the order of `inputs`.

        Returns:
            Dict output name -> tensor.

        Raises:
            ValueError: If there is not one value per input.
        """
        if len(values) != len(self.inputs):
            raise ValueError(
                f"`values` must be one per input: {', '.join(self.inputs)}. Received: "
                f"{len(values)}"
            )
        dtypes = [tensor.dtype for tensor in self._call.inputs]
        fed = [tf.cast(v, d) for v, d in zip(values, dtypes, strict=True)]
        return dict(zip(self.outputs, self._call(*fed), strict=True))

    def __repr__(self):
        return f"GraphFunction({list(self.inputs)} -> {list(self.outputs)})"


def _tensor_name(name):
    return name if ":" in name else f"{name}:0"


def load_graph(filepath, inputs=None, outputs=None, *, trust=()):
    """Loads a frozen GraphDef as a function.

    Args:
        filepath: str or path of a `.pb` or `.pbtxt`.
        inputs: Sequence of str to feed; None for the graph's placeholders.
        outputs: Sequence of str to fetch; None for what nothing in the graph uses.
        trust: Collection of str, names of risks to accept, such as "op ReadFile".

    Returns:
        `GraphFunction`.

    Raises:
        RiskyFileError: If an operation is not known to be harmless.
        ValueError: If the file is no frozen graph, or a name is not in it.
    """
    report = inspect_file(filepath)
    check(report, trust)
    if not report.kind.startswith("TensorFlow graph") or "not frozen" in report.kind:
        raise ValueError(
            "`filepath` must be a frozen GraphDef; `freeze` makes one of a model or a "
            f"SavedModel. Received: {filepath}: {report.kind}"
        )
    graph_def = read_graph(pathlib.Path(filepath), as_text="as text" in report.kind)
    if inputs is None:
        inputs = [line.split(" ")[0] for line in report.inputs]
    return GraphFunction(
        graph_def, inputs, report.outputs if outputs is None else outputs
    )


def read_graph(path, *, as_text):
    """Reads a GraphDef that was found harmless."""
    graph_def = tf.compat.v1.GraphDef()
    if as_text:
        from google.protobuf import text_format  # noqa: PLC0415, for old files only

        return text_format.Parse(path.read_text(), graph_def)
    graph_def.ParseFromString(path.read_bytes())
    return graph_def


def freeze(model, filepath, *, signature="serving_default"):
    """Writes the forward pass of a model as one graph without variables.

    This is what TensorFlow 1's `freeze_graph` did with Bazel and a checkpoint.

    Args:
        model: `keras.Model`, or str or path of a SavedModel's folder.
        filepath: str or path of the `.pb` to write.
        signature: str, which of a SavedModel's signatures.

    Returns:
        `GraphFunction`, what was written, to be called at once.

    Raises:
        RiskyFileError: If the SavedModel has operations that are not known.
        ValueError: If there is no such signature, or calling it changes variables.
    """
    if isinstance(model, keras.Model):
        concrete = _trace(model)
    else:
        concrete = _signature(model, signature)
    try:
        frozen = convert_variables_to_constants_v2(concrete)
    except ValueError as error:
        raise ValueError(
            "`model` must not change its variables when it is called; augmentation in "
            "a SavedModel draws from seeds that it keeps. Export the model without it. "
            f"Received: model={model}: {str(error).splitlines()[0][:200]}"
        ) from error
    graph_def = frozen.graph.as_graph_def()
    inputs = [
        tensor.name
        for tensor in frozen.inputs
        if not tensor.name.startswith("unused_control_flow_input")
    ]
    outputs = [tensor.name for tensor in frozen.outputs]
    with atomic_write(filepath) as file:
        file.write(graph_def.SerializeToString(deterministic=True))
    return GraphFunction(graph_def, inputs, outputs)


def _trace(model):
    structure = input_structure(model)
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name.split("/")[-1])
        for tensor in tf.nest.flatten(structure)
    ]

    def call(*values):
        return model(tf.nest.pack_sequence_as(structure, values), training=False)

    return tf.function(call).get_concrete_function(*specs)


def _signature(folder, signature):
    report = inspect_file(folder)
    check(report)
    loaded = tf.saved_model.load(str(folder))
    if signature not in loaded.signatures:
        raise ValueError(
            f"`signature` must be one of {list(loaded.signatures)}. Received: "
            f"signature={signature!r}"
        )
    concrete = loaded.signatures[signature]
    concrete._owner = loaded  # a signature does not keep its variables alive
    return concrete

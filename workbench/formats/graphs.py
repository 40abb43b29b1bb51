"""GraphDef, MetaGraphDef and SavedModel: what they are, keep and would do."""

import collections
import pathlib

from workbench.formats import (
    checkpoint_index,
    graph_binary,
    graph_checks,
    graph_text,
    keras_config,
    protobufs,
)
from workbench.formats.graph_records import Tensor
from workbench.formats.look import Look, read_json
from workbench.formats.records import describe_shape
from workbench.formats.sources import Budget, DamagedError, FileSource, RefusedError

_VARIABLES = {"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"}
_NEWEST_SCHEMA = 1
_FORWARD_ONLY = (
    "optimizer, its state and the learning rate",
    "loss and metrics",
    "random state",
    "Keras's layers: only the operations they made",
)


def inspect_binary(kind, source, look):
    """Looks into a binary message of one of `protobufs.recognize`'s kinds."""
    if kind == "graph":
        graph = graph_binary.read_graph(source, 0, source.size, look.budget)
        _inspect_graph(graph, look)
    elif kind == "meta graph":
        meta = graph_binary.read_meta_graph(source, 0, source.size, look.budget)
        _inspect_meta_graph(meta, look)
    else:
        version, metas = graph_binary.read_saved_model(source, look.budget)
        _inspect_saved_model(version, metas, look)


def inspect_text(source, look):
    """Looks into a message in text; returns False if it is none."""
    if source.size > graph_text.LARGEST_TEXT:
        raise RefusedError(f"{source.size} bytes of text are too many to look through")
    text = source.read(0, source.size).decode("utf-8", "replace")
    try:
        fields = graph_text.parse(text, look.budget)
    except DamagedError:
        if text.lstrip().startswith(("node {", "node{", "library {", "meta_graphs {")):
            look.kind = "TensorFlow graph as text (.pbtxt)"
            raise
        return False
    kind = graph_text.recognize(fields)
    if kind == "graph":
        _inspect_graph(graph_text.to_graph(fields), look)
    elif kind == "meta graph":
        _inspect_meta_graph(graph_text.to_meta_graph(fields), look)
    elif kind == "saved model":
        _inspect_saved_model(*graph_text.to_saved_model(fields), look)
    else:
        return False
    look.kind += ", as text"
    return True


def list_nodes(filepath):
    """Lists the operations of a GraphDef, without TensorFlow.

    Args:
        filepath: str or path of a `.pb` or `.pbtxt`.

    Returns:
        List of `Node`, each with `.name`, `.op` and `.takes`, in the file's order.

    Raises:
        ValueError: If the file is no graph.
    """
    budget = Budget()
    with FileSource(filepath) as source:
        if protobufs.recognize(source, budget) == "graph":
            return graph_binary.read_graph(source, 0, source.size, budget).nodes
        text = source.head(graph_text.LARGEST_TEXT).decode("utf-8", "replace")
    try:
        fields = graph_text.parse(text, budget)
    except DamagedError:
        fields = ()
    if graph_text.recognize(fields) == "graph":
        return graph_text.to_graph(fields).nodes
    raise ValueError(
        "`filepath` must be a GraphDef (.pb or .pbtxt); `inspect_file` says what it "
        f"is. Received: filepath={filepath}"
    )


def _inspect_graph(graph, look):
    if not graph.nodes and not graph.functions:
        raise DamagedError("the graph has no operations")
    variables = _count_variables(graph)
    look.kind = "TensorFlow graph (GraphDef)"
    look.kind += ", not frozen" if variables else ", frozen"
    _describe_graph(graph, look)
    if variables:
        look.loses.append(f"weights: its {variables} variables are in a checkpoint")
    look.loses += _FORWARD_ONLY
    graph_checks.check(graph, look)


def _count_variables(graph):
    nodes = [*graph.nodes, *(n for f in graph.functions for n in f.nodes)]
    return sum(node.op in _VARIABLES for node in nodes) or sum(
        node.op == "ReadVariableOp" for node in nodes
    )


def _describe_graph(graph, look):
    nodes = [*graph.nodes, *(n for f in graph.functions for n in f.nodes)]
    kinds = collections.Counter(node.op for node in nodes)
    common = ", ".join(f"{n} {op}" for op, n in kinds.most_common(5))
    look.keeps.append(f"operations: {len(nodes)} ({common})")
    if graph.producer is not None:
        look.versions["graph format"] = str(graph.producer)
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.op == "Const" and isinstance(value, Tensor):
            look.add_weight(node.name, value.shape, value.dtype)
        elif _is_input(node):
            shape = node.attributes.get("shape")
            shape = describe_shape(shape) if isinstance(shape, tuple) else "?"
            dtype = node.attributes.get("dtype", "?")
            look.inputs.append(f"{node.name} {shape} {dtype}")
    used = {
        name.removeprefix("^").split(":")[0] for n in graph.nodes for name in n.inputs
    }
    silent = {"Const", "NoOp", "Assert", *_VARIABLES}
    look.outputs += [
        node.name
        for node in graph.nodes
        if node.name not in used
        and node.op not in silent
        and not node.op.startswith(("Placeholder", "Assign", "VarIsInitialized"))
        and not node.name.startswith("save")
    ][:50]


def _is_input(node):
    # Loops and branches leave placeholders behind that nothing needs.
    left_over = node.name.startswith("unused_control_flow_input")
    fed = node.op == "Placeholder" and node.attributes.get("dtype") != "resource"
    return fed and not left_over


def _inspect_meta_graph(meta, look):
    look.kind = "TensorFlow MetaGraph (.meta)"
    _check_meta_graph(meta, look)
    _describe_graph(meta.graph, look)
    look.loses.append("weights: they are in the checkpoint beside it")
    look.loses += _FORWARD_ONLY[1:]


def _check_meta_graph(meta, look):
    if meta.version:
        look.versions["TensorFlow"] = meta.version[:40]
    graph_checks.check(meta.graph, look, meta)
    for text in meta.layers:
        if text.startswith("asset:"):
            _check_asset(text.removeprefix("asset:"), look)
        else:
            _check_layer(text, look)


def _check_asset(name, look):
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        look.risk("", f"asset {name[:200]}", "names a file outside the folder")


def _check_layer(text, look):
    """Notes code in what Keras 2 wrote about a layer; other classes are not loaded."""
    if '"class_name"' not in text:
        return
    inner = Look(outer=look)
    try:
        keras_config.walk(read_json(text, inner, "layer"), inner, "layer")
    except DamagedError:
        return
    for risk in inner.risks:
        if risk.name in ("Lambda", "TFSMLayer", "TorchModuleWrapper"):
            look.risk(risk.name, "layers of Keras 2", risk.text)


def _inspect_saved_model(version, metas, look):
    look.kind = "SavedModel"
    if version is not None and version > _NEWEST_SCHEMA:
        text = f"has the schema version {version}, newer than {_NEWEST_SCHEMA}"
        look.risk("", "saved_model.pb", text)
    if not metas:
        raise DamagedError("it holds no graph")
    for meta in metas:
        _check_meta_graph(meta, look)
        _describe_signatures(meta, look)
    total = sum(
        len(m.graph.nodes) + sum(len(f.nodes) for f in m.graph.functions) for m in metas
    )
    look.keeps.append(f"operations: {total}")
    look.loses += _FORWARD_ONLY


def _describe_signatures(meta, look):
    names = [name for name in meta.signatures if not name.startswith("__saved_model")]
    if meta.tags:
        look.notes.append(f"Tags: {', '.join(meta.tags[:8])}.")
    if names:
        look.keeps.append(f"signatures: {', '.join(names[:8])}")
    chosen = (
        "serving_default" if "serving_default" in names else next(iter(names), None)
    )
    if chosen is not None:
        inputs, outputs = meta.signatures[chosen]
        look.inputs += [f"{key} ({tensor})" for key, tensor in inputs.items()]
        look.outputs += [f"{key} ({tensor})" for key, tensor in outputs.items()]


def inspect_folder(folder, look):
    """Looks into the folder of a SavedModel."""
    binary, text = folder / "saved_model.pb", folder / "saved_model.pbtxt"
    if binary.is_file():
        with FileSource(binary) as source:
            inspect_binary("saved model", source, look)
    else:
        with FileSource(text) as source:
            if not inspect_text(source, look):
                raise DamagedError("saved_model.pbtxt is no SavedModel")
    metadata = folder / "keras_metadata.pb"
    if metadata.is_file():
        with FileSource(metadata) as source:
            for layer in graph_binary.read_layer_metadata(source, look.budget):
                _check_layer(layer, look)
    index = folder / "variables" / "variables.index"
    if index.is_file():
        inner = Look(index.parent, outer=look, prefix="variables: ")
        checkpoint_index.inspect_prefix(index.parent / "variables", inner)
        look.weights += inner.weights
        look.keeps += [line for line in inner.keeps if line.startswith("weights")]
        for risk in inner.risks:
            look.risk(risk.name, risk.where, risk.text)
    elif _needs_variables(folder):
        look.risk("", "variables", "the weights are missing: the folder is incomplete")


def _needs_variables(folder):
    with FileSource(_model_file(folder)) as source:
        head = source.read(0, min(source.size, 2**22))
    return any(name.encode() in head for name in _VARIABLES)


def _model_file(folder):
    binary = folder / "saved_model.pb"
    return binary if binary.is_file() else folder / "saved_model.pbtxt"

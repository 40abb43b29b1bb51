"""Graphs that would read, write or run something, in every container of a graph."""

import json
import struct

import flatbuffers
from google.protobuf import text_format
from tensorflow.core.framework import graph_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

OPS = (
    "ReadFile",
    "WriteFile",
    "PyFunc",
    "EagerPyFunc",
    "PyFuncStateless",
    "SaveV2",
    "RestoreV2",
    "MergeV2Checkpoints",
    "MatchingFiles",
    "PrintV2",
    "ImmutableConst",
    "DebugIdentityV2",
    "TextLineDataset",
    "LMDBReader",
    "InitializeTableFromTextFileV2",
    "XlaCustomCall",
    "SomebodysOwnOp",
    "ConfigureDistributedTPU",
)
PLACE = b"marker-of-a-hostile-file"


def _add(nodes, op, name="bad"):
    path = nodes.add(name=f"{name}_path", op="Const")
    path.attr["dtype"].type = types_pb2.DT_STRING
    path.attr["value"].tensor.dtype = types_pb2.DT_STRING
    path.attr["value"].tensor.string_val.append(PLACE)
    node = nodes.add(name=name, op=op, input=[f"{name}_path"] * 3)
    if op == "PrintV2":
        node.attr["output_stream"].s = b"file://" + PLACE


def graph(op):
    graph = graph_pb2.GraphDef()
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    _add(graph.node, op)
    graph.versions.producer = 2000
    return graph


def graph_with_function(op):
    graph = graph_pb2.GraphDef()
    function = graph.library.function.add()
    function.signature.name = "f"
    _add(function.node_def, op)
    call = graph.node.add(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = "f"
    return graph


def meta(graph):
    meta = meta_graph_pb2.MetaGraphDef()
    meta.meta_info_def.tensorflow_version = "2.21.0"
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.CopyFrom(graph)
    return meta


def saved(meta):
    model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    model.meta_graphs.append(meta)
    return model


def graphs():
    for op in OPS:
        plain, called = graph(op), graph_with_function(op)
        yield f"graph-{op}.pb", plain.SerializeToString()
        yield f"graph-{op}-in-function.pb", called.SerializeToString()
        text = text_format.MessageToString(called)
        yield f"graph-{op}-in-function.pbtxt", text.encode()
        yield f"graph-{op}.meta", meta(plain).SerializeToString()
        yield f"graph-{op}/saved_model.pb", saved(meta(called)).SerializeToString()
    text = text_format.MessageToString(saved(meta(graph("WriteFile"))))
    yield "graph-text/saved_model.pbtxt", text.encode()
    yield "graph-renamed.h5", graph("ReadFile").SerializeToString()


def savers():
    """What looks like TensorFlow's own saver and is not."""
    for name, spoil in SPOILED.items():
        made = meta(_graph_with_saver())
        spoil(made)
        yield f"saver-{name}/saved_model.pb", saved(made).SerializeToString()


def _graph_with_saver():
    """A graph that saves itself as TensorFlow 2 has it, harmless as it is."""
    graph = graph_pb2.GraphDef()
    graph.node.add(name="saver_filename", op="Placeholder").attr["dtype"].type = 7
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    function = graph.library.function.add()
    function.signature.name = "save"
    function.signature.input_arg.add(name="file_prefix")
    function.node_def.add(name="s", op="SaveV2", input=["file_prefix", "file_prefix"])
    call = graph.node.add(
        name="call", op="StatefulPartitionedCall", input=["saver_filename"]
    )
    call.attr["f"].func.name = "save"
    return graph


def harmless_saver():
    """The bytes of a SavedModel with an honest saver."""
    return saved(meta(_graph_with_saver())).SerializeToString()


def _constant_name(made):
    node = made.graph_def.node[0]
    node.op = "Const"
    node.attr["value"].tensor.dtype = 7
    node.attr["value"].tensor.string_val.append(PLACE)


def _name_from_function(made):
    function = made.graph_def.library.function[0]
    path = function.node_def.add(name="p", op="Const")
    path.attr["value"].tensor.dtype = 7
    path.attr["value"].tensor.string_val.append(PLACE)
    function.node_def[0].input[0] = "p:output:0"


def _fetched(made):
    made.signature_def["serving_default"].outputs["y"].name = "call:0"


def _needed_by_output(made):
    made.graph_def.node.add(name="y", op="Identity", input=["x", "^call"])


def _computed_on(made):
    made.graph_def.node.add(name="y", op="AddV2", input=["call", "x"])


def _second_call(made):
    path = made.graph_def.node.add(name="p", op="Const")
    path.attr["value"].tensor.dtype = 7
    path.attr["value"].tensor.string_val.append(PLACE)
    call = made.graph_def.node.add(
        name="call2", op="StatefulPartitionedCall", input=["p"]
    )
    call.attr["f"].func.name = "save"


def _exported(made):
    made.object_graph_def.concrete_functions["save"].SetInParent()


def _asset_up(made):
    asset = made.asset_file_def.add(filename="../../x")
    asset.tensor_info.name = "a:0"


def _old_lambda(made):
    node = made.object_graph_def.nodes.add()
    config = {"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}}
    node.user_object.metadata = json.dumps(config)


def _shadowed(made):
    function = made.graph_def.library.function.add()
    function.signature.name = "MatMul"
    function.node_def.add(name="n", op="NoOp")


SPOILED = {
    "constant-name": _constant_name,
    "name-in-function": _name_from_function,
    "fetched": _fetched,
    "needed-by-output": _needed_by_output,
    "computed-on": _computed_on,
    "second-call": _second_call,
    "exported": _exported,
    "asset-up": _asset_up,
    "old-lambda": _old_lambda,
    "shadowed-op": _shadowed,
}


# ONNX and TFLite, written by hand: their packages are not needed for it.


def field(number, value):
    """A field of a protocol buffer: int, bytes or str."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def onnx_tensor(**external):
    entries = b"".join(
        field(13, field(1, key) + field(2, value)) for key, value in external.items()
    )
    where = field(14, 1) if external else field(9, bytes(8))
    return field(1, 2) + field(2, 1) + field(8, "w") + entries + where


def onnx_node(op="Add", domain="", attribute=b""):
    parts = field(1, "x") + field(1, "w") + field(2, "y") + field(3, "n") + field(4, op)
    return parts + (field(7, domain) if domain else b"") + attribute


def onnx_model(node=None, tensor=None):
    graph = field(1, node or onnx_node()) + field(2, "g")
    graph += field(5, tensor or onnx_tensor())
    graph += field(11, field(1, "x")) + field(12, field(1, "y"))
    return field(1, 8) + field(2, "by hand") + field(7, graph) + field(8, field(2, 17))


def onnx_models():
    for name, location in {
        "absolute": "/etc/hostname",
        "up": "../../etc/hostname",
        "deep-up": "a/../../b",
        "windows": "C:\\x",
        "backslash": "..\\x",
        "missing": "nowhere.bin",
        "url": "http://127.0.0.1/x",
    }.items():
        yield f"onnx-{name}.onnx", onnx_model(tensor=onnx_tensor(location=location))
    inner = field(1, onnx_node()) + field(5, onnx_tensor(location="/x"))
    branch = field(5, field(1, "then_branch") + field(6, inner))
    yield "onnx-subgraph.onnx", onnx_model(onnx_node("If", attribute=branch))
    constant = field(5, field(1, "value") + field(5, onnx_tensor(location="../x")))
    yield "onnx-constant.onnx", onnx_model(onnx_node("Constant", attribute=constant))
    yield "onnx-domain.onnx", onnx_model(onnx_node("Run", "org.example"))
    yield "onnx-newer.onnx", onnx_model().replace(field(1, 8), field(1, 99), 1)


def tflite_model(custom=None, builtin=0, *, tensor_buffer=1):
    """A model of one operation on two tensors."""
    builder = flatbuffers.Builder(1024)
    names = [builder.CreateString(name) for name in ("x", "y", custom or "")]
    data = builder.CreateByteVector(struct.pack("<2f", 1, 2))
    buffers = []
    for content in (None, data):
        builder.StartObject(3)
        if content is not None:
            builder.PrependUOffsetTRelativeSlot(0, content, 0)
        buffers.append(builder.EndObject())
    builder.StartObject(4)
    builder.PrependInt8Slot(0, builtin, -1)
    if custom:
        builder.PrependUOffsetTRelativeSlot(1, names[2], 0)
    codes = _vector(builder, [builder.EndObject()])
    tensors = []
    for name, buffer in zip(names[:2], (tensor_buffer, 0), strict=True):
        shape = _ints(builder, [2])
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(0, shape, 0)
        builder.PrependInt8Slot(1, 0, -1)
        builder.PrependUint32Slot(2, buffer, 0)
        builder.PrependUOffsetTRelativeSlot(3, name, 0)
        tensors.append(builder.EndObject())
    ends = [_ints(builder, [i]) for i in (0, 1)]
    builder.StartObject(3)
    builder.PrependUint32Slot(0, 0, 1)
    builder.PrependUOffsetTRelativeSlot(1, ends[0], 0)
    builder.PrependUOffsetTRelativeSlot(2, ends[1], 0)
    operators = _vector(builder, [builder.EndObject()])
    tensors = _vector(builder, tensors)
    builder.StartObject(4)
    for slot, part in enumerate((tensors, *ends, operators)):
        builder.PrependUOffsetTRelativeSlot(slot, part, 0)
    graphs = _vector(builder, [builder.EndObject()])
    buffers = _vector(builder, buffers)
    builder.StartObject(5)
    builder.PrependUint32Slot(0, 3, 0)
    for slot, part in ((1, codes), (2, graphs), (4, buffers)):
        builder.PrependUOffsetTRelativeSlot(slot, part, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    return bytes(builder.Output())


def _vector(builder, offsets):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _ints(builder, numbers):
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependInt32(number)
    return builder.EndVector()


def tflite_models():
    for op in ("FlexReadFile", "FlexWriteFile", "FlexPyFunc", "FlexNobodysOp"):
        yield f"tflite-{op}.tflite", tflite_model(op, 32)
    yield "tflite-custom.tflite", tflite_model("MyOwnOp", 32)
    yield "tflite-custom-renamed.bin", tflite_model("MyOwnOp", 32)
    yield "tflite-buffer.tflite", tflite_model(tensor_buffer=77)
    data = bytearray(tflite_model())
    data[:4] = struct.pack("<I", 10**6)
    yield "tflite-root.tflite", bytes(data)


def write_all(folder):
    """Writes all of them; returns the paths, of folders for SavedModels."""
    paths = []
    for family in (graphs, savers, onnx_models, tflite_models):
        for name, data in family():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            paths.append(path if path.parent == folder else path.parent)
    link = folder / "onnx-link"
    link.mkdir()
    (link / "w.bin").symlink_to("/etc/hostname")
    (link / "m.onnx").write_bytes(onnx_model(tensor=onnx_tensor(location="w.bin")))
    return [*paths, link / "m.onnx"]

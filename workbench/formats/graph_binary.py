"""GraphDef, MetaGraphDef and SavedModel in binary, read by the numbers of fields.

Source: tensorflow/core/framework/graph.proto, node_def.proto, attr_value.proto,
function.proto; tensorflow/core/protobuf/meta_graph.proto, saved_model.proto,
saved_object_graph.proto
"""

from workbench.formats import wire
from workbench.formats.graph_records import (
    DTYPES,
    Function,
    Graph,
    MetaGraph,
    Node,
    Tensor,
)

_MOST_STRINGS = 64
_LARGEST_ATTRIBUTE = 2**16
_LARGEST_LAYER = 2**20


def read_graph(source, start, end, budget):
    """Reads a GraphDef.

    Args:
        source: `Source`.
        start: int.
        end: int.
        budget: `Budget`.

    Returns:
        `Graph`.
    """
    graph = Graph()
    for number, kind, value in wire.fields(source, start, end, budget):
        if number == 1 and kind == wire.LENGTH:
            graph.nodes.append(_read_node(source, value, budget))
        elif number == 2 and kind == wire.LENGTH:
            for inner, inner_kind, span in wire.fields(source, *value, budget):
                if inner == 1 and inner_kind == wire.LENGTH:
                    graph.functions.append(_read_function(source, span, budget))
        elif number == 4 and kind == wire.LENGTH:
            for inner, _, version in wire.fields(source, *value, budget):
                if inner == 1:
                    graph.producer = version
    return graph


def _read_node(source, span, budget):
    node = Node()
    attributes = []
    for number, kind, value in wire.fields(source, *span, budget):
        if kind != wire.LENGTH:
            continue
        if number == 1:
            node.name = wire.text(source, value)
        elif number == 2:
            node.op = wire.text(source, value)
        elif number == 3:
            node.inputs.append(wire.text(source, value))
        elif number == 5:
            attributes.append(value)
    for entry in attributes:
        _read_attribute(source, entry, node, budget)
    return node


def _read_attribute(source, span, node, budget):
    name, value = "", None
    for number, kind, inner in wire.fields(source, *span, budget):
        if number == 1 and kind == wire.LENGTH:
            name = wire.text(source, inner)
        elif number == 2 and kind == wire.LENGTH:
            value = inner
    if value is None:
        return
    for number, kind, inner in wire.fields(source, *value, budget):
        if kind == wire.LENGTH:
            _read_value(number, source, inner, (node, name), budget)
        elif number == 6:
            node.attributes[name] = DTYPES.get(inner, str(inner))


def _read_value(number, source, span, target, budget):
    node, name = target
    if number == 10:
        _add_function(source, span, node, budget)
    elif number == 1:
        for part, kind, item in wire.fields(source, *span, budget):
            if part == 9 and kind == wire.LENGTH:
                _add_function(source, item, node, budget)
    elif number == 2:
        node.attributes[name] = wire.text(source, span, _LARGEST_ATTRIBUTE)
    elif number == 7:
        node.attributes[name] = read_shape(source, span, budget)
    elif number == 8 and node.op == "Const":
        node.attributes[name] = _read_tensor(source, span, budget)


def _add_function(source, span, node, budget):
    for number, kind, inner in wire.fields(source, *span, budget):
        if number == 1 and kind == wire.LENGTH:
            called = node.attributes.setdefault("functions", [])
            called.append(wire.text(source, inner))


def read_shape(source, span, budget):
    """Reads a TensorShapeProto; returns a tuple of int or None, or None."""
    dims = []
    for number, kind, inner in wire.fields(source, *span, budget):
        if number == 3:
            return None
        if number == 2 and kind == wire.LENGTH:
            size = 0
            for part, _, value in wire.fields(source, *inner, budget):
                if part == 1:
                    size = wire.signed(value)
            dims.append(None if size < 0 else size)
    return tuple(dims)


def _read_tensor(source, span, budget):
    tensor = Tensor()
    for number, kind, inner in wire.fields(source, *span, budget):
        if number == 1 and kind == wire.VARINT:
            tensor.dtype = DTYPES.get(inner, str(inner))
        elif number == 2 and kind == wire.LENGTH:
            tensor.shape = read_shape(source, inner, budget)
        elif number == 8 and len(tensor.strings) < _MOST_STRINGS:
            tensor.strings.append(wire.text(source, inner).encode())
    return tensor


def _read_function(source, span, budget):
    function = Function()
    for number, kind, value in wire.fields(source, *span, budget):
        if number == 1 and kind == wire.LENGTH:
            for inner, inner_kind, part in wire.fields(source, *value, budget):
                if inner == 1 and inner_kind == wire.LENGTH:
                    function.name = wire.text(source, part)
                elif inner == 2 and inner_kind == wire.LENGTH:
                    function.arguments.append(first_text(source, part, budget))
        elif number == 3 and kind == wire.LENGTH:
            function.nodes.append(_read_node(source, value, budget))
    return function


def first_text(source, span, budget, wanted=1):
    """Returns the first string field of a number in a message, "" if none."""
    for number, kind, value in wire.fields(source, *span, budget):
        if number == wanted and kind == wire.LENGTH:
            return wire.text(source, value)
    return ""


def read_meta_graph(source, start, end, budget):
    """Reads a MetaGraphDef; see `read_graph`. Returns `MetaGraph`."""
    meta = MetaGraph()
    readers = {
        1: _read_info,
        2: _read_graph_field,
        3: _read_saver,
        5: _read_signature,
        6: _read_asset,
        7: _read_objects,
    }
    for number, kind, value in wire.fields(source, start, end, budget):
        if kind == wire.LENGTH and number in readers:
            readers[number](source, value, meta, budget)
    return meta


def _read_info(source, span, meta, budget):
    for number, kind, value in wire.fields(source, *span, budget):
        if number == 4 and kind == wire.LENGTH:
            meta.tags.append(wire.text(source, value))
        elif number == 5 and kind == wire.LENGTH:
            meta.version = wire.text(source, value)


def _read_graph_field(source, span, meta, budget):
    meta.graph = read_graph(source, *span, budget)


def _read_saver(source, span, meta, budget):
    names = {1: "filename", 2: "save", 3: "restore"}
    for number, kind, value in wire.fields(source, *span, budget):
        if number in names and kind == wire.LENGTH:
            meta.saver[names[number]] = wire.text(source, value)


def _read_signature(source, span, meta, budget):
    name, inputs, outputs = "", {}, {}
    for number, kind, value in wire.fields(source, *span, budget):
        if number == 1 and kind == wire.LENGTH:
            name = wire.text(source, value)
        elif number == 2 and kind == wire.LENGTH:
            for inner, inner_kind, entry in wire.fields(source, *value, budget):
                if inner in (1, 2) and inner_kind == wire.LENGTH:
                    target = inputs if inner == 1 else outputs
                    key, tensor = _read_tensor_info(source, entry, budget)
                    target[key] = tensor
    meta.signatures[name] = inputs, outputs


def _read_tensor_info(source, span, budget):
    key, tensor = "", ""
    for number, kind, value in wire.fields(source, *span, budget):
        if number == 1 and kind == wire.LENGTH:
            key = wire.text(source, value)
        elif number == 2 and kind == wire.LENGTH:
            tensor = first_text(source, value, budget)
    return key, tensor


def _read_asset(source, span, meta, budget):
    for number, kind, value in wire.fields(source, *span, budget):
        if number == 1 and kind == wire.LENGTH:
            meta.assets.append(first_text(source, value, budget))
        elif number == 2 and kind == wire.LENGTH:
            meta.layers.append(f"asset:{wire.text(source, value)}")


def _read_objects(source, span, meta, budget):
    for number, kind, value in wire.fields(source, *span, budget):
        if kind != wire.LENGTH:
            continue
        if number == 2:  # map from function names to their signatures
            meta.exported.add(first_text(source, value, budget))
        elif number == 1:
            for inner, inner_kind, part in wire.fields(source, *value, budget):
                if inner == 4 and inner_kind == wire.LENGTH:  # user_object
                    _read_metadata(source, part, meta, budget)


def _read_metadata(source, span, meta, budget):
    for number, kind, value in wire.fields(source, *span, budget):
        if number == 3 and kind == wire.LENGTH:
            meta.layers.append(wire.text(source, value, _LARGEST_LAYER))


def read_saved_model(source, budget):
    """Reads a SavedModel's `saved_model.pb`.

    Returns:
        `(schema version, list of MetaGraph)`.
    """
    version, metas = None, []
    for number, kind, value in wire.fields(source, 0, source.size, budget):
        if number == 1 and kind == wire.VARINT:
            version = value
        elif number == 2 and kind == wire.LENGTH:
            metas.append(read_meta_graph(source, *value, budget))
    return version, metas


def read_layer_metadata(source, budget):
    """Reads `keras_metadata.pb` of Keras 2: a list of JSON texts."""
    texts = []
    for number, kind, value in wire.fields(source, 0, source.size, budget):
        if number == 1 and kind == wire.LENGTH:
            texts.append(_long_text(source, value, budget))
    return texts


def _long_text(source, span, budget):
    found = ""
    for number, kind, value in wire.fields(source, *span, budget):
        if number == 4 and kind == wire.LENGTH:
            found = wire.text(source, value, _LARGEST_LAYER)
    return found

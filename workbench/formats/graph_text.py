"""GraphDef, MetaGraphDef and SavedModel as text (`.pbtxt`).

Source: https://protobuf.dev/reference/protobuf/textformat-spec/
"""

import re

from workbench.formats.graph_records import (
    Function,
    Graph,
    MetaGraph,
    Node,
    Tensor,
)
from workbench.formats.sources import DEEPEST, DamagedError, RefusedError

LARGEST_TEXT = 6 * 2**20
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<word>[A-Za-z0-9_.+-]+)|(?P<sign>[{}<>:;,\[\]/])""",
)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_OPEN, _CLOSE = ("{", "<"), ("}", ">")


def parse(text, budget):
    """Parses a message in text.

    Args:
        text: str.
        budget: `Budget`.

    Returns:
        List of `(name, value)`; a value is a str or again such a list.

    Raises:
        DamagedError: If it is not such a text.
        RefusedError: If it is too large or nested too deep.
    """
    if len(text) > LARGEST_TEXT:
        raise RefusedError(f"{len(text)} bytes of text are too many to look through")
    stack, name = [[]], None
    for kind, token in _tokens(text, budget):
        if kind == "sign":
            if token in _OPEN + _CLOSE:
                _step(stack, token, name)
                name = None
        elif name is None and kind == "word":
            name = token
        else:
            _add_value(stack[-1], name, _unquote(token) if kind == "string" else token)
            name = None
    if len(stack) != 1 or name is not None:
        raise DamagedError("it ends in the middle")
    return stack[0]


def _step(stack, sign, name):
    """Goes into a message or out of it."""
    if sign in _OPEN:
        inner = []
        stack[-1].append((_needed(name), inner))
        stack.append(inner)
        if len(stack) > DEEPEST:
            raise RefusedError("it is nested too deep")
        return
    stack.pop()
    if not stack:
        raise DamagedError("a bracket closes that was never opened")


def _add_value(fields, name, value):
    if name is None and fields and isinstance(fields[-1][1], str):
        # Strings one after the other are one string.
        name, before = fields.pop()
        value = before + value
    fields.append((_needed(name), value))


def _tokens(text, budget):
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise DamagedError(f"it is no text of a message at sign {position}")
        position = match.end()
        if match.lastgroup:
            budget.check()
            yield match.lastgroup, match[match.lastgroup]


def _needed(name):
    if name is None:
        raise DamagedError("a value has no name")
    return name


def _unquote(token):
    def plain(match):
        code = match[1]
        if code[0] in "01234567":
            return chr(int(code, 8) & 0xFF)
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(plain, token[1:-1])


def _all(fields, name):
    return [value for key, value in fields if key == name and isinstance(value, list)]


def _words(fields, name):
    return [value for key, value in fields if key == name and isinstance(value, str)]


def _word(fields, name):
    return next(iter(_words(fields, name)), "")


def recognize(fields):
    """Says which message a parsed text is: as `protobufs.recognize`."""
    names = {name for name, _ in fields}
    if names & {"meta_graphs", "saved_model_schema_version"}:
        return "saved model"
    if names & {"meta_info_def", "graph_def", "saver_def", "signature_def"}:
        return "meta graph"
    if names & {"node", "library", "versions"}:
        return "graph"
    return None


def to_graph(fields):
    """Returns the `Graph` of a parsed GraphDef."""
    graph = Graph(nodes=[_to_node(node) for node in _all(fields, "node")])
    for library in _all(fields, "library"):
        for function in _all(library, "function"):
            graph.functions.append(_to_function(function))
    for versions in _all(fields, "versions"):
        producer = _word(versions, "producer")
        graph.producer = int(producer) if producer.isdigit() else None
    return graph


def _to_function(fields):
    function = Function(nodes=[_to_node(node) for node in _all(fields, "node_def")])
    for signature in _all(fields, "signature"):
        function.name = _word(signature, "name")
        for argument in _all(signature, "input_arg"):
            function.arguments.append(_word(argument, "name"))
    return function


def _to_node(fields):
    node = Node(_word(fields, "name"), _word(fields, "op"), _words(fields, "input"))
    for entry in _all(fields, "attr"):
        name = _word(entry, "key")
        for value in _all(entry, "value"):
            _to_attribute(name, value, node)
    return node


def _to_attribute(name, value, node):
    for part in [value, *_all(value, "list")]:
        for called in _all(part, "func"):
            node.attributes.setdefault("functions", []).append(_word(called, "name"))
    if _words(value, "s"):
        node.attributes[name] = _word(value, "s")
    elif _words(value, "type"):
        node.attributes[name] = _to_dtype(_word(value, "type"))
    for shape in _all(value, "shape"):
        node.attributes[name] = _to_shape(shape)
    for tensor in _all(value, "tensor"):
        shape = next(iter(_all(tensor, "tensor_shape")), [])
        node.attributes[name] = Tensor(
            _to_dtype(_word(tensor, "dtype")),
            _to_shape(shape),
            [s.encode("utf-8", "replace") for s in _words(tensor, "string_val")],
        )


def _to_dtype(word):
    names = {"float": "float32", "double": "float64", "half": "float16"}
    name = word.removeprefix("DT_").lower()
    return names.get(name, name)


def _to_shape(fields):
    if _word(fields, "unknown_rank") == "true":
        return None
    sizes = [_word(dim, "size") or "0" for dim in _all(fields, "dim")]
    numbers = [int(size) if re.fullmatch(r"-?\d{1,18}", size) else -1 for size in sizes]
    return tuple(None if number < 0 else number for number in numbers)


def to_meta_graph(fields):
    """Returns the `MetaGraph` of a parsed MetaGraphDef."""
    meta = MetaGraph()
    for graph in _all(fields, "graph_def"):
        meta.graph = to_graph(graph)
    for info in _all(fields, "meta_info_def"):
        meta.tags += _words(info, "tags")
        meta.version = _word(info, "tensorflow_version") or None
    for saver in _all(fields, "saver_def"):
        meta.saver = {
            "filename": _word(saver, "filename_tensor_name"),
            "save": _word(saver, "save_tensor_name"),
            "restore": _word(saver, "restore_op_name"),
        }
    for entry in _all(fields, "signature_def"):
        for signature in _all(entry, "value"):
            sides = tuple(
                {
                    _word(side, "key"): _word(info, "name")
                    for side in _all(signature, name)
                    for info in _all(side, "value")
                }
                for name in ("inputs", "outputs")
            )
            meta.signatures[_word(entry, "key")] = sides
    for asset in _all(fields, "asset_file_def"):
        meta.assets += [_word(info, "name") for info in _all(asset, "tensor_info")]
        meta.layers.append(f"asset:{_word(asset, 'filename')}")
    for objects in _all(fields, "object_graph_def"):
        _read_objects(objects, meta)
    return meta


def _read_objects(fields, meta):
    for entry in _all(fields, "concrete_functions"):
        meta.exported.add(_word(entry, "key"))
    for node in _all(fields, "nodes"):
        for user_object in _all(node, "user_object"):
            meta.layers += _words(user_object, "metadata")


def to_saved_model(fields):
    """Returns `(schema version, list of MetaGraph)` of a parsed SavedModel."""
    version = _word(fields, "saved_model_schema_version")
    metas = [to_meta_graph(meta) for meta in _all(fields, "meta_graphs")]
    return int(version) if version.isdigit() else None, metas

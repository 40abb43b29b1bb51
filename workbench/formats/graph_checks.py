"""What the operations of a graph would do: each one that is not known is a risk."""

from workbench.formats import known

_REASONS = {
    "ReadFile": "reads any file",
    "WriteFile": "writes any file",
    "MatchingFiles": "lists folders",
    "PyFunc": "calls Python",
    "PyFuncStateless": "calls Python",
    "EagerPyFunc": "calls Python",
    "Save": "writes files",
    "SaveV2": "writes files",
    "SaveSlices": "writes files",
    "Restore": "reads files",
    "RestoreV2": "reads files",
    "RestoreSlice": "reads files",
    "MergeV2Checkpoints": "renames and deletes files",
    "ImmutableConst": "maps a file into memory",
    "PrintV2": "may write its text to a file",
    "InitializeTableFromTextFileV2": "reads a file",
    "InitializeTableFromTextFile": "reads a file",
}
_SAVERS = {
    "MergeV2Checkpoints",
    "Restore",
    "RestoreSlice",
    "RestoreV2",
    "Save",
    "SaveSlices",
    "SaveV2",
}
_TABLES = {"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"}
# How TensorFlow's own saver makes one file name from another.
_NAMING = {
    "Identity",
    "Pack",
    "RegexFullMatch",
    "Reshape",
    "Select",
    "SelectV2",
    "ShardedFilename",
    "StaticRegexFullMatch",
    "StringJoin",
    *_SAVERS,
}
_PLACES = {"Placeholder", "PlaceholderWithDefault", "PlaceholderV2"}
_SUFFIXES = (b".part", b"_temp/part", b"_temp_")
_DEFAULT_NAME = b"model"
# What TensorFlow 1 does with what it has saved or restored.
_AFTER_SAVING = {"Assign", "AssignVariableOp", "Identity", "NoOp", *_NAMING}
_LONGEST_WAY = 24
_TO_SCREEN = ("stderr", "stdout", "log(info)", "log(warning)", "log(error)", "")


def check(graph, look, meta=None):
    """Notes each operation that could reach outside the model.

    Args:
        graph: `Graph`.
        look: `Look`, takes the risks.
        meta: `MetaGraph` that it belongs to, or None.
    """
    _Checker(graph, look, meta).run()


class _Checker:
    def __init__(self, graph, look, meta):
        self._look = look
        self._graph = graph
        self._nodes = {node.name: node for node in graph.nodes}
        self._functions = {function.name: function for function in graph.functions}
        self._assets = {_node_name(name) for name in meta.assets} if meta else set()
        self._meta = meta
        self._callers, self._consumers = {}, {}
        for node in graph.nodes:
            for name in node.inputs:
                self._consumers.setdefault(_node_name(name), []).append(node)
            for name in node.functions:
                self._callers.setdefault(name, []).append((None, node))
        for function in graph.functions:
            for node in function.nodes:
                for name in node.functions:
                    self._callers.setdefault(name, []).append((function, node))

    def run(self):
        """Checks the graph and all functions."""
        for node in self._graph.nodes:
            self._check_node(node, None)
        for function in self._graph.functions:
            for node in function.nodes:
                self._check_node(node, function)
            if function.name in known.tensorflow_ops():
                text = "has the name of one of TensorFlow's own operations"
                self._look.risk("", f"function {function.name}", text)

    def _check_node(self, node, function):
        self._look.budget.check()
        op = node.op
        if op in known.tensorflow_ops():
            return
        if op in self._functions:
            return  # a call of a function by its name
        if op == "PrintV2" and node.attributes.get("output_stream", "") in _TO_SCREEN:
            return
        if op in _SAVERS and self._is_saver(node, function):
            return
        if op in _TABLES and self._is_named(node, 1, function, self._assets):
            return
        where = f"{function.name}/{node.name}" if function else node.name
        text = _REASONS.get(op, "is an operation that is not known to be harmless")
        self._look.risk(f"op {op}"[:200], where[:300], text)

    def _is_saver(self, node, function):
        """Whether this only saves and restores, under a name that the caller gives.

        Every SavedModel and many a graph of TensorFlow 1 has such a part; it runs when
        somebody asks it to save. Nothing else may depend on it.
        """
        places = (0, 1) if node.op == "MergeV2Checkpoints" else (0,)
        if not all(self._is_named(node, i, function, None) for i in places):
            return False
        if function is None:
            begin = {node.name}
        else:
            calls = self._callers.get(function.name, [])
            if any(outer is not None for outer, _ in calls):
                return False
            if self._meta and function.name in self._meta.exported:
                return False
            begin = {node.name for _, node in calls}
        reached = self._reach(begin)
        return reached is not None and not reached & self._fetched()

    def _reach(self, names):
        """Returns the names of all nodes that depend on some, None if they compute."""
        reached, todo = set(names), list(names)
        while todo:
            for node in self._consumers.get(todo.pop(), ()):
                self._look.budget.check()
                if node.op not in _AFTER_SAVING:
                    return None
                if node.op == "Identity" and not self._passes_on(node, reached):
                    return None
                if node.name not in reached:
                    reached.add(node.name)
                    todo.append(node.name)
        return reached

    def _passes_on(self, node, reached):
        data = [name for name in node.inputs if not name.startswith("^")]
        return all(
            _node_name(name) in reached or self._comes_from(name, None, None, 0)
            for name in data
        )

    def _fetched(self):
        """Set of the nodes that the signatures fetch."""
        if self._meta is None:
            return set()
        return {
            _node_name(tensor)
            for name, (_, outputs) in self._meta.signatures.items()
            for tensor in outputs.values()
            if not name.startswith("__saved_model")
        }

    def _is_named(self, node, index, function, allowed, depth=0):
        """Whether an input comes from allowed tensors (None: any fed one) alone."""
        inputs = [name for name in node.inputs if not name.startswith("^")]
        if index >= len(inputs) or depth > _LONGEST_WAY:
            return False
        return self._comes_from(inputs[index], function, allowed, depth + 1)

    def _comes_from(self, name, function, allowed, depth):
        self._look.budget.check()
        base = _node_name(name)
        if function is not None and base in function.arguments:
            place = function.arguments.index(base)
            calls = self._callers.get(function.name, [])
            return bool(calls) and all(
                self._is_named(node, place, outer, allowed, depth)
                for outer, node in calls
            )
        home = self._nodes if function is None else {n.name: n for n in function.nodes}
        node = home.get(base)
        if node is None or depth > _LONGEST_WAY:
            return False
        if function is None and allowed is not None and base in allowed:
            return node.op in (*_PLACES, "Const")
        if node.op == "Const":
            return _is_suffix(node)
        fed = function is None and allowed is None and node.op in _PLACES
        fed = fed and node.attributes.get("dtype") == "string"
        return (fed or node.op in _NAMING) and all(
            self._comes_from(inner, function, allowed, depth + 1)
            for inner in node.inputs
            if not inner.startswith("^")
        )


def _is_suffix(node):
    """Whether a constant is a number or an end that the saver gives to names."""
    tensor = node.attributes.get("value")
    strings = getattr(tensor, "strings", [])
    if getattr(tensor, "dtype", "") != "string":
        return tensor is not None
    return all(
        text in (b"", _DEFAULT_NAME) or text.startswith(_SUFFIXES) for text in strings
    ) and not any(b".." in text for text in strings)


def _node_name(tensor):
    return tensor.removeprefix("^").split(":")[0]

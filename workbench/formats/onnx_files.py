"""ONNX models, read by the numbers of fields.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import math
import os
import pathlib

from workbench.formats import wire
from workbench.formats.graph_binary import first_text
from workbench.formats.sources import DEEPEST, RefusedError

_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
}
# Those of ONNX and of its runtime; all others need a library of their own.
_DOMAINS = {
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.preview.training",
    "ai.onnx.training",
    "com.microsoft",
    "com.microsoft.nchwc",
}
_NEWEST = 13


def inspect(source, look):
    """Looks into an ONNX model."""
    look.kind = "ONNX model"
    reader = _Reader(source, look)
    producer = []
    functions = set()
    for number, kind, value in wire.fields(source, 0, source.size, look.budget):
        if number == 1 and kind == wire.VARINT:
            look.versions["ONNX format"] = str(value)
            if value > _NEWEST:
                text = f"has the format version {value}, newer than {_NEWEST}"
                look.risk("", "ir_version", text)
        elif number in (2, 3) and kind == wire.LENGTH:
            producer.append(wire.text(source, value, 40))
        elif number == 7 and kind == wire.LENGTH:
            reader.graph(value, "graph", 0)
        elif number == 25 and kind == wire.LENGTH:
            functions.add(reader.function(value))
    if producer:
        look.versions["by"] = " ".join(producer)
    for domain, op, where in reader.foreign:
        if (domain, op) not in functions:
            text = f"needs a library for the operations of {domain[:60]!r}"
            look.risk(f"op {domain}.{op}"[:200], where, text)
    look.keeps += [
        f"operations: {reader.nodes}",
        f"weights: {len(look.weights)} arrays, {reader.numbers} numbers",
    ]
    look.loses += [
        "optimizer, its state and the learning rate",
        "loss and metrics",
        "random state",
        "Keras's layers: only the operations they made",
    ]


class _Reader:
    def __init__(self, source, look):
        self._source, self._look = source, look
        self.nodes = self.numbers = 0
        self.foreign = []

    def _fields(self, span):
        return wire.fields(self._source, *span, self._look.budget)

    def graph(self, span, place, depth):
        """Reads a GraphProto."""
        if depth > DEEPEST // 4:
            raise RefusedError("its graphs are nested too deep")
        initialized, inputs, outputs = set(), [], []
        for number, kind, value in self._fields(span):
            if kind != wire.LENGTH:
                continue
            if number == 1:
                self._node(value, place, depth)
            elif number == 5:
                initialized.add(self._tensor(value, place))
            elif number == 15:
                self._sparse_tensor(value, place)
            elif number in (11, 12):
                names = inputs if number == 11 else outputs
                names.append(first_text(self._source, value, self._look.budget))
        if depth == 0:
            self._look.inputs += [name for name in inputs if name not in initialized]
            self._look.outputs += outputs

    def function(self, span):
        """Reads a FunctionProto; returns its `(domain, name)`."""
        name = domain = ""
        for number, kind, value in self._fields(span):
            if kind != wire.LENGTH:
                continue
            if number == 1:
                name = wire.text(self._source, value, 200)
            elif number == 10:
                domain = wire.text(self._source, value, 200)
            elif number == 7:
                self._node(value, "function", 1)
        return domain, name

    def _node(self, span, place, depth):
        self.nodes += 1
        name = op = domain = ""
        for number, kind, value in self._fields(span):
            if kind != wire.LENGTH:
                continue
            if number == 3:
                name = wire.text(self._source, value, 200)
            elif number == 4:
                op = wire.text(self._source, value, 200)
            elif number == 7:
                domain = wire.text(self._source, value, 200)
            elif number == 5:
                self._attribute(value, f"{place}/{name}", depth)
        if domain not in _DOMAINS:
            self.foreign.append((domain, op, f"{place}/{name}"[:300]))

    def _attribute(self, span, place, depth):
        for number, kind, value in self._fields(span):
            if kind != wire.LENGTH:
                continue
            if number in (5, 10):
                self._tensor(value, place)
            elif number in (6, 11):
                self.graph(value, place, depth + 1)
            elif number in (22, 23):
                self._sparse_tensor(value, place)

    def _sparse_tensor(self, span, place):
        for number, kind, value in self._fields(span):
            if number in (1, 2) and kind == wire.LENGTH:
                self._tensor(value, place)

    def _tensor(self, span, place):
        dims, dtype, name, external, elsewhere = [], "unknown", "", {}, False
        for number, kind, value in self._fields(span):
            if number == 1:
                packed = kind == wire.LENGTH
                dims += self._packed(value) if packed else [wire.signed(value)]
            elif number == 2:
                dtype = _DTYPES.get(value, str(value))
            elif number == 8 and kind == wire.LENGTH:
                name = wire.text(self._source, value, 200)
            elif number == 13 and kind == wire.LENGTH:
                external.update([self._pair(value)])
            elif number == 14:
                elsewhere = value == 1
        if place == "graph":
            self._look.add_weight(name, tuple(dims), dtype)
            self.numbers += math.prod(dims)
        if any(size < 0 for size in dims):
            self._look.risk("", f"{place}/{name}"[:300], "has a size that cannot be")
        if external or elsewhere:
            self._external(external, f"{place}/{name}"[:300])
        return name

    def _packed(self, span):
        data = self._source.read(span[0], min(span[1] - span[0], 640))
        at, numbers = 0, []
        while at < len(data):
            value, at = wire.varint(data, at)
            numbers.append(wire.signed(value))
        return numbers

    def _pair(self, span):
        pair = {1: "", 2: ""}
        for number, kind, value in self._fields(span):
            if number in pair and kind == wire.LENGTH:
                pair[number] = wire.text(self._source, value, 4096)
        return pair[1], pair[2]

    def _external(self, external, where):
        location = external.get("location", "")
        path = pathlib.PurePosixPath(location.replace("\\", "/"))
        shown = repr(location[:80])
        if not location:
            self._look.risk("", where, "keeps its numbers in a file without a name")
        elif (
            path.is_absolute()
            or ".." in path.parts
            or location.startswith("~")
            or ":" in location
            or "\0" in location
        ):
            text = f"keeps its numbers outside the folder, in {shown}"
            self._look.risk("", where, text)
        elif self._look.folder is not None:
            self._check_beside(self._look.folder / path, external, shown, where)

    def _check_beside(self, path, external, shown, where):
        folder = os.path.realpath(self._look.folder)
        if os.path.commonpath([folder, os.path.realpath(path)]) != folder:
            text = f"keeps its numbers outside the folder: {shown} is a link"
            self._look.risk("", where, text)
        elif not path.is_file():
            self._look.risk(
                "", where, f"keeps its numbers in {shown}, which is missing"
            )
        else:
            numbers = [external.get(key, "0") for key in ("offset", "length")]
            ends = [int(n) if n.isdigit() and len(n) < 19 else -1 for n in numbers]
            if min(ends) < 0 or sum(ends) > path.stat().st_size:
                self._look.risk("", where, f"needs more of {shown} than there is")

"""LiteRT (TFLite) models: a flatbuffer, every offset checked.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, https://flatbuffers.dev/internals/
"""

import math

from workbench.formats import known
from workbench.formats.sources import DamagedError

_DTYPES = (
    "float32",
    "float16",
    "int32",
    "uint8",
    "int64",
    "string",
    "bool",
    "int16",
    "complex64",
    "int8",
    "float64",
    "complex128",
    "uint64",
    "resource",
    "variant",
    "uint32",
    "uint16",
    "int4",
    "bfloat16",
    "int2",
    "uint4",
)
_CUSTOM = 32
# Custom operations that every runtime brings along.
_COMMON = {
    "TFLite_Detection_PostProcess",
    "NumericVerify",
    "Convolution2DTransposeBias",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "AudioSpectrogram",
    "Mfcc",
}
_MOST = 100_000
_NEWEST = 3


class _Table:
    """A table of a flatbuffer: fields by number."""

    def __init__(self, source, at, budget):
        budget.check()
        self._source, self._at, self._budget = source, at, budget
        self._vtable = at - self._int(at, 4, signed=True)
        self._fields = max(0, (self._int(self._vtable, 2) - 4) // 2)

    def _int(self, at, width, *, signed=False):
        return int.from_bytes(self._source.read(at, width), "little", signed=signed)

    def _place(self, field):
        if field >= self._fields:
            return None
        offset = self._int(self._vtable + 4 + 2 * field, 2)
        return self._at + offset if offset else None

    def number(self, field, width, default=0, *, signed=True):
        """Returns a number field."""
        place = self._place(field)
        return default if place is None else self._int(place, width, signed=signed)

    def _target(self, field):
        place = self._place(field)
        return None if place is None else place + self._int(place, 4)

    def text(self, field):
        """Returns a string field, "" where there is none."""
        at = self._target(field)
        if at is None:
            return ""
        length = self._int(at, 4)
        data = self._source.read(at + 4, min(length, 4096))
        return data.decode("utf-8", "replace")

    def span(self, field, width):
        """Returns `(start, count)` of a vector field."""
        at = self._target(field)
        if at is None:
            return 0, 0
        count = self._int(at, 4)
        if at + 4 + count * width > self._source.size:
            raise DamagedError(f"a list of {count} reaches beyond the end of the file")
        return at + 4, count

    def numbers(self, field):
        """Returns a vector of int32 as a tuple."""
        start, count = self.span(field, 4)
        if count > 64:
            raise DamagedError(f"a shape of {count} axes cannot be")
        return tuple(self._int(start + 4 * i, 4, signed=True) for i in range(count))

    def table(self, field):
        """Returns a table field or None."""
        at = self._target(field)
        return None if at is None else _Table(self._source, at, self._budget)

    def tables(self, field):
        """Yields the tables of a vector field."""
        start, count = self.span(field, 4)
        if count > _MOST:
            raise DamagedError(f"a list of {count} tables cannot be")
        for i in range(count):
            at = start + 4 * i
            yield _Table(self._source, at + self._int(at, 4), self._budget)


def inspect(source, look):
    """Looks into a TFLite model."""
    look.kind = "LiteRT model (TFLite)"
    root = _Table(source, int.from_bytes(source.read(0, 4), "little"), look.budget)
    version = root.number(0, 4)
    look.versions["TFLite schema"] = str(version)
    if version > _NEWEST:
        look.risk("", "version", f"has the version {version}, newer than {_NEWEST}")
    operations = [_check_code(code, i, look) for i, code in enumerate(root.tables(1))]
    filled = _check_buffers(root, source, look)
    graphs = nodes = numbers = 0
    for graph in root.tables(2):
        tensors = list(graph.tables(0))
        nodes += _check_operators(graph, len(operations), len(tensors), look)
        numbers += _read_tensors(tensors, filled, look)
        if graphs == 0:
            for field, names in ((1, look.inputs), (2, look.outputs)):
                names += [
                    tensors[i].text(3)
                    for i in graph.numbers(field)
                    if 0 <= i < len(tensors)
                ]
        graphs += 1
    if not graphs:
        raise DamagedError("it holds no graph")
    look.keeps += [
        f"operations: {nodes}, of {len(set(operations))} kinds",
        f"weights: {len(look.weights)} arrays, {numbers} numbers",
    ]
    look.loses += [
        "optimizer, its state and the learning rate",
        "loss and metrics",
        "random state",
        "Keras's layers: only the operations they made",
    ]


def _check_code(code, index, look):
    builtin = max(code.number(0, 1), code.number(3, 4))
    name = code.text(1)
    if builtin != _CUSTOM and not name:
        return builtin
    if name.startswith("Flex"):
        op = name.removeprefix("Flex")
        if op not in known.tensorflow_ops():
            text = f"calls TensorFlow's {op[:60]}, not known to be harmless"
            look.risk(f"op {op}"[:200], f"operation {index}", text)
    elif name not in _COMMON:
        text = f"needs a library for the operation {name[:60]!r}"
        look.risk(f"op {name}"[:200], f"operation {index}", text)
    return name


def _check_buffers(root, source, look):
    """Returns a list of bool: which buffers hold something."""
    filled = []
    for index, buffer in enumerate(root.tables(4)):
        count = buffer.span(0, 1)[1]
        offset = buffer.number(1, 8, signed=False)
        size = buffer.number(2, 8, signed=False)
        if offset > 1 and offset + size > source.size:
            look.risk("", f"buffer {index}", "reaches beyond the end of the file")
        filled.append(count > 0 or size > 0)
    return filled


def _check_operators(graph, codes, tensors, look):
    count = 0
    for operator in graph.tables(3):
        count += 1
        index = operator.number(0, 4, signed=False)
        if index >= codes:
            look.risk("", f"operator {count - 1}", "is of a kind that is not there")
        for field in (1, 2):
            _, many = operator.span(field, 4)
            used = operator.numbers(field) if many <= 64 else ()
            if any(i >= tensors or i < -1 for i in used):
                look.risk(
                    "", f"operator {count - 1}", "uses an array that is not there"
                )
    return count


def _read_tensors(tensors, filled, look):
    numbers = 0
    for tensor in tensors:
        dtype = tensor.number(1, 1)
        name = _DTYPES[dtype] if 0 <= dtype < len(_DTYPES) else str(dtype)
        buffer = tensor.number(2, 4, signed=False)
        shape = tensor.numbers(0)
        if buffer >= max(len(filled), 1):
            look.risk("", tensor.text(3)[:200], "is in a buffer that is not there")
        elif buffer and filled[buffer]:
            look.add_weight(tensor.text(3), shape, name)
            numbers += math.prod(max(size, 0) for size in shape)
    return numbers

"""Which kind of binary message a file is: a graph, a SavedModel, ONNX or none."""

from workbench.formats import wire
from workbench.formats.graph_binary import first_text
from workbench.formats.sources import DamagedError


def recognize(source, budget):
    """Says which of the binary messages a file is, by its outermost fields.

    Returns:
        "graph", "meta graph", "saved model", "onnx" or None.
    """
    try:
        tops = {}
        for count, (number, kind, value) in enumerate(
            wire.fields(source, 0, source.size, budget)
        ):
            tops.setdefault((number, kind), value)
            if count > 3000:
                break
    except DamagedError:
        tops = dict(_top_fields_until_damage(source, budget))
    return _decide(tops, source, budget)


def _top_fields_until_damage(source, budget):
    found = []
    try:
        for number, kind, value in wire.fields(source, 0, source.size, budget):
            found.append(((number, kind), value))
            if len(found) > 3000:
                break
    except DamagedError:
        pass
    return reversed(found)


def _decide(tops, source, budget):
    version = tops.get((1, wire.VARINT))
    if version is not None:
        return _decide_versioned(version, tops, source, budget)
    if (1, wire.LENGTH) not in tops:
        return None
    op = _second_text(source, tops[1, wire.LENGTH], budget)
    if op is not None and op.isascii() and op.replace(">", "_").isidentifier():
        return "graph"
    if (2, wire.LENGTH) in tops:
        return "meta graph"
    return None


def _decide_versioned(version, tops, source, budget):
    """Tells ONNX and SavedModel apart, which both begin with a version."""
    if (7, wire.LENGTH) in tops and version < 1000:
        return "onnx"
    if (2, wire.LENGTH) not in tops or version >= 100:
        return None
    inner = _numbers(source, tops[2, wire.LENGTH], budget)
    return "saved model" if {1, 2} & inner else None


def _numbers(source, span, budget):
    try:
        return {n for n, _, _ in wire.fields(source, *span, budget)}
    except DamagedError:
        return {1}


def _second_text(source, span, budget):
    try:
        return first_text(source, span, budget, wanted=2)
    except DamagedError:
        return None

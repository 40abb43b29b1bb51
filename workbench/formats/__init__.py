"""Which file is my model, what is in it, and what would loading it do?

Importing this, and `inspect_file`, load neither Keras nor TensorFlow; the functions
that load, compare and convert do, when they are first used.
"""

import importlib

from workbench.formats.inspecting import inspect_file
from workbench.formats.records import FileReport, Risk, Weight

_LATER = {
    "Conversion": "converting",
    "FormatComparison": "comparing",
    "FormatResult": "comparing",
    "GraphFunction": "graph_calls",
    "MovedWeights": "moving",
    "RiskyFileError": "loading",
    "compare_formats": "comparing",
    "convert": "converting",
    "freeze": "graph_calls",
    "list_nodes": "graphs",
    "load_graph": "graph_calls",
    "load_model": "loading",
    "move_weights": "moving",
    "read_weights": "weights",
}

__all__ = [  # noqa: PLE0604, the names of `_LATER` are strings
    "FileReport",
    "Risk",
    "Weight",
    "inspect_file",
    *_LATER,
]


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LATER[name]}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return __all__

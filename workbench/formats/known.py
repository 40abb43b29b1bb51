"""Names that are known to be harmless; everything else is not known."""

import functools
import json
import pathlib
import re

_PACKAGE = pathlib.Path(__file__).parents[1]
_DEFINITION = re.compile(r"^(?:class|def) (\w+)", re.MULTILINE)

# What loading these would run.
CODE_CLASSES = {
    "Lambda": "runs Python code that the file carries",
    "TFSMLayer": "loads another SavedModel, whose operations then run",
    "TorchModuleWrapper": "unpickles a PyTorch module, which runs what it says",
    "FlaxLayer": "runs Python code that the file carries",
    "JaxLayer": "runs Python code that the file carries",
}


@functools.cache
def _names():
    return json.loads((_PACKAGE / "_data" / "known_names.json").read_text())


@functools.cache
def _keras_classes():
    return {
        module: frozenset(names) for module, names in _names()["keras_classes"].items()
    }


@functools.cache
def _bare_classes():
    return frozenset().union(*_keras_classes().values())


@functools.cache
def keras_functions():
    """The functions that a config may name, a frozenset of str."""
    return frozenset(_names()["keras_functions"])


@functools.cache
def tensorflow_ops():
    """The operations that touch nothing outside a model, a frozenset of str."""
    return frozenset(_names()["tensorflow_ops"])


def is_keras_class(module, name):
    """Says whether a class is one of Keras's that only compute.

    Args:
        module: str, or None as in files of Keras 2, which have names only.
        name: str.

    Returns:
        bool.
    """
    if module is None:
        return name in _bare_classes()
    return name in _keras_classes().get(module, ())


def is_keras_function(module, name):
    """Says whether a function is one of Keras's that only compute."""
    home = module is None or module == "builtins" or module.startswith("keras.")
    return home and name in keras_functions()


@functools.cache
def _own_names():
    """Dict name -> set of the workbench's modules that define it, by their text."""
    found = {}
    for path in _PACKAGE.rglob("*.py"):
        parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        for name in _DEFINITION.findall(path.read_text("utf-8")):
            found.setdefault(name, set()).add(module)
    return found


def own_module(module, registered_name):
    """Finds the module of the workbench's own class or function, without importing it.

    Args:
        module: str, or None as in files of Keras 2.
        registered_name: str such as "workbench>ByNorm".

    Returns:
        str, or None if it is not the workbench's own.
    """
    package, _, name = registered_name.partition(">")
    homes = _own_names().get(name, ()) if package == "workbench" else ()
    if module is None:
        return min(homes, default=None)
    return module if module in homes else None

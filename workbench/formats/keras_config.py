"""The config of a Keras model, walked to the bottom against a list of known names."""

import re

from workbench.formats import known
from workbench.formats.records import describe_shape

# Tensors and such, which Keras makes from plain values.
_VALUES = {
    "__bytes__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
}
_SPECS = {"TensorSpec", "SparseTensorSpec", "RaggedTensorSpec"}
_SPEC_MODULES = re.compile(r"(tensorflow|builtins)(\.[a-z_.]+)?")
_PATH = re.compile(r"^(/|~|\\\\|[A-Za-z]:[\\/])|\w://|(^|[\\/])\.\.([\\/]|$)")
# Keras reads a file where one of these is a string.
_FILE_KEYS = {"vocabulary", "idf_weights", "filepath", "file_path", "weights_path"}
# Lists of the words of a text, which may look like anything.
_WORD_KEYS = {"vocabulary", "idf_weights", "class_names", "labels"}
_LONGEST_NAME = 200


def walk(value, look, where):
    """Looks at everything in a config that Keras would turn into an object.

    Args:
        value: The parsed JSON.
        look: `Look`, takes the risks.
        where: str, the place.
    """
    todo = [(value, where, None)]
    while todo:
        item, place, key = todo.pop()
        look.budget.check()
        if isinstance(item, dict):
            _check_object(item, look, place)
            todo += [(v, f"{place}/{k}", k) for k, v in item.items()]
        elif isinstance(item, list):
            if key not in _WORD_KEYS or any(not isinstance(v, str) for v in item):
                todo += [(v, f"{place}/{i}", None) for i, v in enumerate(item)]
        elif isinstance(item, str):
            _check_string(item, look, place, key)


def _check_string(text, look, place, key):
    if key in _FILE_KEYS and text:
        # Loading looks for such a file, wherever the name leads.
        look.risk("", place, f"reads the file {text[:80]!r}")
    elif len(text) < 4096 and _PATH.search(text):
        look.risk("", place, f"names a place outside the file: {text[:80]!r}")


def _check_object(item, look, place):
    name = item.get("class_name")
    if name is None:
        if "registered_name" in item and "module" in item:
            look.risk("", place, "names a module without saying what of it")
        return
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        look.risk("", place, "has a class name that is no name")
        return
    module, registered = item.get("module"), item.get("registered_name")
    if not all(isinstance(v, str | None) for v in (module, registered)):
        look.risk("", place, "names a module that is no name")
        return
    if name == "__lambda__" or name in known.CODE_CLASSES:
        text = known.CODE_CLASSES.get(name, known.CODE_CLASSES["Lambda"])
        trust = "Lambda" if name in ("Lambda", "__lambda__") else name
        look.risk(trust, place, text)
    elif name in _VALUES:
        return
    elif name == "__typespec__":
        _check_typespec(item, look, place)
    elif name == "function":
        _check_function(item, look, place)
    else:
        _check_class(name, module, registered, look, place)


def _check_typespec(item, look, place):
    module = item.get("module")
    if item.get("spec_name") not in _SPECS or not (
        module is None or _SPEC_MODULES.fullmatch(str(module))
    ):
        look.risk("", place, f"makes an object of {module}.{item.get('spec_name')}")


def _check_function(item, look, place):
    name, module = item.get("config"), item.get("module")
    registered = item.get("registered_name")
    if not isinstance(name, str):
        look.risk("", place, "names a function by something that is no name")
        return
    if known.is_keras_function(module, name) and registered in (
        None,
        name,
        "function",
    ):
        return
    _check_named(name, module, registered, look, place, "function")


def _check_class(name, module, registered, look, place):
    if known.is_keras_class(module, name):
        # Keras looks for the registered name first, wherever the class is from.
        allowed = (None, name, f"Keras>{name}", f"keras>{name}")
        if registered in allowed:
            return
    _check_named(name, module, registered, look, place, "class")


def _check_named(name, module, registered, look, place, kind):
    own = known.own_module(module, registered or name)
    if own is not None:
        look.modules.add(own)
        return
    home = (module or "").partition(".")[0]
    label = registered or name
    if ">" not in label and module:
        label = f"{module}.{name}"
    if home == "keras" or home in ("builtins", ""):
        text = f"uses a {kind} that is not one of Keras's known ones"
    else:
        text = f"runs code of the module {module}"
    look.risk(f"{kind} {label[:_LONGEST_NAME]}", place, text)


def describe(config, look):
    """Says in words what a model config keeps.

    Args:
        config: dict, the config of a model.
        look: `Look`, takes the lines.
    """
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    count = f", {len(layers)} layers" if isinstance(layers, list) else ""
    look.keeps.append(f"structure: {_word(config.get('class_name'))}{count}")
    if isinstance(inner, dict) and isinstance(layers, list):
        look.inputs += list(_input_names(layers))
    compiled = config.get("compile_config")
    if isinstance(compiled, dict):
        describe_compile(compiled, look)
    else:
        look.loses.append("optimizer, loss and metrics: it was saved uncompiled")


def describe_compile(compiled, look):
    """Says what a compile config keeps.

    Args:
        compiled: dict, "optimizer", "loss" and "metrics", in either layout of Keras.
        look: `Look`.
    """
    optimizer = compiled.get("optimizer", compiled.get("optimizer_config"))
    if isinstance(optimizer, dict) and isinstance(optimizer.get("config"), dict):
        look.keeps.append(f"optimizer settings: {_describe_optimizer(optimizer)}")
    elif isinstance(optimizer, str):
        look.keeps.append(f"optimizer settings: {_word(optimizer)}")
    if compiled.get("loss") is not None:
        look.keeps.append(f"loss: {_describe_part(compiled['loss'])}")
    metrics = compiled.get("metrics")
    if metrics:
        look.keeps.append(f"names of metrics: {_describe_part(metrics)}")


def _describe_optimizer(optimizer):
    config, name = optimizer["config"], _word(optimizer.get("class_name"))
    inner = config.get("inner_optimizer", config.get("optimizer"))
    rate = config.get("learning_rate")
    if (
        rate is None
        and isinstance(inner, dict)
        and isinstance(inner.get("config"), dict)
    ):
        return f"{name} around {_describe_optimizer(inner)}"
    if isinstance(rate, dict):
        return f"{name}, rate by {_word(rate.get('class_name'))}"
    if isinstance(rate, int | float):
        return f"{name}, rate {rate:.4g}"
    return name


def _describe_part(part):
    if isinstance(part, list):
        return ", ".join(_describe_part(p) for p in part[:8])
    if isinstance(part, dict):
        if "class_name" in part:
            return _word(part["class_name"])
        return ", ".join(f"{_word(k)}: {_describe_part(v)}" for k, v in part.items())
    return _word(part)


def _input_names(layers):
    for layer in layers:
        if isinstance(layer, dict) and layer.get("class_name") == "InputLayer":
            config = layer.get("config")
            if isinstance(config, dict):
                shape = config.get("batch_shape", config.get("batch_input_shape"))
                if not isinstance(shape, list):
                    shape = None
                yield f"{_word(config.get('name'))} {describe_shape(shape)}"


def _word(value):
    return str(value)[:60]

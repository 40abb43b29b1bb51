"""HDF5 files, walked link by link; no link is followed and no array is read."""

import math
import re

from workbench.formats import hdf5_messages as messages
from workbench.formats import keras_config
from workbench.formats.hdf5_format import SIGNATURE, File
from workbench.formats.look import read_json
from workbench.formats.sources import LARGEST_JSON, DamagedError

_LARGEST_RATIO = 100
_SMALL = 2**20
_OWN_FILTERS = 255  # HDF5 brings those up to this number along
_LINKS = {
    messages.SOFT: "is a link to another place in the file, which Keras refuses",
    64: "is a link into another file, which loading would read",
}


def find_signature(source):
    """Finds where HDF5 begins: at 0, or behind a user block of 512 bytes and more.

    Returns:
        int or None.
    """
    offset = 0
    while offset + len(SIGNATURE) <= source.size:
        if source.read(offset, len(SIGNATURE)) == SIGNATURE:
            return offset
        offset = 2 * offset or 512
    return None


def inspect(source, look, start=0):
    """Looks into an HDF5 file, as Keras writes it or any other.

    Args:
        source: `Source`.
        look: `Look`.
        start: int, where HDF5 begins.
    """
    file = File(source, start, look.budget)
    if file.is_spread:
        look.risk("", "/", "is one of several files, which would be read together")
    attributes = _walk(file, look)
    texts = {}
    for name in ("model_config", "training_config", "keras_version", "backend"):
        if name in attributes:
            texts[name] = file.text(attributes[name], LARGEST_JSON)
    _describe(texts, attributes, look)


def _walk(file, look):
    """Notes all arrays; returns the attributes of the outermost group by name."""
    seen, outermost = {file.root}, {}
    todo = [(file.root, "")]
    while todo:
        address, place = todo.pop()
        header = file.header(address)
        attributes = _read_attributes(header, place or "/", look)
        outermost = outermost if place else attributes
        if header.is_array:
            _check_array(file, header, place, look)
            continue
        names = set()
        for name, kind, target in file.links(header):
            look.budget.check()
            here = f"{place}/{name}".lstrip("/")
            if name in names:
                look.risk(
                    "", here, "is there twice; programs differ in which they take"
                )
            names.add(name)
            if kind != messages.HARD:
                look.risk("", here, _LINKS.get(kind, "is a link of an unknown kind"))
            elif target in seen:
                look.risk("", here, "is also elsewhere in the file, or leads back")
            else:
                seen.add(target)
                todo.append((target, here))
        _check_heaps(header, place or "/", look)
    return outermost


def _check_heaps(header, place, look):
    for kind, what in (
        (messages.LINK_INFO, "links"),
        (messages.ATTRIBUTE_INFO, "attributes"),
    ):
        for data in header.all(kind):
            if messages.is_dense(kind, data):
                text = f"keeps its {what} in a way that is not looked through"
                look.risk("", place, text)


def _read_attributes(header, place, look):
    found = {}
    for data in header.all(messages.ATTRIBUTE):
        attribute = messages.attribute(data)
        if attribute.name in found:
            look.risk("", f"{place} {attribute.name}", "is there twice")
        found[attribute.name] = attribute
    return found


def _check_array(file, header, place, look):
    if header.first(messages.EXTERNAL) is not None:
        look.risk("", place, "keeps its numbers in another file, which would be read")
    kinds = (messages.DATASPACE, messages.LAYOUT, messages.FILTERS)
    if any(header.is_shared(kind) for kind in kinds):
        look.risk("", place, "takes its shape from another object")
        return
    space, kind = header.first(messages.DATASPACE), header.first(messages.DATATYPE)
    if space is None or kind is None:
        raise DamagedError(f"the array {place} has no shape or no type")
    shape = messages.dataspace(space)
    shared = header.is_shared(messages.DATATYPE)
    datatype = (
        messages.Datatype("shared type", 1) if shared else messages.datatype(kind)
    )
    layout = messages.layout(header.first(messages.LAYOUT))
    look.add_weight(place, shape, datatype.name)
    if layout.kind == messages.VIRTUAL:
        look.risk("", place, "is put together from other files, which would be read")
        return
    filters = header.first(messages.FILTERS)
    numbers = messages.filters(filters) if filters is not None else []
    if any(n > _OWN_FILTERS for n in numbers):
        look.risk("", place, "needs a filter that HDF5 loads as a plug-in")
    if header.first(messages.EXTERNAL) is None:
        _check_size(file, layout, (place, shape, datatype.size, numbers), look)


def _check_size(file, layout, array, look):
    place, shape, width, filters = array
    size = math.prod(shape) * width
    if size <= _SMALL:
        return
    stored = layout.stored
    if stored is None:
        stored = file.stored_in_chunks(layout)
    if size > stored * (_LARGEST_RATIO if filters else 1):
        text = f"claims {size} bytes where {stored} are stored: would fill the memory"
        look.risk("", place, text)


def _describe(texts, attributes, look):
    for name, label in (("keras_version", "Keras"), ("backend", "backend")):
        if texts.get(name):
            look.versions[label] = texts[name][:40]
    tops = {weight.name.split("/")[0] for weight in look.weights}
    if texts.get("model_config") is not None:
        look.kind = "Keras model in HDF5 (.h5)"
        _describe_model(texts["model_config"], texts.get("training_config"), look)
    elif "layer_names" in attributes or "model_weights" in tops:
        look.kind = "Keras weights in HDF5, old layout (.h5)"
        look.loses.append("structure: only names, shapes and numbers")
    elif any(re.search(r"(^|/)vars/\d+$", weight.name) for weight in look.weights):
        look.kind = "Keras weights (.weights.h5)"
        look.loses.append("structure: build the model, then load_weights")
    else:
        look.kind = "HDF5"
        look.notes.append("Not in a layout of Keras's.")
    _describe_weights(look)


def _describe_model(config, training, look):
    model = read_json(config, look, "model_config")
    keras_config.walk(model, look, "model_config")
    if isinstance(model, dict):
        keras_config.describe(model, look)
    if training is None:
        return
    parsed = read_json(training, look, "training_config")
    keras_config.walk(parsed, look, "training_config")
    if isinstance(parsed, dict):
        look.loses = [line for line in look.loses if not line.startswith("optimizer,")]
        keras_config.describe_compile(parsed, look)


def _describe_weights(look):
    slots = ("optimizer/", "optimizer_weights/")
    optimizer = [w for w in look.weights if w.name.startswith(slots)]
    rest = [w for w in look.weights if not w.name.startswith(slots)]
    numbers = sum(math.prod(weight.shape) for weight in rest)
    look.keeps.append(f"weights: {len(rest)} arrays, {numbers} numbers")
    if optimizer:
        look.keeps.append(f"optimizer state: {len(optimizer)} arrays")
    else:
        look.loses.append("optimizer state: its slots and step count")
    if any("seed_generator" in weight.name for weight in rest):
        look.keeps.append("seeds of layers")
    else:
        look.loses.append("random state: seeds of dropout and augmentation")

"""Which of a model's layers are meant: by name, index, path, pattern or type."""

import difflib
import fnmatch
import inspect
import re

import keras

_WILD = re.compile(r"[*?\[]")


class Selection:
    """Decides for each layer call whether it is wanted.

    Args:
        model: `keras.Model`.
        layers: None for all; or a str (a path such as "encoder/dense", a layer's name,
            or a pattern such as "block_*"), a compiled regular expression that is
            searched for in the path, an int (index in `model.layers`), a layer, a
            layer class, or a list of these.

    Raises:
        TypeError: If a selector is of another type.
        ValueError: If an index is out of range or the list is empty.
    """

    def __init__(self, model, layers):
        self._selectors = None
        if layers is None:
            return
        several = isinstance(layers, (list, tuple, set, frozenset))
        self._selectors = [
            _resolved(model, s) for s in (layers if several else [layers])
        ]
        if not self._selectors:
            raise ValueError(
                "`layers` must name at least one layer; None means all. Received: "
                f"layers={layers!r}"
            )

    def __call__(self, key, path, layer):
        """Whether the call `key` of `layer` is wanted."""
        if self._selectors is None:
            return True
        return any(_matches(s, key, path, layer) for s in self._selectors)

    @property
    def cache_key(self):
        """Hashable that is equal for equal selections."""
        if self._selectors is None:
            return None
        return tuple(
            selector if isinstance(selector, (str, type, re.Pattern)) else id(selector)
            for selector in self._selectors
        )

    def check(self, seen, kinds):
        """Raises ValueError if a selector matched nothing.

        Args:
            seen: dict key -> kind, everything that the model put out.
            kinds: dict key -> layer.
        """
        for selector in self._selectors or ():
            if any(_matches(selector, k, k.split("#")[0], kinds.get(k)) for k in seen):
                continue
            raise ValueError(_unknown(selector, seen))


def _resolved(model, selector):
    if isinstance(selector, bool) or not isinstance(
        selector, (str, int, re.Pattern, type, keras.Operation)
    ):
        raise TypeError(
            "`layers` must hold names, paths, patterns, indices, layers or layer "
            f"classes. Received: {selector!r} (of type {type(selector).__name__})"
        )
    if not isinstance(selector, int):
        return selector
    count = len(model.layers)
    if not -count <= selector < count:
        raise ValueError(
            f"`layers` must hold indices from {-count} to {count - 1}, as in "
            f"`model.layers`. Received: layers={selector}"
        )
    return model.layers[selector]


def _matches(selector, key, path, layer):
    own = path.rsplit("/", 1)[-1]
    if isinstance(selector, str):
        if selector in (key, path, own):
            return True
        return bool(_WILD.search(selector)) and fnmatch.fnmatchcase(path, selector)
    if isinstance(selector, re.Pattern):
        return bool(selector.search(key))
    if inspect.isclass(selector):
        return isinstance(layer, selector)
    return layer is selector


def _unknown(selector, seen):
    keys = list(seen)
    shown = selector
    if isinstance(selector, type):
        kinds = sorted(set(seen.values()))
        return (
            "`layers` must name a class of which the model has layers, such as "
            f"{', '.join(kinds[:8])}. Received: {selector.__name__}"
        )
    if isinstance(selector, keras.Operation):
        shown = selector.name
    elif isinstance(selector, re.Pattern):
        shown = selector.pattern
    names = {key.rsplit("/", 1)[-1]: key for key in keys} | {key: key for key in keys}
    near = difflib.get_close_matches(shown, names, n=5, cutoff=0.3) or keys[:5]
    near = list(dict.fromkeys(names.get(name, name) for name in near))
    return (
        "`layers` must name layers of the model; nearest are "
        f"{', '.join(repr(name) for name in near)}. Received: layers={shown!r}"
    )

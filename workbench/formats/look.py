"""What the readers of single formats write down while they look."""

import json

from workbench.formats.records import FileReport, Risk, Weight
from workbench.formats.sources import (
    DEEPEST,
    LARGEST_JSON,
    Budget,
    DamagedError,
    RefusedError,
)

_MOST_RISKS = 500
_MOST_BRACKETS = 300_000


class Look:
    """One look into a file.

    Attributes:
        kind: str, what it is.
        budget: `Budget`.
        folder: Path of the folder that the file lies in, None for a file in a file.
        keeps, loses, notes, inputs, outputs: Lists of str.
        versions: dict name -> str.
        weights: List of `Weight`.
        modules: set of str, modules of the workbench that are named.
        depth: int, how many archives deep this is.

    Args:
        folder: Path or None.
        outer: `Look` into the archive that the file lies in.
        prefix: str, put before each place.
    """

    def __init__(self, folder=None, outer=None, prefix=""):
        self.kind = "unknown"
        self.folder = folder
        self.budget = outer.budget if outer else Budget()
        self.depth = outer.depth + 1 if outer else 0
        self.keeps, self.loses, self.notes = [], [], []
        self.inputs, self.outputs, self.weights = [], [], []
        self.versions = {}
        self.modules = outer.modules if outer else set()
        self._prefix = prefix
        self._risks = {}

    def risk(self, name, where, text):
        """Notes a reason not to load; the same one at the same place once."""
        if len(self._risks) < _MOST_RISKS:
            risk = Risk(name, self._prefix + str(where), text)
            self._risks[risk] = None

    def add_weight(self, name, shape, dtype):
        """Notes an array."""
        self.budget.check()
        self.weights.append(Weight(name, shape, dtype))

    def take_risks(self, other):
        """Takes over what a look into a part found."""
        self._risks.update(other._risks)

    @property
    def risks(self):
        """Tuple of `Risk`."""
        return tuple(self._risks)

    def report(self, filepath, size):
        """Returns the `FileReport`."""
        return FileReport(
            filepath=str(filepath),
            kind=self.kind,
            size=size,
            keeps=tuple(self.keeps),
            loses=tuple(self.loses),
            risks=self.risks,
            versions=dict(self.versions),
            weights=tuple(self.weights),
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            notes=tuple(self.notes),
            modules=tuple(sorted(self.modules)),
        )


def read_json(data, look, where):
    """Reads JSON within limits; a name that stands twice in an object is a risk.

    Args:
        data: bytes or str.
        look: `Look`.
        where: str, the place of the JSON in the file.

    Returns:
        The value.

    Raises:
        DamagedError: If it is not JSON.
        RefusedError: If it is too large or nested too deep.
    """
    if len(data) > LARGEST_JSON:
        raise RefusedError(f"{where} has {len(data)} bytes, too many to look through")
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DamagedError(f"{where} is not text") from None
    if data.count("[") + data.count("{") > _MOST_BRACKETS:
        raise RefusedError(f"{where} has too many parts to look through")

    def once(pairs):
        value = dict(pairs)
        if len(value) < len(pairs):
            text = "names a field twice; programs differ in which one they believe"
            look.risk("", where, text)
        return value

    try:
        value = json.loads(data, object_pairs_hook=once)
    except RecursionError:
        raise RefusedError(f"{where} is nested too deep") from None
    except ValueError as error:
        raise DamagedError(f"{where} is not JSON: {error}") from None
    _check_depth(value, where)
    return value


def _check_depth(value, where):
    level = [value]
    for _ in range(DEEPEST * 4):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise RefusedError(f"{where} is nested too deep")

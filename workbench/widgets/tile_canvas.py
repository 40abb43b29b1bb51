"""A tree of layers and a canvas of maps; what is drawn is computed elsewhere."""

import pathlib

import anywidget
import traitlets

_HERE = pathlib.Path(__file__).parent
# As text: a path would be watched for changes.
_SCRIPT = (_HERE / "tile_canvas.js").read_text(encoding="utf-8")
_STYLE = (_HERE / "tile_canvas.css").read_text(encoding="utf-8")


class TileCanvas(anywidget.AnyWidget):
    """Shows maps, tells what is under the mouse, and which layer or unit was clicked.

    Attributes:
        tree: Trait, list of dict with `key`, `label`, `depth`, `text`, `shown`.
        layer: Trait, str, the key of the layer that is shown.
        unit: Trait, int or None, the unit that was clicked.
        values: Trait, bytes, float32 of all maps.
        shape: Trait, list of int, `[units, rows, columns]` of `values`.
        layout_columns: Trait, int, maps beside one another.
        stacked: Trait, bool, whether a map is one line over time.
        first: Trait, int, the unit that the first map belongs to.
        names: Trait, list of three str, what unit, row and column are called.
        limits: Trait, bytes, float32 `(1, 2)` or `(units, 2)`.
        colors: Trait, bytes, uint8: 256 colors, then that of NaN, then of outliers.
        alt: Trait, str, in words what is shown.
        version: Trait, int, set last: draw now.
    """

    _esm = _SCRIPT
    _css = _STYLE

    tree = traitlets.List().tag(sync=True)
    layer = traitlets.Unicode("").tag(sync=True)
    unit = traitlets.Int(None, allow_none=True).tag(sync=True)
    values = traitlets.Bytes(b"").tag(sync=True)
    shape = traitlets.List([0, 0, 0]).tag(sync=True)
    layout_columns = traitlets.Int(1).tag(sync=True)
    stacked = traitlets.Bool().tag(sync=True)
    first = traitlets.Int(0).tag(sync=True)
    names = traitlets.List(["unit", "row", "column"]).tag(sync=True)
    limits = traitlets.Bytes(b"").tag(sync=True)
    colors = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    version = traitlets.Int(0).tag(sync=True)

    def show(self, **traits):
        """Sets traits and lets them be drawn, in one message."""
        with self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)
            self.version += 1

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
        codes: Trait, bytes, uint8 of all maps, see `workbench.plots.tiles.encode`. The
            values would take four times as long to send; the page asks for one.
        shape: Trait, list of int, `[units, rows, columns]` of `codes`.
        layout_columns: Trait, int, maps beside one another.
        stacked: Trait, bool, whether a map is one line over time.
        first: Trait, int, the unit that the first map belongs to.
        names: Trait, list of three str, what unit, row and column are called.
        limits: Trait, bytes, float32 `(1, 2)` or `(units, 2)`.
        colors: Trait, bytes, uint8: the colors, then that of NaN, then of outliers.
        alt: Trait, str, in words what is shown.
        version: Trait, int, set last: draw now.
        find_value: Function of unit, row and column that says the value, or None.
    """

    _esm = _SCRIPT
    _css = _STYLE

    tree = traitlets.List().tag(sync=True)
    layer = traitlets.Unicode("").tag(sync=True)
    unit = traitlets.Int(None, allow_none=True).tag(sync=True)
    codes = traitlets.Bytes(b"").tag(sync=True)
    shape = traitlets.List([0, 0, 0]).tag(sync=True)
    layout_columns = traitlets.Int(1).tag(sync=True)
    stacked = traitlets.Bool().tag(sync=True)
    first = traitlets.Int(0).tag(sync=True)
    names = traitlets.List(["unit", "row", "column"]).tag(sync=True)
    limits = traitlets.Bytes(b"").tag(sync=True)
    colors = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    version = traitlets.Int(0).tag(sync=True)

    find_value = None

    def __init__(self, **traits):
        super().__init__(**traits)
        self.on_msg(self._on_message)

    def _on_message(self, _widget, content, _buffers):
        """Answers what the page asks: the value at unit, row and column."""
        place, version = content.get("ask"), content.get("version")
        if place is None or version != self.version or self.find_value is None:
            return
        text = self.find_value(*map(int, place))
        self.send({"place": place, "version": version, "text": text})

    def show(self, **traits):
        """Sets traits and lets them be drawn, in one message."""
        with self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)
            self.version += 1

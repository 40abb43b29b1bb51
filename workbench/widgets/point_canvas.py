"""A canvas of many named points; what is drawn is computed elsewhere."""

import pathlib

import anywidget
import numpy as np
import traitlets

_HERE = pathlib.Path(__file__).parent
# As text: a path would be watched for changes.
_SCRIPT = (_HERE / "point_canvas.js").read_text(encoding="utf-8")
_STYLE = (_HERE / "point_canvas.css").read_text(encoding="utf-8")


class PointCanvas(anywidget.AnyWidget):
    """Draws points, says the name under the mouse, and which points were chosen.

    Attributes:
        names: Trait, bytes, the points' names in UTF-8, one after another.
        offsets: Trait, bytes, uint32 `(N + 1,)`, where in `names` each begins and ends.
        positions: Trait, bytes, float32 `(N, 2)`; NaN is not drawn. Earlier points lie
            on top of later ones.
        codes: Trait, bytes, uint8 `(N,)`, the number of each point's color.
        colors: Trait, bytes, uint8 `(256, 3)`.
        scale: Trait, list of str: what the first and the last color stand for.
        marks: Trait, list of `[point, kind]`: points with a ring and a name, "word",
            "near", "asked", "answer" or "match".
        arrows: Trait, list of `[point, point]`.
        chosen: Trait, bytes, uint32, points that stand out from the rest.
        tool: Trait, str, "move", "box" or "lasso": what dragging does.
        view: Trait, list, the middle and the width of what is seen, `[x, y, width]`;
            empty for everything.
        lists: Trait, list of dict with `title` and `rows` of `[name, text, share]`,
            beside the map.
        word: Trait, str, the name that was clicked.
        alt: Trait, str, in words what is shown.
        version: Trait, int, set last: draw now.
        take_chosen: Function of an int64 array, the points in a box or a lasso.
    """

    _esm = _SCRIPT
    _css = _STYLE

    names = traitlets.Bytes(b"").tag(sync=True)
    offsets = traitlets.Bytes(b"").tag(sync=True)
    positions = traitlets.Bytes(b"").tag(sync=True)
    codes = traitlets.Bytes(b"").tag(sync=True)
    colors = traitlets.Bytes(b"").tag(sync=True)
    scale = traitlets.List().tag(sync=True)
    marks = traitlets.List().tag(sync=True)
    arrows = traitlets.List().tag(sync=True)
    chosen = traitlets.Bytes(b"").tag(sync=True)
    tool = traitlets.Unicode("move").tag(sync=True)
    view = traitlets.List().tag(sync=True)
    lists = traitlets.List().tag(sync=True)
    word = traitlets.Unicode("").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    version = traitlets.Int(0).tag(sync=True)

    take_chosen = None

    def __init__(self, **traits):
        super().__init__(**traits)
        self.on_msg(self._on_message)

    def _on_message(self, _widget, content, buffers):
        """Takes the points that a box or a lasso holds."""
        if content.get("chosen") is None or self.take_chosen is None:
            return
        # Points of another picture than the one that is shown mean others now.
        if content.get("version") == self.version:
            self.take_chosen(np.frombuffer(buffers[0], "<u4").astype(np.int64))

    def show(self, **traits):
        """Sets traits and lets them be drawn, in one message."""
        with self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)
            self.version += 1

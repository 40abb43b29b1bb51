"""What the activation explorer looks like: its widgets, and the tree of layers."""

import html

import ipywidgets

from workbench.plots import tiles
from workbench.widgets.tile_canvas import TileCanvas

NUM_STRONGEST = 8
_HINT = "Click a unit to see the inputs that excite it most."


class ActivationView:
    """The widgets of the explorer and their places.

    Attributes:
        rows: List of widgets, from top to bottom.

    Args:
        count: int, inputs.
    """

    def __init__(self, count):
        self.image = ipywidgets.IntSlider(
            description="Input", max=count - 1, layout={"width": "26em"}
        )
        self.thumbnail = ipywidgets.Image(
            format="png",
            layout={"height": "42px", "max_width": "84px", "object_fit": "contain"},
        )
        self.scale = ipywidgets.ToggleButtons(
            options=tiles.SCALES,
            style={"button_width": "5em"},
            tooltips=[
                "Each unit has its own scale",
                "All units of the layer share one",
                "All layers share one",
            ],
        )
        self.training = ipywidgets.Checkbox(
            description="As in training", indent=False, layout={"width": "9em"}
        )
        self.again = ipywidgets.Button(
            icon="refresh",
            tooltip="Compute again, with the weights of now",
            layout={"width": "3em"},
        )
        self.page = ipywidgets.BoundedIntText(
            description="Page", layout={"width": "9em", "visibility": "hidden"}
        )
        self.text = ipywidgets.HTML()
        self.canvas = TileCanvas()
        self.found = ipywidgets.HTML(_HINT)
        self.slots = [_Slot() for _ in range(NUM_STRONGEST)]
        words = ipywidgets.Label("Colors per")
        controls = [self.image, self.thumbnail, words, self.scale]
        controls += [self.training, self.again]
        self.rows = [
            ipywidgets.HBox(
                controls, layout={"align_items": "center", "flex_flow": "row wrap"}
            ),
            ipywidgets.HBox([self.text, self.page], layout={"align_items": "center"}),
            self.canvas,
            self.found,
            ipywidgets.HBox([slot.box for slot in self.slots]),
        ]

    def show_maps(self, maps, limits, *, first, count, signed, **traits):
        """Shows the maps of one page.

        Args:
            maps: `workbench.activations.maps.Maps` of one sample.
            limits: float32 `(1, 2)` or `(units, 2)`.
            first: int, the first unit of the page.
            count: int, units of a page.
            signed: bool, whether the scale is symmetric about 0.
            **traits: More traits of the canvas.
        """
        page = slice(first, first + count)
        values = maps.values[0, page]
        limits = limits[page] if len(limits) > 1 else limits
        self.canvas.show(
            codes=tiles.encode(values, limits).tobytes(),
            shape=list(values.shape),
            layout_columns=tiles.count_columns(maps, len(values)),
            stacked=maps.is_sequence,
            first=first,
            names=list(maps.names),
            limits=limits.tobytes(),
            colors=tiles.color_table(signed).tobytes(),
            **traits,
        )

    def show_title(self, text):
        """Shows in one line what is drawn."""
        self.text.value = f'<span role="note">{html.escape(text)}</span>'

    def show_page(self, page, pages):
        """Shows which page of how many is seen."""
        self.page.max = max(pages - 1, 0)
        self.page.value = page
        self.page.layout.visibility = "visible" if pages > 1 else "hidden"

    def show_thumbnail(self, picture):
        """Shows the input as bytes of a PNG file; None hides it."""
        self.thumbnail.value = picture or b""
        self.thumbnail.layout.display = None if picture else "none"

    def say(self, text):
        """Shows what is done, or how to begin, in place of the strongest inputs."""
        self.found.value = html.escape(text or _HINT)
        for slot in self.slots:
            slot.hide()

    def show_strongest(self, text, found, pictures):
        """Shows the strongest inputs.

        Args:
            text: str, what they excite.
            found: List of `(index, value)`.
            pictures: List of bytes of PNG files, or None for what is no picture.
        """
        self.found.value = html.escape(text)
        for i, slot in enumerate(self.slots):
            if i < len(found):
                slot.show(*found[i], pictures[i])
            else:
                slot.hide()


class _Slot:
    """One of the strongest inputs: its picture, and a button that shows it."""

    def __init__(self):
        self.index = 0
        self.image = ipywidgets.Image(format="png", layout={"width": "84px"})
        self.button = ipywidgets.Button(
            tooltip="Show this input", layout={"width": "110px"}
        )
        self.box = ipywidgets.VBox(
            [self.image, self.button],
            layout={"display": "none", "align_items": "center"},
        )

    def show(self, index, value, picture):
        self.index = index
        self.image.value = picture or b""
        self.image.layout.display = None if picture else "none"
        self.button.description = f"{index}: {value:.3g}"
        self.box.layout.display = None

    def hide(self):
        self.box.layout.display = "none"


def list_layers(outputs, missing):
    """Lists what was captured as a tree, in the order of computation.

    Args:
        outputs: dict name -> `workbench.activations.maps.Output`.
        missing: dict path -> str, what could not be captured, and why.

    Returns:
        List of dict: `key`, `label`, `depth`, `text`, `title`, `shown` (bool, whether
        it can be drawn), `parent` (bool, whether something lies below).
    """
    root = {}
    for name in [*outputs, *missing]:
        node = root
        for part in name.split("/"):
            node = node.setdefault(part, {})
    return list(_rows(root, "", 0, outputs, missing))


def _rows(node, above, depth, outputs, missing):
    for label, below in node.items():
        key = f"{above}{label}"
        output, text, title = outputs.get(key), "", label
        if output is not None:
            shape = output.array.shape[1:]
            text = "x".join(map(str, shape)) or "1"
            title = f"{key}: {output.kind}, {shape} {output.array.dtype}"
        elif key in missing:
            text, title = "not captured", f"{key}: {missing[key]}"
        # Names that Keras makes up for an input say nothing.
        is_unnamed = label.startswith("keras_tensor")
        yield {
            "key": key,
            "label": "input" if is_unnamed else label,
            "depth": depth,
            "text": text,
            "title": title,
            "shown": output is not None and output.is_drawable,
            "parent": bool(below),
        }
        yield from _rows(below, f"{key}/", depth + 1, outputs, missing)

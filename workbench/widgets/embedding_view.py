"""What the embedding explorer looks like: its widgets and their places."""

import html

import ipywidgets

from workbench.plots.embeddings import color_table
from workbench.widgets.point_canvas import PointCanvas

PROJECTIONS = {"PCA": "pca", "t-SNE": "tsne"}
COLORS = ("rank", "similarity")
TOOLS = ("move", "box", "lasso")
MOST_NEIGHBORS = 50
_SHOWN = 12
_ROW = {"align_items": "center", "flex_flow": "row wrap"}


def _toggles(options, tooltips, width):
    return ipywidgets.ToggleButtons(
        options=options, tooltips=tooltips, style={"button_width": width}
    )


class EmbeddingView:
    """The widgets of the explorer and their places.

    Attributes:
        rows: List of widgets, from top to bottom.
    """

    def __init__(self):
        self.search = ipywidgets.Combobox(
            description="Search",
            placeholder="a word",
            layout={"width": "20em"},
        )
        self.k = ipywidgets.BoundedIntText(
            description="Neighbors", min=1, max=MOST_NEIGHBORS, layout={"width": "10em"}
        )
        self.projection = _toggles(
            list(PROJECTIONS.items()),
            [
                "The plane of the largest spread",
                "Neighbors together, in the background",
            ],
            "5em",
        )
        self.color = _toggles(
            COLORS,
            ["The place in the file", "The similarity to the word"],
            "7em",
        )
        self.tool = _toggles(
            TOOLS,
            ["Dragging moves the map", "Dragging selects a box", "Draw around words"],
            "5em",
        )
        self.clear = ipywidgets.Button(
            description="Clear selection", layout={"width": "9em"}
        )
        self.asked = [
            ipywidgets.Text(
                description=text,
                placeholder=example,
                continuous_update=False,
                layout={"width": width},
                style={"description_width": "initial"},
            )
            for text, example, width in (
                ("Analogy", "man", "14em"),
                ("is to", "king", "12em"),
                ("as", "woman", "11em"),
            )
        ]
        self.answer = ipywidgets.HTML("is to …")
        self.canvas = PointCanvas(colors=color_table().tobytes())
        self.text = ipywidgets.HTML()
        self.selected = ipywidgets.HTML()
        labels = [ipywidgets.Label(text) for text in ("Map by", "Color by", "Drag to")]
        first = [self.search, self.k, labels[0], self.projection]
        first += [labels[1], self.color]
        second = [*self.asked, self.answer]
        third = [labels[2], self.tool, self.clear, self.text]
        self.rows = [
            ipywidgets.HBox(first, layout=_ROW),
            ipywidgets.HBox(second, layout=_ROW),
            ipywidgets.HBox(third, layout=_ROW),
            self.canvas,
            self.selected,
        ]

    def show_matches(self, words):
        """Offers words to go on typing with."""
        self.search.options = tuple(dict.fromkeys(words))

    def show_answers(self, asked, answers):
        """Shows what the analogy gives."""
        text = "is to …"
        if answers:
            best, similarity = answers[0]
            text = f"is to <b>{html.escape(best)}</b> ({similarity:.2f})"
        self.answer.value = text
        for widget, word in zip(self.asked, asked, strict=True):
            widget.value = word

    def show_lists(self, lists):
        """Shows lists of `(word, similarity)` beside the map, a dict title -> list."""
        self.canvas.lists = [
            {"title": title, "rows": [[w, f"{s:.3f}", s] for w, s in found]}
            for title, found in lists.items()
            if found
        ]

    def show_selection(self, words):
        """Says which words are selected."""
        if not words:
            self.selected.value = ""
            return
        more = " …" if len(words) > _SHOWN else ""
        first = html.escape(" · ".join(words[:_SHOWN])) + more
        count = f"{len(words):,} word{'s' if len(words) > 1 else ''}"
        self.selected.value = f"<b>{count} selected</b>: {first}"

    def show_title(self, text):
        """Says in one line what is drawn."""
        self.text.value = f'<span role="note">{html.escape(text)}</span>'

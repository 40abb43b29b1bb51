"""What the embedding explorer may be asked for: its traits, checked."""

import numpy as np
import traitlets

from workbench.widgets.embedding_view import (
    COLORS,
    MOST_NEIGHBORS,
    PROJECTIONS,
    TOOLS,
)
from workbench.widgets.panel import Panel

_CHOICES = {
    "projection": list(PROJECTIONS.values()),
    "color": list(COLORS),
    "tool": list(TOOLS),
}


class EmbeddingChoice(Panel):
    """The traits of `EmbeddingExplorer`, which says what they mean."""

    word = traitlets.Unicode("")
    search = traitlets.Unicode("")
    k = traitlets.Int(10)
    neighbors = traitlets.Tuple()
    analogy = traitlets.Tuple(("", "", ""))
    answers = traitlets.Tuple()
    projection = traitlets.Unicode("pca")
    projecting = traitlets.Bool(False)
    color = traitlets.Unicode("rank")
    tool = traitlets.Unicode("move")
    view = traitlets.Tuple()
    selection = traitlets.Tuple()

    # What a subclass reads words from, and the rows of a box or lasso on their way.
    _reading = None
    _picked = None

    @traitlets.validate("word")
    def _check_word(self, proposal):
        if proposal["value"]:
            self._reading.vectors.index(proposal["value"])
        return proposal["value"]

    @traitlets.validate("analogy")
    def _check_analogy(self, proposal):
        asked = proposal["value"]
        if len(asked) != 3:
            raise ValueError(
                "`analogy` must be three words, `(a, b, c)`. Received: "
                f"analogy={asked!r}"
            )
        for word in filter(None, asked):
            self._reading.vectors.index(word)
        return asked

    @traitlets.validate("selection")
    def _check_selection(self, proposal):
        if self._picked is None:
            self._reading.rows(proposal["value"])
        return proposal["value"]

    @traitlets.validate("k")
    def _check_k(self, proposal):
        if not 1 <= proposal["value"] <= MOST_NEIGHBORS:
            raise ValueError(
                f"`k` must be in 1 to {MOST_NEIGHBORS} (words). Received: "
                f"k={proposal['value']}"
            )
        return proposal["value"]

    @traitlets.validate("projection", "color", "tool")
    def _check_choice(self, proposal):
        name = proposal["trait"].name
        options = _CHOICES[name]
        if proposal["value"] not in options:
            raise ValueError(
                f"`{name}` must be one of {options}. Received: "
                f"{name}={proposal['value']!r}"
            )
        return proposal["value"]

    @traitlets.validate("view")
    def _check_view(self, proposal):
        view = tuple(map(float, proposal["value"]))
        if view and (len(view) != 3 or not np.isfinite(view).all() or view[2] <= 0):
            raise ValueError(
                "`view` must be `(x, y, width)`, finite, width > 0, or empty. "
                f"Received: view={proposal['value']!r}"
            )
        return view

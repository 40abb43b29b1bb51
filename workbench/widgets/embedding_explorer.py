"""A panel that shows word vectors as a map: neighbors, analogies, selections."""

import math
import threading
import time

import numpy as np
import traitlets

from workbench.plots import to_png
from workbench.widgets.embedding_choice import EmbeddingChoice
from workbench.widgets.embedding_reading import EmbeddingReading
from workbench.widgets.embedding_view import PROJECTIONS, EmbeddingView
from workbench.widgets.panel import shows_errors

_NAMES = {method: name for name, method in PROJECTIONS.items()}
_BEAT_SECONDS = 0.5


class EmbeddingExplorer(EmbeddingChoice):
    """Shows word vectors as a map of all words, and what lies near which.

    Neighbors and analogies are exact and over all words, whatever the map shows; the
    map has two numbers of each word only. A click on a point, a word in a list or the
    search field chooses a word; a box or a lasso selects many. The vectors are only
    read.

    Every control is a trait; setting it from Python does what the mouse does.

    Attributes:
        word: Trait, str, the word whose neighbors are shown, "" for none.
        search: Trait, str, what stands in the search field. A word becomes `word`; of
            anything else the words that begin so are marked.
        k: Trait, int in 1 to 50, neighbors and answers to show.
        neighbors: Trait, tuple of `(word, similarity)`. Read only.
        analogy: Trait, tuple of three str: what is to the third as the second is to
            the first? Three times "" for nothing.
        answers: Trait, tuple of `(word, similarity)`. Read only.
        projection: Trait, str, "pca" for all words, or "tsne" for the first
            `tsne_words`, computed in the background.
        projecting: Trait, bool, whether t-SNE is being computed. Read only.
        color: Trait, str, "rank", the place in the file, which most files order by
            frequency; or "similarity" to `word`.
        tool: Trait, str, what dragging does: "move", "box" or "lasso".
        view: Trait, tuple of float, the middle of what is seen and its width, `(x, y,
            width)`; empty for everything.
        selection: Trait, tuple of str, the words in the box or the lasso.
        error: Trait, str, what went wrong in a callback, else "".

    Args:
        vectors: `workbench.embeddings.WordVectors`.
        tsne_words: int >= 3, how many words t-SNE places; 2,000 take seconds.
        seed: int, of t-SNE.

    Raises:
        TypeError: If `vectors` is no `WordVectors`.
        ValueError: If there are too few words to span a plane.
    """

    _worker = None
    _failure = None
    _begun = 0.0
    _rows = np.zeros(0, np.int64)  # of `selection`
    _matches = _rows

    def __init__(self, vectors, *, tsne_words=2000, seed=0):
        self._reading = EmbeddingReading(vectors, tsne_words, seed)
        self._view = EmbeddingView()
        super().__init__(self._view.rows)
        self._show_points()
        self._connect()
        self._start_beat()

    @property
    def positions(self):
        """float32 `(n, 2)`, the points of the first n words, as the map shows them."""
        return self._reading.positions

    def _connect(self):
        super()._connect()
        view = self._view
        for name in ("search", "k", "projection", "color", "tool"):
            traitlets.link((self, name), (getattr(view, name), "value"))
        traitlets.link((self, "word"), (view.canvas, "word"))
        traitlets.link((self, "tool"), (view.canvas, "tool"))
        view.canvas.observe(self._on_canvas_view, "view")
        view.canvas.take_chosen = self._take_chosen
        view.clear.on_click(self._on_clear)
        for widget in view.asked:
            widget.observe(self._on_asked, "value")
        self.observe(self._on_question, ["word", "k", "analogy"])
        for name in ("search", "projection", "view", "selection"):
            self.observe(getattr(self, f"_on_{name}"), name)
        self.observe(self._on_color, ["color", "word"])

    # What the reader does

    @shows_errors
    def _on_search(self, _change):
        text = self.search
        self._matches = self._reading.matches(text)
        self._view.show_matches(self._words(self._matches))
        if not text or text in self._reading.vectors:
            self.word = text
        self._show_marks()

    @shows_errors
    def _on_question(self, change):
        vectors, asked = self._reading.vectors, self.analogy
        if change["name"] != "analogy":
            found = vectors.neighbors(self.word, self.k) if self.word else ()
            self.neighbors = tuple(found)
        if change["name"] != "word":
            found = vectors.analogy(*asked, self.k) if all(asked) else ()
            self.answers = tuple(found)
        else:
            self.search = self.word
        self._show_found()

    @shows_errors
    def _on_asked(self, _change):
        if not self._is_following:
            self.analogy = tuple(text.value.strip() for text in self._view.asked)

    @shows_errors
    def _on_color(self, change):
        if change["name"] == "color" or self.color == "similarity":
            self._show_points()

    @shows_errors
    def _on_view(self, _change):
        self._view.canvas.view = list(self.view)

    @shows_errors
    def _on_canvas_view(self, change):
        self.view = tuple(change["new"])

    @shows_errors
    def _on_selection(self, _change):
        picked = self._picked
        self._rows = self._reading.rows(self.selection) if picked is None else picked
        self._show_chosen()

    @shows_errors
    def _take_chosen(self, rows):
        self._picked = rows
        try:
            self.selection = tuple(self._words(rows))
        finally:
            self._picked = None

    @shows_errors
    def _on_clear(self, _button):
        self.selection = ()

    @shows_errors
    def _on_projection(self, _change):
        if self._reading.knows(self.projection):
            self._choose()
        elif self._worker is None:
            self._begun, self._failure = time.monotonic(), None
            self._worker = threading.Thread(
                target=self._work, name="workbench-tsne", daemon=True
            )
            self.projecting = True
            self._worker.start()
            self._wake.set()

    # What is found

    def _words(self, rows):
        words = self._reading.vectors.words
        return [words[row] for row in rows.tolist()]

    def _work(self):
        try:
            self._reading.compute("tsne")
        except Exception as error:  # noqa: BLE001, in a thread it would go unseen
            self._failure = error

    def _beat(self):
        worker = self._worker
        if worker is None:
            return math.inf
        if worker.is_alive():
            self._show_title()
            return _BEAT_SECONDS
        with self._lock:
            self._worker = None
            self.projecting = False
            if self._failure is not None:
                self.projection = self._reading.method
                self.error = f"{type(self._failure).__name__}: {self._failure}"
            elif self.projection != self._reading.method:
                self._choose()
        return math.inf

    # What is shown

    def _choose(self):
        if self.projection != self._reading.method:
            self._reading.choose(self.projection)
            self.view = ()
            self._show_points()
        self._show_title()

    def _show_points(self):
        names, offsets = self._reading.packed_words()
        codes, scale = self._reading.codes(self.color, self.word)
        self._view.canvas.show(
            names=names,
            offsets=offsets,
            positions=self.positions.astype("<f4").tobytes(),
            codes=codes.tobytes(),
            scale=scale,
            alt=self.alt,
        )
        self._show_marks()
        self._show_chosen()
        self._show_title()

    def _show_found(self):
        asked = "{} : {} :: {} :".format(*self.analogy)
        self._view.show_lists(
            {f"Near {self.word}": self.neighbors, asked: self.answers}
        )
        with self._following():
            self._view.show_answers(self.analogy, self.answers)
        self._show_marks()

    def _show_marks(self):
        canvas = self._view.canvas
        with canvas.hold_sync():
            canvas.marks, canvas.arrows = map(list, self._marks())
            canvas.alt = self.alt

    def _marks(self):
        """The points with a ring, `(row, kind)`, and the arrows of the analogy."""
        asked = self.analogy if self.answers else ()
        groups = {
            "word": [self.word] if self.word else [],
            "asked": asked,
            "answer": [word for word, _ in self.answers[:1]],
            "near": [word for word, _ in self.neighbors],
        }
        kinds = {}
        for kind, words in groups.items():
            for row in self._reading.rows(words).tolist():
                kinds.setdefault(row, kind)
        if self.search != self.word:
            for row in self._reading.shown(self._matches).tolist():
                kinds.setdefault(row, "match")
        ends = self._reading.rows([*asked, *groups["answer"]]).tolist()
        arrows = (ends[:2], ends[2:]) if len(ends) == 4 else ()
        return list(kinds.items()), arrows

    def _show_chosen(self):
        rows = self._reading.shown(self._rows)
        self._view.canvas.chosen = rows.astype("<u4").tobytes()
        self._view.show_selection(self.selection)

    def _show_title(self):
        self._view.show_title(self._title())

    def _title(self):
        reading = self._reading
        count = f"{len(reading.positions):,} of {len(reading.vectors):,} words"
        parts = [count, _NAMES[reading.method]]
        if self.projecting:
            seconds = time.monotonic() - self._begun
            waiting = f"{reading.count('tsne'):,} words by t-SNE"
            parts.append(f"placing {waiting}, {seconds:.0f} s …")
        return " · ".join(parts)

    @property
    def alt(self):
        """str, in words what the picture shows now."""
        text = (
            f"A map of {len(self.positions):,} words, a point each, placed by "
            f"{_NAMES[self._reading.method]} and colored by {self.color}"
        )
        if self.word:
            text += f"; {self.word} and its {len(self.neighbors)} neighbors are marked"
        return f"{text}."

    def _picture(self):
        marks, arrows = self._marks()
        codes, _ = self._reading.codes(self.color, self.word)
        figure = self._reading.picture(codes, marks, arrows, self._title())
        return to_png(figure, dpi=80)

    def __repr__(self):
        return "EmbeddingExplorer(vectors)"

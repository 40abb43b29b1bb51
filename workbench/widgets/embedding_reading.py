"""What the embedding explorer reads of vectors: places, colors, neighbors."""

import numpy as np

from workbench.plots import embeddings as drawing

NUM_MATCHES = 12


class EmbeddingReading:
    """Vectors of words, as points of a plane.

    Attributes:
        vectors: `workbench.embeddings.WordVectors`.
        method: str, "pca" or "tsne", whose points are shown.
        positions: float32 `(n, 2)`, of the first n words.

    Args:
        vectors: See above; they are only read.
        tsne_words: int, how many words t-SNE places.
        seed: int, of t-SNE.

    Raises:
        TypeError: If `vectors` is no `WordVectors`.
        ValueError: If `tsne_words` < 3.
    """

    def __init__(self, vectors, tsne_words, seed):
        if not hasattr(vectors, "project"):
            raise TypeError(
                "`vectors` must be what `workbench.embeddings.load_vectors` returns. "
                f"Received: vectors of type {type(vectors).__name__}"
            )
        if tsne_words < 3:
            raise ValueError(
                f"`tsne_words` must be >= 3 (words). Received: {tsne_words=}"
            )
        self.vectors = vectors
        self._tsne_words, self._seed = min(tsne_words, len(vectors)), seed
        self._known = {}
        self.compute("pca")
        self.choose("pca")

    def knows(self, method):
        """Whether the points of a method are there already."""
        return method in self._known

    def count(self, method):
        """How many words a method places."""
        return len(self.vectors) if method == "pca" else self._tsne_words

    def compute(self, method):
        """Computes the points of a method."""
        words = self.vectors.words[: self._tsne_words] if method == "tsne" else None
        self._known[method] = self.vectors.project(method, words=words, seed=self._seed)

    def choose(self, method):
        """Takes the points of a method that was computed."""
        self.method, self.positions = method, self._known[method]

    def packed_words(self):
        """The words that are shown, as UTF-8 one after another, and where each begins.

        Returns:
            `(bytes, bytes of uint32 (n + 1,))`.
        """
        words, count = self.vectors.words, len(self.positions)
        offsets = np.asarray(words.offsets[: count + 1])
        return words.blob[: offsets[-1]].tobytes(), offsets.astype("<u4").tobytes()

    def codes(self, color, word):
        """The colors' numbers, uint8 `(n,)`; what is darkest and what is lightest."""
        count = len(self.positions)
        if color == "rank":
            codes = drawing.rank_codes(count)
            return codes, [f"word {count:,} of the file", "word 1"]
        if not word:
            return np.zeros(count, "uint8"), ["choose a word to compare with", ""]
        found = self.vectors.similarities(word)[:count]
        ends = ["similarity 0 or less", f"1, as {word}"]
        return drawing.similarity_codes(found), ends

    def rows(self, words):
        """Finds the rows of words that have a point.

        Returns:
            int64 array, in the order of `words`.

        Raises:
            ValueError: If a word is not there.
        """
        words = list(words)
        rows = self.vectors.words.rows(words)
        if (rows < 0).any():
            self.vectors.index(words[int(np.argmin(rows))])
        return self.shown(rows)

    def shown(self, rows):
        """Those rows that have a point."""
        rows = rows[rows < len(self.positions)]
        return rows[~np.isnan(self.positions[rows, 0])]

    def matches(self, text):
        """Finds the first words that begin with a text, in small letters if need be.

        Returns:
            int64 array, rows; none for an empty text.
        """
        words = self.vectors.words
        rows = words.starting_with(text, NUM_MATCHES if text else 0)
        if not len(rows):
            rows = words.starting_with(text.lower(), NUM_MATCHES if text else 0)
        return rows

    def picture(self, codes, marks, arrows, title):
        """Draws what is shown, a `matplotlib.figure.Figure`."""
        return drawing.plot_words(
            self.positions,
            self.vectors.words,
            codes=codes,
            marks=marks,
            arrows=arrows,
            title=title,
        )

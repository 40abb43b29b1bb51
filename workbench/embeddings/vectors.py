"""Words and their vectors: found, compared, and made into a layer."""

import functools

import numpy as np

from workbench.embeddings import aligning, projecting, search


class WordVectors:
    """Vectors of words, mapped from a file.

    Attributes:
        words: `Words`, a sequence of str, in the order of the file.
        matrix: Array `(N, D)`, read-only; row i belongs to word i.
        subwords: `Subwords` of a fastText `.bin`, else None.

    Args:
        words: `Words`.
        mapped: `Mapped`.
        subwords: See above.
    """

    def __init__(self, words, mapped, subwords=None):
        self.words, self.subwords = words, subwords
        self._mapped = mapped
        self.matrix = np.asarray(mapped.open())
        self.matrix.flags.writeable = False

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self.words

    def __getitem__(self, word):
        return self.matrix[self.index(word)]

    def __repr__(self):
        rows, columns = self.matrix.shape
        return f"<WordVectors of {rows:,} words, {columns} numbers each>"

    @property
    def duplicates(self):
        """int64 array, rows whose word stands in an earlier row, which is used."""
        return self.words.duplicates()

    def index(self, word):
        """Returns the row of a word, the first where there are several.

        Raises:
            ValueError: If it is not there.
        """
        return int(self._rows([word], "word")[0])

    def _rows(self, words, name):
        for word in words:
            if not isinstance(word, str):
                raise ValueError(  # noqa: TRY004, as all that is wrong with a value
                    f"`{name}` must be a str. Received: {name}={word!r}"
                )
        rows = self.words.rows(words)
        if (rows < 0).any():
            word = words[int(np.argmin(rows))]
            hint = ""
            if word.lower() != word and word.lower() in self.words:
                hint = f"; {word.lower()!r} is there"
            raise ValueError(
                f"`{name}` must be one of the {len(self):,} words{hint}. Received: "
                f"{name}={word!r}"
            )
        return rows

    @functools.cached_property
    def _norms(self):
        return search.row_norms(self.matrix)

    def _unit(self, rows):
        return search.unit(self.matrix[rows])

    def neighbors(self, word, k=10):
        """Finds the words of largest cosine similarity, exactly.

        Args:
            word: str; a vector `(D,)`; or a list of str, for many at a time.
            k: Positive int.

        Returns:
            List of `(word, similarity)`, most similar first, without the word itself;
            for a list of words, a list of such lists.

        Raises:
            ValueError: If a word is not there.
        """
        k = _check_k(k)
        is_one = isinstance(word, str) or not isinstance(word, list | tuple)
        if is_one and not isinstance(word, str):
            vector = np.asarray(word, "float32")
            if vector.shape != self.matrix.shape[1:]:
                raise ValueError(
                    f"`word` must be a str, a list of str or a vector of "
                    f"{self.matrix.shape[1]} numbers. Received: word={word!r}"
                )
            return self._answers(search.unit(vector[None]), k, [()])[0]
        rows = self._rows([word] if is_one else list(word), "word")
        found = self._answers(self._unit(rows), k, rows[:, None].tolist())
        return found[0] if is_one else found

    def analogy(self, a, b, c, k=10):
        """Finds what is to `c` as `b` is to `a`.

        Args:
            a: str, or a list for many at a time.
            b: str, or a list as long.
            c: str, or a list as long.
            k: Positive int.

        Returns:
            As of `neighbors`, without the three words.

        Raises:
            ValueError: If a word is not there.

        Source:
            Mikolov, Yih, Zweig 2013, "Linguistic Regularities in Continuous Space Word
            Representations" (the sum of unit vectors).
        """
        k = _check_k(k)
        is_one = isinstance(a, str)
        asked = [[word] if is_one else list(word) for word in (a, b, c)]
        if len({len(words) for words in asked}) != 1:
            raise ValueError(
                "`a`, `b` and `c` must have as many words each. Received: "
                f"{', '.join(str(len(words)) for words in asked)}"
            )
        rows = [self._rows(w, n) for w, n in zip(asked, "abc", strict=True)]
        a_unit, b_unit, c_unit = map(self._unit, rows)
        queries = search.unit(b_unit - a_unit + c_unit)
        found = self._answers(queries, k, np.stack(rows, axis=1).tolist())
        return found[0] if is_one else found

    def _answers(self, queries, k, exclude):
        k = min(k, len(self))
        rows, values = search.most_similar(
            self.matrix, self._norms, queries, k, exclude
        )
        return [
            [(self.words[i], v) for i, v in zip(r, s, strict=True) if i >= 0]
            for r, s in zip(rows.tolist(), values.tolist(), strict=True)
        ]

    def similarities(self, word):
        """Computes the cosine similarity of every word to one.

        Args:
            word: str.

        Returns:
            float32 `(N,)`, in the order of `words`; NaN for a row that is not finite.

        Raises:
            ValueError: If the word is not there.
        """
        query = self._unit(self._rows([word], "word"))
        scores = search.cosines(self.matrix, self._norms, query)[0]
        scores[np.isneginf(scores)] = np.nan
        return scores

    def project(self, method="pca", *, words=None, unit=True, seed=0, **arguments):
        """Gives each word a point of a plane.

        PCA of 400,000 words takes about a second and a copy of the matrix for the
        time; t-SNE of 2,000 words several seconds, of 10,000 about a minute.

        Args:
            method: "pca", the plane of the largest spread; or "tsne", which keeps
                neighbours together, while distances and sizes of groups say little.
            words: Sequence of str, or None for all words; at most 20,000 for "tsne".
            unit: bool, whether vectors are made as long as each other first, so that
                directions are compared, as in `neighbors`.
            seed: int of "tsne"; the same seed gives the same points.
            **arguments: Passed to scikit-learn's `PCA` or `TSNE`, such as
                `perplexity=30`.

        Returns:
            float32 `(N, 2)`, in the order of `words`; NaN for a row that is not finite.

        Raises:
            ValueError: If a word is not there, or there are too few or too many.

        Source:
            van der Maaten, Hinton 2008, "Visualizing Data using t-SNE".
        """
        return projecting.project(self, method, words, unit, seed, arguments)

    def to_layer(
        self, vocabulary=None, *, trainable=False, oov="normal", mask_zero=False, seed=0
    ):
        """Makes a Keras layer whose row i is the vector of the vocabulary's word i.

        Args:
            vocabulary: List of str; a `StringLookup` or `TextVectorization` that has
                its vocabulary; None for all words of the file, without a copy. A list
                may begin as Keras's do: `""` is padding, `"[UNK]"` the unknown word.
            trainable: bool.
            oov: How words that the file does not have begin: "zeros"; "mean" or
                "normal", the matrix's mean and standard deviation by column;
                "subwords", of a fastText `.bin`; or a function of the word.
            mask_zero: bool, row 0 is padding; refused if it is not.
            seed: int of "normal".

        Returns:
            `(layer, coverage)`: built `keras.layers.Embedding` and `Coverage`. The
            padding row is zero and stays so.

        Raises:
            ValueError: If the vocabulary has a word twice, is empty, or has no padding
                in row 0 though `mask_zero`.
        """
        return aligning.to_layer(
            self,
            self._mapped,
            vocabulary,
            trainable=trainable,
            oov=oov,
            mask_zero=mask_zero,
            seed=seed,
        )


def _check_k(k):
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"`k` must be an int >= 1 (words). Received: k={k}")
    return k

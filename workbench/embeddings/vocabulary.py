"""What a vocabulary's rows stand for, and which words its layer can ever give."""

import collections

import keras
import numpy as np

_BLOCK = 1 << 14
_UNKNOWN = "[UNK]"


class Vocabulary:
    """A vocabulary by row.

    Attributes:
        words: List of str.
        is_special: bool `(V,)`, padding and unknown words.
        padding: int, the row of the padding, or None.

    Args:
        vocabulary: List of str, `StringLookup` or `TextVectorization`.

    Raises:
        ValueError: If it is empty, or has a word twice.
    """

    def __init__(self, vocabulary):
        self._vectorizer = None
        lookup = vocabulary
        if isinstance(vocabulary, keras.layers.TextVectorization):
            self._vectorizer, lookup = vocabulary, vocabulary._lookup_layer
        if isinstance(lookup, keras.layers.StringLookup):
            self._of_lookup(lookup)
        else:
            self._of_list(vocabulary)
        if not len(self.words) or self.is_special.all():
            raise ValueError(
                "`vocabulary` must have words: a layer needs `adapt` or "
                f"`set_vocabulary` first. Received: {len(self.words)} rows"
            )
        ordinary = [self.words[i] for i in np.flatnonzero(~self.is_special).tolist()]
        twice = [w for w, n in collections.Counter(ordinary).items() if n > 1]
        if twice:
            raise ValueError(
                f"`vocabulary` must have each word once. Received: {len(twice)} words "
                f"more than once: {', '.join(map(repr, twice[:5]))}"
            )

    def _of_lookup(self, lookup):
        if lookup.invert:
            raise ValueError("`vocabulary` must be a StringLookup with invert=False")
        self.words = [str(word) for word in lookup.get_vocabulary()]
        special = len(self.words) - len(lookup.get_vocabulary(False))
        self.is_special = np.arange(len(self.words)) < special
        self.padding = 0 if lookup.mask_token is not None and special else None

    def _of_list(self, vocabulary):
        if isinstance(vocabulary, str) or not hasattr(vocabulary, "__iter__"):
            raise ValueError(
                "`vocabulary` must be a list of str, StringLookup or "
                f"TextVectorization. Received: vocabulary={vocabulary!r}"
            )
        self.words = list(vocabulary)
        for i, word in enumerate(self.words):
            if not isinstance(word, str):
                raise ValueError(  # noqa: TRY004, as all that is wrong with a value
                    "`vocabulary` must be a list of str. Received: "
                    f"vocabulary[{i}]={word!r}"
                )
        self.is_special = np.zeros(len(self.words), bool)
        self.padding = 0 if self.words[:1] == [""] else None
        if self.padding == 0:
            self.is_special[0] = True
        # Where Keras's own lists have it.
        place = 1 if self.padding == 0 else 0
        if self.words[place : place + 1] == [_UNKNOWN]:
            self.is_special[place] = True

    def unreachable(self, words):
        """Lists the words that no text can give, as the layer changes or splits them.

        Args:
            words: `Words` of a file.

        Returns:
            Tuple of str: those of the vocabulary, then those of the file.
        """
        if self._vectorizer is None:
            return ()
        own = [self.words[i] for i in np.flatnonzero(~self.is_special).tolist()]
        lost = self._changed(own) if self._vectorizer._ngrams is None else []
        for start in range(0, len(words), _BLOCK):
            lost += self._changed(words[start : start + _BLOCK])
        return tuple(dict.fromkeys(lost))

    def _changed(self, words):
        found = self._vectorizer._preprocess(words)
        rows = found.to_list() if hasattr(found, "to_list") else found.numpy().tolist()
        return [
            word
            for word, row in zip(words, rows, strict=True)
            if word.encode() not in (row if isinstance(row, list) else [row])
        ]

"""Checks of notebook 2, embeddings."""

import keras
import numpy as np

from workbench.course.asking import letters, number
from workbench.course.verdicts import Wrong


def exercise_1(larger_gap_at, seen_in_100, *, numbers, vocabulary):
    """Predicts when vectors from elsewhere help most."""
    sentences = number("larger_gap_at", larger_gap_at, "sentences")
    if sentences not in (100, 7171):
        raise Wrong("`larger_gap_at` must be 100 or 7171 (sentences).")
    seen = 100 * len(np.unique(numbers[:100])) / len(vocabulary)
    percent = number("seen_in_100", seen_in_100, "percent")
    if abs(percent - seen) > 5:
        raise Wrong(
            f"Of the words {'fewer' if seen < percent else 'more'} than {percent:g} "
            "percent stand in the first hundred sentences."
        )
    if sentences == 7171:
        raise Wrong(
            "With all sentences more of the words are seen often, and a random row "
            "has time to become a good one."
        )
    return (
        f"Only {seen:.0f} % of the words are seen at all; for the others GloVe's row "
        "is everything there is."
    )


def exercise_2(my_vectors, matter, *, vectorize, numbers, y):
    """Finds the words that a list of frequent words lacks."""
    if not hasattr(my_vectors, "to_layer"):
        raise Wrong("`my_vectors` must be what `load_vectors` gives.")
    if len(my_vectors.words) != 10_000:
        raise Wrong("`my_vectors` must be the 10,000 most frequent words.")
    if isinstance(matter, str) or len(set(matter)) < 3:
        raise Wrong('`matter` must be a list of three words, such as ["a", "b", "c"].')
    missing = set(my_vectors.to_layer(vectorize)[1].missing)
    vocabulary = vectorize.get_vocabulary()
    for word in matter:
        if word not in vocabulary:
            raise Wrong(f"{word} is not in the vocabulary of the reviews.")
        if word not in missing:
            raise Wrong(f"{word} is not missing: the 10,000 have a vector for it.")
        holds = (numbers == vocabulary.index(word)).any(axis=1)
        praise, blame = int(holds[y == 1].sum()), int(holds[y == 0].sum())
        if max(praise, blame) < 2 * min(praise, blame):
            raise Wrong(
                f"{word} stands in {praise} sentences of praise and {blame} of blame: "
                "it hardly tells them apart."
            )
    return "A coverage of 73 % sounds like most; the words that decide are not in it."


def exercise_3(statements, ways_out):
    """Explains two limits that have nothing to do with each other."""
    letters(
        "statements",
        statements,
        {
            "a": None,
            "b": "2 GB is far less than this machine has.",
            "c": None,
            "d": "How many bytes has a number of 64 bits?",
        },
    )
    letters(
        "ways_out",
        ways_out,
        {
            "p": None,
            "q": "See how many copies section 2 measured for it, and where it is kept.",
            "r": None,
            "s": "Section 4 tells what that does to the training.",
        },
    )
    return "One limit is the file's, the other the machine's."


def exercise_4(cause, whose, mended, *, glove, vocabulary):
    """Diagnoses rows that stand in another order than the numbers."""
    if whose not in glove:
        raise Wrong(f"`whose`: {whose!r} is no word of GloVe.")
    if whose != glove.words[vocabulary.index("funny")]:
        raise Wrong(f"What funny gets is not the vector of {whose}: compare the rows.")
    letters(
        "cause",
        cause,
        {
            "a": 'Ask for `glove["funny"]`.',
            "b": None,
            "c": "Compare a whole row with the rows of `glove.matrix`: one is equal.",
            "d": "The row that is printed stands in `glove.matrix`, elsewhere.",
        },
    )
    if not isinstance(mended, keras.layers.Layer):
        raise Wrong("`mended` must be a layer. `to_layer` gives two things.")
    words = [word for word in vocabulary[2:400] if word in glove]
    ids = np.array([vocabulary.index(word) for word in words])
    rows = np.asarray(mended(ids))
    wanted = np.stack([glove[word] for word in words])
    other = [w for w, a, b in zip(words, rows, wanted, strict=True) if (a != b).any()]
    if other:
        raise Wrong(
            f"Of {len(words)} words {len(other)} have the vector of another word, "
            f"such as {other[0]}."
        )
    return "Every word has its own row, and the coverage says which have none."

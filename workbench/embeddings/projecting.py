"""Vectors of many numbers as points of a plane, by scikit-learn."""

import os

import numpy as np

from workbench.embeddings import search

METHODS = ("pca", "tsne")
MOST_TSNE = 20_000  # words; its time grows faster than their number


def project(vectors, method, words, unit, seed, arguments):
    """Projects; see `WordVectors.project`."""
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {METHODS}. Received: method={method!r}"
        )
    matrix = vectors.matrix
    if words is not None:
        matrix = matrix[vectors._rows(list(words), "words")]
    matrix = np.asarray(matrix, "float32")
    is_finite = np.isfinite(matrix).all(axis=1)
    known = matrix if is_finite.all() else matrix[is_finite]
    if len(known) < 3:
        raise ValueError(
            "`words` must be at least 3 words of finite vectors, to span a plane. "
            f"Received: {len(known)}"
        )
    if method == "tsne" and len(known) > MOST_TSNE:
        raise ValueError(
            f"`words` must be at most {MOST_TSNE:,} words for t-SNE, which takes many "
            "minutes for more; pass the most frequent, `words=vectors.words[:5000]`. "
            f"Received: {len(known):,} words"
        )
    if unit:
        known = search.unit(known)
    places = (_pca if method == "pca" else _tsne)(known, seed, arguments)
    positions = np.full((len(matrix), 2), np.nan, "float32")
    positions[is_finite] = places
    return positions


def _pca(matrix, seed, arguments):
    from sklearn.decomposition import PCA  # noqa: PLC0415, takes half a second

    del seed  # nothing is drawn at random
    # One plane for one input: the covariance is small, whatever the number of words.
    return PCA(2, **{"svd_solver": "covariance_eigh", **arguments}).fit_transform(
        matrix
    )


def _tsne(matrix, seed, arguments):
    from sklearn.manifold import TSNE  # noqa: PLC0415, as above
    from threadpoolctl import threadpool_limits  # noqa: PLC0415, comes with it

    settings = {
        "init": "pca",
        "perplexity": min(30, (len(matrix) - 1) / 3),
        "random_state": seed,
    }
    # Its threads wait for each other: where something else needs a core, all wait.
    with threadpool_limits(max(1, (os.cpu_count() or 2) - 1), "openmp"):
        return TSNE(2, **{**settings, **arguments}).fit_transform(matrix)

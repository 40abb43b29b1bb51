"""The rows most similar to a vector: exact, many questions at a time."""

import numpy as np

_ROWS = 1 << 11  # of the matrix at a time, when there are many questions
_QUERIES = 1 << 10  # questions at a time
_GROUP = 512


def row_norms(matrix):
    """Returns the length of each row, float32 `(N,)`, 1 where it is 0.

    A row that is not finite has a length of NaN.
    """
    norms = np.empty(len(matrix), "float32")
    for start in range(0, len(matrix), _ROWS):
        part = np.asarray(matrix[start : start + _ROWS], "float32")
        norms[start : start + _ROWS] = np.sqrt(np.einsum("ij,ij->i", part, part))
    norms[~np.isfinite(norms)] = np.nan
    norms[norms == 0] = 1
    return norms


def unit(vectors):
    """Returns rows of length 1, float32; a row of zeros stays."""
    vectors = np.asarray(vectors, "float32")
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms > 0, norms, np.float32(1))


def most_similar(matrix, norms, queries, k, exclude):
    """Finds the rows of largest cosine similarity.

    Args:
        matrix: `(N, D)`.
        norms: float32 `(N,)`, see `row_norms`.
        queries: float32 `(Q, D)`, of length 1.
        k: int, rows for each query.
        exclude: Sequence of Q sequences of int, rows that are no answers.

    Returns:
        `(rows, similarities)`: int64 and float32 `(Q, k)`, most similar first; of
        equals the earlier row first. -1 where there are no more.
    """
    if len(queries) == 1:
        scores = cosines(matrix, norms, queries)[0]
        scores[list(exclude[0])] = -np.inf
        parts = [_best(scores, k)]
    else:
        parts = _many(matrix, norms, queries, k, exclude)
    rows = np.full((len(queries), k), -1, np.int64)
    similarities = np.full((len(queries), k), np.nan, "float32")
    for i, (found, values) in enumerate(parts):
        rows[i, : len(found)], similarities[i, : len(found)] = found, values
    return rows, similarities


def cosines(matrix, norms, queries):
    """Returns the similarity of each row to each query, float32 `(Q, N)`.

    A row that is not finite is similar to nothing: -inf.
    """
    scores = queries @ np.asarray(matrix, "float32").T
    scores /= norms
    lost = np.isnan(norms)
    if lost.any():
        scores[:, lost] = -np.inf
    return scores


def _best(scores, k):
    whole = len(scores) - len(scores) % _GROUP
    if whole >= _GROUP * 4 * k:
        # k groups hold a value of at least the k-th largest of the groups' largest.
        largest = scores[:whole].reshape(-1, _GROUP).max(axis=1)
        least = np.partition(largest, len(largest) - k)[len(largest) - k]
        rows = np.flatnonzero(scores >= least)
    else:
        rows = np.arange(len(scores))
    rows = rows[scores[rows] > -np.inf]
    rows = rows[np.lexsort((rows, -scores[rows]))[:k]]
    return rows, scores[rows]


def _many(matrix, norms, queries, k, exclude):
    found = []
    for start in range(0, len(queries), _QUERIES):
        end = start + _QUERIES
        found += _group(matrix, norms, queries[start:end], k, exclude[start:end])
    return found


def _group(matrix, norms, queries, k, exclude):
    excluded = [np.array(sorted(rows), np.int64) for rows in exclude]
    best_rows = [np.zeros(0, np.int64)] * len(queries)
    best_values = [np.zeros(0, "float32")] * len(queries)
    least = np.full(len(queries), -np.inf, "float32")
    owners = np.repeat(np.arange(len(queries)), [len(rows) for rows in excluded])
    removed = np.concatenate([*excluded, np.zeros(0, np.int64)])
    # Memory that is taken anew for each part costs as much as the product.
    memory = np.empty((len(queries), _ROWS), "float32")
    for start in range(0, len(matrix), _ROWS):
        end = min(start + _ROWS, len(matrix))
        # Rows are fewer than scores: they are made as long as each other, not these.
        part = np.asarray(matrix[start:end], "float32") / norms[start:end, None]
        scores = np.matmul(queries, part.T, out=memory[:, : end - start])
        lost = np.isnan(norms[start:end])
        if lost.any():
            scores[:, lost] = -np.inf
        here = (removed >= start) & (removed < end)
        scores[owners[here], removed[here] - start] = -np.inf
        if not start and end > k:
            # Of the first rows nearly all would be better than nothing.
            kth = np.partition(scores, end - k, axis=1)[:, end - k]
            least = np.nextafter(kth, np.float32(-np.inf))
        for i in np.flatnonzero(scores.max(axis=1) > least).tolist():
            rows = np.flatnonzero(scores[i] > least[i])
            all_rows = np.concatenate([best_rows[i], rows + start])
            values = np.concatenate([best_values[i], scores[i, rows]])
            order = np.lexsort((all_rows, -values))[:k]
            best_rows[i], best_values[i] = all_rows[order], values[order]
            if len(order) == k:
                least[i] = values[order[-1]]
    return list(zip(best_rows, best_values, strict=True))

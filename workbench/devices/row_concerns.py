"""What the number of rows has to do with the number of replicas."""

import keras

from workbench.devices.concerns import Concern
from workbench.steps.replicas import split_rows


def about_rows(data, batch_size, replicas, *, raises):
    """Yields the concerns about the number of rows.

    Args:
        data: `(x, y)`, a batched `tf.data.Dataset`, or None.
        batch_size: int, rows of a batch of arrays.
        replicas: int.
        raises: bool, whether the strategy itself refuses fewer rows than replicas.
    """
    rows, size = _count(data, batch_size)
    rest = rows % size if rows is not None and size else 0
    for each in (size, rest):
        if each and 0 in split_rows(each, replicas):
            yield Concern(
                "fewer-rows-than-replicas",
                f"{'batches' if each == size else 'a last batch'} of {each} rows for "
                f"{replicas} replicas",
                "`fit` and `evaluate` raise an error before the first step."
                if raises
                else "Some replicas would get no row, and training go on with wrong "
                "means.",
                f"take batches of at least {replicas} rows, best of a number that "
                f"{replicas} divides, and leave a smaller rest out.",
                fails=raises,
                refused=True,
                argument="data",
            )
            return
    if size is not None and size % replicas:
        yield Concern(
            "uneven-batch",
            f"batches of {size} rows for {replicas} replicas",
            "Rows of a smaller share weigh more in the mean of the gradients.",
            f"take a batch that {replicas} divides.",
        )
    if rest % replicas:
        yield Concern(
            "partial-batch",
            f"the last batch has {rest} of {size} rows for {replicas} replicas",
            "Its rows are dealt out unevenly and weigh differently.",
            "leave the rest out, or take a number of rows that fits.",
        )


def _count(data, batch_size):
    """Rows in all and rows of a batch, None where they are not known."""
    if data is None:
        return None, batch_size
    if isinstance(data, (tuple, list)):
        arrays = keras.tree.flatten(data)
        return len(next(a for a in arrays if a is not None)), batch_size
    size = None
    for shape in _shapes(getattr(data, "element_spec", None)):
        size = shape[0] if len(shape) else None
        break
    return None, size


def _shapes(spec):
    if isinstance(spec, (tuple, list)):
        for part in spec:
            yield from _shapes(part)
    elif isinstance(spec, dict):
        yield from _shapes(list(spec.values()))
    elif spec is not None:
        yield spec.shape

"""Checkpoints in words and rows."""

from workbench.reports import Table, format_bytes


def describe(checkpoint):
    """Says in a few words where a checkpoint lies."""
    return f"after step {checkpoint.steps} (epoch {checkpoint.epoch + 1})"


def say(checkpoints, damaged, branched):
    """Says in a sentence or two what a folder holds.

    Args:
        checkpoints: Tuple of `workbench.checkpoints.Checkpoint`, oldest first.
        damaged: dict name -> what is wrong.
        branched: str, the folder of the last branch, or "".

    Returns:
        str.
    """
    text = "There is no checkpoint yet."
    if checkpoints:
        newest = checkpoints[-1]
        ends = "is the end of training" if newest.finished else "is where it goes on"
        text = f"The newest, after step {newest.steps}, {ends}."
    if damaged:
        text += f" Damaged: {len(damaged)}; the newest whole one is used."
    if branched:
        text += f" A branch is in {branched}: name it as `filepath`."
    return text


def table_of(checkpoints, damaged, checked, chosen):
    """Puts checkpoints into rows, and under them the damaged ones.

    Args:
        checkpoints: Sequence of `workbench.checkpoints.Checkpoint`, in this order.
        damaged: dict name -> what is wrong.
        checked: Set of the names that were checked to the last byte.
        chosen: str, name.

    Returns:
        `workbench.reports.Table`.
    """
    names = sorted({name for c in checkpoints for name in c.metrics})
    rows = []
    for checkpoint in checkpoints:
        name = checkpoint.name
        values = [checkpoint.metrics.get(metric) for metric in names]
        rows.append(
            (
                f"▸ {name}" if name == chosen else name,
                f"{checkpoint.epoch} + {checkpoint.step} steps",
                *("" if value is None else f"{value:.4f}" for value in values),
                f"{checkpoint.saved.astimezone():%Y-%m-%d %H:%M:%S}",
                format_bytes(checkpoint.bytes),
                "every byte" if name in checked else "manifest",
            )
        )
    blank = [""] * (len(names) + 3)
    rows += [(name, *blank, f"damaged: {wrong}") for name, wrong in damaged.items()]
    columns = ("checkpoint", "epochs done", *names, "saved", "size", "checked")
    return Table(columns, tuple(rows))

"""Results in one `.npz`: arrays, and a head in JSON that says what they are."""

import contextlib
import json

import numpy as np

from workbench import files


def save(filepath, head, arrays):
    """Writes a result, whole or not at all.

    Args:
        filepath: str or path; its folder must exist.
        head: Dict that JSON can carry; "format" says what the file is.
        arrays: Dict of name -> array.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    with files.atomic_write(filepath) as file:
        np.savez_compressed(file, head=np.array(json.dumps(head)), **arrays)


@contextlib.contextmanager
def opened(filepath, form, writer):
    """Opens what `save` wrote; nothing in the file is run.

    Args:
        filepath: str or path.
        form: str, the "format" that the head must have.
        writer: str, what writes such files, for the error.

    Yields:
        `(head, arrays)`, dict and mapping of name -> array.

    Raises:
        ValueError: If the file holds something else.
    """
    with np.load(filepath, allow_pickle=False) as arrays:
        head = json.loads(str(arrays["head"])) if "head" in arrays else {}
        if head.get("format") != form:
            raise ValueError(
                f"`filepath` must name a file that {writer} wrote. "
                f"Received: filepath={filepath}"
            )
        yield head, arrays

"""Puts a notebook's answers back to how they were handed out."""

import json
import pathlib

from workbench.course.progress import forget
from workbench.files import atomic_write


def reset(notebook, folder="."):
    """Empties the answers of one notebook and forgets which of them were passed.

    Every other cell stays as it is. If the notebook is open, reload it afterwards
    (*File*, *Reload Notebook from Disk*).

    Args:
        notebook: str, the notebook's name without its ending, such as "04_clipping".
        folder: str or path of the folder that it lies in.

    Returns:
        int, how many answers were put back.

    Raises:
        FileNotFoundError: If there is no such notebook in the folder.
    """
    path = pathlib.Path(folder, f"{notebook}.ipynb")
    if not path.exists():
        raise FileNotFoundError(
            f"`notebook` must be the name of a notebook in {path.parent.resolve().name}"
            f', such as "04_clipping". Received: notebook={notebook!r}'
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    answers = [cell for cell in content["cells"] if "start" in cell["metadata"]]
    for cell in answers:
        cell["source"] = cell["metadata"]["start"].splitlines(keepends=True)
        cell["outputs"], cell["execution_count"] = [], None
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())
    forget(notebook)
    return len(answers)

"""Runs notebooks and stores their outputs, the way nbval compares them.

Usage: python tests/store_outputs.py [notebooks/05_learning_rate.ipynb …]
"""

import os
import pathlib
import sys
import time

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parent.parent


def store(path):
    """Runs one notebook in its folder and writes it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    language = notebook.metadata.get("language_info", {})
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": language.get("name", "python")},
    }
    nbformat.write(notebook, path)


def main(arguments):
    """Stores the named notebooks, or all."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["WORKBENCH_PROGRESS"] = os.devnull  # nobody has done anything yet
    paths = [pathlib.Path(name).resolve() for name in arguments]
    for path in paths or sorted((ROOT / "notebooks").rglob("*.ipynb")):
        start = time.perf_counter()
        store(path)
        print(f"{time.perf_counter() - start:6.1f} s  {path.name}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])

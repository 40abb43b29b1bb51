"""The operations on disk that a checkpoint is made of, one by one."""

import shutil

from workbench.checkpoints.uncached import write_safetensors
from workbench.files import sync


class Disk:
    """The operations that write a checkpoint, each a method of its own.

    A test puts another one in its place, which records them, fails, or ends the
    process in between.
    """

    def make_folder(self, path):
        """Creates a folder whose parent exists."""
        path.mkdir()

    def write_tensors(self, path, tensors):
        """Writes a safetensors file."""
        write_safetensors(path, tensors)

    def write_bytes(self, path, content):
        """Writes a file."""
        path.write_bytes(content)

    def sync(self, path):
        """Waits until a file's content, or a folder's list of names, is on disk."""
        sync(path)

    def rename(self, path, new_path):
        """Renames a folder, in one step."""
        path.rename(new_path)

    def remove(self, path):
        """Removes a folder and what is in it."""
        shutil.rmtree(path)

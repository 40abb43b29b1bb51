"""Saving in the background: one write at a time, failures kept for the training."""

import concurrent.futures


class BackgroundWriter:
    """Writes checkpoints in a thread of its own.

    Args:
        store: `workbench.checkpoints.store.Store`.
        keep: int, how many checkpoints stay.
    """

    def __init__(self, store, keep):
        self._store = store
        self._keep = keep
        self._thread = concurrent.futures.ThreadPoolExecutor(
            1, thread_name_prefix="workbench-checkpoint"
        )
        self._write = None
        self.failure = None

    def submit(self, tensors, manifest, by_hash=None):
        """Begins a write, see `Store.write`; `wait` must have come before."""
        self._write = self._thread.submit(
            self._store.write, tensors, manifest, self._keep, by_hash
        )

    def wait(self):
        """Waits for the write that was begun; until then its arrays must not change.

        Returns:
            OSError of a write that failed, else None.
        """
        write, self._write = self._write, None
        if write is None:
            return None
        try:
            write.result()
        except OSError as error:
            self.failure = error
            return error
        return None

    @property
    def failed(self):
        """bool, whether the last write has ended in an error that nobody asked for."""
        write = self._write
        return write is not None and write.done() and write.exception() is not None

    def close(self):
        """Ends the thread; `wait` must have come before."""
        self._thread.shutdown()

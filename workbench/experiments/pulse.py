"""Whether an executor can still go on, and on how many workers."""

import threading
import time

_SECONDS_BETWEEN_LOOKS = 1.0
_PATIENCE = 8.0  # seconds; a worker that is started again takes fewer


class Pulse:
    """Context that looks after the cluster behind an executor.

    Executors of the standard library end their own tasks when something dies. Dask's
    waits for ever for a worker, and half a minute for a scheduler.

    Args:
        executor: `concurrent.futures.Executor`, also what Dask's
            `Client.get_executor()` gives.

    Attributes:
        slots: int, tasks that can run at once; None where it is not known.
    """

    def __init__(self, executor):
        client = getattr(executor, "_client", None)
        self._client = client if hasattr(client, "nthreads") else None
        self.slots = getattr(executor, "_max_workers", None)
        self._answered = time.monotonic()
        self._had_workers = False
        self._leave = threading.Event()

    def __enter__(self):
        if self._client is not None:
            self._look()
            threading.Thread(target=self._look_often, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._leave.set()

    def problem(self):
        """Says what is wrong for good with the cluster.

        Returns:
            str, empty when it can go on.
        """
        silent = time.monotonic() - self._answered
        if self._client is None or silent < _PATIENCE:
            return ""
        if self.slots == 0:
            return f"the cluster has had no worker for {silent:.0f} s"
        return f"the scheduler of the cluster has not answered for {silent:.0f} s"

    def _look_often(self):
        # It may hang in a cluster that is gone, and is then left to itself.
        while not self._leave.wait(_SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self):
        try:
            self.slots = sum(self._client.nthreads().values())
        except Exception:  # noqa: BLE001, whatever it is, that is no answer
            return
        self._had_workers |= self.slots > 0
        # A cluster may take long to start; only what it lost is missing.
        if self.slots or not self._had_workers:
            self._answered = time.monotonic()

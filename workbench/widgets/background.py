"""A comparison that trains in the background, can be watched, and can be ended."""

import threading
import time

from workbench.experiments import comparing
from workbench.steps import ThreadState


class BackgroundComparison:
    """What `workbench.experiments.compare` does, in a thread of its own.

    Attributes:
        ended: `threading.Event`, set when nothing trains any more.
        result: `workbench.experiments.Comparison`, None before the end.
        error: Exception that ended it, or None.

    Args:
        build, data, variants: As for `compare`.
        **arguments: `epochs`, `batch_size`, `seed` and `validation_data`, likewise.
    """

    def __init__(self, build, data, variants, **arguments):
        self.ended = threading.Event()
        self.result = None
        self.error = None
        self._build = build
        self._data = data
        self._variants = variants
        numbers = {"epochs": 1, "batch_size": 32, "seed": 0, **arguments}
        self._held_out = numbers.pop("validation_data", None)
        self._numbers = numbers
        self._done = 0
        self._total = 0
        self._stop = False
        self._thread = threading.Thread(
            target=self._run,
            args=(ThreadState(),),
            name="workbench-comparison",
            daemon=True,
        )

    def start(self):
        """Starts in the background and returns the comparison at once."""
        self._thread.start()
        return self

    def stop(self):
        """Ends all variants with what they have; returns at once."""
        self._stop = True

    def wait(self, timeout=None):
        """Blocks until the end, at most `timeout` seconds; returns whether it came."""
        return self.ended.wait(timeout)

    @property
    def share(self):
        """Float in [0, 1], the share of all steps that is done."""
        if self.result is not None:
            return 1.0
        return min(self._done / self._total, 1.0) if self._total else 0.0

    def add(self, steps):
        """Counts steps, as a progress bar of `compare` does; ends them if asked to."""
        self._done += steps
        if self._stop:
            raise KeyboardInterrupt

    def close(self):
        """Ends a progress bar, of which there is none."""

    def _begin(self, steps):
        self._total = steps
        return self

    def _run(self, state):
        state.adopt()
        try:
            self._compare()
        except Exception as error:  # noqa: BLE001, shown by who looks at it
            self.error = error
        finally:
            self.ended.set()

    def _compare(self):
        begun = time.perf_counter()
        results, interrupted = comparing.run_here(
            self._build,
            self._data,
            self._variants,
            self._held_out,
            loss=None,
            make_bar=self._begin,
            **self._numbers,
        )
        seconds = time.perf_counter() - begun
        self.result = comparing.gathered(self._variants, results, interrupted, seconds)

"""What trains in the background of a panel, can be watched, and can be ended."""

import threading
import time

from workbench.experiments import comparing
from workbench.schedules import find_learning_rate
from workbench.steps import ThreadState


class BackgroundWork:
    """A computation in a thread of its own, which it tells of its steps.

    A subclass sets `result` in `_work`, and gives `_begin` to it as `make_bar`.

    Attributes:
        ended: `threading.Event`, set when nothing trains any more.
        result: What came out, None before the end.
        error: Exception that ended it, or None.

    Args:
        name: str, of the thread.
    """

    def __init__(self, name):
        self.ended = threading.Event()
        self.result = None
        self.error = None
        self._done = 0
        self._total = 0
        self._stop = False
        self._thread = threading.Thread(
            target=self._run, args=(ThreadState(),), name=name, daemon=True
        )

    def start(self):
        """Starts in the background and returns this object at once."""
        self._thread.start()
        return self

    def stop(self):
        """Ends it with what it has; returns at once."""
        self._stop = True

    def wait(self, timeout=None):
        """Blocks until the end, at most `timeout` seconds; returns whether it came."""
        return self.ended.wait(timeout)

    @property
    def share(self):
        """Float in [0, 1], the share of the expected steps that is done."""
        if self.result is not None:
            return 1.0
        return min(self._done / self._total, 1.0) if self._total else 0.0

    def add(self, steps=1):
        """Counts steps, as a progress bar does; ends the work if asked to."""
        self._done += steps
        if self._stop:
            raise KeyboardInterrupt

    def close(self):
        """Ends a progress bar, of which there is none."""

    def _begin(self, steps):
        self._total = steps
        return self

    def _work(self):
        raise NotImplementedError

    def _run(self, state):
        state.adopt()
        try:
            self._work()
        except KeyboardInterrupt:
            pass  # as `stop` asked for
        except Exception as error:  # noqa: BLE001, shown by who looks at it
            self.error = error
        finally:
            self.ended.set()


class BackgroundComparison(BackgroundWork):
    """What `workbench.experiments.compare` does; `result` is its `Comparison`.

    Args:
        build, data, variants: As for `compare`.
        **arguments: `epochs`, `batch_size`, `seed` and `validation_data`, likewise.
    """

    def __init__(self, build, data, variants, **arguments):
        super().__init__("workbench-comparison")
        self._build = build
        self._data = data
        self._variants = variants
        numbers = {"epochs": 1, "batch_size": 32, "seed": 0, **arguments}
        self._held_out = numbers.pop("validation_data", None)
        self._numbers = numbers

    def _work(self):
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


class BackgroundSearch(BackgroundWork):
    """What `workbench.schedules.find_learning_rate` does; stopped, without a result.

    Args:
        make: Function without arguments that returns a compiled copy of the model.
        data: As for `find_learning_rate`.
        batch_size: Likewise.
    """

    def __init__(self, make, data, batch_size):
        super().__init__("workbench-search")
        self._make, self._data, self._batch_size = make, data, batch_size

    def _work(self):
        self.result = find_learning_rate(
            self._make(),
            self._data,
            batch_size=self._batch_size,
            make_bar=self._begin,
        )

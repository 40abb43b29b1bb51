"""Finding a learning rate on a copy of a model, from a panel."""

import threading

import traitlets

from workbench.schedules import find_learning_rate
from workbench.steps import ThreadState
from workbench.widgets.panel import Panel


class BackgroundSearch:
    """What `workbench.schedules.find_learning_rate` does, in a thread of its own.

    Attributes:
        ended: `threading.Event`, set when nothing trains any more.
        result: `workbench.schedules.RangeTest`, None before the end or when stopped.
        error: Exception that ended it, or None.

    Args:
        make: Function without arguments that returns a compiled copy of the model.
        data: As for `find_learning_rate`.
        batch_size: Likewise.
    """

    def __init__(self, make, data, batch_size):
        self.ended = threading.Event()
        self.result = self.error = None
        self._make, self._data, self._batch_size = make, data, batch_size
        self._done = self._total = 0
        self._stop = False
        self._thread = threading.Thread(
            target=self._run,
            args=(ThreadState(),),
            name="workbench-search",
            daemon=True,
        )

    def start(self):
        """Starts in the background and returns the search at once."""
        self._thread.start()
        return self

    def stop(self):
        """Ends it without a result; returns at once."""
        self._stop = True

    @property
    def share(self):
        """Float in [0, 1], the share of the expected steps that is done."""
        return min(self._done / self._total, 1.0) if self._total else 0.0

    def add(self, steps=1):
        """Counts steps, as a progress bar does; ends the search if asked to."""
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
            self.result = find_learning_rate(
                self._make(),
                self._data,
                batch_size=self._batch_size,
                make_bar=self._begin,
            )
        except KeyboardInterrupt:
            pass
        except Exception as error:  # noqa: BLE001, shown by who looks at it
            self.error = error
        finally:
            self.ended.set()


class Finding(Panel):
    """Base of a panel that finds a learning rate for copies of a model.

    A subclass sets `_view`, `_data` and `_arguments`, and makes copies in
    `_copy_to_test`.

    Attributes:
        finding: Trait, bool, whether a search is under way. Read only, as all that
            follow.
        suggestion: Trait, float, the rate that was found, 0 before.
        interval: Trait, tuple `(low, high)`, where rates are nearly as good.
        range_test: `workbench.schedules.RangeTest`, or None.
    """

    finding = traitlets.Bool()
    suggestion = traitlets.Float()
    interval = traitlets.Tuple()
    range_test = None
    _search = None

    def _copy_to_test(self):
        """Returns a compiled copy of the model, to find a rate for."""
        raise NotImplementedError

    def find(self):
        """Finds a rate in the background; returns at once.

        Raises:
            RuntimeError: If a search is under way already.
        """
        if self.finding:
            raise RuntimeError("A search is under way already; wait until it ends.")
        self._copies.check_weights(new_weights=self.new_weights)
        self._search = BackgroundSearch(
            self._copy_to_test, self._data, self._arguments["batch_size"]
        ).start()
        self.finding = True
        self._wake.set()

    def use_suggestion(self):
        """Scales the chosen schedule so that its highest rate is the suggestion.

        Raises:
            RuntimeError: If none was found yet.
        """
        if not self.suggestion:
            raise RuntimeError("No rate was found yet; call `find()` first.")
        self.scale(float(f"{self.suggestion:.2g}"))

    def _follow_search(self):
        """Shows how far it is, and what came out; for the beat."""
        search = self._search
        if search is None:
            return
        self._view.show_search(search.share)
        if not search.ended.is_set():
            return
        self._search = None
        if search.error is not None:
            self.error = f"{type(search.error).__name__}: {search.error}"
            self._view.show_search(None)
        elif search.result is not None:
            self.range_test = search.result
            self.interval = search.result.interval
            self.suggestion = search.result.suggestion
            self._view.show_found(search.result)
        self.finding = False

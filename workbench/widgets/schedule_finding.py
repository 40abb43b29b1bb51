"""Finding a learning rate on a copy of a model, from a panel."""

import traitlets

from workbench.widgets.background import BackgroundSearch
from workbench.widgets.panel import Panel


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

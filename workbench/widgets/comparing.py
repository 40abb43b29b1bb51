"""Comparing ways to train copies of a model, from a panel."""

import functools
import math

import traitlets

from workbench.widgets.background import BackgroundComparison
from workbench.widgets.copy_training import ENDED, CopyTraining


class Comparing(CopyTraining):
    """Base of a panel that also trains one copy per chosen way, side by side.

    A subclass has `_refresh` and `_draw`, and sets `_copies`
    (`model_copies.ModelCopies`), `_data`, `_arguments` (`epochs`, `batch_size` and what
    else `BackgroundComparison` takes) and `_view`, whose `chosen` and `new_weights`
    hold widgets and whose `bar` shows how far it is.

    Attributes:
        new_weights: Trait, bool, whether copies begin with new weights.
        chosen: Trait, tuple of str, the ways to compare.
        comparing: Trait, bool, whether a comparison trains.
        compared: Trait, float in [0, 1], how much of it is done.
        comparison: `workbench.experiments.Comparison`, or None.
    """

    new_weights = traitlets.Bool()
    chosen = traitlets.Tuple()
    comparing = traitlets.Bool()
    compared = traitlets.Float()
    comparison = None
    _background = None

    def _names(self):
        """Returns what can be compared, iterable of str."""
        raise NotImplementedError

    def _plan(self):
        """Returns what is chosen, as for `workbench.experiments.compare`.

        Returns:
            `(build, variants)`.
        """
        raise NotImplementedError

    def _build(self):
        """Returns the function that makes a copy as the reader wants it now."""
        return functools.partial(self._copies.make, new_weights=self.new_weights)

    def _show_comparison(self):
        """Shows `self.comparison`, which is new."""
        raise NotImplementedError

    def _connect(self):
        super()._connect()
        for name in ("chosen", "new_weights"):
            traitlets.link((self, name), (getattr(self._view, name), "value"))

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal):
        names, known = proposal["value"], list(self._names())
        if not set(names) <= set(known):
            raise ValueError(
                f"`chosen` must name some of {known}. Received: chosen={names}"
            )
        return names

    def compare(self):
        """Trains one copy for each that is chosen, side by side; returns at once.

        Raises:
            RuntimeError: If a comparison trains already.
            ValueError: If nothing is chosen, or the weights are not finite.
        """
        if self.comparing:
            raise RuntimeError("A comparison trains already; end it first: `end()`.")
        if not self.chosen:
            raise ValueError("`chosen` must name at least one. Received: chosen=()")
        self._copies.check_weights(new_weights=self.new_weights)
        build, variants = self._plan()
        self.compared, self.comparing = 0.0, True
        self._background = BackgroundComparison(
            build, self._data, variants, **self._arguments
        ).start()
        self._wake.set()

    def end(self):
        """Ends the comparison with what it has; returns at once."""
        if self._background is not None:
            self._background.stop()

    @property
    def _is_busy(self):
        """bool, whether something beside the run trains."""
        return self.comparing

    def _beat(self):
        rest = self._refresh_and_draw(self._follow, self._draw)
        # What was shown decides: the run may have ended since it was read.
        resting = self.run is None or self.state in ENDED
        return math.inf if resting and not self._is_busy else rest

    def _follow(self):
        before = self.state
        self._follow_comparison()
        self._refresh()
        # A run that stands still is drawn at once: its last state is what is shown.
        return self.state not in (before, "running")

    def _refresh(self):
        raise NotImplementedError

    def _draw(self):
        raise NotImplementedError

    def _follow_comparison(self):
        """Shows how far it is, and what came out; for the beat."""
        background = self._background
        if background is None:
            return
        self.compared = self._view.bar.value = background.share
        if not background.ended.is_set():
            return
        self._background = None
        error = background.error
        if error is None:
            try:
                self.comparison = background.result
                self._show_comparison()
                self.compared = 1.0
            except Exception as unshown:  # noqa: BLE001, shown instead of lost
                error = unshown
        if error is not None:
            self.error = f"{type(error).__name__}: {error}"
        self.comparing = False

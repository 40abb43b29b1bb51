"""Comparing clip methods on copies of a model, from a panel."""

import functools

import traitlets

from workbench.experiments import Variant
from workbench.widgets.background import BackgroundComparison
from workbench.widgets.clip_choice import ClipChoice


class ClipComparing(ClipChoice):
    """Base of a panel that trains one copy of a model per chosen method.

    Attributes:
        new_weights: Trait, bool, whether copies begin with new weights.
        chosen: Trait, tuple of str, the methods to compare.
        comparing: Trait, bool, whether a comparison trains.
        compared: Trait, float in [0, 1], how much of it is done.
        comparison: `workbench.experiments.Comparison`, or None.

    Args:
        copies: `model_copies.ModelCopies`.
        data: Tuple of arrays, or a dataset.
        clips: Dict of name -> clip method.
        view: `clip_view.ClipView`.
        **arguments: `epochs` and `batch_size`.
    """

    new_weights = traitlets.Bool()
    chosen = traitlets.Tuple()
    comparing = traitlets.Bool()
    compared = traitlets.Float()
    comparison = None
    _background = None

    def __init__(self, copies, data, clips, view, **arguments):
        self._copies = copies
        self._data = data
        self._arguments = arguments
        super().__init__(clips, view)

    def _connect(self):
        super()._connect()
        for name in ("chosen", "new_weights"):
            traitlets.link((self, name), (getattr(self._view, name), "value"))

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal):
        names = proposal["value"]
        if not set(names) <= set(self._clips):
            raise ValueError(
                f"`chosen` must name methods among {list(self._clips)}. "
                f"Received: chosen={names}"
            )
        return names

    def compare(self):
        """Trains one copy per chosen method side by side; returns at once.

        Raises:
            RuntimeError: If a comparison trains already.
            ValueError: If no method is chosen, or the weights are not finite.
        """
        if self.comparing:
            raise RuntimeError("A comparison trains already; end it first: `end()`.")
        if not self.chosen:
            raise ValueError(
                "`chosen` must name at least one method. Received: chosen=()"
            )
        self._copies.check_weights(new_weights=self.new_weights)
        self._compared_clips = {name: self._clips[name] for name in self.chosen}
        variants = {n: Variant(clip=c) for n, c in self._compared_clips.items()}
        build = functools.partial(self._copies.make, new_weights=self.new_weights)
        self._background = BackgroundComparison(
            build, self._data, variants, **self._arguments
        ).start()
        self.compared, self.comparing = 0.0, True
        self._wake.set()

    def end(self):
        """Ends the comparison with what it has; returns at once."""
        if self._background is not None:
            self._background.stop()

    def _follow_comparison(self):
        """Shows how far it is, and what came out; for the beat."""
        background = self._background
        if background is None:
            return
        self.compared = self._view.bar.value = background.share
        if not background.ended.is_set():
            return
        self._background = None
        if background.error is not None:
            error = background.error
            self.error = f"{type(error).__name__}: {error}"
        else:
            self.comparison = background.result
            self._view.show_comparison(self.comparison, self._compared_clips)
            self.compared = 1.0
        self.comparing = False

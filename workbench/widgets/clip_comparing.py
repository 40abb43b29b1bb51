"""Comparing clip methods on copies of a model, from a panel."""

from workbench.experiments import Variant
from workbench.widgets.clip_choice import ClipChoice
from workbench.widgets.comparing import Comparing


class ClipComparing(Comparing, ClipChoice):
    """Base of a panel that trains one copy of a model per chosen method.

    Args:
        copies: `model_copies.ModelCopies`.
        data: Tuple of arrays, or a dataset.
        clips: Dict of name -> clip method.
        view: `clip_view.ClipView`.
        **arguments: `epochs` and `batch_size`.
    """

    def __init__(self, copies, data, clips, view, **arguments):
        self._copies = copies
        self._data = data
        self._arguments = arguments
        super().__init__(clips, view)

    def _names(self):
        return self._clips

    def _plan(self):
        clips = {name: self._clips[name] for name in self.chosen}
        self._compared_clips = clips
        return self._build(), {name: Variant(clip=c) for name, c in clips.items()}

    def _show_comparison(self):
        self._view.show_comparison(self.comparison, self._compared_clips)

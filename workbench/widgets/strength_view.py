"""What the Strength Map looks like: its widgets, and how they show what happens."""

from workbench.plots import image_tag, to_png
from workbench.widgets.copy_view import CopyView

_NAMES = {
    "way": "Penalty",
    "number": "Strength",
    "many": "Map every strength",
    "compare": "Draw the map",
}
_EXPLANATION = (
    "Each kind of penalty trains your model from new weights at seven strengths."
    "<br>Ctrl-click chooses several kinds."
)


class StrengthView(CopyView):
    """The widgets of the Strength Map and their places.

    Args:
        kinds: List of str, penalties whose strength a running training follows.
        every: List of str, the kinds that the map can draw.
        can_keep: bool, whether there is a model to put weights into.
    """

    def __init__(self, kinds, every, *, can_keep):
        super().__init__(kinds, every, _NAMES, _EXPLANATION, can_keep=can_keep)

    def show_progress(self, progress, numbers, *, paused):
        """Shows where a run stands.

        Args:
            progress: `workbench.training.Progress`, or None before the first start.
            numbers: Dict of name -> str, the newest numbers.
            paused: bool, whether the run stands still, or will.
        """
        text = "Ready. Your model is only copied, never changed."
        if progress is not None:
            parts = [
                progress.state.capitalize(),
                f"step {progress.step} of {progress.total_steps or '?'}",
                *(f"{name} {number}" for name, number in numbers.items()),
            ]
            text = " · ".join(parts)
        self.show_text(text, paused=paused)

    def show_map(self, grid):
        """Shows a `workbench.experiments.StrengthGrid` as picture and table."""
        if not grid.values:
            self.curves.value = ""
            self.table.value = "Ended before a training had come to its end."
            return
        alt = (
            "Accuracy, data loss, norm and share of zeros over the strength of "
            f"{', '.join(grid.kinds)}; median and spread over {len(grid.seeds)} seeds."
        )
        self.curves.value = image_tag(to_png(grid.plot()), alt)
        self.table.value = (
            f"<details><summary>The numbers</summary>{grid._repr_html_()}</details>"
        )

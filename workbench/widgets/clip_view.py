"""What Clip Lab looks like: its widgets, and how they show what happens."""

import html

import ipywidgets

from workbench.plots import image_tag, to_png
from workbench.plots.clipping import plot_methods
from workbench.widgets import clip_reading
from workbench.widgets.copy_view import CopyView

_ALERT = "color:#8c1d18;background:#fdecea;padding:0.4em 0.8em;max-width:64em"
_NAMES = {
    "way": "Clip",
    "number": "Threshold",
    "many": "Compare methods side by side",
    "compare": "Compare methods",
}
_EXPLANATION = (
    "Each method trains a copy of your model, all from the same weights over "
    "the same batches.<br>Ctrl-click chooses several."
)


class ClipView(CopyView):
    """The widgets of Clip Lab and their places.

    Args:
        methods: List of str.
        can_keep: bool, whether there is a model to put weights into.
    """

    def __init__(self, methods, *, can_keep):
        super().__init__(methods, methods, _NAMES, _EXPLANATION, can_keep=can_keep)
        self.method, self.threshold = self.way, self.number
        self.problem = ipywidgets.HTML()
        self.apply_remedy = ipywidgets.Button(
            icon="medkit",
            button_style="warning",
            layout={"width": "auto", "align_self": "flex-start"},
        )
        place = self.rows.index(self.plot)
        self.rows[place:place] = [self.problem, self.apply_remedy]
        self.show_problem(None)

    def show_problem(self, diagnosis):
        """Shows a `clip_reading.Diagnosis` and its remedy; None for none."""
        text = html.escape(diagnosis.text) if diagnosis else ""
        self.problem.value = text and f'<div role="alert" style="{_ALERT}">{text}</div>'
        threshold = diagnosis.threshold if diagnosis else None
        self.apply_remedy.layout.display = "none" if threshold is None else ""
        if threshold is not None:
            self.apply_remedy.description = (
                f"Clip by global norm at {threshold:.2g} and start again"
            )

    def show_progress(self, progress, layers, *, paused):
        """Shows where a run stands.

        Args:
            progress: `workbench.training.Progress`, or None before the first start.
            layers: `workbench.training.LayerRecords` or None.
            paused: bool, whether the run stands still, or will.
        """
        text = "Ready. Your model is only copied, never changed."
        if progress is not None:
            text = clip_reading.describe(progress, layers)
        self.show_text(text, paused=paused)

    def show_comparison(self, comparison, clips):
        """Shows what each method came to.

        Args:
            comparison: `workbench.experiments.Comparison`.
            clips: Dict of the same names -> clip method.
        """
        self.table.value = clip_reading.comparison_table(comparison, clips)
        figure = plot_methods({"Copies of your model": comparison})
        alt = "Loss, gradient norm and share of clipped steps of each method."
        self.curves.value = image_tag(to_png(figure), alt)

"""A panel that shows the checkpoints of a training, and goes another way from one."""

import html
import pathlib

import ipywidgets
import traitlets

from workbench import checkpoints as engine
from workbench.plots import image_tag, to_png
from workbench.plots.checkpoints import plot_checkpoints
from workbench.reports import render_html
from workbench.widgets.panel import Panel, shows_errors
from workbench.widgets.resume_reading import FolderReader
from workbench.widgets.resume_view import describe, say, table_of

_WIDE = {"description_width": "7em"}


class ResumePanel(Panel):
    """Shows the checkpoints in a folder and their metrics, also while training writes.

    Every control is a trait; setting it from Python does what the mouse does. Nothing
    in the folder is changed: a branch is a copy in a new one.

    Attributes:
        filepath: Trait, str, the folder.
        chosen: Trait, str, the name of the checkpoint to look at or to branch from; ""
            where there is none.
        metric: Trait, str, the metric of the curve.
        new_filepath: Trait, str, the folder that `branch` makes.
        checkpoints: Trait, tuple of `workbench.checkpoints.Checkpoint`, oldest first.
            Read only, as all that follow.
        damaged: Trait, dict of name -> what is wrong with it.
        report: Trait, what `explain` found last, else None.
        branched: Trait, str, the folder that was made last, else "".
        error: Trait, str, what went wrong in the last callback, else "".

    Args:
        source: str or path of a folder of checkpoints, or a `workbench.training.Run`
            with a `filepath`.
        model: `keras.Model` for `explain`; None for the run's own.

    Raises:
        ValueError: If `source` is a run without a `filepath`.
    """

    filepath = traitlets.Unicode()
    chosen = traitlets.Unicode()
    metric = traitlets.Unicode("loss")
    new_filepath = traitlets.Unicode()
    checkpoints = traitlets.Tuple()
    damaged = traitlets.Dict()
    report = traitlets.Any()
    branched = traitlets.Unicode()

    def __init__(self, source, model=None):
        if hasattr(source, "filepath"):
            if source.filepath is None:
                raise ValueError(
                    "`source` must be a folder of checkpoints, or a run that has one; "
                    f'give the run a `filepath="my_run"`. Received: source={source!r}'
                )
            model = source.model if model is None else model
            source = source.filepath
        self.model = model
        self._reader = FolderReader(source)
        self._checked = frozenset()
        self._shown = None
        self._png = None
        self._folder = ipywidgets.Text(
            description="Folder",
            continuous_update=False,
            style=_WIDE,
            layout=ipywidgets.Layout(width="42em"),
        )
        self._choice = ipywidgets.Dropdown(description="Checkpoint", style=_WIDE)
        self._metrics = ipywidgets.Dropdown(description="Metric")
        self._explain = ipywidgets.Button(
            description="What would come back?",
            icon="question",
            tooltip="What this checkpoint brings back into the model, and what not",
            layout=ipywidgets.Layout(width="17em"),
        )
        self._target = ipywidgets.Text(
            description="New folder",
            continuous_update=False,
            style=_WIDE,
            layout=ipywidgets.Layout(width="42em"),
        )
        self._branch = ipywidgets.Button(
            description="Branch",
            icon="code-fork",
            button_style="primary",
            tooltip="Copies this checkpoint into the new folder, to go on from there",
        )
        self._text, self._table, self._plot, self._report_view = (
            ipywidgets.HTML() for _ in range(4)
        )
        super().__init__(
            [
                self._folder,
                self._text,
                self._table,
                ipywidgets.HBox([self._choice, self._metrics, self._explain]),
                self._plot,
                ipywidgets.HBox([self._target, self._branch]),
                self._report_view,
            ]
        )
        self._connect()
        self.filepath = str(source)
        self._refresh()
        self._draw()
        self._start_beat()

    def _connect(self):
        traitlets.link((self, "filepath"), (self._folder, "value"))
        traitlets.link((self, "new_filepath"), (self._target, "value"))
        self.observe(self._on_filepath, "filepath")
        self.observe(self._on_choice, ["chosen", "metric"])
        self._choice.observe(self._on_menu, "value")
        self._metrics.observe(self._on_menu, "value")
        self._explain.on_click(self._on_explain)
        self._branch.on_click(self._on_branch)

    # What the reader does

    def branch(self, new_filepath=None):
        """Copies the chosen checkpoint into a new folder.

        Args:
            new_filepath: str or path; None for the trait of that name.

        Returns:
            `workbench.checkpoints.Checkpoint`, the copy; `Run(…, filepath=…)` and
            `checkpoints.fit` go on from it.

        Raises:
            ValueError: If nothing is chosen, it is damaged, or the folder is not empty.
        """
        chosen = self._chosen_checkpoint()
        target = str(new_filepath or self.new_filepath)
        if not target:
            raise ValueError(
                "`new_filepath` must name a folder that is not there yet. Received: "
                f"new_filepath={target!r}"
            )
        copy = engine.branch(chosen, target)
        self.new_filepath = self.branched = target
        self._show()
        return copy

    def explain(self):
        """Says what the chosen checkpoint would bring back into the model.

        Returns:
            The report of `workbench.checkpoints.explain_restore`.

        Raises:
            ValueError: If nothing is chosen, or there is no model.
        """
        chosen = self._chosen_checkpoint()
        if self.model is None:
            raise ValueError(
                "`model` must be the keras.Model to go on with; make the panel with "
                f"`ResumePanel({self.filepath!r}, model)`. Received: model=None"
            )
        self.report = engine.explain_restore(chosen.path, self.model)
        self._report_view.value = self.report._repr_html_()
        return self.report

    def _chosen_checkpoint(self):
        for checkpoint in self.checkpoints:
            if checkpoint.name == self.chosen:
                return checkpoint
        wrong = self.damaged.get(self.chosen)
        why = f"it is damaged: {wrong}" if wrong else "there is none of that name"
        names = [checkpoint.name for checkpoint in self.checkpoints]
        raise ValueError(
            f"`chosen` must be one of {names} ({why}). Received: chosen={self.chosen!r}"
        )

    @shows_errors
    def _on_filepath(self, _change):
        self._reader = FolderReader(self.filepath)
        self.report, self.branched, self._report_view.value = None, "", ""
        with self._following():
            self.checkpoints, self.damaged, self.chosen = (), {}, ""
        self._text.value = ""
        self._refresh()
        self._draw()

    @shows_errors
    def _on_choice(self, change):
        if not self._is_following:
            with self._following():  # a refresh may have come between
                setattr(self, change["name"], change["new"])
            if self.chosen:
                self._chosen_checkpoint()
            self.report, self._report_view.value = None, ""
            self._show()
            self._draw()

    @shows_errors
    def _on_menu(self, change):
        if not self._is_following and change["new"] is not None:
            name = "chosen" if change["owner"] is self._choice else "metric"
            setattr(self, name, change["new"])

    @shows_errors
    def _on_explain(self, _button):
        self.explain()

    @shows_errors
    def _on_branch(self, _button):
        self.branch()

    # What the folder does

    def _beat(self):
        return self._refresh_and_draw(self._refresh, self._draw)

    def _refresh(self):
        with self._lock:
            before = self.checkpoints, self.damaged, self._checked
            after = self._reader.look()
            old, new = _newest_name(before[0]), _newest_name(after[0])
            with self._following():
                self.checkpoints, self.damaged, self._checked = after
                gone = all(c.name != self.chosen for c in after[0])
                if self.chosen != new and (self.chosen == old or gone):
                    self.chosen = new
            if after != before or not self._text.value:
                self._show()
            return after != before

    def _show(self):
        found = self.checkpoints[::-1]
        names = sorted({name for c in found for name in c.metrics})
        curves = [n for n in names if not n.startswith("val_")]
        with self._following():
            self._choice.options = [(describe(c), c.name) for c in found]
            self._choice.value = self.chosen if found else None
            if self.metric not in curves:
                curves.append(self.metric)
            self._metrics.options = curves
            self._metrics.value = self.metric
            if found and not self.new_filepath:
                folder = pathlib.Path(self.filepath)
                self.new_filepath = str(folder.with_name(f"{folder.name}-branch"))
        self._explain.disabled = not found or self.model is None
        self._branch.disabled = not found
        text = say(self.checkpoints, self.damaged, self.branched)
        self._text.value = f'<div role="status">{html.escape(text)}</div>'
        table = table_of(found, self.damaged, self._checked, self.chosen)
        self._table.value = render_html([table]) if found or self.damaged else ""

    def _draw(self):
        state = self.checkpoints, self.chosen, self.metric
        if self._shown == state:
            return
        self._shown = state
        chosen = next((c for c in self.checkpoints if c.name == self.chosen), None)
        figure = plot_checkpoints(self.checkpoints, self.metric, chosen)
        self._png = to_png(figure)
        self._plot.value = image_tag(self._png, self.alt)

    @property
    def alt(self):
        """str, in words what the curve shows now."""
        steps = ", ".join(str(c.steps) for c in self.checkpoints) or "none"
        return (
            f"{self.metric} over the steps of the training, with checkpoints after "
            f"steps: {steps}."
        )

    def _picture(self):
        return self._png

    def __repr__(self):
        return f"ResumePanel({pathlib.Path(self.filepath).name!r})"


def _newest_name(found):
    return found[-1].name if found else ""

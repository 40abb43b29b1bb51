"""What Schedule Studio looks like: its widgets, and how they show what happens."""

import functools
import html

import ipywidgets
import numpy as np

from workbench.experiments.contestants import CONTESTANTS
from workbench.plots import image_tag, plot_range_test, to_png
from workbench.reports import Table, render_html
from workbench.widgets.copy_view import CopyView
from workbench.widgets.panel import _parts

_NAMES = {
    "way": "Schedule",
    "number": "Rate now",
    "many": "Compare schedules side by side",
    "compare": "Compare schedules",
}
_EXPLANATION = (
    "Each schedule trains a copy of your model, all from the same weights over the "
    "same batches.<br>Ctrl-click chooses several; all that are chosen are drawn above."
)
_WIDE = {"description_width": "initial"}
_FIELD = {"width": "auto", "max_width": "19em"}
_AUTO = {"width": "auto"}
AS_COMPILED = "as compiled"


class ScheduleView(CopyView):
    """The widgets of Schedule Studio and their places.

    Args:
        schedules: List of str.
        can_keep: bool, whether there is a model to put weights into.
    """

    def __init__(self, schedules, *, can_keep):
        super().__init__(schedules, schedules, _NAMES, _EXPLANATION, can_keep=can_keep)
        self.schedule, self.learning_rate = self.way, self.number
        self.learning_rate.disabled = True
        self.optimizer = ipywidgets.Dropdown(
            options=[AS_COMPILED, *CONTESTANTS],
            description="Optimizer",
            layout={"width": "17em"},
        )
        self.rule = ipywidgets.HTML()
        # Not by its name: Keras's cosine decay has a setting of that name.
        self.warmup_steps = ipywidgets.BoundedIntText(
            description="steps of warmup before", max=10**9, style=_WIDE, layout=_FIELD
        )
        self.settings = ipywidgets.HBox(layout={"flex_flow": "row wrap"})
        self.log_scale = ipywidgets.Checkbox(
            description="Logarithmic", indent=False, layout={"width": "8em"}
        )
        self.give_back = ipywidgets.Button(
            description="Give back",
            icon="undo",
            tooltip="Let the schedule decide the rate again",
        )
        self.momentum = ipywidgets.FloatSlider(
            description="Momentum now",
            max=0.999,
            step=0.001,
            readout_format=".3f",
            style=_WIDE,
            disabled=True,
        )
        self._make_rewinding()
        self._make_finding()
        title, numbers, buttons, *_ = self.rows
        title.value = "<b>Choose and edit a schedule</b>"
        numbers.children = [self.learning_rate, self.number_value, self.give_back]
        self.rows[:] = [
            title,
            ipywidgets.HBox([self.schedule, self.optimizer, self.log_scale]),
            self.settings,
            self.rule,
            ipywidgets.HBox([self.find, self.search, self.use_suggestion]),
            self.found,
            self.plot,
            ipywidgets.HTML("<b>Train one copy of your model with it</b>"),
            buttons,
            self.text,
            numbers,
            self.momentum,
            ipywidgets.HBox([self.rewind_step, self.rewind_rate, self.rewind]),
            *self.rows[5:],
        ]
        self.show_search(None)

    def _make_rewinding(self):
        self.rewind_step = ipywidgets.IntSlider(
            description="Back to step", style=_WIDE, max=0
        )
        self.rewind_rate = ipywidgets.FloatText(
            description="then with rate (0: as it was)", style=_WIDE, layout=_FIELD
        )
        self.rewind = ipywidgets.Button(
            description="Go back",
            icon="history",
            tooltip="Train again from that step, beside what was",
        )

    def _make_finding(self):
        self.find = ipywidgets.Button(
            description="Find a learning rate", icon="search", layout=_AUTO
        )
        self.search = ipywidgets.FloatProgress(
            max=1.0, tooltip="How much is searched", layout={"width": "14em"}
        )
        self.use_suggestion = ipywidgets.Button(icon="check", layout=_AUTO)
        self.found = ipywidgets.HTML()
        self.use_suggestion.layout.display = "none"

    def show_settings(self, settings, on_edit):
        """Shows a field for each setting.

        Args:
            settings: Dict of name -> bool, int, float, str or list of numbers.
            on_edit: Function that is given a name and a function that reads what was
                typed.
        """
        fields = {field.description: field for field in self.settings.children[:-1]}
        if list(fields) == list(settings):
            for name, value in settings.items():
                _show_in(fields[name], value)
            return
        fresh = [_make_field(name, value, on_edit) for name, value in settings.items()]
        self.settings.children = [*fresh, self.warmup_steps]
        for field in fields.values():
            for part in (*_parts(field), field):
                part.close()

    def show_optimizer(self, name):
        """Explains the optimizer by its rule."""
        one = CONTESTANTS.get(name)
        self.rule.value = (
            one and f"<code>{html.escape(one.rule)}</code><br>{html.escape(one.text)}"
        ) or ""

    def show_progress(self, progress, branch, total_steps, *, paused):
        """Shows where a training stands.

        Args:
            progress: `workbench.training.Progress`, or None before the first start.
            branch: `workbench.training.timeline.Branch`, or None likewise.
            total_steps: int.
            paused: bool, whether the run stands still, or will.
        """
        text = "Ready. Your model is only copied, never changed."
        if progress is not None:
            parts = [
                progress.state.capitalize(),
                f"step {branch.step} of {total_steps}",
            ]
            parts += [f"{n} {value:.4g}" for n, value in sorted(progress.logs.items())]
            if branch.parent is not None:
                parts.append(f"went back at step {branch.cut}")
            text = " · ".join(parts)
        self.show_text(text, paused=paused)

    def show_search(self, share):
        """Shows how far a search is; None where there is none."""
        self.find.disabled = share is not None
        self.search.layout.visibility = "hidden" if share is None else "visible"
        self.search.value = share or 0.0

    def show_found(self, test):
        """Shows what a search found, a `workbench.schedules.RangeTest`."""
        self.show_search(None)
        alt = (
            f"Loss against learning rate; {test.suggestion:.2g} is suggested, "
            f"{test.interval[0]:.2g} to {test.interval[1]:.2g} are good."
        )
        picture = image_tag(to_png(plot_range_test(test)), alt)
        self.found.value = (
            f"<details><summary>{html.escape(alt)}</summary>"
            f"{html.escape(test.reason)}<br>{picture}</details>"
        )
        self.use_suggestion.description = f"Use {test.suggestion:.2g} as highest rate"
        self.use_suggestion.layout.display = ""

    def show_comparison(self, comparison):
        """Shows what each schedule came to, a `workbench.experiments.Comparison`."""
        rows = []
        for name, record in comparison.records.items():
            last = record.loss[-max(len(record.loss) // 10, 1) :]
            end = f"{np.mean(last):.4g}" if len(last) else ""
            others = [
                f"{metric} {values[-1]:.4g}"
                for metric, values in record.epochs.items()
                if metric != "loss" and len(values)
            ]
            outcome = record.status + (record.reason and f": {record.reason}")
            rows.append((name, outcome, end, ", ".join(others)))
        columns = ("schedule", "outcome", "loss of the last tenth", "metrics")
        self.table.value = render_html([Table(columns, tuple(rows))])
        alt = "Batch loss and gradient norm over the steps, one line per schedule."
        self.curves.value = image_tag(to_png(comparison.plot()), alt)

    def allow(self, *, alive, started, comparing):
        """See `CopyView.allow`; the schedule may change while a copy trains."""
        super().allow(alive=alive, started=started, comparing=comparing)
        self.schedule.disabled = False
        self.optimizer.disabled = alive
        self.learning_rate.disabled = self.give_back.disabled = not alive
        for widget in (self.rewind_step, self.rewind_rate, self.rewind):
            widget.disabled = not started


def _make_field(name, value, on_edit):
    style = {"description": name, "style": _WIDE, "layout": _FIELD}
    if isinstance(value, bool):
        field = ipywidgets.Checkbox(value=value, indent=False, **style)
    elif isinstance(value, int):
        field = ipywidgets.IntText(value=value, **style)
    elif isinstance(value, float):
        field = ipywidgets.FloatText(value=value, **style)
    else:
        field = ipywidgets.Text(value=_as_text(value), continuous_update=False, **style)
    field.kept = value

    def edited(change):
        if not _shows(field, change["new"]):
            on_edit(name, functools.partial(_read, name, field.kept, change["new"]))

    field.observe(edited, "value")
    return field


def _show_in(field, value):
    field.kept = value
    field.value = _as_text(value) if isinstance(field, ipywidgets.Text) else value


def _shows(field, value):
    kept = field.kept
    return value == (_as_text(kept) if isinstance(field, ipywidgets.Text) else kept)


def _as_text(value):
    return value if isinstance(value, str) else ", ".join(f"{v:g}" for v in value)


def _read(name, kept, value):
    if not isinstance(kept, list):
        return value
    try:
        return [_number(part) for part in value.replace(";", ",").split(",")]
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be numbers with commas between them. Received: {value!r}"
        ) from error


def _number(text):
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number

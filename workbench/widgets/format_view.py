"""What the format table looks like: its widgets, and how they show what was found."""

import html

import ipywidgets

from workbench.plots.formats import cell_color
from workbench.reports import render_html

_BANNER = "padding:0.4em 0.8em;max-width:64em"
_FINE = f"color:#1f5130;background:#d8eed9;{_BANNER}"
_RISKY = f"color:#8c1d18;background:#fdecea;{_BANNER}"
_WIDE = {"description_width": "initial"}


class FormatView:
    """The widgets of the format table and their places.

    Attributes:
        rows: List of widgets, from top to bottom.

    Args:
        formats: List of str, the names of formats.
        has_model: bool, whether there is a model to compare them on.
    """

    def __init__(self, formats, *, has_model):
        self.found = ipywidgets.Dropdown(
            description="In the folder", style=_WIDE, layout={"width": "32em"}
        )
        self.again = ipywidgets.Button(
            icon="refresh",
            tooltip="List the folder again",
            layout={"width": "3em"},
        )
        self.filepath = ipywidgets.Text(
            description="File",
            placeholder="path of a file, a folder or a checkpoint",
            continuous_update=False,
            layout={"width": "32em"},
        )
        self.look = ipywidgets.Button(
            description="Look into it", icon="search", button_style="primary"
        )
        self.banner = ipywidgets.HTML()
        self.report = ipywidgets.HTML()
        self.chosen = ipywidgets.SelectMultiple(
            options=formats,
            rows=len(formats),
            tooltip="Formats to compare",
            layout={"width": "14em"},
        )
        self.compare = ipywidgets.Button(
            description="Compare formats",
            icon="balance-scale",
            button_style="primary",
            layout={"width": "auto"},
        )
        self.bar = ipywidgets.FloatProgress(
            max=1.0, tooltip="How much is compared", layout={"width": "22em"}
        )
        self.text = ipywidgets.HTML()
        self.table = ipywidgets.HTML()
        self.rows = [
            ipywidgets.HTML("<b>Look into a file without loading it</b>"),
            ipywidgets.HBox([self.found, self.again]),
            ipywidgets.HBox([self.filepath, self.look]),
            self.banner,
            self.report,
        ]
        if has_model:
            self.rows += [
                ipywidgets.HTML("<b>What each format keeps of your model</b>"),
                ipywidgets.HBox([self.chosen, self._comparing()]),
                self.table,
            ]
        self.show_progress(0.0, "Your model is only read, never changed.", active=False)

    def _comparing(self):
        text = ipywidgets.HTML(
            "Saves it in each format, loads it again, trains copies by one step."
            "<br>Ctrl-click chooses several."
        )
        return ipywidgets.VBox([text, self.compare, self.bar, self.text])

    def show_report(self, report):
        """Shows a `workbench.formats.FileReport`."""
        if report.is_harmless:
            text, style = "Nothing was found that speaks against loading it.", _FINE
        else:
            count = len(report.risks)
            text = (
                f"{count} reason{'s' * (count > 1)} not to load it. It was not loaded."
            )
            style = _RISKY
        self.banner.value = f'<div role="status" style="{style}">{text}</div>'
        self.report.value = render_html(report.blocks())

    def show_progress(self, share, text, *, active):
        """Shows how far a comparison is.

        Args:
            share: float in [0, 1].
            text: str.
            active: bool, whether it goes on.
        """
        self.bar.value = share
        self.bar.layout.visibility = "visible" if active else "hidden"
        self.compare.disabled = active
        self.text.value = f'<div role="status">{html.escape(text)}</div>'

    def show_comparison(self, comparison):
        """Shows a `workbench.formats.FormatComparison`."""
        table, *notes = comparison.blocks()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
        lines = "".join(
            f"<tr>{''.join(_cell(i, text) for i, text in enumerate(row))}</tr>"
            for row in table.rows
        )
        self.table.value = (
            f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
            + render_html(notes)
        )


def _cell(column, text):
    color = f";background:{cell_color(text)}" if 0 < column < 5 else ""
    return (
        f'<td style="text-align:left;padding:0.2em 0.6em{color}">'
        f"{html.escape(text)}</td>"
    )

"""Names for a panel's controls, for those who hear them; it draws nothing."""

import pathlib

import anywidget

# As text: a path would be watched for changes.
_SCRIPT = (pathlib.Path(__file__).parent / "panel_names.js").read_text(encoding="utf-8")


class PanelNames(anywidget.AnyWidget):
    """Gives each control of the panel that holds it the name written beside it.

    ipywidgets writes a slider's name beside it and leaves its handle without one. A
    control without a name beside it is called by its tooltip.
    """

    _esm = _SCRIPT

"""A line of progress for what takes longer than two seconds, gone when done."""

import sys
import time

_PATIENCE = 2.0  # seconds
_INTERVAL = 0.5  # seconds


class Progress:
    """Shows how far a run is, in a terminal or in a notebook.

    In a notebook it is a widget, which is closed at the end; what stays in a stored
    page is an output without content, of which nbval sees nothing.

    Args:
        total: int, steps of all variants together.
    """

    def __init__(self, total):
        self.total = max(total, 1)
        self.done = 0
        self.started = self.shown = time.monotonic()
        self._bar = self._output = None
        self._written = False

    def add(self, steps):
        """Counts steps that are done.

        Args:
            steps: int.
        """
        self.done += steps
        now = time.monotonic()
        if now - self.started < _PATIENCE or now - self.shown < _INTERVAL:
            return
        self.shown = now
        share = min(self.done / self.total, 1.0)
        if _in_notebook():
            self._show_widget(share)
        elif sys.stderr.isatty():
            bar = "#" * round(30 * share)
            sys.stderr.write(f"\r[{bar:<30}] {share:4.0%} ")
            sys.stderr.flush()
            self._written = True

    def _show_widget(self, share):
        if self._bar is None:
            import ipywidgets  # noqa: PLC0415, only where there is a notebook
            from IPython.display import display  # noqa: PLC0415

            self._bar = ipywidgets.FloatProgress(value=share, max=1.0)
            view = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self._bar.model_id,
            }
            # Without text, so that outputs compare equal with and without it.
            content = {"application/vnd.jupyter.widget-view+json": view}
            self._output = display(content, raw=True, display_id=True)
        self._bar.value = share

    def close(self):
        """Takes the line away."""
        if self._bar is not None:
            self._bar.close()
            self._output.update({}, raw=True)
        if self._written:
            sys.stderr.write("\r" + " " * 40 + "\r")
            sys.stderr.flush()


def _in_notebook():
    shell = sys.modules.get("IPython")
    shell = shell.get_ipython() if shell else None
    return shell is not None and hasattr(shell, "kernel")

"""What all panels share: a beat in the background, a static picture, a clean end."""

import base64
import contextlib
import functools
import html
import math
import threading
import time

import ipywidgets
import traitlets

from workbench.widgets.panel_names import PanelNames

_BEAT_SECONDS = 0.25
_SECONDS_BETWEEN_DRAWINGS = 1.0
_CLOSING_SECONDS = 2.0
# What a refresh costs must stay below this share of the time.
LARGEST_SHARE = 0.02


def shows_errors(method):
    """Decorates a callback of a panel: what it raises appears in the panel.

    ipywidgets drops what an observer raises; a reader would never see it.
    """

    @functools.wraps(method)
    def guarded(self, *arguments):
        try:
            with self._lock:
                method(self, *arguments)
        except Exception as error:  # noqa: BLE001, shown instead of lost
            self.error = f"{type(error).__name__}: {error}"
        else:
            self.error = ""

    return guarded


class Panel(ipywidgets.VBox):
    """Base of the panels.

    A subclass builds its children, then calls `_start_beat()`. `_beat()` runs in a
    daemon thread and returns the seconds to rest, `math.inf` until it is woken, or
    None to end.

    Attributes:
        error: Trait, str, what went wrong in the last callback, else "".
    """

    error = traitlets.Unicode("")

    # ipywidgets closes what is deleted, also a panel whose making failed.
    _thread = None
    _closing = False
    _next_drawing = 0.0

    def __init__(self, children):
        self._wake = threading.Event()
        self._own_changes = threading.local()
        # A wish must not fall between what is read of a run and what is shown of it.
        self._lock = threading.RLock()
        self._error_view = ipywidgets.HTML()
        self._control_names = PanelNames(layout={"display": "none"})
        super().__init__([*children, self._control_names, self._error_view])
        self.add_class("workbench-panel")
        self.observe(self._show_error, "error")

    def _connect(self):
        """Connects traits with the widgets that show them; subclasses add theirs."""

    def _show_error(self, change):
        text = html.escape(change["new"])
        style = "color:#8c1d18;background:#fdecea;padding:0.4em 0.8em"
        self._error_view.value = (
            text and f'<div role="alert" style="{style}">{text}</div>'
        )

    @contextlib.contextmanager
    def _following(self):
        """Marks trait changes of this thread as following the run, not as wishes.

        Do not hold notifications meanwhile: held ones of other threads would come out
        in this one, and wishes would be taken for what the run did.
        """
        with self._lock:
            before, self._own_changes.on = self._is_following, True
            try:
                yield
            finally:
                self._own_changes.on = before

    @property
    def _is_following(self):
        return getattr(self._own_changes, "on", False)

    def _start_beat(self):
        self._thread = threading.Thread(
            target=self._keep_beating, name="workbench-panel", daemon=True
        )
        self._thread.start()

    def _keep_beating(self):
        while not self._closing:
            try:
                rest = self._beat()
            except Exception as error:  # noqa: BLE001, in a thread it would go unseen
                self.error = f"{type(error).__name__}: {error}"
                rest = 1.0
            if rest is None:
                return
            self._wake.wait(None if rest == math.inf else rest)
            self._wake.clear()

    def _beat(self):
        raise NotImplementedError

    def _refresh_and_draw(self, refresh, draw):
        """Refreshes, and draws when it is time or when `refresh` returns True.

        Returns:
            float, the seconds to rest, so that both stay below `LARGEST_SHARE`.
        """
        begin = time.thread_time()
        stands = refresh()
        now = time.monotonic()
        drawn = stands or now >= self._next_drawing
        if drawn:
            draw()
        cost = time.thread_time() - begin
        if drawn:
            pace = max(_SECONDS_BETWEEN_DRAWINGS, cost / LARGEST_SHARE)
            self._next_drawing = now + pace
        return max(_BEAT_SECONDS, cost / LARGEST_SHARE / 4)

    def _picture(self):
        """Returns bytes of a PNG for pages without a kernel, or None."""
        raise NotImplementedError

    def close(self):
        """Ends the thread and closes the panel with everything in it."""
        if self._closing:
            return
        self._closing = True
        if self._thread is not None:
            self._wake.set()
            if threading.current_thread() is not self._thread:
                self._thread.join(_CLOSING_SECONDS)
        for widget in list(_parts(self)):
            widget.close()
        super().close()

    def _repr_mimebundle_(self, **arguments):
        bundle = super()._repr_mimebundle_(**arguments)
        picture = self._picture()
        if bundle is not None and picture is not None:
            bundle["image/png"] = base64.b64encode(picture).decode()
        return bundle


def _parts(widget):
    for child in getattr(widget, "children", ()):
        yield from _parts(child)
        yield child
    if hasattr(widget, "style"):
        yield widget.style
    yield widget.layout

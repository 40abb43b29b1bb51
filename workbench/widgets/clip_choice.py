"""Choosing a clip method and its threshold, with the mouse or from Python."""

import dataclasses

import traitlets

from workbench.widgets.panel import Panel, shows_errors


class ClipChoice(Panel):
    """Base of a panel with a menu of clip methods and a slider for the threshold.

    Each method remembers the threshold that was set last. A subclass says what a
    change means, in `_use_threshold`, and how the slider reaches, in `_slider_ends`.

    Attributes:
        method: Trait, str, a name in `methods`.
        threshold: Trait, float, the method's threshold; 0 for a method without one.

    Args:
        clips: Dict of name -> clip method.
        view: `clip_view.ClipView`.
    """

    method = traitlets.Unicode()
    threshold = traitlets.Float()

    def __init__(self, clips, view):
        self._clips = clips
        self._view = view
        super().__init__(view.rows)

    def _connect(self):
        super()._connect()
        traitlets.link((self, "method"), (self._view.method, "value"))
        self.observe(self._on_method, "method")
        self.observe(self._on_threshold, "threshold")
        self._view.threshold.observe(self._on_slider, "value")

    @property
    def clip(self):
        """The clip method with the threshold of now."""
        return self._clips[self.method]

    @property
    def methods(self):
        """Dict of name -> clip method, with the thresholds that were set last."""
        return dict(self._clips)

    @property
    def _alive(self):
        raise NotImplementedError

    def _use_threshold(self, value):
        """Takes a threshold that the reader has set, float."""
        raise NotImplementedError

    def _slider_ends(self):
        """Returns the ends of the slider, `(low, high)`, powers of ten."""
        raise NotImplementedError

    def _follow_method(self):
        clip = self.clip
        with self._following():
            self.threshold = getattr(clip, clip.threshold) if clip.threshold else 0.0
        self._fit_slider()

    def _fit_slider(self):
        """Moves the ends of the slider, then the slider."""
        ends = self._slider_ends() if self.clip.threshold else None
        with self._following():
            self._view.show_number(self.threshold, ends)

    @traitlets.validate("method")
    def _check_method(self, proposal):
        name = proposal["value"]
        if name not in self._clips:
            raise ValueError(
                f"`method` must be one of {list(self._clips)}. Received: {name!r}"
            )
        if self._alive and name != self.method:
            raise ValueError(
                "`method` cannot change while a copy trains; `stop()` it first. "
                f"Received: method={name!r}"
            )
        return name

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal):
        value, clip = proposal["value"], self.clip
        if clip.threshold:
            dataclasses.replace(clip, **{clip.threshold: value})
        elif value:
            raise ValueError(
                f"`threshold` must be 0 for {self.method}. Received: threshold={value}"
            )
        return value

    @shows_errors
    def _on_method(self, _change):
        self._follow_method()

    @shows_errors
    def _on_threshold(self, change):
        clip, value = self.clip, change["new"]
        if clip.threshold:
            new = dataclasses.replace(clip, **{clip.threshold: value})
            self._clips[self.method] = new
            if not self._is_following:
                self._use_threshold(value)
        with self._following():
            self._view.show_number(value)

    @shows_errors
    def _on_slider(self, change):
        # The slider has moved already: it stands at the threshold or elsewhere.
        if not self._is_following and not self._view.number.is_echo(self.threshold):
            self.threshold = change["new"]

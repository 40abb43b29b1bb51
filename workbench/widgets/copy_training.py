"""One copy of a model that trains in the background, from a panel."""

import functools

import traitlets

from workbench.widgets.panel import Panel, shows_errors

ENDED = ("finished", "stopped", "failed")
_CLOSING_SECONDS = 10.0


class CopyTraining(Panel):
    """Base of a panel that trains a copy of a model: pause, stop, keep, follow.

    A subclass makes `run`, and sets `_copies` (`model_copies.ModelCopies`) and
    `_view`, whose `pause` is a button.

    Attributes:
        paused: Trait, bool; True lets the run stand still, False lets it go on.
        state: Trait, str, the run's state. Read only, as all that follow.
        step: Trait, int, steps done.
        total_steps: Trait, int, 0 while it is not known.
        run: `workbench.training.Run` of the last start, or None.
    """

    paused = traitlets.Bool()
    state = traitlets.Unicode("ready")
    step = traitlets.Int()
    total_steps = traitlets.Int()

    # ipywidgets closes what is deleted, also a panel whose making failed.
    run = None

    def _connect(self):
        super()._connect()
        self.observe(self._on_paused, "paused")
        self._view.pause.observe(self._on_pause_button, "value")

    def _connect_buttons(self, names):
        """Lets buttons of the view do what methods of their names do."""
        for name in names:
            button = getattr(self._view, name)
            button.on_click(functools.partial(self._on_click, name))

    @shows_errors
    def _on_click(self, name, _button):
        getattr(self, name)()

    def _read_progress(self):
        """Brings the traits up to where the run is; returns its progress."""
        progress = self.run.progress
        self.step = progress.step
        self.total_steps = progress.total_steps or 0
        self.state = progress.state
        self.paused = self._alive and self.run.pause_requested
        return progress

    @property
    def _alive(self):
        return self.run is not None and self.run.state not in ENDED

    def _check_may_start(self):
        """Raises an error if a copy trains already, or has no good weights."""
        if self._alive:
            raise RuntimeError("A copy trains already; end it first with `stop()`.")
        self._copies.check_weights(new_weights=self.new_weights)

    def stop(self):
        """Ends the run after its step; returns at once."""
        if self.run is not None:
            self.run.stop()
        self._wake.set()

    def _stop_and_wait(self):
        self.stop()
        if self.run is not None:
            self.run.ended.wait(_CLOSING_SECONDS)

    def keep(self):
        """Puts the weights of the last copy into the model.

        Raises:
            RuntimeError: If no copy has trained to an end, or there is no model.
        """
        if self._copies.model is None or self.run is None or self._alive:
            raise RuntimeError(
                "`keep` needs a run that has ended, on a copy of a model. Received: "
                f"run={self.run!r}"
            )
        self._copies.model.set_weights(self.run.model.get_weights())

    @shows_errors
    def _on_paused(self, change):
        if self._alive and not self._is_following:
            if change["new"]:
                self.run.pause()
            else:
                self.run.resume()
        with self._following():
            self._view.pause.value = change["new"]
        self._wake.set()

    @shows_errors
    def _on_pause_button(self, change):
        if not self._is_following:
            self.paused = change["new"]

    def close(self):
        """Ends all that trains and the thread, and closes the panel."""
        if self._closing:
            return
        background = getattr(self, "_background", None)
        alive = [work for work in (self.run, background) if work is not None]
        for work in alive:
            work.stop()
        for work in alive:
            work.ended.wait(_CLOSING_SECONDS)
        super().close()

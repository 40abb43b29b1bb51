"""Clip Lab: what clipping does to the reader's own model, live and side by side."""

import traitlets

from workbench import clipping
from workbench.plots import image_tag
from workbench.plots.clip_figure import ClipFigure
from workbench.training import Run
from workbench.widgets import clip_reading
from workbench.widgets.clip_comparing import ClipComparing
from workbench.widgets.clip_view import ClipView
from workbench.widgets.model_copies import ModelCopies, fixed_order

_BUTTONS = ("start", "stop", "keep", "compare", "end", "apply_remedy")


class ClipLab(ClipComparing):
    """Trains copies of a model with a clip method of choice, and shows what it does.

    **Start** trains one copy and shows each variable's gradient norm, before and after
    clipping, while it trains; the threshold acts on the next step. **Compare** trains
    one copy per chosen method, all from the same weights over the same batches. The
    model itself is never changed, unless `keep()` is called.

    Every control is a trait; setting it from Python does what the mouse does, and
    `start()`, `stop()`, `compare()` and `keep()` are the buttons.

    Attributes:
        method: Trait, str, a name in `methods`; takes effect at the next start.
        threshold: Trait, float, the method's threshold, used by the next step; 0 for a
            method that has none.
        paused: Trait, bool; True lets the run stand still, False lets it go on.
        new_weights: Trait, bool, whether copies begin with new weights instead of the
            model's. True from the start when the model's own hold NaN or Inf.
        chosen: Trait, tuple of str, the methods to compare.
        state: Trait, str, the run's state. Read only, as all that follow.
        step: Trait, int, steps done.
        total_steps: Trait, int, 0 while it is not known.
        share_clipped: Trait, float, share of the steps that were clipped.
        problem: Trait, str, where NaN or Inf came from, else "".
        comparing: Trait, bool, whether a comparison trains.
        compared: Trait, float in [0, 1], how much of it is done.
        error: Trait, str, what went wrong in training or in a callback, else "".
        run: `workbench.training.Run` of the last start, or None.
        comparison: `workbench.experiments.Comparison`, or None.

    Args:
        model: Compiled `keras.Model`, or a function that builds and compiles one, for
            models that Keras cannot clone.
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, shuffled by `seed`; or a
            dataset of batches, taken as it comes.
        methods: Dict of name -> clip method of `workbench.clipping`; None for all,
            with usual thresholds.
        epochs: Positive int.
        batch_size: Positive int, for arrays.
        seed: int, the order of arrays.

    Raises:
        ValueError: If the model is not compiled, or `methods` is empty.
    """

    share_clipped = traitlets.Float()
    problem = traitlets.Unicode("")

    def __init__(self, model, data, *, methods=None, epochs=1, batch_size=32, seed=0):
        copies = ModelCopies(model)
        clips = clip_reading.methods_with(copies.clip, methods)
        view = ClipView(list(clips), can_keep=copies.model is not None)
        self._diagnosis = self._diagnosed = None
        self._drawing, self._drawn = ClipFigure(), None
        data = fixed_order(data, seed)
        super().__init__(
            copies, data, clips, view, epochs=epochs, batch_size=batch_size
        )
        own = [name for name, clip in clips.items() if clip == copies.clip]
        self.method = own[0] if own else next(iter(clips))
        self.chosen = tuple(clips)
        self.new_weights = bool(copies.bad_weights)
        self._follow_method()
        self._connect()
        self._refresh()
        self._draw()
        self._start_beat()

    def _connect(self):
        super()._connect()
        self._connect_buttons(_BUTTONS)

    # What the reader does

    def start(self):
        """Trains a fresh copy with the method chosen; returns at once.

        Raises:
            RuntimeError: If a copy trains already.
            ValueError: If the model's weights are not finite, or cannot be copied.
        """
        self._check_may_start()
        copy = self._copies.make(new_weights=self.new_weights)
        self._drawn = None
        self._drawing = ClipFigure()
        self._clip_at_start = self.clip
        # Each start sees the same batches, so that starts can be compared.
        run = Run(copy, self._data, clip=self.clip, shuffle=False, **self._arguments)
        self.run = run.start()
        self._wake.set()

    def apply_remedy(self):
        """Starts again, clipped by global norm where the diagnosis proposes it."""
        if self._diagnosis is None or self._diagnosis.threshold is None:
            return
        self._stop_and_wait()
        self.method = next(
            name
            for name, clip in self._clips.items()
            if isinstance(clip, clipping.ByGlobalNorm)
        )
        self.threshold = self._diagnosis.threshold
        self.start()

    def _use_threshold(self, value):
        if self._alive:
            self.run.set("clip", value)

    def _slider_ends(self):
        layers = None if self.run is None else self.run.layers
        return clip_reading.slider_range(self.clip, layers, self._copies.num_weights)

    # What the run and the comparison do

    def _refresh(self):
        run, progress, layers = self.run, None, None
        with self._following():
            if run is not None:
                progress, layers = self._read_progress(), run.layers
                self.share_clipped, _ = clip_reading.steps_summary(layers)
                self._read_problem(run)
        self._view.show_progress(progress, layers, paused=self.paused)
        self._view.allow(
            alive=self._alive, started=run is not None, comparing=self.comparing
        )

    def _read_problem(self, run):
        if run.error is not None:
            self.error = f"{type(run.error).__name__}: {run.error}"
        key = run, run.problem
        if run.problem is None:
            self._diagnosis = None
        elif key != self._diagnosed and run.state != "running":
            self._diagnosed = key
            self._diagnosis = clip_reading.diagnose(
                run.problem, run.layers, run.records
            )
        self.problem = self._diagnosis.text if self._diagnosis else ""
        self._view.show_problem(self._diagnosis)

    def _draw(self):
        run = self.run
        if run is not None:
            if self._drawn == (self.step, self.state):
                return
            self._drawn = self.step, self.state
            limits = clip_reading.joint_limits(self._clip_at_start, run.changes)
            self._drawing.update(run.records, run.layers, self.total_steps, limits)
            if self.state != "running":
                # The ends follow the norms seen, but never under the reader's hand.
                self._fit_slider()
        self._view.plot.value = image_tag(self._drawing.to_png(), self.alt)

    @property
    def alt(self):
        """str, in words what the curves show now."""
        return (
            "Loss, joint gradient norm and a map of each variable's gradient norm "
            f"before and after clipping, over {self.step} steps; "
            f"{self.share_clipped:.0%} of them clipped. {self.problem}"
        ).strip()

    def _picture(self):
        return self._drawing.to_png()

    def __repr__(self):
        return "ClipLab(model, data)"

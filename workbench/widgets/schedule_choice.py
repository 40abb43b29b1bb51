"""Choosing a schedule and editing its settings, with the mouse or from Python."""

import traitlets

from workbench.schedules import Warmup, sample_schedule
from workbench.schedules.editing import scaled, settings_of, with_settings
from workbench.widgets.panel import Panel, shows_errors


class ScheduleChoice(Panel):
    """Base of a panel with a menu of schedules and a field for each setting.

    Each schedule remembers what was edited. Whatever would give a rate that is
    negative, NaN or infinite within the training is refused. A subclass says what a
    change means, in `_use_schedule`.

    Attributes:
        schedule: Trait, str, a name in `schedules`.
        settings: Trait, dict name -> value, the schedule's settings; assign a dict
            with all of them, or call `edit`.
        warmup_steps: Trait, int >= 0, steps of a line up to the schedule's first rate,
            before the schedule begins.
        total_steps: int, up to where schedules are looked at.

    Args:
        schedules: Dict of name -> `LearningRateSchedule` or number.
        view: `schedule_view.ScheduleView`.
    """

    schedule = traitlets.Unicode()
    settings = traitlets.Dict()
    warmup_steps = traitlets.Int()

    def __init__(self, schedules, view):
        self._schedules = schedules
        self._view = view
        self._sampled = {}
        super().__init__(view.rows)
        # What is wrong with an edit is told beside it.
        place = view.rows.index(view.settings) + 1
        above, below = view.rows[:place], view.rows[place:]
        self.children = (*above, self._error_view, *below, self._control_names)

    def _connect(self):
        super()._connect()
        traitlets.link((self, "schedule"), (self._view.schedule, "value"))
        self.observe(self._on_schedule, "schedule")
        self.observe(self._on_settings, "settings")
        self.observe(self._on_warmup, "warmup_steps")
        self._view.warmup_steps.observe(self._on_warmup_field, "value")

    @property
    def schedules(self):
        """Dict of name -> schedule or number, as edited, without the warmup."""
        return dict(self._schedules)

    def planned(self, name=None):
        """Returns a schedule with what was edited, as an optimizer gets it.

        Args:
            name: str, or None for the one that is chosen.

        Returns:
            `LearningRateSchedule` or float.
        """
        return self._warmed_up(self._schedules[name or self.schedule])

    def _warmed_up(self, schedule):
        return Warmup(schedule, self.warmup_steps) if self.warmup_steps else schedule

    def edit(self, **changes):
        """Changes some settings of the chosen schedule.

        Args:
            **changes: Names as in `settings`.

        Raises:
            TypeError: If a value is of another kind than the setting's.
            ValueError: If there is no such setting, or no such schedule.
        """
        self.settings = {**self.settings, **changes}

    def scale(self, learning_rate):
        """Multiplies the chosen schedule so that its highest rate is `learning_rate`.

        Args:
            learning_rate: Positive float.
        """
        highest = float(sample_schedule(self.planned(), self.total_steps).max())
        schedule = scaled(self._schedules[self.schedule], learning_rate / highest)
        self.settings = settings_of(schedule)

    def sampled(self, name):
        """Returns the rates of a schedule with what was edited, `(total_steps,)`."""
        key = repr((settings_of(self._schedules[name]), self.warmup_steps))
        if self._sampled.get(name, ("",))[0] != key:
            rates = sample_schedule(self.planned(name), self.total_steps)
            self._sampled[name] = key, rates
        return self._sampled[name][1]

    def _use_schedule(self):
        """Takes the chosen schedule, which is another or was edited."""
        raise NotImplementedError

    @traitlets.validate("schedule")
    def _check_schedule(self, proposal):
        if proposal["value"] not in self._schedules:
            raise ValueError(
                f"`schedule` must be one of {list(self._schedules)}. "
                f"Received: {proposal['value']!r}"
            )
        return proposal["value"]

    @traitlets.validate("settings")
    def _check_settings(self, proposal):
        schedule = with_settings(self._schedules[self.schedule], **proposal["value"])
        sample_schedule(self._warmed_up(schedule), self.total_steps)
        return settings_of(schedule)

    @traitlets.validate("warmup_steps")
    def _check_warmup(self, proposal):
        Warmup(1.0, proposal["value"])
        return proposal["value"]

    def _follow_schedule(self):
        settings = settings_of(self._schedules[self.schedule])
        with self._following():
            self.settings = settings
        self._view.show_settings(settings, self._on_field)

    @shows_errors
    def _on_schedule(self, _change):
        self._follow_schedule()
        self._use_schedule()

    @shows_errors
    def _on_settings(self, change):
        if self._is_following:
            return
        name = self.schedule
        self._schedules[name] = with_settings(self._schedules[name], **change["new"])
        self._view.show_settings(change["new"], self._on_field)
        self._use_schedule()

    @shows_errors
    def _on_warmup(self, change):
        with self._following():
            self._view.warmup_steps.value = change["new"]
        self._use_schedule()

    @shows_errors
    def _on_warmup_field(self, change):
        if not self._is_following:
            self._or_back(lambda: setattr(self, "warmup_steps", change["new"]))

    @shows_errors
    def _on_field(self, name, read):
        if not self._is_following:
            self._or_back(lambda: self.edit(**{name: read()}))

    def _or_back(self, act):
        """Lets the fields show what holds, when what was typed is refused."""
        try:
            act()
        except Exception:
            with self._following():
                self._view.warmup_steps.value = self.warmup_steps
                self._view.show_settings(self.settings, self._on_field)
            raise

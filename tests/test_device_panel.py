"""Tests of DevicePanel, driven from Python as the mouse would."""

import base64
import dataclasses
import threading
import time

import ipywidgets
import pytest
from ipywidgets.widgets.widget import _instances

from tests.waiting import wait_for
from workbench.devices import GpuLoad, Load
from workbench.widgets import device_panel
from workbench.widgets.device_panel import DevicePanel

GIB = 2**30
READING = Load(
    gpus=(GpuLoad(0, "A100", 25.0, GIB, 4 * GIB, 41),),
    cpu_percent=50.0,
    memory_used=6 * GIB,
    memory=8 * GIB,
    process_memory=2 * GIB,
)


class Machine:
    """Stands for `measure_load`: counts the readings, and can be slow or broken."""

    def __init__(self):
        self.count = 0
        self.seconds = 0.0
        self.failure = None
        self.reading = READING

    def __call__(self, since):
        self.count += 1
        time.sleep(self.seconds)
        if self.failure:
            raise self.failure
        return dataclasses.replace(self.reading, cpu_percent=float(self.count % 101))


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def make_panel(machine, closed_after):
    """Makes panels on the pretended machine and closes them afterwards."""

    def make(refresh_seconds=0.5):
        return closed_after(DevicePanel(refresh_seconds, measure=machine))

    return make


def controls(panel):
    return panel.children[-3].children


def shown(panel):
    return panel.children[0].value, panel.children[1].value


def test_shows_the_first_reading_at_once(make_panel):
    panel = make_panel()
    bars, state = shown(panel)
    assert panel.load.cpu_percent == 1
    for label, share, text in panel.load.rows():
        assert f'aria-label="{label}"' in bars
        assert f'aria-valuenow="{100 * share:.0f}"' in bars
        assert f">{text}</td>" in bars
    assert bars.count("progressbar") == 5
    assert "A reading every 0.5 s." in state


def test_keeps_reading(make_panel, machine):
    panel = make_panel()
    wait_for(lambda: machine.count >= 3, 10)
    wait_for(lambda: panel.load.cpu_percent >= 3, 10)
    assert f"{panel.load.cpu_percent:.0f} %</td>" in shown(panel)[0]


def test_pause_stops_readings_and_resume_takes_one_at_once(make_panel, machine):
    panel = make_panel()
    toggle, _ = controls(panel)
    panel.paused = True
    assert (toggle.value, toggle.description) == (True, "Resume")
    wait_for(lambda: "Paused." in shown(panel)[1], 10)
    time.sleep(0.05)
    count = machine.count
    time.sleep(0.8)
    assert machine.count == count
    start = time.monotonic()
    panel.paused = False
    wait_for(lambda: machine.count > count, 10)
    assert time.monotonic() - start < 0.4
    assert (toggle.value, toggle.description) == (False, "Pause")


def test_the_mouse_does_what_the_traits_do(make_panel):
    panel = make_panel()
    toggle, slider = controls(panel)
    toggle.value = True
    assert panel.paused
    slider.value = 7.5
    assert panel.refresh_seconds == 7.5
    panel.refresh_seconds = 12.0
    assert slider.value == 12.0
    assert toggle.description
    assert slider.description


def test_a_shorter_interval_counts_at_once(make_panel, machine):
    panel = make_panel(30.0)
    assert (machine.count, panel.pace) == (1, 30.0)
    panel.refresh_seconds = 0.5
    wait_for(lambda: machine.count >= 2, seconds=5)
    wait_for(lambda: panel.pace < 1, 10)


@pytest.mark.parametrize("seconds", [0.0, 0.4, 31.0, float("nan")])
def test_refresh_seconds_out_of_range_is_refused(make_panel, seconds):
    panel = make_panel()
    with pytest.raises(ValueError, match=r"`refresh_seconds` must be .*0\.5 and 30"):
        panel.refresh_seconds = seconds
    assert panel.refresh_seconds == 0.5


def test_a_refused_panel_leaves_nothing_behind(machine):
    before = (set(_instances), threading.active_count())
    with pytest.raises(ValueError, match="Received: refresh_seconds=99"):
        DevicePanel(99.0, measure=machine)
    assert (set(_instances), threading.active_count()) == before


def test_slow_readings_are_taken_less_often(make_panel, machine):
    panel = make_panel()
    machine.seconds = 0.05
    wait_for(lambda: panel.pace > 0.5, 10)
    assert panel.pace >= 50 * 0.05
    wait_for(lambda: "Readings are slow here" in shown(panel)[1], 10)
    panel.refresh_seconds = 30.0
    wait_for(lambda: panel.pace == 30.0, 10)


def test_an_error_is_shown_and_the_next_good_reading_clears_it(make_panel, machine):
    panel = make_panel()
    machine.failure = RuntimeError("the <driver> is gone")
    wait_for(lambda: panel.error, 10)
    assert panel.error == "RuntimeError: the <driver> is gone"
    wait_for(lambda: "the &lt;driver&gt; is gone" in panel.children[-1].value, 10)
    assert "progressbar" in shown(panel)[0]
    machine.failure = None
    wait_for(lambda: not panel.error, 10)
    wait_for(lambda: "A reading every" in shown(panel)[1], 10)


def test_an_error_at_the_first_reading_is_shown(make_panel, machine):
    machine.failure = OSError("no counters")
    panel = make_panel()
    assert panel.load is None
    wait_for(lambda: "OSError: no counters" in panel.children[-1].value, 10)
    assert "image/png" not in panel._repr_mimebundle_()


def test_says_why_no_gpu_is_shown(make_panel, machine):
    machine.reading = dataclasses.replace(READING, gpus=(), problem="NVML says: no")
    assert "No GPU shown. NVML says: no" in shown(make_panel())[1]


def test_close_ends_the_thread_and_leaves_no_widget(make_panel):
    before = set(_instances)
    panel = make_panel(30.0)
    thread = panel._thread
    assert thread.is_alive()
    assert thread.daemon
    assert len(set(_instances) - before) > 5
    panel.close()
    assert not thread.is_alive()
    assert set(_instances) == before
    panel.close()


def test_close_while_a_reading_is_under_way(make_panel, machine):
    panel = make_panel()
    machine.seconds = 0.3
    count = machine.count
    wait_for(lambda: machine.count > count, 10)
    panel.close()
    assert not panel._thread.is_alive()
    assert panel.error == ""


def test_closing_all_widgets_ends_the_thread_too(make_panel):
    before = set(_instances)
    panel = make_panel()
    for widget in [_instances[key] for key in set(_instances) - before]:
        widget.close()
    wait_for(lambda: not panel._thread.is_alive(), 10)
    assert set(_instances) == before


def test_a_hundred_panels_leave_no_thread_and_no_widget(make_panel):
    before = (set(_instances), threading.active_count())
    for _ in range(100):
        make_panel().close()
    assert (set(_instances), threading.active_count()) == before


def test_repr_is_stable_and_the_bundle_holds_a_picture(make_panel):
    panel = make_panel()
    assert repr(panel) == "DevicePanel(refresh_seconds=0.5)"
    bundle = panel._repr_mimebundle_()
    assert bundle["text/plain"] == repr(panel)
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG\r\n")


def test_the_picture_has_a_bar_for_each_row(make_panel):
    panel = make_panel(30.0)
    figure = device_panel._draw_figure(panel.load)
    (axes,) = figure.axes
    rows = panel.load.rows()[::-1]
    assert [t.get_text() for t in axes.get_yticklabels()] == [row[0] for row in rows]
    assert [t.get_text() for t in axes.texts] == [row[2] for row in rows]
    widths = [bar.get_width() for bar in axes.patches[len(rows) :]]
    assert widths == [row[1] for row in rows]


def test_real_readings():
    panel = DevicePanel()
    assert isinstance(panel, ipywidgets.VBox)
    assert panel.load.memory > 0
    panel.close()

"""The hook at each training step: true loss, gradient norm, rate, and a guard."""

from workbench.steps.hook import Step, StepHook, unscaled
from workbench.steps.live import LiveSettings, innermost, settings_of
from workbench.steps.norms import all_finite, global_norm, sum_duplicates
from workbench.steps.progress import Progress
from workbench.steps.random_state import own_random, same_random_states
from workbench.steps.records import LayerRecorder, Recorder, StepRecords
from workbench.steps.thread_state import ThreadState

__all__ = [
    "LayerRecorder",
    "LiveSettings",
    "Progress",
    "Recorder",
    "Step",
    "StepHook",
    "StepRecords",
    "ThreadState",
    "all_finite",
    "global_norm",
    "innermost",
    "own_random",
    "same_random_states",
    "settings_of",
    "sum_duplicates",
    "unscaled",
]

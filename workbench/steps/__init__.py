"""The hook at each training step: true loss, gradient norm, rate, and a guard."""

from workbench.steps.hook import Step, StepHook, unscaled
from workbench.steps.norms import all_finite, global_norm, sum_duplicates
from workbench.steps.records import LayerRecorder, Recorder, StepRecords
from workbench.steps.thread_state import ThreadState

__all__ = [
    "LayerRecorder",
    "Recorder",
    "Step",
    "StepHook",
    "StepRecords",
    "ThreadState",
    "all_finite",
    "global_norm",
    "sum_duplicates",
    "unscaled",
]

"""The hook at each training step: true loss, gradient norm, rate, and a guard."""

from workbench.steps.hook import Step, StepHook
from workbench.steps.norms import all_finite, global_norm, sum_duplicates
from workbench.steps.records import Recorder, StepRecords

__all__ = [
    "Recorder",
    "Step",
    "StepHook",
    "StepRecords",
    "all_finite",
    "global_norm",
    "sum_duplicates",
]

"""Learning-rate schedules that Keras lacks, previews of any, and a rate finder.

The schedules are `keras.optimizers.schedules.LearningRateSchedule`s: pass them to any
Keras optimizer; they are saved and loaded with the model.
"""

from workbench.schedules.joining import Joined, Warmup, piecewise_by_epochs
from workbench.schedules.range_test import RangeTest, find_learning_rate
from workbench.schedules.sampling import sample_schedule
from workbench.schedules.shapes import Noam, OneCycle, Triangular, WarmupStableDecay

__all__ = [
    "Joined",
    "Noam",
    "OneCycle",
    "RangeTest",
    "Triangular",
    "Warmup",
    "WarmupStableDecay",
    "find_learning_rate",
    "piecewise_by_epochs",
    "sample_schedule",
]

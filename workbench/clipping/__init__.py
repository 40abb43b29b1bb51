"""Gradient clipping that is right where Keras is not, and that says what it did.

`clip(gradients, variables)` clips one step; `clip.wrap(optimizer)` gives a Keras
optimizer that clips every update.
"""

from workbench.clipping.base import Clip
from workbench.clipping.history import AutoClip, ZClip
from workbench.clipping.methods import (
    Adaptive,
    ByGlobalNorm,
    ByNorm,
    ByValue,
    Custom,
    NoClip,
    Rescue,
)
from workbench.clipping.optimizer import ClippedOptimizer
from workbench.clipping.records import RECORD_COLUMNS, ClipRecord, read_record

__all__ = [
    "RECORD_COLUMNS",
    "Adaptive",
    "AutoClip",
    "ByGlobalNorm",
    "ByNorm",
    "ByValue",
    "Clip",
    "ClipRecord",
    "ClippedOptimizer",
    "Custom",
    "NoClip",
    "Rescue",
    "ZClip",
    "read_record",
]

"""One training run in the background that can be watched and steered."""

from workbench.training.records import Change, LayerRecords, Progress, load_records
from workbench.training.run import Run

__all__ = ["Change", "LayerRecords", "Progress", "Run", "load_records"]

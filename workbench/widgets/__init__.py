"""Panels: traits plus plots, one per file, no computation of their own."""

from workbench.widgets.clip_lab import ClipLab
from workbench.widgets.device_panel import DevicePanel
from workbench.widgets.training_monitor import TrainingMonitor

__all__ = ["ClipLab", "DevicePanel", "TrainingMonitor"]

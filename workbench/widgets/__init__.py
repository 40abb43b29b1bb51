"""Panels: traits plus plots, one per file, no computation of their own."""

from workbench.widgets.activation_explorer import ActivationExplorer
from workbench.widgets.clip_lab import ClipLab
from workbench.widgets.device_panel import DevicePanel
from workbench.widgets.embedding_explorer import EmbeddingExplorer
from workbench.widgets.format_table import FormatTable
from workbench.widgets.resume_panel import ResumePanel
from workbench.widgets.schedule_studio import ScheduleStudio
from workbench.widgets.strength_map import StrengthMap
from workbench.widgets.training_monitor import TrainingMonitor

__all__ = [
    "ActivationExplorer",
    "ClipLab",
    "DevicePanel",
    "EmbeddingExplorer",
    "FormatTable",
    "ResumePanel",
    "ScheduleStudio",
    "StrengthMap",
    "TrainingMonitor",
]

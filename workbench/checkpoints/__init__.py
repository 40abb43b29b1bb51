"""Exact resume: train, be interrupted anywhere, and end in the same bits."""

from workbench.checkpoints.branching import branch, list_checkpoints
from workbench.checkpoints.explaining import RestoreReport, explain_restore
from workbench.checkpoints.fitting import fit
from workbench.checkpoints.session import Session
from workbench.checkpoints.store import Checkpoint, DamagedError

__all__ = [
    "Checkpoint",
    "DamagedError",
    "RestoreReport",
    "Session",
    "branch",
    "explain_restore",
    "fit",
    "list_checkpoints",
]

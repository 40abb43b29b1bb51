"""Penalties on models that are built already, seen apart from the loss, and live.

`set_penalty(model, regularizer)` puts a penalty on a built model and takes it off
again; `PenaltyRecorder` draws data loss and penalties apart.
"""

from workbench.regularization.decay import l2_to_weight_decay, weight_decay_to_l2
from workbench.regularization.dropout import LiveDropout, with_live_dropout
from workbench.regularization.live import plain_of, strengths_of
from workbench.regularization.penalties import Penalty, set_constraint, set_penalty
from workbench.regularization.proximal import ProximalL1
from workbench.regularization.recording import PenaltyRecorder, PenaltyRecords

__all__ = [
    "LiveDropout",
    "Penalty",
    "PenaltyRecorder",
    "PenaltyRecords",
    "ProximalL1",
    "l2_to_weight_decay",
    "plain_of",
    "set_constraint",
    "set_penalty",
    "strengths_of",
    "weight_decay_to_l2",
    "with_live_dropout",
]

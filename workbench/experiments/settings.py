"""What a variant sets on a model besides its optimizer: dropout, constraints."""

import copy

import numpy as np

from workbench.experiments import templates
from workbench.regularization import ProximalL1
from workbench.regularization.dropout import RATE, rates_of


def check_dropout(model, rate):
    """Raises ValueError if a variant sets a rate and the model has none to set."""
    if rate is not None and not rates_of(model):
        raise ValueError(
            "`dropout` needs a model with LiveDropout layers; "
            "`workbench.regularization.with_live_dropout(model)` puts them in. "
            f"Received: dropout={rate}"
        )


def set_dropout(model, rate):
    """Sets the rate of a model's `LiveDropout` layers, float; None leaves them."""
    if rate is not None:
        for layer in rates_of(model):
            layer.set_rate(rate)


def with_dropout(start, model, rate):
    """Puts a rate into a model's start.

    Args:
        start: Dict of `planning.start_values`.
        model: `keras.Model` with the same variables.
        rate: float, or None to leave it as it is.

    Returns:
        Dict like `start`.
    """
    if rate is None:
        return start
    frozen = [
        np.float32(rate) if variable.name == RATE else value
        for variable, value in zip(
            templates.frozen_variables(model), start["frozen"], strict=True
        )
    ]
    return {**start, "frozen": frozen}


def bound(constraint, model):
    """Copies a constraint for a model whose learning rate it may need.

    Args:
        constraint: `keras.constraints.Constraint`.
        model: `keras.Model`.

    Returns:
        `keras.constraints.Constraint`.
    """
    if not isinstance(constraint, ProximalL1):
        return constraint
    own = copy.copy(constraint)
    own.bind(model)
    return own


def follows_rate(constraint):
    """Says whether a constraint steps at the optimizer's learning rate."""
    return isinstance(constraint, ProximalL1) and constraint.follows_optimizer

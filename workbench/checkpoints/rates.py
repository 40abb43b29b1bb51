"""The learning rate that an optimizer holds, under whatever wraps it."""

import keras


def innermost(optimizer):
    """Returns the optimizer inside loss scaling and clipping."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def optimizer_of(model):
    """Returns the model's optimizer; None if it is not compiled."""
    return getattr(model, "optimizer", None)  # Keras sets it in `compile` alone


def rate_variable(model):
    """Returns the variable with a rate compiled as a number; None for a schedule."""
    optimizer = optimizer_of(model)
    rate = innermost(optimizer)._learning_rate if optimizer else None
    return rate if isinstance(rate, keras.Variable) else None


def rate_of(model):
    """Returns the rate compiled as a number, float; None for a schedule."""
    variable = rate_variable(model)
    return None if variable is None else float(variable.numpy())


def describe_change(here, there):
    """Says which rate there will be.

    Args:
        here: float, the model's, or None for a schedule.
        there: float, the file's, or None for a schedule.
    """
    if here is None or there is None:
        return "the schedule is the model's; its step is the file's"
    if here == there:
        return f"{here:g} here and in the file"
    return f"{there:g} of the file replaces {here:g} of this model"

"""L2 and weight decay, one into the other where they are the same."""

import keras

_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


def l2_to_weight_decay(l2, optimizer):
    """Translates an L2 penalty into the weight decay that trains alike.

    Keras's `L2(l2)` adds `l2 * sum(w²)` to the loss, so its gradient is `2 * l2 * w`;
    decay takes `learning_rate * weight_decay * w` off. Decay also meets biases and
    normalization, unless `optimizer.exclude_from_weight_decay(…)` leaves them out
    before the optimizer is built.

    Args:
        l2: float >= 0, or `keras.regularizers.L2`.
        optimizer: `keras.optimizers.SGD` without momentum and clipping.

    Returns:
        float, `2 * l2`.

    Raises:
        TypeError: If `l2` is another penalty.
        ValueError: If the two are not the same under this optimizer; it says why.
    """
    _check_optimizer(optimizer)
    if isinstance(l2, keras.regularizers.L1L2):
        config = l2.get_config()
        if config["l1"]:
            raise ValueError(
                "`l2` must come without L1, which no weight decay equals. "
                f"Received: l1={config['l1']}"
            )
        l2 = config["l2"]
    elif isinstance(l2, keras.regularizers.L2):
        l2 = l2.get_config()["l2"]
    elif isinstance(l2, keras.regularizers.Regularizer):
        raise TypeError(
            "`l2` must be a number or keras.regularizers.L2. "
            f"Received: l2={type(l2).__name__}"
        )
    return 2 * _checked("l2", l2)


def weight_decay_to_l2(weight_decay, optimizer):
    """Translates a weight decay into the L2 penalty that trains alike.

    Args:
        weight_decay: float >= 0.
        optimizer: `keras.optimizers.SGD` without momentum and clipping.

    Returns:
        `keras.regularizers.L2` of half of it.

    Raises:
        ValueError: If the two are not the same under this optimizer; it says why.
    """
    _check_optimizer(optimizer)
    return keras.regularizers.L2(_checked("weight_decay", weight_decay) / 2)


def _checked(name, value):
    value = float(value)
    if not value >= 0:
        raise ValueError(f"`{name}` must be a number >= 0. Received: {name}={value}")
    return value


def _check_optimizer(optimizer):
    optimizer = keras.optimizers.get(optimizer)
    reason = _why_not(optimizer)
    if reason:
        raise ValueError(
            "`optimizer` must be plain SGD, where L2 and weight decay are the same; "
            f"{reason}. Received: optimizer={type(optimizer).__name__}"
        )


def _why_not(optimizer):
    """Says why L2 and weight decay differ; empty where they do not."""
    if hasattr(optimizer, "inner_optimizer"):
        return "wrapped in another, it may change the penalty's gradient"
    if type(optimizer) is not keras.optimizers.SGD:
        return (
            "this one rescales the gradient, the penalty's part with it, and decays "
            "the weights on its own scale"
        )
    if optimizer.momentum:
        return (
            f"with momentum={optimizer.momentum} the penalty's gradient is carried on, "
            "decay is not"
        )
    for name in _CLIPS:
        if getattr(optimizer, name):
            return f"`{name}` clips the penalty's gradient, never decay"
    return ""

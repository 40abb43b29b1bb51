"""What callbacks remember from step to step, read and put back."""

import keras

from workbench.checkpoints.encoding import decode, encode

# Keras's own callbacks have no methods for it; the attributes are what they count on.
_ATTRIBUTES = {
    keras.callbacks.EarlyStopping: (
        "wait",
        "stopped_epoch",
        "best",
        "best_epoch",
        "best_weights",
    ),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
        "_current_epoch",
    ),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.History: ("history", "epoch"),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
}
_REFUSED = (keras.callbacks.BackupAndRestore,)


def capture(callbacks, tensors):
    """Reads the state of callbacks.

    Args:
        callbacks: Sequence of `keras.callbacks.Callback`. One with methods
            `get_state()` and `set_state(state)` says itself what its state is: None,
            bool, int, float, str, bytes, numbers and arrays, in lists, tuples and
            dicts.
        tensors: dict, receives arrays.

    Returns:
        JSON list of `[class name, state]`, those without state left out.
    """
    states = [(type(callback).__name__, _state_of(callback)) for callback in callbacks]
    return [
        [name, encode(state, tensors, f"callbacks/{name}")]
        for name, state in states
        if state is not None
    ]


def restore(callbacks, states, tensors):
    """Puts the state of callbacks back; the n-th of a class gets the n-th's state.

    Args:
        callbacks: Sequence of `keras.callbacks.Callback`, after `on_train_begin`.
        states: What `capture` returned.
        tensors: dict name -> array.

    Returns:
        Tuple of two lists of class names: states that nobody takes, callbacks with
        state that get none.
    """
    waiting = {}
    for name, state in states:
        waiting.setdefault(name, []).append(state)
    without = []
    for callback in callbacks:
        name = type(callback).__name__
        if waiting.get(name):
            _put_back(callback, decode(waiting[name].pop(0), tensors))
        elif _state_of(callback) is not None:
            without.append(name)
    return [name for name, left in waiting.items() for _ in left], without


def check(callbacks):
    """Raises ValueError if a callback keeps checkpoints that would get in the way."""
    for callback in callbacks:
        if isinstance(callback, _REFUSED):
            raise ValueError(  # noqa: TRY004, the type is right, the choice is not
                "`callbacks` must not hold another callback that restores training; "
                f"leave it out. Received: {type(callback).__name__}"
            )


def forgetful(callbacks):
    """Names the classes whose instances remember something that is not saved."""
    plain = set(vars(keras.callbacks.Callback()))
    return sorted(
        {
            type(callback).__name__
            for callback in callbacks
            if not type(callback).__module__.startswith(("keras.", "workbench."))
            and not hasattr(callback, "get_state")
            and set(vars(callback)) - plain - {"params"}
            and not isinstance(callback, tuple(_ATTRIBUTES))
        }
    )


def _state_of(callback):
    if hasattr(callback, "get_state") and hasattr(callback, "set_state"):
        return callback.get_state()
    if isinstance(callback, keras.callbacks.CSVLogger):
        return _csv_state(callback)
    for kind, names in _ATTRIBUTES.items():
        if isinstance(callback, kind):
            return {
                name: getattr(callback, name)
                for name in names
                if hasattr(callback, name)
            }
    return None


def _put_back(callback, state):
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    elif isinstance(callback, keras.callbacks.CSVLogger):
        _put_back_csv(callback, state)
    else:
        for name, value in state.items():
            setattr(callback, name, value)


def _csv_state(callback):
    file = callback.csv_file
    if file is None or file.closed:
        return {"rows": b"", "keys": callback.keys}
    file.flush()
    with open(file.name, "rb") as opened:  # noqa: PTH123, may be an epath
        return {"rows": opened.read(), "keys": callback.keys}


def _put_back_csv(callback, state):
    # The file was emptied, or rows were added after the checkpoint.
    file = callback.csv_file
    file.seek(0)
    file.truncate()
    file.flush()
    with open(file.name, "wb") as opened:  # noqa: PTH123
        opened.write(state["rows"])
    file.seek(0, 2)
    callback.keys = state["keys"]
    callback.writer = None
    callback.append_header = not state["rows"]

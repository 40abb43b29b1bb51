"""The one call: train, and go on after any interruption."""

from workbench.checkpoints.session import Session


def fit(  # noqa: PLR0913, the signature is public
    model,
    data,
    *,
    filepath,
    epochs,
    batch_size=32,
    save_every=100,
    keep=3,
    seed=0,
    validation_data=None,
    callbacks=(),
    **others,
):
    """Trains a model with its own `fit`; the same call goes on after any interruption.

    It ends in the bits of a run without interruption: weights, optimizer, metrics,
    History, callbacks, random states and the place in the data are saved every
    `save_every` steps, in the background. Called again when training has finished, it
    gives the stored History; with more epochs it goes on. The first checkpoint is made
    before the first step, so a model that begins with other random weights in the next
    process ends like the first.

    Args:
        model: Compiled `keras.Model`, on one device, under a `MirroredStrategy`, or
            under `devices.multi_worker_strategy()`; on several not with a
            `tf.data.Dataset`, whose place is not known.
        data: Array, `(x, y)` or `(x, y, sample_weight)` of arrays; a
            `keras.utils.PyDataset`; any object with `__len__` and `__getitem__` whose
            items are samples; or a batched `tf.data.Dataset`. All but the last are
            shuffled by seed and epoch. An object whose items change with time needs
            `get_state()` and `set_state(state)`.
        filepath: str or path of a folder, created if need be; one run, one folder. Of
            several workers each writes into a folder of its own in it, on its own disk
            or a shared one; started again together, all go on from the newest that all
            have.
        epochs: Positive int.
        batch_size: Positive int, samples; not for data that brings its batches.
        save_every: Positive int, steps between two checkpoints.
        keep: Positive int, how many checkpoints stay on disk.
        seed: int >= 0 of the data's order; random states stay as they are.
        validation_data: As `model.fit` takes it.
        callbacks: Iterable of `keras.callbacks.Callback`. Keras's own come back as
            they were; one of your own needs `get_state()`, which returns None, bool,
            int, float, str, bytes, numbers and arrays, in lists, tuples and dicts,
            and `set_state(state)`.
        **others: `shuffle`, `steps_per_epoch`, `on_error` and `by_hash` of `Session`;
            the rest is passed on to `model.fit`, such as `class_weight`; `verbose` is
            0 unless given. `by_hash=[layer]` leaves the weights of a frozen layer out
            of the checkpoints and names them by their SHA-256.

    Returns:
        `keras.callbacks.History`, of all epochs.

    Raises:
        RuntimeError: If another process uses the folder.
        ValueError: If another model or other data made what is in the folder.
    """
    session = Session(
        model,
        data,
        filepath=filepath,
        epochs=epochs,
        batch_size=batch_size,
        save_every=save_every,
        keep=keep,
        seed=seed,
        validation_data=validation_data,
        callbacks=callbacks,
        **others,
    )
    with session:
        return session.fit()

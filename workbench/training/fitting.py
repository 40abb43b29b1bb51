"""The call of a model's own `fit`: once, or exactly resumable."""

from workbench.checkpoints import Session
from workbench.devices.preflighting import check_trainable
from workbench.training.arguments import fit_arguments_of

_OF_CHECKPOINTS = ("save_every", "keep", "seed", "on_error", "by_hash")


def fit_of(model, data, callbacks, *, filepath, epochs, batch_size, **others):
    """Checks the arguments and finds out how to train.

    Args:
        model: Compiled `keras.Model`.
        data: Tuple of arrays, or a dataset.
        callbacks: List of `keras.callbacks.Callback`.
        filepath: str or path of a folder of checkpoints, or None.
        epochs: int.
        batch_size: int, for arrays.
        **others: More arguments of `model.fit`; with `filepath`, also those of
            `workbench.checkpoints.fit`.

    Returns:
        `PlainFit` or `ResumableFit`.

    Raises:
        ValueError: If one of them is out of range, given twice, needs `filepath`, or
            does not go with the model's strategy.
    """
    arguments = fit_arguments_of(data, epochs, batch_size, others)
    check_trainable(model, data, batch_size=batch_size)
    held_out = others.get("validation_data")
    size = others.get("validation_batch_size") or batch_size
    check_trainable(model, held_out, batch_size=size, name="validation_data")
    if filepath is not None:
        others |= {"epochs": epochs, "batch_size": batch_size}
        return ResumableFit(
            model, data, filepath=filepath, callbacks=callbacks, **others
        )
    lost = [name for name in _OF_CHECKPOINTS if name in others]
    if lost:
        raise ValueError(
            f"`{lost[0]}` is about checkpoints; name a folder for them, such as "
            f'`filepath="my_run"`. Received: {lost[0]}={others[lost[0]]!r}, '
            "filepath=None"
        )
    return PlainFit(model, {**arguments, "callbacks": callbacks})


class PlainFit:
    """Calls `model.fit`.

    Args:
        model: `keras.Model`.
        arguments: dict of keyword arguments.
    """

    def __init__(self, model, arguments):
        self._model = model
        self._arguments = arguments

    def __call__(self):
        """Trains."""
        self._model.fit(**self._arguments)

    def end(self):
        """Ends it after the step it is in; to be called by a callback."""
        self._model.stop_training = True


class ResumableFit:
    """Calls `model.fit` as `workbench.checkpoints.fit` does, again and again.

    Args:
        model: `keras.Model`.
        data: As `checkpoints.fit` takes it.
        **arguments: Those of `checkpoints.fit`.
    """

    def __init__(self, model, data, **arguments):
        self._arguments = {"model": model, "data": data, **arguments}
        # Made already here, so that bad arguments are told at once.
        self._session = Session(**self._arguments)
        self._used = False

    def __call__(self):
        """Trains, from the newest checkpoint on."""
        if self._used:
            self._session = Session(**self._arguments)
        self._used = True
        with self._session as session:
            session.fit()

    def end(self):
        """Ends it after the step it is in; to be called by a callback."""
        self._session.interrupt()

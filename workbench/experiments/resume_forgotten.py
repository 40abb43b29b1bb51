"""What callbacks and random states forget when training goes on: traps, one by one.

Each function takes a `Bench` and returns a pair, whether it happens with Keras and with
`checkpoints.fit`.
"""

import keras
import numpy as np

from workbench.experiments.resume_bench import SEED, largest_difference


def callback_counts_anew(bench):
    """Whether `ReduceLROnPlateau` ends with another rate."""

    def plateau():
        return keras.callbacks.ReduceLROnPlateau("loss", 0.5, 2, min_delta=100)

    def rate(model):
        return float(model.optimizer.learning_rate)

    straight = bench.by_keras(bench.net(), 3, [plateau()])
    model = bench.by_keras(bench.net(), 2, [plateau()])
    bench.by_keras(model, 3, [plateau()], initial_epoch=2)
    path = bench.path()
    for epochs in (2, 3):
        other = bench.exactly(bench.net(), path, epochs, [plateau()])
    return rate(model) != rate(straight), rate(other) != rate(straight)


def best_weights_are_forgotten(bench):
    """Whether the best epoch before the stop is lost."""

    def net():
        return bench.net(keras.optimizers.SGD(-0.1))  # epoch 1 is the best

    def stop():
        monitored = {"monitor": "loss", "patience": 9, "restore_best_weights": True}
        return [keras.callbacks.EarlyStopping(**monitored)]

    path, folder = bench.path(".keras"), bench.path()
    first = bench.by_keras(net(), 1, stop())
    first.save(path)
    model = keras.models.load_model(path)
    bench.by_keras(model, 2, stop(), initial_epoch=1)
    both = [bench.exactly(net(), folder, epochs, stop()) for epochs in (1, 2)]
    return largest_difference(model, first) > 0, largest_difference(*both) > 0


def history_begins_anew(bench):
    """Whether the epochs before the stop are missing in it."""
    path = bench.path()
    backup = keras.callbacks.BackupAndRestore(path, delete_checkpoint=False)
    for epochs in (1, 2):
        model = bench.by_keras(bench.net(), epochs, [backup])
    folder = bench.path()
    for epochs in (1, 2):
        other = bench.exactly(bench.net(), folder, epochs)
    return [len(one.history.epoch) != 2 for one in (model, other)]


def best_file_is_overwritten(bench):
    """Whether `ModelCheckpoint` takes a worse epoch for the best."""

    def best(path):
        return [keras.callbacks.ModelCheckpoint(path, "loss", save_best_only=True)]

    worse = keras.optimizers.SGD(-0.1)  # the loss grows from epoch to epoch
    model, path = bench.net(worse), bench.path(".keras")
    other_path, folder = bench.path(".keras"), bench.path()
    files = []
    for epochs in (1, 2):
        bench.by_keras(model, epochs, best(path), initial_epoch=epochs - 1)
        other = bench.net(keras.optimizers.SGD(-0.1))
        bench.exactly(other, folder, epochs, best(other_path))
        files.append((path.read_bytes(), other_path.read_bytes()))
    return [first != second for first, second in zip(*files, strict=True)]


def dropout_masks_come_again(bench):
    """Whether the counter of the masks is not where it was."""
    path, folder = bench.path(".keras"), bench.path()
    model = bench.by_keras(bench.net())
    model.save(path)
    other = [bench.exactly(bench.net(), folder) for _ in range(2)]
    models = model, keras.models.load_model(path), *other
    drawn = [m.layers[1].seed_generator.state.numpy()[1] for m in models]
    return drawn[1] != drawn[0], drawn[3] != drawn[2]


def random_numbers_come_again(bench):
    """Whether the second epoch draws what the first drew."""
    path = bench.path()
    fits = (
        lambda epochs, draw: bench.by_keras(
            bench.net(), epochs, [draw], initial_epoch=epochs - 1
        ),
        lambda epochs, draw: bench.exactly(bench.net(), path, epochs, [draw]),
    )

    def drawn(fit, epochs):
        numbers = []

        def draw(batch, logs):  # noqa: ARG001, Keras calls by name
            numbers.append(np.random.random())  # noqa: NPY002, the global one

        fit(epochs, keras.callbacks.LambdaCallback(on_train_batch_end=draw))
        return numbers

    return [drawn(fit, 1) == drawn(fit, 2) for fit in fits]


def first_order_comes_again(bench):
    """Whether the second epoch begins with the first's batch."""

    def first_losses(fits):
        seen = []

        def note(batch, logs):
            if batch == 0:
                seen.append(logs["loss"])

        for fit in fits:
            # Without a step of any size the loss tells which digits are in the batch.
            fit([keras.callbacks.LambdaCallback(on_train_batch_end=note)])
        return seen

    def frozen():
        keras.utils.set_random_seed(SEED)  # as a script does when it begins
        return bench.net(keras.optimizers.SGD(0.0))

    def again(callbacks):
        bench.by_keras(frozen(), 2, callbacks, initial_epoch=1)

    path = bench.path()
    exact = (
        lambda callbacks: bench.exactly(frozen(), path, 1, callbacks),
        lambda callbacks: bench.exactly(frozen(), path, 2, callbacks),
    )
    model = first_losses(
        [lambda callbacks: bench.by_keras(frozen(), 1, callbacks), again]
    )
    other = first_losses(exact)
    return model[0] == model[1], other[0] == other[1]

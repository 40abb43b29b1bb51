"""What is lost when training goes on, with Keras and with the workbench: measured."""

import dataclasses
import tempfile
import warnings

import keras

from workbench import checkpoints
from workbench.experiments.resume_bench import SEED, STEPS, Bench, largest_difference
from workbench.reports import Note, Report, Table


@dataclasses.dataclass(frozen=True)
class Traps(Report):
    """Which traps closed.

    Attributes:
        keras: dict of what happens -> bool, whether it did with Keras.
        workbench: dict of what happens -> bool, whether it did with `checkpoints.fit`.
    """

    keras: dict
    workbench: dict

    def blocks(self):
        """Returns the report's content."""
        yield Note("Does it happen? Measured just now.")
        rows = [
            (name, "yes" if by_keras else "no", "yes" if self.workbench[name] else "no")
            for name, by_keras in self.keras.items()
        ]
        yield Table(("when training goes on", "Keras", "workbench"), tuple(rows))


def spring_traps():
    """Springs each known trap of going on with a training, with two small models.

    Takes some seconds; what is written goes into a temporary folder.

    Returns:
        `Traps`.
    """
    with tempfile.TemporaryDirectory() as folder:
        closed = {name: trap(Bench(folder)) for name, trap in _TRAPS.items()}
    closed = {name: tuple(map(bool, both)) for name, both in closed.items()}
    return Traps(*({name: both[i] for name, both in closed.items()} for i in (0, 1)))


def _steps(model):
    return int(model.optimizer.iterations)


def _steps_are_done_twice(bench):
    return [_steps(model) != 2 * STEPS for model in bench.crashed(save_freq=2)]


def _later_fit_does_nothing(bench):
    models = bench.crashed(save_freq="epoch")
    before = [_steps(model) for model in models]
    after = [_steps(bench.by_keras(model)) for model in models]
    return [a == b for a, b in zip(after, before, strict=True)]


def _callback_counts_anew(bench):
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


def _best_file_is_overwritten(bench):
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


def _dropout_masks_come_again(bench):
    path, folder = bench.path(".keras"), bench.path()
    model = bench.by_keras(bench.net())
    model.save(path)
    other = [bench.exactly(bench.net(), folder) for _ in range(2)]
    models = model, keras.models.load_model(path), *other
    drawn = [m.layers[1].seed_generator.state.numpy()[1] for m in models]
    return drawn[1] != drawn[0], drawn[3] != drawn[2]


def _data_come_in_the_first_order_again(bench):
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


def _average_gets_in_the_way(bench):
    def net():
        return bench.net(keras.optimizers.Adam(use_ema=True, ema_momentum=0.5))

    one = bench.by_keras(net(), 2, shuffle=False)
    two = bench.by_keras(net(), 1, shuffle=False)
    bench.by_keras(two, 2, initial_epoch=1, shuffle=False)
    straight, path = bench.exactly(net(), bench.path(), 2), bench.path()
    for epochs in (1, 2):
        other = bench.exactly(net(), path, epochs)
    return largest_difference(one, two) > 0, largest_difference(straight, other) > 0


def _optimizer_begins_anew(bench):
    def decaying():
        schedule = keras.optimizers.schedules.CosineDecay(1e-3, 100)
        return bench.net(keras.optimizers.Adam(schedule))

    path, folder, model = bench.path(".weights.h5"), bench.path(), decaying()
    bench.by_keras(bench.net()).save_weights(path)
    bench.exactly(bench.net(), folder)
    with warnings.catch_warnings(record=True):
        model.load_weights(path)
    try:
        other = bench.exactly(decaying(), folder, 2)
    except ValueError:  # it refuses, and says what differs
        return _steps(model) == 0, False
    return _steps(model) == 0, _steps(other) != 2 * STEPS


def _flipped_bit_is_taken(bench):
    def flip(path, model):
        content = bytearray(path.read_bytes())
        place = content.index(model.get_weights()[0].tobytes())
        content[place + 1000] ^= 1
        path.write_bytes(content)

    path, folder = bench.path(".weights.h5"), bench.path()
    model, loaded = bench.by_keras(bench.net()), bench.by_keras(bench.net())
    model.save_weights(path)
    flip(path, model)
    loaded.load_weights(path)
    other = bench.exactly(bench.net(), folder)
    newest = checkpoints.list_checkpoints(folder)[-1]
    flip(newest.path / "tensors.safetensors", other)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        again = bench.exactly(bench.net(), folder)
    wrong = not told or largest_difference(again, other) > 0
    return largest_difference(loaded, model) > 0, wrong


def _unbuilt_model_is_refused(bench):
    other = bench.exactly(bench.net(built=False), bench.path())
    backup = keras.callbacks.BackupAndRestore(bench.path())
    try:
        bench.by_keras(bench.net(built=False), 1, [backup])
    except ValueError:
        return True, _steps(other) != STEPS
    return False, _steps(other) != STEPS


def _chosen_rate_is_replaced(bench):
    path, folder = bench.path(".weights.h5"), bench.path()
    bench.by_keras(bench.net()).save_weights(path)
    bench.exactly(bench.net(), folder)
    model, other = (bench.net(keras.optimizers.Adam(1e-5)) for _ in range(2))
    model.optimizer.build(model.trainable_variables)
    model.load_weights(path)
    bench.exactly(other, folder, 2)
    return [float(m.optimizer.learning_rate) > 1e-4 for m in (model, other)]


_TRAPS = {
    "steps after a crash are done twice": _steps_are_done_twice,
    "a later fit does nothing": _later_fit_does_nothing,
    "a callback counts anew": _callback_counts_anew,
    "the best file is overwritten by a worse": _best_file_is_overwritten,
    "dropout draws the same masks again": _dropout_masks_come_again,
    "data come in the first epoch's order": _data_come_in_the_first_order_again,
    "an average of weights gets in the way": _average_gets_in_the_way,
    "the optimizer begins anew": _optimizer_begins_anew,
    "a flipped bit is taken": _flipped_bit_is_taken,
    "a model without input shape is refused": _unbuilt_model_is_refused,
    "a newly chosen rate is replaced": _chosen_rate_is_replaced,
}

"""What is lost when training goes on, with Keras and with the workbench: measured."""

import dataclasses
import tempfile
import warnings

import keras

from workbench import checkpoints
from workbench.experiments import resume_forgotten as forgotten
from workbench.experiments.resume_bench import STEPS, Bench, descent, largest_difference
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
        bench = Bench(folder)
        closed = {name: trap(bench) for name, trap in _TRAPS.items()}
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


def _torn_pair_is_taken(bench):
    """A kill between the two files that `BackupAndRestore` writes over."""
    path, folder = bench.path(), bench.path()
    backup = keras.callbacks.BackupAndRestore(path, delete_checkpoint=False)
    told = path / "training_metadata.json"
    bench.by_keras(bench.net(), 1, [backup])
    before = told.read_bytes()
    bench.by_keras(bench.net(), 2, [backup])
    told.write_bytes(before)  # the weights of two epochs, and the number of one
    model = bench.by_keras(bench.net(), 2, [backup])
    bench.exactly(bench.net(), folder)
    older = (
        checkpoints.list_checkpoints(folder)[-1].path / "manifest.json"
    ).read_bytes()
    bench.exactly(bench.net(), folder, 2)
    newest = checkpoints.list_checkpoints(folder)[-1].path
    (newest / "manifest.json").write_bytes(older)
    with warnings.catch_warnings(record=True):
        other = bench.exactly(bench.net(), folder, 2)
    return [_steps(one) != 2 * STEPS for one in (model, other)]


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
        return bench.net(descent(schedule))

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


def _compiling_drops_the_optimizer(bench):
    path = bench.path()
    model = bench.compile(bench.by_keras(bench.net()))
    bench.by_keras(model, 2, initial_epoch=1)
    other = bench.compile(bench.exactly(bench.net(), path))
    bench.exactly(other, path, 2)
    return [_steps(one) != 2 * STEPS for one in (model, other)]


def _short_epoch_shortens_all(bench):
    exactly = {"data": bench.growing(), "steps_per_epoch": STEPS}
    with warnings.catch_warnings(record=True):  # that data ran out, are read again
        model = bench.by_keras(bench.net(), 2, data=bench.growing())
        other = bench.exactly(bench.net(), bench.path(), 2, **exactly)
    return _steps(model) < 2 + STEPS, _steps(other) != 2 * STEPS


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
    model, other = (bench.net(descent(1e-5)) for _ in range(2))
    model.optimizer.build(model.trainable_variables)
    model.load_weights(path)
    bench.exactly(other, folder, 2)
    return [float(m.optimizer.learning_rate) > 1e-4 for m in (model, other)]


_TRAPS = {
    "steps after a crash are done twice": _steps_are_done_twice,
    "a later fit does nothing": _later_fit_does_nothing,
    "new weights and an old epoch number are taken": _torn_pair_is_taken,
    "a callback counts anew": forgotten.callback_counts_anew,
    "early stopping forgets the best weights": forgotten.best_weights_are_forgotten,
    "the best file is overwritten by a worse": forgotten.best_file_is_overwritten,
    "History begins anew": forgotten.history_begins_anew,
    "dropout draws the same masks again": forgotten.dropout_masks_come_again,
    "NumPy draws the same numbers again": forgotten.random_numbers_come_again,
    "data come in the first epoch's order": forgotten.first_order_comes_again,
    "a short first epoch shortens all": _short_epoch_shortens_all,
    "an average of weights gets in the way": _average_gets_in_the_way,
    "the optimizer begins anew": _optimizer_begins_anew,
    "compiling again drops the optimizer": _compiling_drops_the_optimizer,
    "a flipped bit is taken": _flipped_bit_is_taken,
    "a model without input shape is refused": _unbuilt_model_is_refused,
    "a newly chosen rate is replaced": _chosen_rate_is_replaced,
}

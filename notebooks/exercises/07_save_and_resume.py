# %% setup
from workbench.logs import quiet

with quiet():
    import keras

import contextlib
import pathlib
import tempfile

import numpy as np
from keras import layers

from workbench import checkpoints, data
from workbench.experiments.resume_bench import crash_after, largest_difference

# %% setup
SEED = 7
EPOCHS_BEFORE = 12
SCRATCH = tempfile.TemporaryDirectory()  # goes when the kernel ends
FOLDER = pathlib.Path(SCRATCH.name)

(x_train, y_train), (x_test, y_test) = data.load_mnist()
first, rest = (x_train[:3000], y_train[:3000]), (x_train[3000:], y_train[3000:])
small = x_train[:1500], y_train[:1500]


# %% setup
def build(seed=SEED):
    keras.utils.set_random_seed(seed)
    hidden = layers.Dense(128, activation="relu")
    stack = [layers.Flatten(), hidden, layers.Dropout(0.2), layers.Dense(10)]
    model = keras.Sequential([layers.Input((28, 28)), *stack])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


# %% 1. Predict: old digits among the new [markdown]
# In section 1 the loaded model begins with a loss near 0.07 on the 3,000 digits that it knows, and near 0.26 on the 5,000 that it does not. How large is the loss of its first epoch if old and new digits are mixed, each of them once?

# %% hint [markdown]
# The loss of an epoch is a mean over all of its digits.

# %% hint [markdown]
# Three of eight digits are old, five are new.

# %% start
first_loss = ...

# %% answer
first_loss = (3 * 0.07 + 5 * 0.26) / 8

# %% why [markdown]
# Between the two: 3,000 digits with a loss near 0.07 and 5,000 with one near 0.26 have a mean near 0.19. The jump at the seam is a mean over what was seen and what was not.

# %% shown
model = build()
before = model.fit(*first, epochs=EPOCHS_BEFORE, verbose=0).history["loss"]
model.save(FOLDER / "model.keras")
start = {}
for name, dataset in {"new": rest, "mixed": (x_train, y_train), "old": first}.items():
    loaded = keras.models.load_model(FOLDER / "model.keras")
    start[name] = loaded.fit(*dataset, verbose=0).history["loss"][0]

# %% shown
# Check: the mixture lies between, near the weighted mean
assert start["old"] < start["mixed"] < start["new"]
mean = (3 * start["old"] + 5 * start["new"]) / 8
assert 0.7 < start["mixed"] / mean < 1.3

# %% wrong says="more than 0.07"
first_loss = 0.07

# %% wrong says="less than 0.26"
first_loss = 0.26

# %% wrong says="more new digits than old"
first_loss = (0.07 + 0.26) / 2

# %% wrong says="less than 0.33"
first_loss = 0.07 + 0.26

# %% wrong says="more new digits than old"
first_loss = (5 * 0.07 + 3 * 0.26) / 8

# %% wrong says="must be one number"
first_loss = "in between"

# %% 2. Predict: a crash before anything was saved [markdown]
# Let the crash of section 2 come after 5 steps, before `save_every=20` was reached, and give the second model another seed, so that it begins with other weights. After how many steps was the only checkpoint made? And what does the second fit end in?
#
# - **a** The bits of a fit that was never stopped.
# - **b** Other bits, since five steps are lost.
# - **c** Other bits, since the second model began with other weights.
# - **d** An error, since there is nothing to go on from.

# %% hint [markdown]
# What would the workbench have to save, and when, so that even this crash loses nothing but time?

# %% hint [markdown]
# The second model takes over whatever stands in the checkpoint, weights and random states. Try it with `checkpoints.list_checkpoints`.

# %% start
checkpoint_at = ...  # steps
second_ends_in = ...  # a letter, in quotes

# %% answer
checkpoint_at = 0  # steps
second_ends_in = "a"  # a letter, in quotes

# %% why [markdown]
# The seed of the second model does not matter: the very first checkpoint is written *before* the first step, with the initial weights and every random state. The second model takes them over and begins at step 1.


# %% shown
def exact(model, name, crash=()):
    return checkpoints.fit(
        model, small, filepath=FOLDER / name, epochs=2, save_every=20, callbacks=crash
    ).history


# %% shown
never_stopped, other = build(), build(SEED + 1)
expected = exact(never_stopped, "straight")
with contextlib.suppress(KeyboardInterrupt):
    exact(build(), "stopped", [crash_after(5)])
print([found.steps for found in checkpoints.list_checkpoints(FOLDER / "stopped")])
found = exact(other, "stopped")

# %% shown
# Check: the same bits, although the second model began with other weights
assert largest_difference(build(SEED + 1), build()) > 0
assert largest_difference(other, never_stopped) == 0
assert found == expected

# %% wrong says="not after 20 steps"
checkpoint_at, second_ends_in = 20, "b"

# %% wrong says="not after 5 steps"
checkpoint_at, second_ends_in = 5, "a"

# %% wrong says="c) does not hold"
checkpoint_at, second_ends_in = 0, "c"

# %% wrong says="b) does not hold"
checkpoint_at, second_ends_in = 0, "b"

# %% wrong says="d) does not hold"
checkpoint_at, second_ends_in = 0, "d"

# %% wrong says="must be one letter"
checkpoint_at, second_ends_in = 0, "same"


# %% 3. Change: an order that needs no memory [markdown]
# Why do data come in another order after a stop? `my_order` draws the order of an epoch from one generator, as shuffling usually does: epoch 3 depends on how often it was asked before, and a new process begins anew. Change it: the order of an epoch shall depend on the seed 7 and the number of the epoch only. Every digit comes once, and each epoch has an order of its own.

# %% hint [markdown]
# A generator that lives longer than the call is a memory. Make one inside.

# %% hint [markdown]
# `np.random.default_rng` takes a list of whole numbers as its seed.

# %% start
my_generator = np.random.default_rng(7)


def my_order(epoch, count):
    return my_generator.permutation(count)


# %% answer
def my_order(epoch, count):
    return np.random.default_rng([7, epoch]).permutation(count)


# %% why [markdown]
# With such an order the place in the data is three whole numbers: seed, epoch and step. They can be written into a checkpoint, and nothing has to be replayed. `checkpoints.fit` does it so; `fit` of Keras shuffles with a generator whose place no file keeps.

# %% shown
# Check: epoch 3 is the same without the epochs before it
alone = my_order(3, 1500)
for epoch in range(4):
    after_others = my_order(epoch, 1500)
np.testing.assert_array_equal(alone, after_others)


# %% wrong says="each epoch the same order"
def my_order(epoch, count):
    return np.random.default_rng(7).permutation(count)


# %% wrong says="Asked twice"
def my_order(epoch, count):
    return np.random.default_rng().permutation(count)


# %% wrong says="each digit once"
def my_order(epoch, count):
    return np.random.default_rng([7, epoch]).integers(count, size=count)


# %% wrong says="in the order of the file"
def my_order(epoch, count):
    return np.arange(count)


# %% wrong says="each digit once"
def my_order(epoch, count):
    return np.random.default_rng([7, epoch]).permutation(count // 2)


# %% wrong says="only turned round"
def my_order(epoch, count):
    return np.roll(np.random.default_rng(7).permutation(count), epoch)


# %% wrong says="each epoch the same order"
def my_order(epoch, count):
    return np.random.default_rng([7, count]).permutation(count)


# %% 4. Explain: why inverted pictures undo a good start [markdown]
# Inverted pictures in section 4: from the same digits the resumed model learns far less than a new one. Compare the old model and a new one on inverted pictures, before any training: the share of hidden units above zero, the size of the logits, and the loss. The loss of guessing is log 10. Which statements hold?
#
# - **a** Nearly all hidden units of the old model are dead.
# - **b** About half of the hidden units are above zero, in the old model as in a new one.
# - **c** The logits of the old model are more than five times as large as those of a new one.
# - **d** The old model errs with certainty: its loss is more than four times that of guessing.
# - **e** Inverted pictures hold less information, so nothing can learn from them.
# - **f** The old model's gradients are zero.

# %% hint [markdown]
# The old model has learned on pictures that are mostly black, that is zero. What does a unit get when nearly all pixels are one?

# %% hint [markdown]
# `keras.Sequential(model.layers[:2]).predict(1 - x_test)` has the hidden units, `model.predict(1 - x_test)` the logits.

# %% start
hold_for_inverted = ...  # letters out of "abcdef"

# %% answer
hold_for_inverted = "bcd"  # letters out of "abcdef"

# %% why [markdown]
# Not dead: about half of the hidden units are above zero, in the old model as in a new one. But they are large. The old model has learned on pictures that are mostly black, that is zero; inverted, nearly all inputs are one, each unit gets the sum of nearly all its grown weights, and the logits come out more than ten times those of a new model. So it is wrong *with certainty*: its loss is far above that of guessing, log 10. Adam moves a weight by about the learning rate per step, however large the gradient, so unlearning takes many steps. A new model begins near guessing.


# %% shown
def look_at(model, x):
    hidden = keras.Sequential(model.layers[:2]).predict(x, verbose=0)
    logits = model.predict(x, verbose=0)
    loss = model.evaluate(x, y_test, verbose=0)[0]
    return (hidden > 0).mean(), np.abs(logits).mean(), loss


old_share, old_size, old_loss = look_at(model, 1 - x_test)
new_share, new_size, new_loss = look_at(build(), 1 - x_test)

# %% shown
# Check: as many units are alive; the logits are far larger, and the loss with them
assert 0.3 < old_share < 0.7 and 0.3 < new_share < 0.7
assert old_size > 5 * new_size
assert old_loss > 4 * np.log(10) and new_loss < 2 * np.log(10)

# %% wrong says="a) does not hold"
hold_for_inverted = "acd"

# %% wrong says="e) does not hold"
hold_for_inverted = "bcde"

# %% wrong says="f) does not hold"
hold_for_inverted = "bcdf"

# %% wrong says="not all that does"
hold_for_inverted = "d"

# %% wrong says="not all that does"
hold_for_inverted = "bc"

# %% wrong says="must be letters"
hold_for_inverted = "dead units"

# %% 5. Diagnose: loaded, and Adam remembers nothing [markdown]
# Somebody loads a model and goes on with a tenth of the rate. Run it and see. What is the cause?
#
# - **a** A `.keras` file has no state of the optimizer in it.
# - **b** `compile` has put a new optimizer in the place of the loaded one.
# - **c** `load_model` loads weights only.
# - **d** The step count begins anew with each `fit`.
#
# Then mend the line that sets the rate, so that the loaded `my_second` goes on with a rate of 0.0001 and with all that Adam remembers.

# %% hint [markdown]
# Print `int(my_second.optimizer.iterations)` after each line.

# %% hint [markdown]
# The rate is an attribute of the optimizer that is there already.

# %% start
cause = ...  # a letter, in quotes
my_first = build()
my_first.fit(x_train[:640], y_train[:640], epochs=2, verbose=0)
my_first.save(FOLDER / "first.keras")

my_second = keras.models.load_model(FOLDER / "first.keras")
my_second.compile(keras.optimizers.Adam(1e-4), my_second.loss)

counts = [int(one.optimizer.iterations) for one in (my_first, my_second)]
print(f"Adam of the first has made {counts[0]} steps, of the second {counts[1]}")

# %% answer
cause = "b"  # a letter, in quotes
my_first = build()
my_first.fit(x_train[:640], y_train[:640], epochs=2, verbose=0)
my_first.save(FOLDER / "first.keras")

my_second = keras.models.load_model(FOLDER / "first.keras")
my_second.optimizer.learning_rate = 1e-4

counts = [int(one.optimizer.iterations) for one in (my_first, my_second)]
print(f"Adam of the first has made {counts[0]} steps, of the second {counts[1]}")

# %% why [markdown]
# The file has everything that Adam knows, and `load_model` has brought it back; `compile` then put a fresh optimizer in its place. Nothing warns, and the loss may rise for some steps. Set the rate on the optimizer that is there. `checkpoints.fit` brings the state back after `compile`, too.

# %% wrong says="`formats.inspect_file`"
cause, my_first, my_second = "a", build(), build()

# %% wrong says="before the line with `compile`"
cause, my_first, my_second = "c", build(), build()

# %% wrong says="went on counting"
cause, my_first, my_second = "d", build(), build()

# %% wrong says="rate of `my_second` is 0.001"
cause, my_first = "b", build()
my_first.fit(x_train[:64], y_train[:64], verbose=0)
my_first.save(FOLDER / "first.keras")
my_second = keras.models.load_model(FOLDER / "first.keras")

# %% wrong says="has made 0 steps"
cause, my_first = "b", build()
my_first.fit(x_train[:64], y_train[:64], verbose=0)
my_second = build()
my_second.set_weights(my_first.get_weights())
my_second.optimizer.learning_rate = 1e-4

# %% wrong says="its means are not those"
cause, my_first = "b", build()
my_first.fit(x_train[:64], y_train[:64], verbose=0)
my_first.save(FOLDER / "first.keras")
my_second = keras.models.load_model(FOLDER / "first.keras")
my_second.compile(keras.optimizers.Adam(1e-4), my_second.loss)
my_second.optimizer.build(my_second.trainable_variables)
my_second.optimizer.iterations.assign(my_first.optimizer.iterations)

# %% wrong says="the loaded model"
cause, my_first = "b", build()
my_first.fit(x_train[:64], y_train[:64], verbose=0)
my_second = my_first
my_second.optimizer.learning_rate = 1e-4

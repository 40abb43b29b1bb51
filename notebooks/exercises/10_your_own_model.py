# %% setup
from workbench.logs import quiet

with quiet():
    import keras

import numpy as np
from keras import layers

from workbench import data
from workbench.training import Run

# %% setup
SEED = 10
EPOCHS = 6
BATCH_SIZE = 64
STEPS_PER_EPOCH = 125
LEARNING_RATE = 3e-3

# %% setup
(x_train, y_train), (x_test, y_test) = data.load_mnist()
x_train.shape, x_test.shape, x_train.dtype, (x_train.min(), x_train.max())


# %% setup
def build_cnn(steps=EPOCHS * STEPS_PER_EPOCH):
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPool2D(),
            layers.BatchNormalization(momentum=0.9),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    return model


# %% setup
x, y = x_train[:1920], y_train[:1920]


def at_step(step, action):
    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch + 1 == step and action()
    )


# %% 1. Predict: a learning rate of 0 [markdown]
# In the middle of a run of section 1 you set the learning rate to 0, and the run goes on. Which statements hold from then on?
#
# - **a** The weights that are trained stand still.
# - **b** The loss is the same for every batch.
# - **c** The gradient norm is 0.
# - **d** The moving statistics of batch normalization go on moving.
# - **e** Adam's running means stand still.

# %% hint [markdown]
# Of *forward, gradient, update*, which one knows the learning rate?

# %% hint [markdown]
# What is made by the forward pass alone? And what does Adam do before it multiplies by the rate?

# %% start
hold_at_rate_0 = ...  # letters out of "abcde"

# %% answer
hold_at_rate_0 = "ad"  # letters out of "abcde"

# %% why [markdown]
# The loss stops falling and goes on jumping from batch to batch, the gradient norm stays where it is: the gradient is still computed, it is only multiplied by 0. Batch normalization's moving statistics go on moving, for they are no weights and know no rate.

# %% shown
model = build_cnn()
kept = {}


def freeze():
    run.learning_rate = 0
    kept.update({v.path: v.numpy().copy() for v in model.weights})


run = Run(model, (x, y), callbacks=[at_step(30, freeze)]).start()
history = run.wait()

# %% shown
# Check: weights stand still, moving statistics do not, the gradient is not zero
for variable in model.weights:
    same = np.array_equal(variable.numpy(), kept[variable.path])
    assert same == ("moving" not in variable.path), variable.path
assert (run.records.gradient_norm[30:] > 0).all()

# %% wrong says="other digits"
hold_at_rate_0 = "abd"

# %% wrong says="c) does not hold"
hold_at_rate_0 = "acd"

# %% wrong says="e) does not hold"
hold_at_rate_0 = "ade"

# %% wrong says="not all that does"
hold_at_rate_0 = "a"

# %% wrong says="not all that does"
hold_at_rate_0 = "d"

# %% wrong says="must be letters"
hold_at_rate_0 = "nothing moves"


# %% 2. Change: the loss of each batch [markdown]
# Somebody has kept what Keras logs at each batch of one epoch: the mean over all batches so far. `my_batch_losses` shall give back each batch's own loss. For now it returns what was logged; change it.

# %% hint [markdown]
# From the mean over 4 batches you know their sum, and from the mean over 3 that of the first three. What is the difference?

# %% hint [markdown]
# Section 2 computes the running mean from the losses. Go back from its last line. `np.diff(sums, prepend=0)` keeps the first.


# %% start
def my_batch_losses(logged):
    return logged


# %% answer
def my_batch_losses(logged):
    counts = np.arange(1, len(logged) + 1)
    return np.diff(counts * logged, prepend=0)


# %% why [markdown]
# Mean times count is the sum so far, and the difference of two sums is what came in between. It can be computed afterwards, if nobody rounded what was logged: at step 1,000 an error in the fourth digit has grown a thousand times. A record of each batch is the better way.

# %% shown
# Check: from Keras's log to the record of the run
seen = []
log = keras.callbacks.LambdaCallback(
    on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])
)
run = Run(build_cnn(), (x, y), callbacks=[log]).start()
run.wait()
np.testing.assert_allclose(my_batch_losses(np.array(seen)), run.records.loss, atol=1e-3)


# %% wrong says="as many losses"
def my_batch_losses(logged):
    return np.diff(np.arange(1, len(logged) + 1) * logged)


# %% wrong says="The first batch"
def my_batch_losses(logged):
    return np.diff(logged, prepend=0) * 2


# %% wrong says="sum of all so far"
def my_batch_losses(logged):
    return np.arange(1, len(logged) + 1) * logged


# %% wrong says="The second batch"
def my_batch_losses(logged):
    return np.diff(logged, prepend=0)


# %% wrong says="The second batch"
def my_batch_losses(logged):
    return np.cumsum(logged) / np.arange(1, len(logged) + 1)


# %% wrong says="as many losses"
def my_batch_losses(logged):
    return logged[-1]


# %% 3. Explain: why `val_loss` starts below `loss` [markdown]
# After the first epoch of section 1, somebody evaluates the model on the *training* digits. Keras had logged a loss of 0.40 for the epoch. Evaluated, the loss is 0.09. With dropout still on, by `model(x, training=True)`, it is 0.16. How much of the gap between the first two is due to dropout, and how much to the mean over a model that was still worse? And which statements hold?
#
# - **a** Most of the gap is the mean over a model that was still worse.
# - **b** Most of the gap is dropout.
# - **c** The held-out digits are easier than those trained on.
# - **d** Both reasons are there without any held-out digits.
# - **e** A `val_loss` below `loss` means that the validation data leaked into training.

# %% hint [markdown]
# Which of the three numbers differ in dropout only?

# %% hint [markdown]
# The two evaluations are of one and the same model, the one at the end of the epoch. The logged loss is a mean over 125 models.

# %% start
due_to_dropout = ...
due_to_mean = ...
hold_for_the_gap = ...  # letters out of "abcde"

# %% answer
due_to_dropout = 0.16 - 0.09
due_to_mean = 0.40 - 0.16
hold_for_the_gap = "ad"  # letters out of "abcde"

# %% why [markdown]
# Evaluate on the *training* digits after the epoch: dropout is off and the model is the one at the end of the epoch. What is left of the gap to the logged loss is due to both; to part them, evaluate with dropout still on.

# %% shown
model = build_cnn()
history = model.fit(x_train, y_train, batch_size=BATCH_SIZE, verbose=0)
logged = history.history["loss"][0]
after = model.evaluate(x_train, y_train, verbose=0)[0]
logits = [model(x_train[i : i + 500], training=True) for i in range(0, 8000, 500)]
with_dropout = float(np.mean(model.loss(y_train, np.concatenate(logits))))

# %% shown
# Check: most of the gap is the mean over a model that was still worse
gap, dropout_part = logged - after, with_dropout - after
assert gap > 0
assert 0 < dropout_part < gap / 2

# %% wrong says="differ in dropout only"
due_to_dropout, due_to_mean, hold_for_the_gap = 0.40 - 0.16, 0.16 - 0.09, "ad"

# %% wrong says="add up to the whole gap"
due_to_dropout, due_to_mean, hold_for_the_gap = 0.16 - 0.09, 0.40 - 0.09, "ad"

# %% wrong says="b) does not hold"
due_to_dropout, due_to_mean, hold_for_the_gap = 0.16 - 0.09, 0.40 - 0.16, "bd"

# %% wrong says="c) does not hold"
due_to_dropout, due_to_mean, hold_for_the_gap = 0.16 - 0.09, 0.40 - 0.16, "acd"

# %% wrong says="e) does not hold"
due_to_dropout, due_to_mean, hold_for_the_gap = 0.16 - 0.09, 0.40 - 0.16, "ade"

# %% wrong says="not all that does"
due_to_dropout, due_to_mean, hold_for_the_gap = 0.16 - 0.09, 0.40 - 0.16, "a"

# %% 4. Diagnose: NaN before anything is learned [markdown]
# Somebody wants every pixel to have mean 0 and deviation 1 over the digits, and the run pauses. Run it and see. At which step does it begin, counted from 1, and what is the cause?
#
# - **a** The learning rate is too high, and the net explodes.
# - **b** Some pixels have the same value in all digits; their deviation is 0, and 0 divided by 0 is no number.
# - **c** One digit of the file is damaged.
# - **d** Batch normalization and a scaling of your own cannot go together.
#
# Then mend the line of `my_digits`: every digit and every pixel stays, and pixels that do vary get mean 0 and about the deviation 1.

# %% hint [markdown]
# The message names the place that was the first to have a NaN. Has the net done anything by then?

# %% hint [markdown]
# `np.isnan(my_digits)` says where they are. Look at a corner of the pictures, and at `my_pixels.std(0)` there.

# %% start
cause, first_step = ..., ...  # a letter in quotes, and a number
my_pixels = x_train[:640]
with np.errstate(invalid="ignore"):
    my_digits = (my_pixels - my_pixels.mean(0)) / my_pixels.std(0)

my_try = Run(build_cnn(), (my_digits, y_train[:640]), shuffle=False).start()
try:
    my_try.wait()
    print(f"{len(my_try.records)} steps, all are finite")
except FloatingPointError as problem:
    print(str(problem).partition(" That")[0])
    my_try.stop()

# %% answer
cause, first_step = "b", 1  # a letter in quotes, and a number
my_pixels = x_train[:640]
my_digits = (my_pixels - my_pixels.mean(0)) / np.maximum(my_pixels.std(0), 0.01)

my_try = Run(build_cnn(), (my_digits, y_train[:640]), shuffle=False).start()
try:
    my_try.wait()
    print(f"{len(my_try.records)} steps, all are finite")
except FloatingPointError as problem:
    print(str(problem).partition(" That")[0])
    my_try.stop()

# %% why [markdown]
# The corners are black in all digits, so every picture has a NaN, and the run stops at its first step and names the input: nothing in the net was at fault. Had the net exploded, its first step would still have been finite. With a rate that is far too high it looks like this:


# %% shown
def explode(rate):
    model = build_cnn()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss)
    run = Run(model, (x * 1e6, y), shuffle=False).start()
    try:
        run.wait()
    except FloatingPointError:
        run.stop()
    return run


# %% shown
# Check: a large rate ends in NaN after some steps, a small one does not
exploded = explode(1e30).problem
assert exploded is not None and not exploded.startswith("step 1:")
assert explode(1e-6).problem is None

# %% wrong says="still has"
cause, first_step = "b", 1
with np.errstate(invalid="ignore"):
    my_digits = (x_train[:640] - x_train[:640].mean(0)) / x_train[:640].std(0)

# %% wrong says="`first_step` is not 0"
cause, first_step, my_digits = "b", 0, x_train[:640]

# %% wrong says="Every rate ends the same way"
cause, first_step, my_digits = "a", 1, x_train[:640]

# %% wrong says="in every one of the digits"
cause, first_step, my_digits = "c", 1, x_train[:640]

# %% wrong says="before the first layer"
cause, first_step, my_digits = "d", 1, x_train[:640]

# %% wrong says="every digit and every pixel"
cause, first_step = "b", 1
my_pixels = x_train[:640]
my_digits = my_pixels[:, my_pixels.std(0) > 0]

# %% wrong says="mean 0"
cause, first_step, my_digits = "b", 1, x_train[:640]

# %% wrong says="deviation 1"
cause, first_step = "b", 1
my_digits = x_train[:640] - x_train[:640].mean(0)

# %% wrong says="order of the digits"
cause, first_step = "b", 1
my_pixels = x_train[:640]
my_digits = (my_pixels - my_pixels.mean(0)) / np.maximum(my_pixels.std(0), 0.01)
my_digits = my_digits[::-1]

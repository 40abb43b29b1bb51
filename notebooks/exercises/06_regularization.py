# %% setup
from workbench.logs import quiet

with quiet():
    import keras
    import tensorflow as tf

import numpy as np

from workbench import data, plots
from workbench.experiments import strength_map
from workbench.regularization import ProximalL1, set_penalty

# %% setup
SEED = 6
BATCH_SIZE = 100
LEARNING_RATE = 0.2
L2 = keras.regularizers.L2
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

# %% setup
(x, y), (x_test, y_test) = data.load_mnist()
x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
few, held_out = (x[:500], y[:500]), (x_test, y_test)


def build(*hidden, penalty=None):
    layers = [
        keras.layers.Dense(n, "tanh", kernel_regularizer=penalty, name=f"hidden_{i}")
        for i, n in enumerate(hidden, start=1)
    ]
    last = keras.layers.Dense(10, kernel_regularizer=penalty, name="logits")
    model = keras.Sequential([keras.Input((784,)), *layers, last])
    model.compile(keras.optimizers.SGD(LEARNING_RATE), LOSS, metrics=["accuracy"])
    return model


# %% 1. Predict: a net of 20 units [markdown]
# The table of section 3 is about a net of 784-200-200-10 units. Take one hidden layer of 20 units, 500 digits, ten passes, and `L2` of 0.001, 0.01, 0.1 and 1. What is the weakest of the four at which it guesses, with less than 15 of 100 held-out digits right?
#
# And suppose that the data pull a weight nowhere: by what number does one step of `SGD(0.2)` multiply it under `L2(0.01)`, and under `L2(1.0)`?

# %% hint [markdown]
# An L2 penalty pulls each weight toward zero by a share of itself. Does that share depend on how many weights there are?

# %% hint [markdown]
# `L2(s)` adds s · w² to the loss. Its slope is 2 · s · w, and a step goes down the slope by the rate.

# %% start
collapses_at = ...  # one of 0.001, 0.01, 0.1 and 1
factor_at_0_01 = ...  # a weight times this is the weight after one step
factor_at_1 = ...

# %% answer
collapses_at = 1
factor_at_0_01 = 1 - 0.2 * 2 * 0.01  # a weight times this is the weight after one step
factor_at_1 = 1 - 0.2 * 2 * 1.0

# %% why [markdown]
# An L2 penalty pulls every weight toward zero by the same share per step, however many there are. What pulls the other way is the data's gradient, and each of 20 units gets as much of it as one of 200. So the collapse comes at about the same strength, between 0.1 and 1:

# %% shown
strengths = (1e-3, 1e-2, 1e-1, 1.0)
for hidden in ((20,), (200, 200)):
    grid = strength_map(
        lambda hidden=hidden: build(*hidden),
        few,
        ["L2"],
        strengths,
        seeds=(0, 1),
        epochs=10,
        batch_size=BATCH_SIZE,
        validation_data=held_out,
    )
    accuracies = grid.spread("val_accuracy", "L2")[1]
    print(hidden, [f"{accuracy:.1f}" for accuracy in accuracies])
    # Check: it works at 0.01, and at 1 it is no better than guessing
    assert accuracies[1] > 0.7
    assert accuracies[3] < 0.15

# %% wrong says="still reads seven of ten"
collapses_at, factor_at_0_01, factor_at_1 = 0.1, 0.996, 0.6

# %% wrong says="still reads eight of ten"
collapses_at, factor_at_0_01, factor_at_1 = 0.001, 0.996, 0.6

# %% wrong says="one of the four strengths"
collapses_at, factor_at_0_01, factor_at_1 = 10, 0.996, 0.6

# %% wrong says="is less than 0.998"
collapses_at, factor_at_0_01, factor_at_1 = 1, 1 - 0.2 * 0.01, 0.8

# %% wrong says="is more than 0.98"
collapses_at, factor_at_0_01, factor_at_1 = 1, 1 - 2 * 0.01, -1

# %% wrong says="is more than 0.004"
collapses_at, factor_at_0_01, factor_at_1 = 1, 0.004, 0.4

# %% wrong says="`factor_at_1` was measured"
collapses_at, factor_at_0_01, factor_at_1 = 1, 0.996, 0.0


# %% 2. Change: a step that stops at zero [markdown]
# `my_shrink` is what the gradient of an L1 penalty does in one step: every weight is moved toward zero by the same amount. Change it, so that a weight that gets there stays at exactly 0, as with the proximal step of section 4.

# %% hint [markdown]
# What becomes of a weight of 0.05 when it is moved by 0.1? What should become of it?

# %% hint [markdown]
# Take the sign and the size of a weight apart. Only the size gets smaller, and it cannot get smaller than 0.


# %% start
def my_shrink(weights, amount):
    return weights - amount * np.sign(weights)


# %% answer
def my_shrink(weights, amount):
    return np.sign(weights) * np.maximum(np.abs(weights) - amount, 0.0)


# %% why [markdown]
# The gradient of L1 is +1 or -1 however small a weight is, so a weight near zero is pushed past it, and back by the next step. Stopping at zero is the proximal step, also called soft thresholding. `ProximalL1` does it after each step of the optimizer:

# %% shown
# Check: as the workbench's own
weights = np.array([0.3, -0.3, 0.05, -0.05, 0.0], "float32")
theirs = np.array(ProximalL1(0.1, learning_rate=1.0)(weights))
np.testing.assert_allclose(my_shrink(weights, 0.1), theirs, atol=1e-7)
print([round(float(weight), 1) + 0 for weight in theirs])


# %% wrong says="pushed past zero"
def my_shrink(weights, amount):
    return weights - amount * np.tanh(1000 * weights)


# %% wrong says="must be moved by 0.1"
def my_shrink(weights, amount):
    return np.where(np.abs(weights) > amount, weights, 0.0)


# %% wrong says="must be moved by 0.1"
def my_shrink(weights, amount):
    return weights * (1 - amount)


# %% wrong says="must be moved by 0.1"
def my_shrink(weights, amount):
    return np.maximum(weights - amount, 0.0)


# %% wrong says="changed its sign"
def my_shrink(weights, amount):
    return np.maximum(np.abs(weights) - amount, 0.0)


# %% wrong says="as many weights"
def my_shrink(weights, amount):
    return weights[np.abs(weights) > amount]


# %% wrong says="array that it was given"
def my_shrink(weights, amount):
    weights *= np.maximum(1 - amount / np.maximum(np.abs(weights), 1e-9), 0)
    return weights


# %% 3. Predict: all digits [markdown]
# Give section 4 all 8,000 digits instead of 500, and 5 epochs. Which statements hold then?
#
# - **a** Under L1 and L2 the accuracy on training digits and on held-out digits are less than 3 points apart.
# - **b** Training accuracy is 1 on the left of each column.
# - **c** Under a dropout of 0.7 the accuracy on training digits is *below* that on held-out digits.
# - **d** `L2(0.01)` raises the held-out accuracy by more than 3 points.
# - **e** Under a dropout of 0.7 the accuracy on training digits is above that on held-out digits.

# %% hint [markdown]
# How often does the net see each digit, in section 4 and here? What could it learn by heart?

# %% hint [markdown]
# While a net trains, dropout leaves out a part of its units. While it is evaluated, none.

# %% start
hold_with_all_digits = ...  # letters out of "abcde"

# %% answer
hold_with_all_digits = "ac"  # letters out of "abcde"

# %% why [markdown]
# With sixteen times the digits and five passes, the net no longer learns them by heart. Training and held-out accuracy lie together in every column; only dropout shows a difference, and it goes the other way: while training, a part of the net is missing.


# %% shown
def build_small():
    return build(64)


kinds = {"L1": (1e-5, 1e-3), "L2": (1e-4, 1e-2), "dropout": (0.3, 0.7)}
grid = strength_map(
    build_small,
    (x, y),
    tuple(kinds),
    kinds,
    seeds=(0, 1),
    epochs=5,
    batch_size=BATCH_SIZE,
    validation_data=held_out,
)

# %% shown
# Check: no gap is left but that of dropout, which is negative
gaps = {
    kind: grid.spread("accuracy", kind)[1] - grid.spread("val_accuracy", kind)[1]
    for kind in grid.kinds
}
assert abs(gaps["L1"]).max() < 0.03
assert abs(gaps["L2"]).max() < 0.03
assert gaps["dropout"][1] < -0.02
alt = "Training and held-out curves lie on each other under L1 and L2; under dropout "
alt += "the training curve lies below."
plots.show(grid.plot(), alt)

# %% wrong says="b) does not hold"
hold_with_all_digits = "abc"

# %% wrong says="d) does not hold"
hold_with_all_digits = "acd"

# %% wrong says="e) does not hold"
hold_with_all_digits = "ae"

# %% wrong says="not all that does"
hold_with_all_digits = "a"

# %% wrong says="must be letters"
hold_with_all_digits = "all of them"

# %% 4. Explain: which loss [markdown]
# A colleague trains two nets on the same digits. The one without a penalty has a `val_loss` of 0.53. The one with `L2(0.001)` has 0.58, and the squares of its kernels add up to 110. They drop the penalty. What is the held-out *data* loss of the second net, and which statements hold?
#
# - **a** `val_loss` contains the penalty.
# - **b** The net with the penalty errs more on held-out digits.
# - **c** The accuracies of the two nets can be compared as they are.
# - **d** The first net's `val_loss` is its data loss.
# - **e** A `val_loss` that falls from epoch to epoch shows that the net errs less.

# %% hint [markdown]
# Section 1: what do `fit` and `evaluate` report?

# %% hint [markdown]
# The penalty is the strength times the sum of the squares. It is a part of the 0.58.

# %% start
data_loss_of_second = ...
hold_for_the_two = ...  # letters out of "abcde"

# %% answer
data_loss_of_second = 0.58 - 0.001 * 110
hold_for_the_two = "acd"  # letters out of "abcde"

# %% why [markdown]
# They compared a sum with a part: `val_loss` contains the penalty, so the net with one starts with a handicap that says nothing about digits. The *data* loss on held-out data is what compares, or the accuracy. Here the order of the two nets depends on which loss is asked:

# %% shown
keras.utils.set_random_seed(SEED)
model = build(64)
_ = model.fit(*few, epochs=25, batch_size=50, verbose=0)
without = model.evaluate(*held_out, verbose=0)[0]
keras.utils.set_random_seed(SEED)
model = build(64)
penalty = set_penalty(model, L2(0.001))
_ = model.fit(*few, epochs=25, batch_size=50, verbose=0)
val_loss = model.evaluate(*held_out, verbose=0)[0]
penalty.remove()
data_loss = model.evaluate(*held_out, verbose=0)[0]
# Check: val_loss says worse, the data loss says better
assert val_loss > without > data_loss
print(f"without {without:.1f}, with L2 {val_loss:.1f}, of which data {data_loss:.1f}")

# %% wrong says="is the sum"
data_loss_of_second, hold_for_the_two = 0.58, "acd"

# %% wrong says="adds it"
data_loss_of_second, hold_for_the_two = 0.69, "acd"

# %% wrong says="half the squares"
data_loss_of_second, hold_for_the_two = 0.58 - 0.001 * 110 / 2, "acd"

# %% wrong says="b) does not hold"
data_loss_of_second, hold_for_the_two = 0.47, "abcd"

# %% wrong says="e) does not hold"
data_loss_of_second, hold_for_the_two = 0.47, "acde"

# %% wrong says="not all that does"
data_loss_of_second, hold_for_the_two = 0.47, "ad"

# %% wrong says="must be one number"
data_loss_of_second, hold_for_the_two = "lower", "acd"

# %% 5. Diagnose: a penalty that does nothing [markdown]
# This loop adds the penalties, as section 1 says, and still the weights do not shrink. Under `L2(0.1)` and without a pull of the data, twenty steps would leave 0.4 of them. Run it and see. What is the cause?
#
# - **a** The penalty is too weak to be seen in twenty steps.
# - **b** `my_penalties` was computed before the tape began to watch, so these are numbers that depend on no weight.
# - **c** `model.losses` is empty until `fit` is called.
# - **d** `keras.optimizers.SGD` leaves penalties out.
#
# Then mend `my_total_loss`. Its arguments stay as they are.

# %% hint [markdown]
# When is each line of the cell run? Which of them are run in every step?

# %% hint [markdown]
# A tape knows what was computed while it was open. `net.losses` computes the penalties anew each time it is asked.

# %% start
cause = ...  # a letter, in quotes
keras.utils.set_random_seed(SEED)
my_net = build(16, penalty=L2(0.1))
my_penalties = my_net.losses  # once, it saves time


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images)) + sum(my_penalties)


my_kernel, by_hand = my_net.layers[0].kernel, keras.optimizers.SGD(LEARNING_RATE)
norm_before = np.linalg.norm(my_kernel)
for _step in range(20):
    with tf.GradientTape() as tape:
        total = my_total_loss(my_net, *few)
    slopes = tape.gradient(total, my_net.trainable_variables)
    by_hand.apply(slopes, my_net.trainable_variables)
print(f"{np.linalg.norm(my_kernel) / norm_before:.1f} of the weights are left")

# %% answer
cause = "b"  # a letter, in quotes
keras.utils.set_random_seed(SEED)
my_net = build(16, penalty=L2(0.1))


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images)) + sum(net.losses)


my_kernel, by_hand = my_net.layers[0].kernel, keras.optimizers.SGD(LEARNING_RATE)
norm_before = np.linalg.norm(my_kernel)
for _step in range(20):
    with tf.GradientTape() as tape:
        total = my_total_loss(my_net, *few)
    slopes = tape.gradient(total, my_net.trainable_variables)
    by_hand.apply(slopes, my_net.trainable_variables)
print(f"{np.linalg.norm(my_kernel) / norm_before:.1f} of the weights are left")

# %% why [markdown]
# The loss that was printed would have looked right, since the number was added. But its slope is that of the data alone: for the tape a number computed earlier is a constant. The same happens to a penalty that is turned into a float, or computed with NumPy.

# %% wrong says="cannot be told from those without a penalty"
cause = "b"


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images)) + float(sum(net.losses))


# %% wrong says="cannot be told from those without a penalty"
cause = "b"


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images))


# %% wrong says="2.0 times as strong"
cause = "b"


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images)) + 2 * sum(net.losses)


# %% wrong says="0.5 times as strong"
cause = "b"


def my_total_loss(net, images, digits):
    kernels = [v for v in net.trainable_variables if v.name == "kernel"]
    return LOSS(digits, net(images)) + 0.1 * sum(tf.nn.l2_loss(k) for k in kernels)


# %% wrong says="pull of the data"
cause = "b"


def my_total_loss(net, images, digits):
    return sum(net.losses)


# %% wrong says="Make it 10"
cause = "a"


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images)) + sum(net.losses)


# %% wrong says="len(my_net.losses)"
cause = "c"


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images)) + sum(net.losses)


# %% wrong says="one number"
cause = "b"


def my_total_loss(net, images, digits):
    return LOSS(digits, net(images)), sum(net.losses)

# %% setup
from workbench.logs import quiet

with quiet():
    import keras

import numpy as np

from workbench import data
from workbench.activations import capture, statistics

# %% setup
SEED = 9
BATCH_SIZE = 64
EPOCHS = 2
LARGE_RATE = 0.3
layers = keras.layers
(x, y), (x_test, _) = data.load_mnist()
x, x_test = x[..., None], x_test[..., None]


# %% setup
def build_deep(activation, rate):
    keras.utils.set_random_seed(SEED)
    names = ("hidden_1", "hidden_2", "hidden_3")
    hidden = [layers.Dense(64, activation, name=name) for name in names]
    stack = [keras.Input((28, 28, 1)), layers.Flatten(), *hidden, layers.Dense(10)]
    model = keras.Sequential(stack)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)
    return model


# %% 1. Predict: dead before training [markdown]
# How many of the 64 units of `hidden_1` in the deep nets of section 4 are dead *before* training, that is 0 for every test digit? And what share of all numbers that `hidden_1` puts out is 0 then?

# %% hint [markdown]
# Keras's initial weights are symmetric about 0. How often is a sum of pixels times such weights negative?

# %% hint [markdown]
# A unit that is 0 for half of the digits is no dead unit. How likely is it that one is 0 for all of 2,000?

# %% start
dead_units = ...  # units, out of 64
share_of_zeros = ...  # of all numbers, between 0 and 1

# %% answer
dead_units = 0  # units, out of 64
share_of_zeros = 0.5  # of all numbers, between 0 and 1

# %% why [markdown]
# Next to none. Keras's initial weights are symmetric about 0, so a unit is positive for about half of its inputs. In the deeper layers the inputs are all positive, and now and then a unit gets mostly negative weights and is at rest for every digit. It is the training that kills.

# %% shown
before = statistics(build_deep("relu", LARGE_RATE), x_test, "hidden_*")
shares = [layer.dead_share for layer in before.values()]
print("below a tenth:", [bool(share < 0.1) for share in shares])

# %% shown
# Check
assert max(shares) < 0.1

# %% wrong says="fewer units are dead"
dead_units, share_of_zeros = 32, 0.5

# %% wrong says="fewer units are dead"
dead_units, share_of_zeros = 64, 0.5

# %% wrong says="number of units, out of 64"
dead_units, share_of_zeros = -1, 0.5

# %% wrong says="more of the numbers are 0"
dead_units, share_of_zeros = 0, 0.01

# %% wrong says="fewer of the numbers are 0"
dead_units, share_of_zeros = 0, 0.9

# %% wrong says="between 0 and 1"
dead_units, share_of_zeros = 0, 50

# %% wrong says="must be one number"
dead_units, share_of_zeros = "none", 0.5


# %% 2. Change: which units are dead? [markdown]
# `my_dead` says which units are 0 for the first input of a captured output. Such a unit may only be at rest. Change it: it shall say for each unit whether it is 0 for *every* input, and for feature maps, whose shape is (inputs, height, width, channels), in every place, too.

# %% hint [markdown]
# The units are always the last axis. What should happen to all other axes, be it one or three?

# %% hint [markdown]
# `outputs.reshape(-1, outputs.shape[-1])` makes a table with a column for each unit.


# %% start
def my_dead(outputs):
    return outputs[0] == 0


# %% answer
def my_dead(outputs):
    return (outputs.reshape(-1, outputs.shape[-1]) == 0).all(axis=0)


# %% why [markdown]
# Dead is: 0 for all inputs, in all places. With `tanh` in place of `relu`, and the same large rate, no unit is dead by this test, since its value is 0 only where the input is exactly 0. But tanh is flat at both ends: at 1 % from -1 or 1 its slope is below 2 %. With the large rate many values lie there, and what a unit at its end passes back is close to nothing. Dead is for ever; saturated is slow.

# %% shown
model = build_deep("tanh", LARGE_RATE)
model.fit(x[:4000], y[:4000], batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
after = statistics(model, x_test, "hidden_*")
dead = [bool(my_dead(values).any()) for values in capture(model, x_test).values()]
print("dead:", dead[1:4])
print("a quarter saturated:", any(s.saturated > 0.25 for s in after.values()))

# %% shown
# Check
assert not any(layer.dead.any() for layer in after.values())
assert max(layer.saturated for layer in after.values()) > 0.25
start = statistics(build_deep("tanh", LARGE_RATE), x_test, "hidden_*")
assert max(layer.saturated for layer in start.values()) < 0.25


# %% wrong says="at rest for one input"
def my_dead(outputs):
    return (outputs.reshape(-1, outputs.shape[-1]) == 0).any(axis=0)


# %% wrong says="feature maps"
def my_dead(outputs):
    return (outputs == 0).all(axis=0)


# %% wrong says="below 0"
def my_dead(outputs):
    return outputs.reshape(-1, outputs.shape[-1]).max(axis=0) <= 0


# %% wrong says="cancel"
def my_dead(outputs):
    return outputs.reshape(-1, outputs.shape[-1]).mean(axis=0) == 0


# %% wrong says="for each unit"
def my_dead(outputs):
    return (outputs.reshape(-1, outputs.shape[-1]) == 0).all(axis=0).sum()


# %% wrong says="small, and not 0"
def my_dead(outputs):
    return (abs(outputs.reshape(-1, outputs.shape[-1])) < 0.01).all(axis=0)


# %% wrong says="for each unit"
def my_dead(outputs):
    return (outputs == 0).all(axis=-1)


# %% 3. Explain: a loop over the layers [markdown]
# A colleague reads a network of 150 layers, one after the other, with `keras.Model(model.inputs, layer.output)(x)` in a loop over `model.layers`. It takes a minute. How often does the first layer run, and how many runs of layers are that in all?
#
# And which ways run every layer only once?
#
# - **a** One `keras.Model(model.inputs, outputs)` with a list of all outputs.
# - **b** `capture(model, x)`.
# - **c** `predict` in the loop, in place of the call.
# - **d** The same loop, from the last layer to the first.
# - **e** The same loop, with a batch of half the size.

# %% hint [markdown]
# What does a sub-model compute that ends at layer 150? And the one that ends at layer 3?

# %% hint [markdown]
# 1 + 2 + 3 + … + 150.

# %% start
runs_of_the_first = ...
runs_in_all = ...
each_layer_once = ...  # letters out of "abcde"

# %% answer
runs_of_the_first = 150
runs_in_all = 150 * 151 // 2
each_layer_once = "ab"  # letters out of "abcde"

# %% why [markdown]
# Each sub-model is a model of its own: it runs everything below its layer again (the first layer 150 times), and, with `predict`, is traced first. Two ways that need one pass: one sub-model with a *list* of outputs, or `capture`. With twelve layers, counted:


# %% shown
class Counted(layers.Dense):
    calls = 0

    def call(self, inputs):
        Counted.calls += 1
        return super().call(inputs)


stack = [Counted(64, "relu"), *(layers.Dense(64, "relu") for _ in range(11))]
model = keras.Sequential([keras.Input((784,)), *stack])
pixels = x[:64].reshape(64, 784)

# %% shown
outputs = [layer.output for layer in model.layers]
ways = {
    "loop": lambda: [keras.Model(model.inputs[0], o)(pixels) for o in outputs],
    "list": lambda: keras.Model(model.inputs[0], outputs)(pixels),
    "capture": lambda: list(capture(model, pixels).values()),
}
counts, values = {}, {}
for name, way in ways.items():
    Counted.calls = 0
    values[name] = way()
    counts[name] = Counted.calls
print(counts)

# %% shown
# Check: the first layer ran twelve times or once, for the same numbers
assert counts == {"loop": 12, "list": 1, "capture": 1}
for others in zip(*values.values(), strict=True):
    np.testing.assert_allclose(others[1], others[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(others[2], others[0], rtol=1e-4, atol=1e-5)

# %% wrong says="every sub-model begins at the input"
runs_of_the_first, runs_in_all, each_layer_once = 1, 11325, "ab"

# %% wrong says="150 are the runs of one layer"
runs_of_the_first, runs_in_all, each_layer_once = 150, 150, "ab"

# %% wrong says="a sub-model stops at its layer"
runs_of_the_first, runs_in_all, each_layer_once = 150, 150 * 150, "ab"

# %% wrong says="c) does not hold"
runs_of_the_first, runs_in_all, each_layer_once = 150, 11325, "abc"

# %% wrong says="not all that does"
runs_of_the_first, runs_in_all, each_layer_once = 150, 11325, "b"

# %% wrong says="d) does not hold"
runs_of_the_first, runs_in_all, each_layer_once = 150, 11325, "d"

# %% wrong says="add them up again"
runs_of_the_first, runs_in_all, each_layer_once = 150, 11175, "ab"

# %% 4. Diagnose: layer by layer, and wrong [markdown]
# The last recipe of section 1, `x = layer(x)`, runs without an error on this net, and one of the two numbers it gives is wrong. Run it and see. What is the cause?
#
# - **a** The loop runs the layers as in training.
# - **b** The loop gives each layer what the one before it in the list put out; this net has a layer that takes something else.
# - **c** Calling a layer changes its weights.
# - **d** The loop leaves out the activation functions.
#
# Then mend `my_read`, so that it gives the output of every layer, by the layer's name, of this net and of others.

# %% hint [markdown]
# What does `right` take in the net, and what does it get in the loop?

# %% hint [markdown]
# A list does not say which layer takes what. The net knows: see the sub-model of section 1, or section 2.


# %% start
cause = ...  # a letter, in quotes


def my_read(net, rows):
    found = {}
    for part in net.layers[1:]:  # without the input
        rows = found[part.name] = part(rows)
    return found


my_input = keras.Input((16,))
my_left = layers.Dense(16, "tanh", name="left")(my_input)
my_right = layers.Dense(16, "tanh", name="right")(my_input)
two_heads = keras.Model(my_input, [my_left, my_right])
my_rows = x_test[:4, 14, 6:22, 0]
read = my_read(two_heads, my_rows)
for name_of, expected in zip(("left", "right"), two_heads(my_rows), strict=True):
    print(f"{name_of} is right: {np.allclose(read[name_of], expected, atol=1e-5)}")


# %% answer
cause = "b"  # a letter, in quotes


def my_read(net, rows):
    return capture(net, rows)


my_input = keras.Input((16,))
my_left = layers.Dense(16, "tanh", name="left")(my_input)
my_right = layers.Dense(16, "tanh", name="right")(my_input)
two_heads = keras.Model(my_input, [my_left, my_right])
my_rows = x_test[:4, 14, 6:22, 0]
read = my_read(two_heads, my_rows)
for name_of, expected in zip(("left", "right"), two_heads(my_rows), strict=True):
    print(f"{name_of} is right: {np.allclose(read[name_of], expected, atol=1e-5)}")

# %% why [markdown]
# `right` takes the input; in the loop it got the output of `left`, which happens to have the same shape, so nothing complained. A net with a branch, a shortcut or a layer that is used twice is no list. The sub-model with a list of outputs follows the net's own graph, and `capture` follows its calls.


# %% wrong says="right` is off"
def my_read(net, rows):
    found = {}
    for part in net.layers[1:]:
        rows = found[part.name] = part(rows, training=False)
    return found


cause = "b"


# %% wrong says="a net with one layer more"
def my_read(net, rows):
    return {part.name: part(rows) for part in net.layers[1:]}


cause = "b"


# %% wrong says="must return a dict"
def my_read(net, rows):
    return net(rows)


cause = "b"


# %% wrong says="has no 'right'"
def my_read(net, rows):
    return {"left": net.get_layer("left")(rows)}


cause = "b"


# %% wrong says="no dropout in it"
def my_read(net, rows):
    return capture(net, rows)


cause = "a"


# %% wrong says="before and after"
def my_read(net, rows):
    return capture(net, rows)


cause = "c"


# %% wrong says="Look at the values of `left`"
def my_read(net, rows):
    return capture(net, rows)


cause = "d"

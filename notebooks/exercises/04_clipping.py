# %% setup
from workbench.logs import quiet

with quiet():
    import keras
    import tensorflow as tf

import functools

import numpy as np

from workbench import clipping, data, plots
from workbench.experiments import Variant, compare
from workbench.plots import clipping as drawing

# %% setup
SEED = 4
UNITS = 20
BATCH_SIZE = 20
LEARNING_RATE = 0.2  # too much for a recurrent net without clipping
STEPS = 100
SEEDS = 10


# %% setup
def build_rnn(length):
    layers = [keras.layers.SimpleRNN(UNITS), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((length, 2)), *layers])
    model.compile(keras.optimizers.SGD(LEARNING_RATE), "mse")
    return model


# %% setup
def with_seeds(methods, seeds=SEEDS):
    return {
        f"{name}, seed {seed}": Variant(clip=clip, seed=seed)
        for name, clip in methods.items()
        for seed in range(seeds)
    }


# %% 1. Predict: far too high, far too low [markdown]
# Ten nets of section 4, with sequences of 50 steps, are clipped by `ByGlobalNorm(1000.0)`, and ten more by `ByGlobalNorm(0.001)`. How many of each ten explode, so that their loss is above 100 on the way? And how far can the weights move in one step at 0.001?

# %% hint [markdown]
# A limit acts on gradients that are longer than it is. How large is the loss of a net whose gradient is 1000 long?

# %% hint [markdown]
# Plain gradient descent moves the weights by rate times gradient. The rate here is 0.2.

# %% start
explode_at_1000 = ...  # nets, out of ten
explode_at_0_001 = ...  # nets, out of ten
longest_step = ...  # length of the longest step at 0.001

# %% answer
explode_at_1000 = 10  # nets, out of ten
explode_at_0_001 = 0  # nets, out of ten
longest_step = 0.2 * 0.001  # length of the longest step at 0.001

# %% why [markdown]
# At 1000 the limit is met only when the net is already exploding: its loss then grows by bounded steps instead of by powers, but it is lost all the same. At 0.001 nothing can explode, every step is clipped, and none is longer than 0.2 · 0.001, so that in a hundred steps the net hardly leaves its start.

# %% shown
limits = {"at 1000": clipping.ByGlobalNorm(1000.0)}
limits["at 0.001"] = clipping.ByGlobalNorm(0.001)
build = functools.partial(build_rnn, 50)
sequences = data.sample_adding_problem(BATCH_SIZE * STEPS, 50, seed=SEED)
comparison = compare(build, sequences, with_seeds(limits), batch_size=BATCH_SIZE)

# %% shown
alt = (
    "At 1000 the median loss leaves through the top; at 0.001 it stays near its start, "
)
alt += "with all steps clipped."
plots.show(drawing.plot_methods({"T = 50": comparison}, highest_loss=1000.0), alt)

# %% shown
# Check
high, low = drawing.methods_of(comparison).values()
assert sum(record.loss.max() > 100 for record in high) > SEEDS / 2
assert all(record.share_clipped == 1 for record in low)
assert all(record.loss[-1] > 0.5 * record.loss[0] for record in low)

# %% wrong says="more of them explode"
explode_at_1000, explode_at_0_001, longest_step = 0, 0, 0.0002

# %% wrong says="out of ten"
explode_at_1000, explode_at_0_001, longest_step = 100, 0, 0.0002

# %% wrong says="fewer of them explode"
explode_at_1000, explode_at_0_001, longest_step = 10, 10, 0.0002

# %% wrong says="shorter than 0.001"
explode_at_1000, explode_at_0_001, longest_step = 10, 0, 0.001

# %% wrong says="shorter than 0.2"
explode_at_1000, explode_at_0_001, longest_step = 10, 0, 0.2

# %% wrong says="must be one number"
explode_at_1000, explode_at_0_001, longest_step = "most", 0, 0.2


# %% 2. Change: keep the direction [markdown]
# `my_capper` of section 1 turns the gradient. Change it into `my_clip`: all gradients together at most 1 long, the direction kept, and gradients that are short enough left as they are.

# %% hint [markdown]
# To keep the direction, every number must be multiplied by the same factor. Which factor makes a gradient of length 5 one of length 1?

# %% hint [markdown]
# `tf.linalg.global_norm(gradients)` is the length of all gradients together. Mind the ones that are shorter than 1, and the ones that are zero.


# %% start
def my_clip(gradients, _variables):
    return [tf.tanh(gradient) for gradient in gradients]


# %% answer
def my_clip(gradients, _variables):
    norm = tf.linalg.global_norm(gradients)
    return [gradient / tf.maximum(norm, 1.0) for gradient in gradients]


# %% why [markdown]
# Every gradient is divided by the same number: by the norm of all of them if that is above 1, else by 1. `tf.clip_by_global_norm` does the same, and gives the norm, too: it returns a pair. As `clipping.Custom(my_clip)` the function is a method like the others.

# %% shown
# Check: the same as TensorFlow's own
raw = [tf.constant([3.0, 0.4]), tf.constant([[2.0]])]
expected, _ = tf.clip_by_global_norm(raw, 1.0)
for ours, theirs in zip(my_clip(raw, raw), expected, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# %% wrong says="another direction"
def my_clip(gradients, _variables):
    return [tf.clip_by_norm(gradient, 1.0) for gradient in gradients]


# %% wrong says="another direction"
def my_clip(gradients, _variables):
    return [tf.clip_by_value(gradient, -1.0, 1.0) for gradient in gradients]


# %% wrong says="as many gradients"
def my_clip(gradients, _variables):
    return tf.clip_by_global_norm(gradients, 1.0)[0][:1]


# %% wrong says="in the shape"
def my_clip(gradients, _variables):
    return tf.clip_by_global_norm(gradients, 1.0)


# %% wrong says="longer than it was"
def my_clip(gradients, _variables):
    norm = tf.linalg.global_norm(gradients)
    return [gradient / norm for gradient in gradients]


# %% wrong says="shorter than it need be"
def my_clip(gradients, _variables):
    return [gradient / 10.0 for gradient in gradients]


# %% wrong says="more than 1"
def my_clip(gradients, _variables):
    return gradients


# %% 3. Predict: every gradient a thousand times as long [markdown]
# Train a net on the same data with the loss multiplied by 1000: every gradient becomes 1000 times as long. How many times as long is the first step of `SGD(0.01)`, and of `Adam(0.01)`? From that: would the net of section 4 explode under `Adam(0.01)`, and what would clipping change?

# %% hint [markdown]
# Adam keeps a running mean of the gradient and one of its square. What does it do with the two?

# %% hint [markdown]
# In its first step Adam moves each weight by rate · g / √(g²). Put in a g that is 1000 times as large.

# %% start
sgd_times = ...  # times as long as before
adam_times = ...  # times as long as before

# %% answer
sgd_times = 1000  # times as long as before
adam_times = 1  # times as long as before

# %% why [markdown]
# Adam divides each gradient by its own recent size. A step is about as long as the learning rate, whatever the gradient, so the net does not explode. For the same reason a factor that all gradients share cancels: clipping every step changes little, clipping *some* steps changes their share in the running means. The net of section 4, trained with Adam, ten seeds with and without:

# %% shown
variants = {
    f"{name}, seed {seed}": Variant(keras.optimizers.Adam(0.01), clip, seed=seed)
    for name, clip in {"Adam": None, "clipped": clipping.ByGlobalNorm(0.1)}.items()
    for seed in range(SEEDS)
}
adam = compare(build, sequences, variants, batch_size=BATCH_SIZE)

# %% shown
# Check: no seed explodes, and both end alike
plain, clipped = drawing.methods_of(adam).values()
assert all(record.loss.max() < 10 for record in plain + clipped)
ends = [np.mean([r.loss[-20:].mean() for r in group]) for group in (plain, clipped)]
np.testing.assert_allclose(ends[0], ends[1], rtol=0.15)

# %% wrong says="less than 1000"
sgd_times, adam_times = 1000, 1000

# %% wrong says="more than 1"
sgd_times, adam_times = 1, 1

# %% wrong says="more than 0.001"
sgd_times, adam_times = 1000, 0.001

# %% wrong says="less than 31.6"
sgd_times, adam_times = 1000, 1000**0.5

# %% wrong says="must be one number"
sgd_times, adam_times = [1000], "the same"

# %% wrong says="less than 1e+06"
sgd_times, adam_times = 1000**2, 1

# %% 4. Explain: a flat line of 1.0 [markdown]
# A colleague logs `tf.linalg.global_norm` of the clipped gradients, sees 1.0 at every step, and says that the gradients are healthy. Which statements hold?
#
# - **a** The gradients before the clip may have been of any length from 1 on.
# - **b** No gradient is longer than 1, so nothing explodes.
# - **c** Every single step was clipped.
# - **d** The gradients vanish.
# - **e** The learning rate is too low.
#
# And which two should the colleague log? **p** the norm before the clip, **q** the norm after it, **r** the share of the steps that were clipped, **s** the limit.

# %% hint [markdown]
# Where in *compute, clip, apply* is the colleague's number taken?

# %% hint [markdown]
# What does a clip at 1 make of gradients of length 0.3, 1.1 and 10,000?

# %% start
statements = ...  # letters out of "abcde"
log_these = ...  # two letters out of "pqrs"

# %% answer
statements = "ac"  # letters out of "abcde"
log_these = "pr"  # two letters out of "pqrs"

# %% why [markdown]
# They log the norm *after* the clip. It is 1.0 whenever the raw norm is above 1, be it 1.1 or 10¹⁰. Log the raw norm and the share of steps that were clipped; the wrapper's `last_step()` has both sides, per variable.

# %% shown
model = build_rnn(50)
optimizer = clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.SGD(1e-6))
model.compile(optimizer, "mse")
for scale in (1, 1e4):
    x, y = sequences[0][:20], scale * sequences[1][:20]
    model.fit(x, y, batch_size=20, verbose=0)
    record = optimizer.last_step()
    after = np.sqrt((record.norm_after**2).sum())
    before = np.sqrt((record.norm_before**2).sum())
    print(f"after: {after:.2f}, before above 1000: {before > 1000}")
    assert np.isclose(after, 1.0, rtol=1e-4)

# %% wrong says="b) does not hold"
statements, log_these = "abc", "pr"

# %% wrong says="d) does not hold"
statements, log_these = "acd", "pr"

# %% wrong says="not all that does"
statements, log_these = "a", "pr"

# %% wrong says="q) does not hold"
statements, log_these = "ac", "pq"

# %% wrong says="must be letters"
statements, log_these = "the first", "pr"

# %% wrong says="e) does not hold"
statements, log_these = ["a", "e"], "pr"

# %% 5. Diagnose: clipped, and NaN all the same [markdown]
# This training clips by global norm, and in one pass over a hundred rows it loses every weight. Run it and see. At which step does it begin (`first_step`, counted from 1), and what is the cause?
#
# - **a** The limit of 1 is too high.
# - **b** One infinite number makes the norm of all gradients infinite, and what is divided by it is no number any more.
# - **c** The learning rate is too high.
# - **d** Gradients grow from step to step, as in section 4.
#
# Then mend the line of `my_optimizer`, so that such a row costs its own step and nothing else: rate 0.1 and limit 1 stay.

# %% hint [markdown]
# Look at the data, row 57. In which batch of 20 is it, when nothing is shuffled?

# %% hint [markdown]
# Section 3 has a table of four optimizers that meet one infinite number. Which one left the step out?

# %% start
cause, first_step = ..., ...  # a letter in quotes, and a number
my_optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)

pairs, sums = data.sample_adding_problem(100, 20, seed=SEED)
sums[57] = np.inf  # a slip in somebody's file
net = build_rnn(20)
net.compile(my_optimizer, "mse")
net.fit(pairs, sums, batch_size=20, shuffle=False, verbose=0)
gone = sum(np.isnan(part).sum() for part in net.get_weights())
print(f"{gone} of {net.count_params()} weights are NaN")

# %% answer
cause, first_step = "b", 3  # a letter in quotes, and a number
my_optimizer = clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.SGD(0.1))

pairs, sums = data.sample_adding_problem(100, 20, seed=SEED)
sums[57] = np.inf  # a slip in somebody's file
net = build_rnn(20)
net.compile(my_optimizer, "mse")
net.fit(pairs, sums, batch_size=20, shuffle=False, verbose=0)
gone = sum(np.isnan(part).sum() for part in net.get_weights())
print(f"{gone} of {net.count_params()} weights are NaN")

# %% why [markdown]
# Row 57 is in the third batch. Its infinite target gives an infinite gradient, the global norm is infinite, and infinity divided by infinity is NaN: clipping hands the NaN of one row to every weight. The wrapper leaves such a step out, counts it, and names where it began. The slip in the file is still there; now there is time to find it.

# %% wrong says="one infinite gradient"
cause, first_step = "b", 3
my_optimizer = keras.optimizers.SGD(0.1, clipnorm=1.0)

# %% wrong says="left out"
cause, first_step = "b", 3
my_optimizer = keras.optimizers.SGD(0.1, clipvalue=1.0)

# %% wrong says="first_step"
cause, first_step = "b", 57
my_optimizer = clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.SGD(0.1))

# %% wrong says="first_step"
cause, first_step = "b", 2
my_optimizer = clipping.ByGlobalNorm(1.0).wrap(keras.optimizers.SGD(0.1))

# %% wrong says="A limit of 0.001 ends the same way"
cause, first_step = "a", 3
my_optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.001)

# %% wrong says="it was to be 0.1"
cause, first_step = "b", 3
my_optimizer = clipping.ByGlobalNorm(0.01).wrap(keras.optimizers.SGD(0.1))

# %% wrong says="must be a Keras optimizer"
cause, first_step = "b", 3
my_optimizer = clipping.ByGlobalNorm(1.0)

# %% setup
from workbench.logs import quiet

with quiet():
    import keras

import numpy as np

from workbench import data, plots, schedules
from workbench.experiments import Variant, compare
from workbench.experiments.racing import race
from workbench.experiments.surfaces import LONG_VALLEY
from workbench.plots.race import plot_races
from workbench.training import Run

# %% setup
SEED = 5
STEPS_PER_EPOCH = 50
EPOCHS = 2
SGD = keras.optimizers.SGD

# %% setup
digits, _ = data.load_mnist()
few = digits[0][:1600], digits[1][:1600]


def build(optimizer="sgd"):
    keras.utils.set_random_seed(SEED)
    layers = [keras.layers.Flatten(), keras.layers.Dense(32, "tanh")]
    net = keras.Sequential([keras.Input((28, 28)), *layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer, loss, metrics=["accuracy"])
    return net


# %% 1. Predict: a rate that swings [markdown]
# Section 2 feeds a rate that swings between 0.05 and 0.15, `0.1 + 0.05 * np.sin(step / 5)`. What is its mean over the hundred steps of two epochs? And is the loss after these two epochs **a** lower by more than 5 %, **b** higher by more than 5 %, or **c** within 5 % of that with a constant 0.1?

# %% hint [markdown]
# A hundred steps are about three swings of the sine. What do they add up to?

# %% hint [markdown]
# As long as a rate is small against what the loss would bear, what counts is how far the weights may travel altogether.

# %% start
mean_rate = ...  # over steps 0 to 99
compared = ...  # a letter in quotes

# %% answer
mean_rate = np.mean(0.1 + 0.05 * np.sin(np.arange(100) / 5))  # over steps 0 to 99
compared = "c"  # a letter in quotes

# %% why [markdown]
# Nearly the same. While the rate is small against what the loss would bear, what counts is the sum of the rates, how far the weights may travel altogether, and the swings sum up to what the constant does. A schedule makes the values a function of the step, so that `compare` can train both side by side:


# %% shown
class Swing(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 + 0.05 * keras.ops.sin(keras.ops.cast(step, "float32") / 5)

    def get_config(self):
        return {}


steps = EPOCHS * STEPS_PER_EPOCH
variants = {
    f"{name} {seed}": Variant(SGD(rate), seed=seed)
    for name, rate in (("constant", 0.1), ("swing", Swing()))
    for seed in range(5)
}
comparison = compare(build, few, variants, epochs=EPOCHS)
losses = [record.epochs["loss"][-1] for record in comparison.records.values()]
constant, swing = np.reshape(losses, (2, 5))

# %% shown
# Check: the sums of the rates are close, and so are the losses, seed by seed
assert abs(schedules.sample_schedule(Swing(), steps).mean() - 0.1) < 0.005
assert np.allclose(constant, swing, rtol=0.05)

# %% wrong says="is not the mean"
mean_rate, compared = 0.15, "c"

# %% wrong says="is not the mean"
mean_rate, compared = 0.05, "c"

# %% wrong says="a) does not hold"
mean_rate, compared = 0.1, "a"

# %% wrong says="b) does not hold"
mean_rate, compared = 0.1, "b"

# %% wrong says="one letter"
mean_rate, compared = 0.1, "the same"

# %% wrong says="must be one number"
mean_rate, compared = np.ones(100) / 10, "c"

# %% 2. Change: the edge of the long valley [markdown]
# Let gradient descent race on `LONG_VALLEY` with other rates, `race(LONG_VALLEY, {"mine": SGD(0.01)}, 60)`. From which rate on does the path no longer come closer to the floor of the valley, but swing higher from side to side? And which curvature sets this edge: the one along the valley, or the one across?

# %% hint [markdown]
# Import them: `from workbench.experiments.surfaces import LONG_VALLEY`. The path of a race is `race(…).paths["mine"]`, and its second column is the distance from the floor. Try 0.019 and 0.021.

# %% hint [markdown]
# Along a direction of curvature c a step multiplies the distance by 1 - rate · c. When is that shorter than before?

# %% start
edge = ...  # a rate
curvature = ...  # the one that sets the edge

# %% answer
edge = 2 / 100  # a rate
curvature = 100  # the one that sets the edge

# %% why [markdown]
# Along a direction of curvature c, a step multiplies the distance by 1 - rate · c. It shrinks as long as rate · c < 2, so the *steepest* direction sets the edge: curvature 100 here, and an edge at 2 / 100. At 0.019 the factor across is -0.9, from side to side but shrinking; at 0.021 it is -1.1.

# %% shown
optimizers = {f"rate {rate}": SGD(rate) for rate in (0.01, 0.019, 0.021)}
paths = race(LONG_VALLEY, optimizers, 60)
across = {name: np.abs(path[:, 1]) for name, path in paths.paths.items()}
# Check: the factors are those of the theory, and only the last one grows
for name, factor in (("rate 0.019", 0.9), ("rate 0.021", 1.1)):
    assert np.allclose(across[name][1:20] / across[name][:19], factor, rtol=1e-3)
assert across["rate 0.01"][2] < 1e-3
alt = "In the long valley one path goes along the floor, one swings across it ever "
alt += "less, and one swings ever more and leaves the picture."
plots.show(plot_races([paths]), alt)

# %% shown [markdown]
# Along the valley the curvature is 1, and the fastest rate that the walls allow brings it closer by 2 % per step. That is what momentum is for.

# %% wrong says="still comes closer"
edge, curvature = 0.01, 100

# %% wrong says="still comes closer"
edge, curvature = 0.019, 100

# %% wrong says="swings higher already"
edge, curvature = 0.021, 100

# %% wrong says="swings higher already"
edge, curvature = 2.0, 1

# %% wrong says="along the valley"
edge, curvature = 0.02, 1

# %% wrong says="`curvature` is neither"
edge, curvature = 0.02, 50

# %% wrong says="must be > 0"
edge, curvature = -0.02, 100

# %% 3. Explain: the second hour [markdown]
# A colleague warms up a schedule with `CosineDecay(0.0, 400, warmup_target=0.1, warmup_steps=100)`, adds `ReduceLROnPlateau`, and the training dies in its second hour. Which statements hold?
#
# - **a** The warmup made the rate a schedule, and plain Keras lets nobody set the rate of such an optimizer.
# - **b** The rate had fallen to zero, and Keras stops there.
# - **c** It dies when the callback first wants to reduce the rate, which took until the second hour.
# - **d** It would have died in the first step if the data had been larger.
#
# And which are ways out? **p** leave `ReduceLROnPlateau` out and decay by the schedule alone, **q** give the callback more `patience`, **r** train in a `Run`, **s** set `model.optimizer.learning_rate` by hand before the plateau.

# %% hint [markdown]
# Section 2 has the error, and the place where it comes.

# %% hint [markdown]
# Who in the end sets the rate in each way out, and is it allowed to?

# %% start
statements = ...  # letters out of "abcd"
ways_out = ...  # letters out of "pqrs"

# %% answer
statements = "ac"  # letters out of "abcd"
ways_out = "pr"  # letters out of "pqrs"

# %% why [markdown]
# The warmup makes the rate a schedule, and plain Keras does not let anyone set the rate of an optimizer that was made with one. `ReduceLROnPlateau` tries to when it first sees a plateau, which took until the second hour. One way out is to leave one of the two: warm up and decay by schedule alone. Another is to train in a `Run`, where both work; from the plateau on, the reduced rate holds in place of the schedule:


# %% shown
def warmed_up():
    cosine = keras.optimizers.schedules.CosineDecay
    return build(SGD(cosine(0.0, 400, warmup_target=0.1, warmup_steps=100)))


def impatient():
    return keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=2, min_delta=9.0)


# %% shown
try:
    warmed_up().fit(*few, epochs=4, callbacks=[impatient()], verbose=0)
except TypeError:
    print("plain fit raises at the first plateau")
run = Run(warmed_up(), few, epochs=4, callbacks=[impatient()]).start()
_ = run.wait()
# Check: in a Run the rate is halved after the third epoch, and stays
rates = run.records.learning_rate
assert [change.step for change in run.changes] == [151]
assert np.allclose(rates[150:], run.changes[0].old / 2, rtol=1e-5)

# %% wrong says="b) does not hold"
statements, ways_out = "abc", "pr"

# %% wrong says="d) does not hold"
statements, ways_out = "acd", "pr"

# %% wrong says="not all that does"
statements, ways_out = "a", "pr"

# %% wrong says="q) does not hold"
statements, ways_out = "ac", "pqr"

# %% wrong says="s) does not hold"
statements, ways_out = "ac", "rs"

# %% wrong says="must be letters"
statements, ways_out = "ac", "both"

# %% 4. Diagnose: it learned, and then it forgot [markdown]
# A rate that falls by 0.001 at each step, written by hand. Run the cell: the loss falls for two epochs and then climbs, and Keras says nothing. From which step on is something wrong (`first_bad_step`, counted from 0), and what?
#
# - **a** The rate is too high at the start.
# - **b** The rate falls below zero, and every step then goes uphill.
# - **c** The net learns its digits by heart.
# - **d** At a rate of zero Keras starts anew.
#
# Then mend `my_schedule`: it begins at 0.1, falls as before, and stays at zero once it is there.

# %% hint [markdown]
# Print the rate that the schedule gives for steps 0, 50, 100 and 150.

# %% hint [markdown]
# `sample_schedule(my_schedule, 200)` says which step it is. Keras has a schedule that falls in a straight line and then stays: `PolynomialDecay`.

# %% start
cause, first_bad_step = ..., ...  # a letter in quotes, and a number


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 - 0.001 * keras.ops.cast(step, "float32")


my_schedule = Falling()
climber = build(SGD(my_schedule))
climb = np.diff(climber.fit(*few, epochs=4, verbose=0).history["loss"])
print("from epoch to epoch:", ["better" if c < 0 else "worse" for c in climb])

# %% answer
cause, first_bad_step = "b", 101  # a letter in quotes, and a number


my_schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 100, 0.0)
climber = build(SGD(my_schedule))
climb = np.diff(climber.fit(*few, epochs=4, verbose=0).history["loss"])
print("from epoch to epoch:", ["worse" if c > 1e-3 else "no worse" for c in climb])

# %% why [markdown]
# At step 100 the rate is zero, from step 101 on it is negative, and a step with a negative rate climbs the loss that it is to go down. Keras does not look. `sample_schedule` does, before anything trains: it raises an error that names the step.


# %% shown
# Check: the schedule that fell below zero is refused, with its step
class Falling(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 - 0.001 * keras.ops.cast(step, "float32")


try:
    schedules.sample_schedule(Falling(), 200)
except ValueError as error:
    print(type(error).__name__)

# %% wrong says="a) does not hold"
cause, first_bad_step = "a", 0
my_schedule = keras.optimizers.schedules.PolynomialDecay(0.01, 100, 0.0)

# %% wrong says="c) does not hold"
cause, first_bad_step = "c", 101
my_schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 100, 0.0)

# %% wrong says="`first_bad_step`"
cause, first_bad_step = "b", 50
my_schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 100, 0.0)

# %% wrong says="step 50"
cause, first_bad_step = "b", 101
my_schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 100, 0.05)

# %% wrong says="step 150"
cause, first_bad_step = "b", 101
my_schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 100, 0.0, cycle=True)

# %% wrong says="step 50"
cause, first_bad_step = "b", 101
my_schedule = keras.optimizers.schedules.CosineDecay(0.1, 120)

# %% wrong says="must be a schedule"
cause, first_bad_step = "b", 101
my_schedule = 0.1

# %% wrong says="below zero"
cause, first_bad_step = "b", 101


class StillFalling(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 - 0.001 * keras.ops.cast(step, "float32")


my_schedule = StillFalling()

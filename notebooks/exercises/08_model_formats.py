# %% setup
from workbench.logs import quiet

with quiet():
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")

import os
import tempfile

import h5py
import numpy as np

from workbench import data, formats

# %% setup
os.chdir(tempfile.mkdtemp())
(x, y), _ = data.load_mnist()
images, labels = x[:640, ..., None], y[:640]
samples = images[:16], labels[:16]


# %% setup
def build_model(*augmentation, optimizer="adam"):
    keras.utils.set_random_seed(8)
    stack = [keras.Input((28, 28, 1)), *augmentation, keras.layers.Flatten()]
    model = keras.Sequential([*stack, keras.layers.Dense(10, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, epochs=2, verbose=0)
    return model


# %% 1. Predict: another optimizer, no dropout [markdown]
# Take dropout and augmentation out of the model of section 2, and compile it with `SGD` without momentum. Which of these five then bring back the optimizer exactly, and after which is the next training step the same? And the next step with `Adam`?
#
# **a** `.keras` · **b** `.weights.h5` · **c** TF checkpoint · **d** `.npz` · **e** JSON

# %% hint [markdown]
# What does plain SGD remember from one step to the next? What does Adam?

# %% hint [markdown]
# In section 2 the next step differed because of seeds. The `.npz` has all weights and no optimizer: after which optimizers is a fresh one as good as the old?

# %% start
sgd_comes_back = ...  # letters out of "abcde"
same_step_with_sgd = ...
same_step_with_adam = ...

# %% answer
sgd_comes_back = "abc"  # letters out of "abcde"
same_step_with_sgd = "abcd"
same_step_with_adam = "abc"

# %% why [markdown]
# SGD without momentum has no slots, but it still has a step count and a rate, so the same formats keep it. Without dropout and augmentation nothing is random any more, and whatever keeps weights and optimizer makes the same step. So does `.npz`, although it keeps no optimizer: a fresh SGD with the same rate has nothing to remember. With Adam it would not.

# %% shown
chosen = [".keras", ".weights.h5", "TF checkpoint", ".npz", "JSON"]
for optimizer in ("sgd", "adam"):
    model = build_model(optimizer=optimizer)
    with quiet():
        table = formats.compare_formats(model, optimizer, samples, formats=chosen)
    same = [r.name for r in table.results if r.next_step == 0]
    kept = [r.name for r in table.results if r.optimizer == 0]
    print(f"{optimizer}: optimizer kept by {kept}")
    print(f"{optimizer}: same next step from {same}")
    # Check: only the .npz makes a difference between the two
    assert kept == chosen[:3]
    assert same == chosen[: 4 if optimizer == "sgd" else 3]

# %% wrong says="not all that does"
sgd_comes_back, same_step_with_sgd, same_step_with_adam = "ac", "abcd", "abc"

# %% wrong says="d) does not hold"
sgd_comes_back, same_step_with_sgd, same_step_with_adam = "abcd", "abcd", "abc"

# %% wrong says="has no weights"
sgd_comes_back, same_step_with_sgd, same_step_with_adam = "abc", "abcde", "abc"

# %% wrong says="means of earlier gradients"
sgd_comes_back, same_step_with_sgd, same_step_with_adam = "abc", "abcd", "abcd"

# %% wrong says="not all that does"
sgd_comes_back, same_step_with_sgd, same_step_with_adam = "abc", "abc", "abc"

# %% wrong says="must be letters"
sgd_comes_back, same_step_with_sgd, same_step_with_adam = ".keras", "abcd", "abc"


# %% 2. Change: a model that can be frozen [markdown]
# `formats.freeze("today/saved_model", "g.pb")` refuses the SavedModel of section 2: its augmentation changes a seed at each call, and a variable that changes cannot become a constant. Change `my_served`: from a Sequential model it shall make the one to export, with the same weights and the same outputs, that can be frozen.

# %% hint [markdown]
# Augmentation is for training only. What is left of the model when it is used?

# %% hint [markdown]
# Layers that are taken over into a new `keras.Sequential` keep their weights. `model.layers` lists them, without the input.


# %% start
def my_served(model):
    return model


# %% answer
def my_served(model):
    augmentation = (keras.layers.RandomFlip, keras.layers.RandomRotation)
    kept = [part for part in model.layers if not isinstance(part, augmentation)]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *kept])


# %% why [markdown]
# The SavedModel flips images at random, draws the chance from a seed, and moves the seed on: a variable that changes cannot become a constant. Augmentation belongs into the data pipeline, or into a model of its own for training; what is exported is the model without it.

# %% shown
augmented = build_model(keras.layers.RandomFlip("horizontal"))
for name, model in {"augmented": augmented, "plain": my_served(augmented)}.items():
    model.export(name, verbose=False)
    try:
        frozen = formats.freeze(name, f"{name}.pb")
    except ValueError as error:
        print(f"{name}: {str(error).split(';')[0]}")
        continue
    (output,) = frozen(samples[0]).values()
    gap = float(np.abs(output - model(samples[0], training=False)).max())
    print(f"{name}: {'differs' if gap > 1e-5 else 'same outputs'}")


# %% wrong says="other outputs"
def my_served(model):
    kept = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *kept])


# %% wrong says="outputs of shape"
def my_served(model):
    kept = [part for part in model.layers if not part.name.startswith("random")]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *kept[:-1]])


# %% wrong says="must be a Keras model"
def my_served(model):
    return [p for p in model.layers if not isinstance(p, keras.layers.RandomFlip)]


# %% wrong says="cannot be frozen"
def my_served(model):
    return keras.models.clone_model(model)


# %% wrong says="cannot be frozen"
def my_served(model):
    kept = [p for p in model.layers if not isinstance(p, keras.layers.Dropout)]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *kept])


# %% wrong says="taken out of the model that it was given"
def my_served(model):
    model.pop()
    return model


# %% 3. Explain: "I only load weights" [markdown]
# A colleague says: "I only load weights, never models, so no file can harm me." Which statements hold?
#
# - **a** An HDF5 file of weights can say "this array is in that other file", and whoever loads it then reads a file that its maker has chosen.
# - **b** A file of weights holds numbers and nothing else, so loading it can only do arithmetic.
# - **c** A small file can declare an array of many gigabytes, and whoever makes room for it runs out of memory.
# - **d** Weights as a pickle (`.pkl`, or `.npy` with `allow_pickle=True`) run code when they are loaded.
# - **e** What was loaded without an error has done no harm.

# %% hint [markdown]
# Make such a file with `h5py.ExternalLink`, and look into it with `formats.inspect_file`.

# %% hint [markdown]
# Think of three things a file can name instead of numbers: another file, a size, and a function.

# %% start
hold_for_weights = ...  # letters out of "abcde"

# %% answer
hold_for_weights = "acd"  # letters out of "abcde"

# %% why [markdown]
# HDF5 can say "what you look for is in that other file". Whoever loads the weights then reads a file of the machine, chosen by the maker of the file, into the model; and if the model goes back to them, so does its content. Keras 3.15 refuses such links; older versions followed them.

# %% shown
with h5py.File("linked.weights.h5", "w") as file:
    file["layers/dense/vars/0"] = np.ones((2, 2), "float32")
    file["layers/dense/vars/1"] = h5py.ExternalLink("somewhere_else.h5", "/secret")
risks = formats.inspect_file("linked.weights.h5").risks
for risk in risks:
    print(risk.where, risk.text)
# Check
assert [risk.where for risk in risks] == ["layers/dense/vars/1"]

# %% wrong says="b) does not hold"
hold_for_weights = "b"

# %% wrong says="e) does not hold"
hold_for_weights = "acde"

# %% wrong says="not all that does"
hold_for_weights = "ac"

# %% wrong says="not all that does"
hold_for_weights = "d"

# %% wrong says="must be letters"
hold_for_weights = "none"

# %% wrong says="must be letters"
hold_for_weights = 3

# %% 4. Diagnose: loaded, and cannot go on [markdown]
# Somebody finds a model as an `.h5` file, loads it, and wants to train it for one more pass. Run it and see. What is the cause?
#
# - **a** The file is damaged.
# - **b** The weights were not loaded.
# - **c** The optimizer that came with the file does not know the variables of the model that came with it.
# - **d** The data have another shape than those before.
#
# Then mend the line that loads, or add one, so that the weights of the file are trained on with `Adam`.

# %% hint [markdown]
# Ask the loaded model for its accuracy before it is trained. What does that say about the weights?

# %% hint [markdown]
# Section 2 says what to do with the old `.h5`. The loss is `"sparse_categorical_crossentropy"`.

# %% start
import logging

cause = ...  # a letter, in quotes
my_saved = build_model()
my_saved.fit(images, labels, epochs=2, verbose=0)
logging.disable(logging.WARNING)  # Keras says that .h5 is old
my_saved.save("found.h5")
my_loaded = keras.models.load_model("found.h5")
logging.disable(logging.NOTSET)
my_loaded.fit(images, labels, verbose=0)
right = my_loaded.evaluate(images, labels, verbose=0)[1]
print(f"more than half are right: {right > 0.5}")

# %% answer
import logging

cause = "c"  # a letter, in quotes
my_saved = build_model()
my_saved.fit(images, labels, epochs=2, verbose=0)
logging.disable(logging.WARNING)  # Keras says that .h5 is old
my_saved.save("found.h5")
my_loaded = keras.models.load_model("found.h5", compile=False)
logging.disable(logging.NOTSET)
my_loaded.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
my_loaded.fit(images, labels, verbose=0)
right = my_loaded.evaluate(images, labels, verbose=0)[1]
print(f"more than half are right: {right > 0.5}")

# %% why [markdown]
# The weights are there: before any training the loaded model is right as often as the saved one. What cannot be used is the optimizer that Keras 3.15 makes from an `.h5`: it was built for other variables. `compile=False` leaves it out, and a fresh one costs the running means of Adam. `.keras` keeps those, too.

# %% wrong says="as often as the saved one"
cause, my_loaded = "b", build_model()

# %% wrong says="opens it and finds"
cause, my_loaded = "a", build_model()

# %% wrong says="`evaluate` takes them"
cause, my_loaded = "d", build_model()

# %% wrong says="cannot make a step"
cause = "c"
with quiet():
    build_model().save("found.h5")
    my_loaded = keras.models.load_model("found.h5")

# %% wrong says="is not compiled"
cause = "c"
with quiet():
    build_model().save("found.h5")
    my_loaded = keras.models.load_model("found.h5", compile=False)

# %% wrong says="weights of the file are not in it"
cause = "c"
my_layers = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
my_loaded = keras.Sequential([keras.Input((28, 28, 1)), *my_layers])
my_loaded.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

# %% wrong says="with `Adam`"
cause, my_loaded = "c", build_model(optimizer="sgd")

"""Time of `fit` with clipping and its records, against a bare `fit`.

Target: at most 1.10. The variants take turns of 46 steps, so that whatever else the
machine does hits all of them alike; each ratio is the median, over the rounds, of a
variant's time by the bare optimizer's in the same round. With `steps` the turns are
single calls of the train function, without what else `fit` does: a harder measure.

Run: python benchmarks/clipping.py [fit | steps] [rounds]
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from workbench import clipping

WHAT = sys.argv[1] if len(sys.argv) > 1 else "fit"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else {"fit": 40, "steps": 400}[WHAT]
BATCH_SIZE = 32
STEPS = 46


def dense_net():
    inputs = keras.Input((784,))
    hidden = keras.layers.Dense(128, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(10)(hidden))


def recurrent_net():
    inputs = keras.Input((50, 6))
    hidden = keras.layers.SimpleRNN(50)(inputs)
    return keras.Model(inputs, keras.layers.Dense(10)(hidden))


def variants():
    def adam():
        return keras.optimizers.Adam(1e-3)

    yield "bare", adam()
    yield "bare again", adam()
    yield "Keras global_clipnorm", keras.optimizers.Adam(1e-3, global_clipnorm=1.0)
    for clip in (
        clipping.NoClip(),
        clipping.ByValue(0.01),
        clipping.ByNorm(0.1),
        clipping.ByGlobalNorm(0.1),
        clipping.Adaptive(0.01),
        clipping.Rescue(),
        clipping.AutoClip(10),
        clipping.ZClip(2.5, 0.97),
    ):
        yield str(clip), clip.wrap(adam())
    unrecorded = clipping.ByGlobalNorm(0.1).wrap(adam(), record=False)
    yield "ByGlobalNorm, no record", unrecorded


def turns(build, optimizer):
    """Returns a function that trains for one turn."""
    generator = np.random.default_rng(0)
    model = build()
    shape = (BATCH_SIZE * STEPS, *model.input_shape[1:])
    x = generator.normal(size=shape).astype("float32")
    y = generator.integers(10, size=len(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    if WHAT == "fit":
        return lambda: model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
    batch = x[:BATCH_SIZE], y[:BATCH_SIZE]
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()
    return lambda: model.train_function(batches)


def measure(name, build):
    runs = {label: turns(build, optimizer) for label, optimizer in variants()}
    times = {label: [] for label in runs}
    for _ in range(ROUNDS + 3):
        for label, turn in runs.items():
            start = time.perf_counter()
            turn()
            times[label].append(time.perf_counter() - start)
    times = {label: np.array(each[3:]) for label, each in times.items()}
    step = np.median(times["bare"]) / (STEPS if WHAT == "fit" else 1)
    print(f"\n{name}: bare {WHAT} {step * 1e3:.2f} ms a step, {ROUNDS} rounds")
    for label, each in times.items():
        print(f"  {np.median(each / times['bare']):.3f}  {label}")


if __name__ == "__main__":
    measure("MLP 784-128-10, batch 32, Adam", dense_net)
    measure("SimpleRNN 50 units, 50 steps, batch 32, Adam", recurrent_net)

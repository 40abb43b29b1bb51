"""`experiments.strength_map` against the same as separate `compile` and `fit`.

784-200-200-10, five kinds of penalty at seven strengths, K=35, and the model without
one. Wall time with building and tracing, both sides in one process, in turns; batch
32, 4 epochs of 46 steps.

    python benchmarks/strength_map.py [--rounds 3] [--seeds 1]
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from workbench.experiments import strength_map

NUM_SAMPLES, BATCH_SIZE, EPOCHS, RATE = 46 * 32, 32, 4, 0.1
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
STRENGTHS = {
    "L1": np.geomspace(1e-6, 1e-3, 7),
    "L2": np.geomspace(1e-6, 1e-2, 7),
    "weight decay": np.geomspace(1e-6, 1e-2, 7),
    "max-norm": np.geomspace(0.1, 2.0, 7),
    "dropout": np.linspace(0.1, 0.7, 7),
}
layers = keras.layers


def build(regularizer=None, constraint=None, rate=0.0, optimizer=None):
    hidden = []
    for _ in range(2):
        arguments = {"kernel_regularizer": regularizer, "kernel_constraint": constraint}
        hidden.append(layers.Dense(200, activation="tanh", **arguments))
        if rate:
            hidden.append(layers.Dropout(rate))
    last = layers.Dense(
        10, kernel_regularizer=regularizer, kernel_constraint=constraint
    )
    model = keras.Sequential([keras.Input((784,)), *hidden, last])
    model.compile(
        optimizer or keras.optimizers.SGD(RATE), SOFTMAX, metrics=["accuracy"]
    )
    return model


def plain(kind, strength):
    """Builds the model that a variant of the map stands for."""
    if kind == "L1":
        return build(keras.regularizers.L1(strength))
    if kind == "L2":
        return build(keras.regularizers.L2(strength))
    if kind == "weight decay":
        optimizer = keras.optimizers.SGD(RATE, weight_decay=strength)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        return build(optimizer=optimizer)
    if kind == "max-norm":
        return build(constraint=keras.constraints.MaxNorm(1 / strength))
    return build(rate=strength)


def one_after_the_other(data, seeds):
    """Returns dict of `(kind, strength)` -> the losses of the epochs."""
    losses = {}
    for kind, strengths in {"none": [0.0], **STRENGTHS}.items():
        for strength in strengths:
            for seed in seeds:
                keras.utils.set_random_seed(seed)
                model = build() if kind == "none" else plain(kind, float(strength))
                history = model.fit(
                    *data, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0
                )
                losses[kind, float(strength), seed] = history.history["loss"]
    return losses


def as_one(data, seeds):
    return strength_map(
        build,
        data,
        tuple(STRENGTHS),
        STRENGTHS,
        seeds,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
    )


def measure(rounds, num_seeds):
    rng = np.random.default_rng(0)
    x = rng.random((NUM_SAMPLES, 784), "float32")
    data, seeds = (x, rng.integers(0, 10, NUM_SAMPLES)), range(num_seeds)
    plain("L2", 1e-3).fit(*data, batch_size=BATCH_SIZE, verbose=0)  # TensorFlow's own
    count, ratios = 35 * num_seeds, []
    for _ in range(rounds):
        start = time.perf_counter()
        losses = one_after_the_other(data, seeds)
        middle = time.perf_counter()
        grid = as_one(data, seeds)
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        every = grid.comparison.records.values()
        assert len(every) == len(losses) == count + num_seeds
        assert all(record.status == "finished" for record in every)
        paths = {record.path for record in every}
        print(
            f"K={count}: fit {middle - start:.2f} s, strength_map {end - middle:.2f} s,"
            f" {ratios[-1]:.2f}x by {', '.join(paths)}",
            flush=True,
        )
    print(f"K={count}: median {np.median(ratios):.2f}x, target 4x")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    measure(arguments.rounds, arguments.seeds)


if __name__ == "__main__":
    main()

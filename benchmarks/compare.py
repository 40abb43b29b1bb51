"""`experiments.compare` against the same variants as separate `compile` and `fit`.

Wall time with building and tracing, both sides in one process, in turns; batch 32,
4 epochs of 46 steps, variants that differ in learning rate and clip threshold.

    python benchmarks/compare.py [CASE …] [--rounds 3]
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from workbench.experiments import Variant, compare

NUM_SAMPLES, BATCH_SIZE, EPOCHS = 46 * 32, 32, 4
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
layers = keras.layers


def dense(*sizes):
    def build():
        hidden = [layers.Dense(size, activation="tanh") for size in sizes[1:-1]]
        return keras.Sequential(
            [keras.Input((sizes[0],)), *hidden, layers.Dense(sizes[-1])]
        )

    rng = np.random.default_rng(0)
    x = rng.random((NUM_SAMPLES, sizes[0]), "float32")
    return build, (x, rng.integers(0, sizes[-1], NUM_SAMPLES)), SOFTMAX


def recurrent():
    def build():
        return keras.Sequential(
            [keras.Input((50, 2)), layers.SimpleRNN(50), layers.Dense(1)]
        )

    rng = np.random.default_rng(0)
    x = rng.random((NUM_SAMPLES, 50, 2), "float32")
    return build, (x, rng.random((NUM_SAMPLES, 1), "float32")), "mse"


def convolutional():
    def build():
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(16, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(10),
            ]
        )

    rng = np.random.default_rng(0)
    x = rng.random((NUM_SAMPLES, 28, 28, 1), "float32")
    return build, (x, rng.integers(0, 10, NUM_SAMPLES)), SOFTMAX


CASES = {  # case, variants, target
    "784-128-10": (lambda: dense(784, 128, 10), 8, 5.0),
    "784-200-200-10": (lambda: dense(784, 200, 200, 10), 35, 4.0),
    "64-64-10": (lambda: dense(64, 64, 10), 8, 7.0),
    "rnn": (recurrent, 32, 5.0),
    "cnn": (convolutional, 8, 1.8),
}


def optimizers(count):
    rates = np.geomspace(0.005, 0.1, count)
    limits = np.geomspace(0.5, 2.0, count)[::-1]
    return [
        keras.optimizers.SGD(float(rate), global_clipnorm=float(limit))
        for rate, limit in zip(rates, limits, strict=True)
    ]


def one_after_the_other(build, data, loss, count):
    histories = []
    for optimizer in optimizers(count):
        keras.utils.set_random_seed(0)
        model = build()
        model.compile(optimizer, loss)
        history = model.fit(*data, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
        histories.append(history.history["loss"])
    return histories


def as_one(build, data, loss, count):
    variants = {str(i): Variant(o) for i, o in enumerate(optimizers(count))}
    return compare(
        build, data, variants, loss=loss, epochs=EPOCHS, batch_size=BATCH_SIZE
    )


def measure(case, rounds):
    make, count, target = CASES[case]
    build, data, loss = make()
    one_after_the_other(build, data, loss, 1)  # TensorFlow's own first time
    ratios = []
    for _ in range(rounds):
        start = time.perf_counter()
        one_after_the_other(build, data, loss, count)
        middle = time.perf_counter()
        comparison = as_one(build, data, loss, count)
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        paths = {record.path for record in comparison.records.values()}
        assert all(r.status == "finished" for r in comparison.records.values())
        print(
            f"{case} K={count}: fit {middle - start:.2f} s, compare "
            f"{end - middle:.2f} s, {ratios[-1]:.2f}x by {', '.join(paths)}",
            flush=True,
        )
    print(f"{case} K={count}: median {np.median(ratios):.2f}x, target {target}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", help=f"any of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for case in arguments.case or CASES:
        measure(case, arguments.rounds)


if __name__ == "__main__":
    main()

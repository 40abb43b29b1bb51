"""Temporal order with and without clipping: Pascanu, Mikolov, Bengio 2013, §4.1.1.

A recurrent net of 50 units reads L symbols, of which two, far apart, decide its
answer. SGD, rate 0.01, batches of 20 fresh sequences, global-norm threshold 1. A seed
is solved when, at a check, it errs on less than 1 % of 10,000 sequences never trained
on, as in the paper. The paper allows five million updates, this script as many as fit
into ten minutes on two cores, so its counts are counts after that many.

Run: python benchmarks/pascanu.py [filepath]
     writes the result that notebooks/04_clipping.ipynb shows; a third of a minute
     with the environment variable QUICK=1, to see that it works
"""

import json
import math
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from workbench import clipping, data
from workbench.experiments import Variant, compare

RESULT = pathlib.Path(__file__).parents[1] / "notebooks" / "data" / "pascanu.json"
UNITS = 50
BATCH_SIZE = 20
LEARNING_RATE = 0.01
THRESHOLD = 1.0
TESTS = 10_000
LARGEST_ERROR = 0.01
# Who cannot tell the classes apart errs on 75 %; who holds one symbol, on 50 %.
LEARNED_ERROR = 0.6
UPDATES_PER_CHECK = 2000
METHODS = {"no clipping": None, "global norm 1": clipping.ByGlobalNorm(THRESHOLD)}
# length, initial weights, seeds, updates
PLAN = (
    (20, "smart tanh", 10, 12_000),
    (50, "smart tanh", 10, 14_000),
    (20, "basic tanh", 4, 4_000),
    (50, "basic tanh", 4, 4_000),
    (20, "sigmoid", 4, 4_000),
    (50, "sigmoid", 4, 4_000),
)


def few_incoming(shape, dtype=None):
    """15 incoming weights for each unit, spectral radius 0.95."""
    seed = int(keras.random.randint((), 0, 2**31 - 1))
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=shape)
    for unit in range(shape[1]):
        weights[rng.permutation(shape[0])[15:], unit] = 0
    radius = np.abs(np.linalg.eigvals(weights)).max()
    return (0.95 / radius * weights).astype(dtype)


def make_build(length, initial):
    """Returns the function that builds the compiled net, as `compare` takes it."""
    sigma = 0.1 if initial == "basic tanh" else 0.01

    def normal():
        return keras.initializers.RandomNormal(stddev=sigma)

    def build():
        recurrent = few_incoming if initial == "smart tanh" else normal()
        cell = keras.layers.SimpleRNN(
            UNITS,
            activation="sigmoid" if initial == "sigmoid" else "tanh",
            kernel_initializer=normal(),
            recurrent_initializer=recurrent,
        )
        model = keras.Sequential(
            [
                keras.Input((length, 6)),
                cell,
                keras.layers.Dense(4, kernel_initializer=normal()),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(LEARNING_RATE), loss, metrics=["accuracy"])
        return model

    return build


class FreshSequences(keras.utils.PyDataset):
    """Batches that no epoch repeats."""

    def __init__(self, length):
        super().__init__()
        self.length = length
        self.epoch = -1
        self.on_epoch_end()

    def on_epoch_end(self):
        """Draws the next epoch's sequences."""
        self.epoch += 1
        self.x, self.y = data.sample_temporal_order(
            BATCH_SIZE * UPDATES_PER_CHECK, self.length, seed=1 + self.epoch
        )

    @property
    def num_batches(self):
        """Updates between two checks."""
        return UPDATES_PER_CHECK

    def __getitem__(self, index):
        rows = slice(BATCH_SIZE * index, BATCH_SIZE * (index + 1))
        return self.x[rows], self.y[rows]


def interval(successes, trials, confidence=0.95):
    """Computes the exact binomial interval of Clopper and Pearson.

    Args:
        successes: int, 0 to `trials`.
        trials: Positive int.
        confidence: float in (0, 1).

    Returns:
        `(low, high)`, floats in [0, 1].
    """
    tail = (1 - confidence) / 2

    def at_most(count, chance):
        return sum(
            math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k)
            for k in range(count + 1)
        )

    def root(decreasing, target):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            if decreasing(middle) > target:
                low = middle
            else:
                high = middle
        return low

    low = high = None
    if successes == 0:
        low = 0.0
    if successes == trials:
        high = 1.0
    if low is None:
        low = root(lambda p: at_most(successes - 1, p), 1 - tail)
    if high is None:
        high = root(lambda p: at_most(successes, p), tail)
    return low, high


def run(length, initial, seeds, updates):
    """Trains all methods from all seeds; returns one dict per method."""
    variants = {
        f"{method}, seed {seed}": Variant(clip=clip, seed=seed)
        for method, clip in METHODS.items()
        for seed in range(seeds)
    }
    comparison = compare(
        make_build(length, initial),
        FreshSequences(length),
        variants,
        epochs=updates // UPDATES_PER_CHECK,
        validation_data=data.sample_temporal_order(TESTS, length, seed=0),
        batch_size=500,
    )
    rows = []
    for method in METHODS:
        names = [f"{method}, seed {seed}" for seed in range(seeds)]
        records = [comparison.records[name] for name in names]
        errors = [1 - record.epochs["val_accuracy"] for record in records]
        solved = sum(bool((error < LARGEST_ERROR).any()) for error in errors)
        norms = [record.gradient_norm for record in records]
        rows.append(
            {
                "length": length,
                "initial": initial,
                "method": method,
                "updates": updates,
                "seeds": seeds,
                "solved": solved,
                "interval": [round(end, 4) for end in interval(solved, seeds)],
                "learned": sum(bool(error[-1] < LEARNED_ERROR) for error in errors),
                "errors": [np.round(error, 4).tolist() for error in errors],
                "median_norm": [float(f"{np.median(n):.3g}") for n in norms],
                "largest_norm": [float(f"{n.max():.3g}") for n in norms],
                "share_clipped": [round(r.share_clipped, 4) for r in records],
            }
        )
    return rows


def main():
    quick = bool(os.environ.get("QUICK"))
    plan = [(20, "smart tanh", 2, 2 * UPDATES_PER_CHECK)] if quick else PLAN
    start, rows = time.perf_counter(), []
    for case in plan:
        rows += run(*case)
        for row in rows[-len(METHODS) :]:
            low, high = row["interval"]
            print(
                f"L={row['length']} {row['initial']:10} {row['method']:13} "
                f"solved {row['solved']:2}/{row['seeds']} [{low:.2f}, {high:.2f}], "
                f"learned something {row['learned']:2}, "
                f"clipped {np.mean(row['share_clipped']):4.0%}, "
                f"largest norm {max(row['largest_norm']):.3g}"
            )
    print(f"{time.perf_counter() - start:.0f} s")
    if len(sys.argv) > 1 or not quick:
        path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT
        path.parent.mkdir(exist_ok=True)
        path.write_text(as_json(rows))


def as_json(rows):
    """Writes one line per row, so that a new result shows as a readable difference."""
    settings = {
        "units": UNITS,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "threshold": THRESHOLD,
        "test_sequences": TESTS,
        "updates_per_check": UPDATES_PER_CHECK,
    }
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{{"settings": {json.dumps(settings)},\n "results": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    main()

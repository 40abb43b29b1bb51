"""`find_learning_rate` against a sweep, and against two rules of thumb.

18 small tasks: six nets, each with SGD, with momentum 0.9 and with Adam. For each, a
sweep of 15 rates from 1e-5 to 10 and what each rule suggests are trained from the same
weights over the same batches, for three seeds; a rate's final loss is the mean batch
loss of the last epoch, as Keras's History has it, averaged over the seeds. The rules
are fastai's valley and the steepest slope, on the same recorded losses (the first
seed's, in fastai's own smoothing), and ours. The finder starts from other weights each
time. Its constants were chosen while looking at the tasks without a mark; those marked
* were only measured.

Time: the finder's against 15 calls of `compile` and `fit` (one is timed and taken 15
times), and against the same sweep as one `experiments.compare`.

    python benchmarks/learning_rate_finder.py [TASK …] [--repeats 3] [--store]

All tasks take about half an hour on two cores; `--store` writes the table to
notebooks/data/finder.json.
"""

import argparse
import json
import os
import pathlib
import pydoc_data.topics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from workbench import data
from workbench.experiments import Variant, compare
from workbench.schedules import find_learning_rate

layers, optimizers = keras.layers, keras.optimizers
SWEEP = np.geomspace(1e-5, 10, 15)
SEEDS, BATCH_SIZE, SAMPLES = 3, 32, 4000
STORE = pathlib.Path(__file__).parents[1] / "notebooks" / "data" / "finder.json"
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
MAKERS = {
    "SGD": optimizers.SGD,
    "momentum": lambda rate: optimizers.SGD(rate, momentum=0.9),
    "Adam": optimizers.Adam,
}
UNSEEN = ("autoencoder",)


def digits():
    (x, y), _ = data.load_mnist()
    return x[:SAMPLES], y[:SAMPLES]


def text():
    """The next of 96 characters of Python's help pages, from 16 before."""
    topics = pydoc_data.topics.topics
    pages = "\n".join(topics[name] for name in sorted(topics))
    codes = np.frombuffer(pages.encode("ascii", "replace"), np.uint8).astype("int64")
    codes = np.where((codes >= 32) & (codes < 127), codes - 31, 0)
    starts = np.random.default_rng(0).integers(0, len(codes) - 17, SAMPLES)
    windows = codes[starts[:, None] + np.arange(17)]
    return windows[:, :16], windows[:, 16]


def regression():
    """Friedman's first function of ten uniform numbers, with noise, standardized."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (SAMPLES, 10)).astype("float32")
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y += 10 * x[:, 3] + 5 * x[:, 4] + rng.normal(size=SAMPLES)
    return x, ((y - y.mean()) / y.std()).astype("float32")[:, None]


def mlp():
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )


def cnn():
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def recurrent():
    return keras.Sequential([keras.Input((10, 2)), layers.LSTM(24), layers.Dense(1)])


def characters():
    return keras.Sequential(
        [
            keras.Input((16,), dtype="int32"),
            layers.Embedding(96, 16),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(96),
        ]
    )


def smooth():
    return keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(1),
        ]
    )


def images():
    x, _ = digits()
    return x, x


def bottleneck():
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(32, activation="tanh"),
            layers.Dense(784, activation="sigmoid"),
            layers.Reshape((28, 28)),
        ]
    )


NETS = {  # net, data, loss, epochs
    "digits MLP": (mlp, digits, SOFTMAX, 6),
    "digits CNN": (cnn, digits, SOFTMAX, 6),
    "adding problem": (
        recurrent,
        lambda: data.sample_adding_problem(SAMPLES, 10, seed=1),
        "mse",
        8,
    ),
    "text": (characters, text, SOFTMAX, 6),
    "regression": (smooth, regression, "mse", 6),
    "autoencoder": (bottleneck, images, "mse", 6),
}
TASKS = [f"{net}, {maker}" for net in NETS for maker in MAKERS]


def valley(rates, losses):
    """In the longest falling stretch the middle of its second third, as fastai."""
    longest = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        longer = longest[:i][losses[:i] > losses[i]]
        longest[i] = 1 + (longer.max() if len(longer) else 0)
    end = int(longest.argmax())
    start = end - longest[end]
    third = (end - start) / 3
    return rates[start + int(third) + int(third / 2)]


def steepest(rates, losses):
    """The rate at which the smoothed loss falls fastest."""
    return rates[int(np.gradient(losses).argmin())]


def as_fastai(test, beta=0.98):
    """What fastai looks at: its running mean, up to four times the lowest, cut.

    Returns:
        `(rates, losses)`, without the first tenth and the last five.
    """
    losses = test.losses[0]
    kept, mean = [], 0.0
    for i, loss in enumerate(losses[np.isfinite(losses)]):
        mean = beta * mean + (1 - beta) * loss
        kept.append(mean / (1 - beta ** (i + 1)))
        if kept[-1] > 4 * min(kept):
            break
    used = slice(len(losses) // 10, len(kept) - 5)
    return test.rates[used], np.array(kept)[used]


RULES = {
    "ours": lambda test: test.suggestion,
    "valley": lambda test: valley(*as_fastai(test)),
    "steepest": lambda test: steepest(*as_fastai(test)),
}


def final_losses(build, samples, loss, epochs, make, rates):
    """Returns the mean over the seeds for each rate, infinite where one diverged."""
    variants = {
        f"{i}, {seed}": Variant(make(float(rate)), seed=seed)
        for i, rate in enumerate(rates)
        for seed in range(SEEDS)
    }
    records = compare(
        build, samples, variants, loss=loss, epochs=epochs, batch_size=BATCH_SIZE
    ).records
    ends = [
        r.epochs["loss"][-1] if r.status == "finished" else np.inf
        for r in records.values()
    ]
    return np.reshape(ends, (len(rates), SEEDS)).mean(axis=1)


def measure(name, repeats):
    net, maker = name.split(", ")
    (build, load, loss, epochs), make = NETS[net], MAKERS[maker]
    samples = load()
    suggestions, seconds = {rule: [] for rule in RULES}, []
    for repeat in range(repeats):
        keras.utils.set_random_seed(100 + repeat)
        model = build()
        model.compile(make(0.01), loss)
        start = time.perf_counter()
        test = find_learning_rate(model, samples, batch_size=BATCH_SIZE)
        seconds.append(time.perf_counter() - start)
        for rule, suggest in RULES.items():
            suggestions[rule].append(suggest(test))
    start = time.perf_counter()
    model = build()
    model.compile(make(0.01), loss)
    model.fit(*samples, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    fits = len(SWEEP) * (time.perf_counter() - start)
    start = time.perf_counter()
    compare(
        build,
        samples,
        {str(i): Variant(make(float(rate))) for i, rate in enumerate(SWEEP)},
        loss=loss,
        epochs=epochs,
        batch_size=BATCH_SIZE,
    )
    together = time.perf_counter() - start
    flat = [rate for rule in RULES for rate in suggestions[rule]]
    losses = final_losses(build, samples, loss, epochs, make, [*SWEEP, *flat])
    best, ours = losses[: len(SWEEP)].min(), losses[len(SWEEP) :]
    ratios = dict(
        zip(RULES, np.reshape(ours, (len(RULES), repeats)) / best, strict=True)
    )
    return {
        "best": SWEEP[losses[: len(SWEEP)].argmin()],
        "suggestions": suggestions,
        "ratios": ratios,
        "of fits": np.median(seconds) / fits,
        "of compare": np.median(seconds) / together,
    }


def as_json(rows):
    """Writes one line per task, so that a new result shows as a readable difference."""
    lines = []
    for name, row in rows.items():
        line = {"task": name, "best": float(f"{row['best']:.2g}")}
        for rule, suggestions in row["suggestions"].items():
            line[rule] = {
                "rate": float(f"{np.median(suggestions):.2g}"),
                "loss": round(float(np.median(row["ratios"][rule])), 2),
                "spread": round(max(suggestions) / min(suggestions), 1),
            }
        line["of_fits"] = round(row["of fits"], 2)
        lines.append(f"  {json.dumps(line)}")
    return '{"results": [\n' + ",\n".join(lines) + "\n]}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="*", help=f"any of {'; '.join(TASKS)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--store", action="store_true", help=f"write {STORE.name}")
    arguments = parser.parse_args()
    rows = {}
    print(f"{'task':26} best rate", *(f"{rule:>22}" for rule in RULES), " time")
    for name in arguments.task or TASKS:
        row = rows[name] = measure(name, arguments.repeats)
        cells = [
            f"{np.median(row['suggestions'][rule]):8.2g} loss x"
            f"{np.median(row['ratios'][rule]):<7.2f}"
            for rule in RULES
        ]
        spread = max(row["suggestions"]["ours"]) / min(row["suggestions"]["ours"])
        mark = "*" if name.startswith(UNSEEN) else " "
        print(
            f"{name:25}{mark} {row['best']:9.2g}",
            *(f"{cell:>22}" for cell in cells),
            f"{row['of fits']:5.0%} of 15 fits, {row['of compare']:5.0%} of compare, "
            f"spread x{spread:.1f}",
            flush=True,
        )
    if arguments.store:
        STORE.write_text(as_json(rows))
    for rule in RULES:
        medians = np.array([np.median(row["ratios"][rule]) for row in rows.values()])
        every = np.concatenate([row["ratios"][rule] for row in rows.values()])
        spreads = [
            max(row["suggestions"][rule]) / min(row["suggestions"][rule])
            for row in rows.values()
        ]
        print(
            f"{rule:9} within 5 % of the sweep's best: {(medians <= 1.05).sum()} of "
            f"{len(medians)} tasks (each repeat: {np.mean(every <= 1.05):.0%}); within "
            f"10 %: {(medians <= 1.1).sum()}; median x{np.median(medians):.2f}; "
            f"repeats within x2: {np.sum(np.array(spreads) <= 2)}"
        )


if __name__ == "__main__":
    main()

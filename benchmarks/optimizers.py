"""Optimizers against theory and against a published table; and the race's rates.

quadratic  The convergence factor on bowls with condition 100 and 1000, fitted between
           1e-12 and 1e-30, against (k - 1) / (k + 1) for gradient descent and
           (√k - 1) / (√k + 1) for momentum, both at their best rates.
rates      Each optimizer's best rate on each surface of the race; `surfaces.py` holds
           the result.
gif        The race as notebooks/data/race.gif.
zeiler     Error by learning rate as in Zeiler 2012, "ADADELTA", tables 1 and 2, on the
           8,000 digits of this package instead of 60,000, for as many epochs as the
           paper and for as many updates; writes notebooks/data/zeiler.json.

Run: python benchmarks/optimizers.py [quadratic] [rates] [gif] [zeiler]
     all without arguments; "zeiler" takes about ten minutes on two cores, a third of
     one with the environment variable QUICK=1, to see that it works
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

from workbench import data
from workbench.experiments import Variant, compare
from workbench.experiments.contestants import CONTESTANTS
from workbench.experiments.racing import race
from workbench.experiments.surfaces import SURFACES, quadratic

DATA = pathlib.Path(__file__).parents[1] / "notebooks" / "data"
FAR, FARTHER = 1e-12, 1e-30  # where theory's factor shows, and float32 still counts
RATES = (1.0, 0.1, 0.01, 0.001, 0.0001)
TRIED = [digit * 10.0**power for power in range(-4, 0) for digit in (1, 2, 5)] + [1.0]
RACE_STEPS = 200
GAP = 0.01
# Test error in percent after 6 epochs over 60,000 digits, rates 1 to 0.0001.
PUBLISHED = {
    "gradient descent": (2.26, 2.51, 7.02, 17.01, 58.10),
    "momentum": (89.68, 2.03, 2.68, 6.98, 16.98),
    "Adagrad": (43.76, 2.82, 1.79, 5.21, 12.59),
    "Adadelta": (1.83,),
}
SEEDS = 3
EPOCHS = {"as many epochs": 6, "as many updates": 45}


# Theory


def optimal(kappa):
    """Makes the two optimizers at their best on curvatures 1 and `kappa`.

    Returns:
        Dict of name -> `(Keras optimizer, the factor that theory promises)`.
    """
    root = math.sqrt(kappa)
    momentum = (root - 1) / (root + 1)
    fast = keras.optimizers.SGD((2 / (root + 1)) ** 2, momentum=momentum**2)
    return {
        "gradient descent": (
            keras.optimizers.SGD(2 / (kappa + 1)),
            (kappa - 1) / (kappa + 1),
        ),
        "momentum": (fast, momentum),
    }


def measure_factor(kappa, name):
    """Measures by what factor one step brings the weights closer to the minimum.

    Args:
        kappa: float, the condition number.
        name: "gradient descent" or "momentum".

    Returns:
        `(measured, theory, steps)`: floats, and the steps until 1e-6.
    """
    optimizer, theory = optimal(kappa)[name]
    steps = int(1.2 * math.log(FARTHER) / math.log(theory))
    result = race(quadratic(kappa), {name: optimizer}, steps)
    factor = result.convergence_factor(name, nearest=FARTHER, farthest=FAR)
    distance = np.linalg.norm(result.paths[name], axis=1)
    return factor, theory, int(np.flatnonzero(distance < 1e-6)[0])


def quadratics():
    for kappa in (100.0, 1000.0):
        for name in optimal(kappa):
            measured, theory, steps = measure_factor(kappa, name)
            ratio = math.log(measured) / math.log(theory)
            print(
                f"k={kappa:<5g} {name:17} factor {measured:.5f}, theory {theory:.5f}, "
                f"logarithms {ratio - 1:+.1%}; 1e-6 after {steps} steps"
            )


# The race


def rates():
    """Prints each optimizer's best rate on each surface.

    Best is who comes first within 0.01 of the lowest loss to stay, or, if nobody does,
    who is lowest at the end; without ever being higher than at the start.
    """
    for surface in SURFACES.values():
        found = dict.fromkeys(CONTESTANTS, (math.inf, math.inf, 0.0))
        for rate in TRIED:
            optimizers = {name: one.make(rate) for name, one in CONTESTANTS.items()}
            result = race(surface, optimizers, RACE_STEPS)
            steps = result.steps_to(GAP)
            for name, losses in result.losses.items():
                if (losses <= losses[0]).all():
                    mine = steps[name] or math.inf, float(losses[-1]), rate
                    found[name] = min(found[name], mine)
        print(surface.name, {name: rate for name, (_, _, rate) in found.items()})
        print("   steps", {name: steps for name, (steps, _, _) in found.items()})


def gif():
    from workbench.plots.race import animate_races  # noqa: PLC0415, only here

    (DATA / "race.gif").write_bytes(animate_races([race(s) for s in SURFACES.values()]))


# Zeiler's table


def build_tanh_net():
    """784-500-300-10 with tanh, as in the paper."""
    hidden = [keras.layers.Dense(size, activation="tanh") for size in (500, 300)]
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            *hidden,
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def zeiler_variants(seeds):
    """Lists the paper's optimizers at its rates, dict name -> `Variant`."""
    optimizers = {
        f"{name}, rate {rate:g}": CONTESTANTS[name].make(rate)
        for name in ("gradient descent", "momentum", "Adagrad")
        for rate in RATES
    }
    # As in the paper: it has no rate, and this epsilon.
    paper = keras.optimizers.Adadelta(1.0, rho=0.95, epsilon=1e-6)
    optimizers["Adadelta, rate 1"] = paper
    return {
        f"{name}, seed {seed}": Variant(optimizer, seed=seed)
        for name, optimizer in optimizers.items()
        for seed in range(seeds)
    }


def zeiler(*, quick=False):
    """Repeats the table; returns one dict per optimizer and rate."""
    train, test = data.load_mnist()
    epochs = {"as many epochs": 1} if quick else EPOCHS
    seeds = 1 if quick else SEEDS
    rows = []
    for budget, count in epochs.items():
        start = time.perf_counter()
        comparison = compare(
            build_tanh_net,
            train,
            zeiler_variants(seeds if budget == "as many epochs" else 1),
            epochs=count,
            batch_size=100,
            validation_data=test,
        )
        print(f"{budget}: {time.perf_counter() - start:.0f} s")
        groups = {}
        for name, record in comparison.records.items():
            groups.setdefault(name.partition(", seed")[0], []).append(record)
        for name, records in groups.items():
            rows.append(_zeiler_row(budget, count, name, records))
    return rows


def _zeiler_row(budget, epochs, name, records):
    optimizer, _, rate = name.partition(", rate ")
    errors = [
        100 * (1 - r.epochs["val_accuracy"][-1]) if r.status == "finished" else None
        for r in records
    ]
    known = [error for error in errors if error is not None]
    published = dict(zip(RATES, PUBLISHED[optimizer], strict=False))
    return {
        "budget": budget,
        "epochs": epochs,
        "optimizer": optimizer,
        "rate": float(rate),
        "published": published[float(rate)],
        "error": round(float(np.median(known)), 2) if known else None,
        "errors": [None if e is None else round(float(e), 2) for e in errors],
    }


def as_json(rows):
    """Writes one line per row, so that a new result shows as a readable difference."""
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{{"results": [\n{lines}\n]}}\n'


def main():
    quick = bool(os.environ.get("QUICK"))
    wanted = sys.argv[1:] or ["quadratic", "rates", "gif", "zeiler"]
    if "quadratic" in wanted:
        quadratics()
    if "rates" in wanted:
        rates()
    if "gif" in wanted:
        gif()
    if "zeiler" in wanted:
        rows = zeiler(quick=quick)
        for row in rows:
            print({k: v for k, v in row.items() if k != "epochs"})
        if not quick:
            (DATA / "zeiler.json").write_text(as_json(rows))


if __name__ == "__main__":
    main()

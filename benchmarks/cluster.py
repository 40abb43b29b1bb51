"""`experiments.compare` on a Dask cluster of one and of two worker processes.

    python -m benchmarks.cluster [--rounds 2] [--save]

The variants are networks that do not run as one, so each takes its own time. Both
sides take the same two workers of one machine, in turns, one core each; the ratio is of
wall times, on Linux. The rest is what a plan for a hundred workers needs: what a worker
costs to start, a task that trains one step, and the scheduler.
`--save` writes `notebooks/data/cluster.json`, which notebook 04 reckons with.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import distributed

from benchmarks.compare import BATCH_SIZE, SOFTMAX, convolutional
from workbench.experiments import Variant, compare

FILE = pathlib.Path(__file__).parents[1] / "notebooks" / "data" / "cluster.json"
VARIANTS, EPOCHS, NOTHINGS = 8, 8, 200
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def start_worker(core):
    """Keeps a worker's threads on one core, and imports what takes time."""
    for thread in pathlib.Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
    import workbench.experiments  # noqa: F401, PLC0415


def nothing(number):
    return number


def seconds_of(function, *arguments, **options):
    begin = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - begin


def trained(executor, data, names, epochs):
    build, _, _ = convolutional()
    variants = {name: Variant("sgd") for name in names}
    options = {"loss": SOFTMAX, "epochs": epochs, "batch_size": BATCH_SIZE}
    comparison = compare(build, data, variants, executor=executor, **options)
    assert all(r.status == "finished" for r in comparison.records.values())


def measure(rounds):
    begin = time.perf_counter()
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        env=ONE_THREAD,
    )
    with cluster, distributed.Client(cluster) as client:
        first, second = client.nthreads()
        cores = sorted(os.sched_getaffinity(0))
        client.run(start_worker, cores[0], workers=[first])
        client.run(start_worker, cores[1], workers=[second])
        start = time.perf_counter() - begin
        _, data, _ = convolutional()
        two = client.get_executor(pure=False)
        one = client.get_executor(pure=False, workers=[first])
        few = tuple(array[:BATCH_SIZE] for array in data)
        trained(two, few, ("a", "b"), 1)  # TensorFlow's own first time
        task = min(seconds_of(trained, one, few, ["a"], 1) for _ in range(rounds))
        scheduler = seconds_of(list, two.map(nothing, range(NOTHINGS))) / NOTHINGS
        names = [str(number) for number in range(VARIANTS)]
        times = []
        for _ in range(rounds):
            pair = [seconds_of(trained, e, data, names, EPOCHS) for e in (one, two)]
            print("1 worker {:.1f} s, 2 workers {:.1f} s".format(*pair), flush=True)
            times.append(pair)
    alone = statistics.median(of_one for of_one, _ in times)
    return {
        "variants": VARIANTS,
        "ratio": statistics.median(of_one / of_two for of_one, of_two in times),
        "start": start,
        "task": task,
        "scheduler": scheduler,
        "variant": (alone - 2 * task) / VARIANTS,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    print("two workers are {ratio:.2f} times as fast as one".format(**found))
    text = json.dumps({name: float(f"{x:.3g}") for name, x in found.items()}, indent=1)
    print(text)
    if arguments.save:
        FILE.write_text(text + "\n")


if __name__ == "__main__":
    main()

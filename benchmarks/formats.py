"""`inspect_file` against modelscan and modelaudit, on the corpus of the tests.

Hostile and harmless files, and with --applications every model of
`keras.applications` without weights. A scanner flags a file if it reports anything of
the level warning or above. The scanners are not installed with the workbench: name
their executables, each in an environment of its own that has TensorFlow, h5py and ONNX
as well, or they skip those formats.

    python -m benchmarks.formats [--applications] [--modelscan PATH] [--modelaudit PATH]
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import psutil

from tests import harmless, hostile
from workbench.formats import inspect_file

LOUD = {"warning", "critical", "high", "medium", "error"}


def write_applications(folder):
    """Writes every model of `keras.applications`, without pretrained weights."""
    paths = []
    for name, build in sorted(vars(keras.applications).items()):
        if not (callable(build) and name[0].isupper()):
            continue
        model = build(weights=None, input_shape=_shape(build))
        path = folder / f"application-{name}.json"
        path.write_text(model.to_json())
        paths.append(path)
        if model.count_params() < 2e7:
            model.save(folder / f"application-{name}.keras")
            paths.append(folder / f"application-{name}.keras")
        keras.utils.clear_session()
    return paths


def _shape(build):
    # Keras's smallest of all; NASNet has its own.
    return (331, 331, 3) if build.__name__ == "NASNetLarge" else (224, 224, 3)


def by_us(folder, paths):
    """Returns the flagged paths; prints seconds and memory of the slowest file."""
    del folder
    flagged, seconds = set(), []
    process = psutil.Process()
    before = process.memory_info().rss
    for path in paths:
        start = time.thread_time()
        report = inspect_file(path)
        seconds.append(time.thread_time() - start)
        if report.risks:
            flagged.add(path)
    grown = (process.memory_info().rss - before) / 2**20
    slowest = paths[int(np.argmax(seconds))].name
    print(
        f"  inspect_file: median {1e3 * np.median(seconds):.2f} ms, slowest "
        f"{1e3 * max(seconds):.0f} ms ({slowest}), memory {grown:+.0f} MiB"
    )
    return flagged


def by_modelscan(command, folder, paths):
    """Returns the flagged paths."""
    report = _run(folder, command, "-p", str(folder), "-r", "json", "-o")
    return _owners(paths, folder, (issue["source"] for issue in report["issues"]))


def by_modelaudit(command, folder, paths):
    """Returns the flagged paths."""
    report = _run(folder, command, "scan", str(folder), "--format", "json", "--output")
    loud = (
        issue["location"] or ""
        for issue in report["issues"]
        if issue["severity"].lower() in LOUD
    )
    return _owners(paths, folder, loud)


def _run(folder, *command):
    with tempfile.TemporaryDirectory() as place:
        target = pathlib.Path(place) / "report.json"
        quiet = {"DO_NOT_TRACK": "1", "PROMPTFOO_DISABLE_TELEMETRY": "1"}
        subprocess.run(
            [*command, str(target)],
            cwd=folder,
            env=os.environ | quiet,
            capture_output=True,
            check=False,
        )
        return json.loads(target.read_text())


def _owners(paths, folder, locations):
    """Which of our files a scanner means by places such as `a.zip:inner/x (pos 3)`."""
    known = {str(path.relative_to(folder)): path for path in paths}
    found = set()
    for location in locations:
        text = location.removeprefix(str(folder)).lstrip("/")
        owners = [
            name
            for name in known
            if text == name or re.match(re.escape(name) + r"[:/ ]", text)
        ]
        if owners:
            found.add(known[max(owners, key=len)])
    return found


def family(path):
    """The kind of file that a name begins with."""
    return path.name.split("-")[0].split(".")[0]


def main():
    """Writes the corpus, lets all scanners look, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--applications", action="store_true")
    parser.add_argument("--modelscan")
    parser.add_argument("--modelaudit")
    arguments = parser.parse_args()
    scanners = {"workbench": by_us}
    if arguments.modelscan:
        scanners["modelscan"] = lambda f, p: by_modelscan(arguments.modelscan, f, p)
    if arguments.modelaudit:
        scanners["modelaudit"] = lambda f, p: by_modelaudit(arguments.modelaudit, f, p)
    with tempfile.TemporaryDirectory() as place:
        for name, write in (("hostile", hostile.write_all), ("harmless", _harmless)):
            folder = pathlib.Path(place) / name
            folder.mkdir()
            paths = sorted(set(write(folder)))
            if name == "harmless" and arguments.applications:
                paths += write_applications(folder)
            print(f"{name}: {len(paths)} files")
            measure(scanners, folder, paths)


def _harmless(folder):
    return harmless.write_all(folder)


def measure(scanners, folder, paths):
    """Prints how many files each scanner flags, in all and by family."""
    flagged = {}
    for name, scan in scanners.items():
        start = time.perf_counter()
        flagged[name] = scan(folder, paths)
        seconds = time.perf_counter() - start
        print(f"  {name}: flags {len(flagged[name])} of {len(paths)}, {seconds:.1f} s")
    families = collections.Counter(family(path) for path in paths)
    for kind, count in families.most_common(24):
        counts = [sum(family(p) == kind for p in found) for found in flagged.values()]
        print(f"    {kind:24} {count:4}  " + "  ".join(f"{n:4}" for n in counts))


if __name__ == "__main__":
    main()

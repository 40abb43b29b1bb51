"""Training killed over and over, with `checkpoints.fit` and with `BackupAndRestore`.

27 configurations in which every pair of optimizer, layer, data, rate and extra occurs;
each is trained once without a kill, then with SIGKILL at random moments and inside
random disk operations, and everything is compared bit for bit.

    python benchmarks/kills.py [--kills 40] [--processes 2]
"""

import argparse
import collections
import json
import subprocess
import sys


def start(part, kills, seed, *, control):
    command = [sys.executable, "-m", "tests.kill_harness", "--kills", str(kills)]
    command += ["--seed", str(seed), "--configurations", *map(str, part)]
    command += ["--control"] * control
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run(name, arguments, *, control):
    parts = [range(i, 27, arguments.processes) for i in range(arguments.processes)]
    running = [
        start(part, arguments.kills, arguments.seed, control=control) for part in parts
    ]
    cases = []
    for process in running:
        for line in process.stdout:
            cases.append(json.loads(line))
            print(name, line.strip(), flush=True)
        assert process.wait() == 0
    kills, failed, sums = (collections.Counter() for _ in range(3))
    for case in cases:
        kills.update(case["kills"])
        failed.update(case["failed"])
        sums.update({k: case[k] for k in ("runs", "different", "twice", "lost")})
    print(
        f"{name}: {len(cases)} configurations, {sum(kills.values())} kills "
        f"({', '.join(f'{n} {kind}' for kind, n in kills.items())}), {sums['runs']} "
        f"runs; {sums['different']} runs differ ({dict(failed)}); samples seen twice "
        f"{sums['twice']}, lost {sums['lost']}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="for each configuration")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run("checkpoints.fit", arguments, control=False)
    run("BackupAndRestore", arguments, control=True)


if __name__ == "__main__":
    main()

"""What the packages of an environment take on disk, the largest first.

Usage: python -m benchmarks.image_size [rows]

Run it with the Python of the environment that is asked about, such as one made from
binder/environment.yml. Linux and conda themselves are not counted.
"""

import importlib.metadata
import sys


def sizes():
    """Dict of the installed packages -> bytes of their files."""
    found = {}
    for package in importlib.metadata.distributions():
        paths = (file.locate() for file in package.files or ())
        found[package.name] = sum(p.stat().st_size for p in paths if p.is_file())
    return found


def main(rows=12):
    """Prints the largest packages in MB, then all others together."""
    ordered = sorted(sizes().items(), key=lambda item: -item[1])
    total = sum(size for _, size in ordered)
    for name, size in ordered[:rows]:
        print(f"{name:24} {size / 1e6:7.0f} MB  {size / total:5.1%}")
    rest = sum(size for _, size in ordered[rows:])
    print(
        f"{len(ordered) - rows} others{'':14} {rest / 1e6:7.0f} MB  {rest / total:5.1%}"
    )
    print(f"{'together':24} {total / 1e6:7.0f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

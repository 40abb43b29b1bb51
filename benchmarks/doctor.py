"""The doctor against the import of TensorFlow, in new processes.

python -m benchmarks.doctor
"""

import os
import statistics
import subprocess
import sys

REPEATS = 5
CALLS = {
    "import TensorFlow": "import tensorflow",
    "devices.diagnose(cuinit=False)": "devices.diagnose(cuinit=False)",
    "devices.diagnose()": "devices.diagnose()",
}
CODE = """
import time
from workbench import devices
begin = time.perf_counter()
{call}
print(time.perf_counter() - begin)
"""


def seconds(call):
    """The median time of a call in a new Python that has imported the workbench."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", CODE.format(call=call)],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(REPEATS)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def main():
    """Prints seconds, and shares of the import."""
    times = {name: seconds(call) for name, call in CALLS.items()}
    for name, spent in times.items():
        share = spent / times["import TensorFlow"]
        print(f"{name:32} {spent:7.3f} s  {share:6.1%} of the import")


if __name__ == "__main__":
    main()

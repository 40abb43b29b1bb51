"""`compare` on a Dask cluster of processes of which some are killed."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import time

import dask
import distributed
import keras
import numpy as np
import pytest

from tests.waiting import wait_for
from workbench.experiments import Variant, compare, pulse, remote

SECONDS = 120
RNG = np.random.default_rng(0)
DATA = RNG.random((100, 12), "float32"), RNG.random((100, 3), "float32")
NAMES = ("a", "b", "c", "d")


class Cluster:
    """A scheduler and workers, each a process of its own.

    Args:
        folder: `pathlib.Path` for what they write.
        workers: int.
    """

    def __init__(self, folder, workers):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--host", "127.0.0.1")
        wait_for(self.file.exists, SECONDS)
        options = "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1"
        self.workers = [self._start("worker", *options) for _ in range(workers)]

    def _start(self, name, *options):
        module = f"distributed.cli.dask_{name}"
        options += "--no-dashboard", "--scheduler-file", str(self.file)
        return subprocess.Popen(
            [sys.executable, "-m", module, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=pathlib.Path(__file__).parents[1],
            env={**os.environ, "DASK_LOCAL_DIRECTORY": str(self.folder)},
        )

    def close(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    found = Cluster(tmp_path, 2)
    with dask.config.set({"distributed.comm.timeouts.connect": "5s"}):
        client = distributed.Client(scheduler_file=str(found.file), timeout=SECONDS)
        client.wait_for_workers(2, timeout=SECONDS)
        yield found, client
        client.close(timeout=1)
        found.close()


def submitted(client, folder, *, free):
    """Compares in a thread; the first `free` builds go on, the others wait for "go".

    Each build leaves a file with its process in its name.
    """

    def build():
        number = len(list(folder.glob("pid-*")))
        (folder / f"pid-{os.getpid()}-{number}").touch()
        end = time.monotonic() + SECONDS
        while number >= free and not (folder / "go").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3)])
        model.compile("sgd", "mse")
        return model

    variants = {name: Variant(seed=number) for number, name in enumerate(NAMES)}
    thread = concurrent.futures.ThreadPoolExecutor(1)
    executor = client.get_executor(pure=False)
    future = thread.submit(compare, build, DATA, variants, executor=executor)
    thread.shutdown(wait=False)
    return future


def processes(folder):
    return {int(path.name.split("-")[1]) for path in folder.glob("pid-*")}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_killed_worker_loses_no_variant_and_a_dead_cluster_no_record(
    cluster, monkeypatch, tmp_path
):
    found, client = cluster
    # A busy machine is no dead cluster: here nobody is to be given up.
    patience = pulse._PATIENCE
    monkeypatch.setattr(pulse, "_PATIENCE", SECONDS)
    future = submitted(client, tmp_path, free=0)
    wait_for(lambda: len(processes(tmp_path)) == 2, SECONDS)
    victim = found.workers[0]
    assert victim.pid in processes(tmp_path)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    (tmp_path / "go").touch()
    comparison = future.result(SECONDS)
    ends = [(record.status, record.reason) for record in comparison.records.values()]
    assert ends == [("finished", "")] * 4

    # On the worker that is left, two of four are done when the scheduler dies.
    for path in (tmp_path / "go", *tmp_path.glob("pid-*")):
        path.unlink()
    monkeypatch.setattr(remote, "_VARIANTS_PER_TASK", 1)
    monkeypatch.setattr(pulse, "_PATIENCE", patience)
    future = submitted(client, tmp_path, free=4)
    wait_for(lambda: len(list(tmp_path.glob("pid-*"))) > 4, SECONDS)
    found.scheduler.kill()
    begin = time.monotonic()
    comparison = future.result(SECONDS)
    assert time.monotonic() - begin < 15  # what is promised
    ends = [record.status for record in comparison.records.values()]
    assert ends == ["finished", "finished", "failed", "failed"]
    assert "its scheduler is gone" in comparison.records["d"].reason
    assert "its scheduler is gone" in str(comparison.summary())
    assert comparison.weights("a")


class Client:
    """Stands in for Dask's; `answer` gives what its `nthreads` does."""

    def __init__(self, answer):
        self.nthreads = answer


class Executor:
    """Stands in for `Client.get_executor()`."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self._client = Client(self.answer)

    def answer(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (({"a": 2, "b": 1}, {}), "the cluster has had no worker for"),
        (({"a": 1}, OSError("gone")), "the scheduler of the cluster has not answered"),
    ],
)
def test_a_cluster_that_is_lost_for_good_is_named(monkeypatch, answers, text):
    monkeypatch.setattr(pulse, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(pulse, "_PATIENCE", 0.1)
    with pulse.Pulse(Executor(*answers)) as looked:
        wait_for(looked.problem, SECONDS)
        assert looked.problem().startswith(text)


@pytest.mark.parametrize("answers", [({},), ({"a": 1},)])
def test_a_cluster_that_starts_or_works_is_waited_for(monkeypatch, answers):
    monkeypatch.setattr(pulse, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(pulse, "_PATIENCE", 10.0)
    with pulse.Pulse(Executor(*answers)) as looked:
        first = looked._answered
        wait_for(lambda: looked._answered > first, SECONDS)
        assert looked.problem() == ""


def test_each_worker_gets_a_task():
    names = list("abcdefghij")
    assert remote._shares(names, None) == [names[:8], names[8:]]
    assert remote._shares(names, 2) == [names[:5], names[5:]]
    assert remote._shares(names, 100) == [[name] for name in names]
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        assert pulse.Pulse(executor).slots == 3

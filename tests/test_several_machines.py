"""Tests of several workers, as processes on this machine that meet over its network."""

import concurrent.futures
import json
import pathlib
import signal
import socket
import sys
import threading
import time
import types

import numpy as np
import psutil
import pytest
import tensorflow as tf

from tests import worker
from workbench import __main__, checkpoints, devices
from workbench.checkpoints import arguments, workers

MEET = "from workbench import devices; print(devices.wait_for_workers(seconds=60))"
SCRIPT = pathlib.Path(worker.__file__)


def launch(task, folder, workers=2, **arguments):
    """What each worker printed last, as JSON."""
    command = [sys.executable, str(SCRIPT), task, str(folder)]
    outputs = devices.launch_workers(command, workers, seconds=60, **arguments)
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.fixture(scope="module")
def alone():
    """What one process gives, for each kind of model."""
    return {kind: worker.train(worker.build(kind)) for kind in worker.KINDS}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Folder and words of two workers, of which the second is killed in the end."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.raises(devices.WorkerError) as caught:
        launch("compare", folder)
    assert (caught.value.index, caught.value.returncode) == (1, -9)
    return folder, [json.loads(output) for output in caught.value.outputs]


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Folder of four workers."""
    folder = tmp_path_factory.mktemp("four")
    launch("only_fit", folder, 4)
    return folder


def assert_as_alone(alone, file, number):
    """Compares weights, then histories and results."""
    together = list(np.load(file).values())
    assert len(together) == number
    for one, several in zip(alone[:number], together, strict=True):
        np.testing.assert_allclose(several, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", worker.KINDS)
def test_two_workers_train_as_one(alone, two, kind):
    """Histories with held-out data, evaluate, predict and weights, over 50 steps."""
    folder, _ = two
    assert_as_alone(alone[kind], folder / f"{kind}.npz", 10)


def test_four_workers_train_as_one(alone, four):
    assert_as_alone(alone["sequential"], four / "sequential.npz", 6)


def test_the_losses_that_notebook_01_shows_are_these(alone, two, four):
    file = SCRIPT.parent.parent / "notebooks" / "data" / "several_machines.json"
    stored = json.loads(file.read_text())["losses"]
    found = {
        "one process": alone["sequential"],
        "two workers": list(np.load(two[0] / "sequential.npz").values()),
        "four workers": list(np.load(four / "sequential.npz").values()),
    }
    assert stored.keys() == found.keys()
    for way, arrays in found.items():
        # The losses follow the four weights; another processor rounds otherwise.
        np.testing.assert_allclose(arrays[4], stored[way], rtol=0, atol=1e-4)


def test_plain_keras_fails_which_the_mend_is_for(two):
    """When this fails, Keras or TensorFlow has been mended.

    Then `MultiWorkerStrategy.reduce` can go, and `multi_worker_strategy` may return
    `tf.distribute.MultiWorkerMirroredStrategy()`: see Keras issue 20585.
    """
    for found in two[1]:
        for call in ("plain fit", "plain evaluate"):
            assert found[call] is not None, f"{call} works: the mend can go"
            assert "PerReplica" in found[call]


def test_fewer_rows_than_replicas_are_an_error_on_all_workers(two):
    for found in two[1]:
        assert found["few rows"] == (
            "ValueError: `batch_size` must be >= 2 (rows), one for each replica, also "
            "of `validation_data`. Received: a batch of 1"
        )


def test_preflight_knows_the_strategy_and_the_plain_one(two):
    for found in two[1]:
        assert found["foretold"] == [["fewer-rows-than-replicas", True]]
        assert found["foretold plain"] == [["multi-worker", True]]


def test_workers_share_each_batch_of_an_exact_run(two):
    _, (first, second) = two
    together = [a + b for a, b in zip(first["rows"], second["rows"], strict=True)]
    assert together == worker.rows_of_steps(tf.distribute.get_strategy())


def test_workers_go_on_to_the_same_bits_after_one_was_killed(two):
    """It was killed at step 33 and has lost a checkpoint that the other has."""
    folder, whole = two
    resumed = launch("go_on", folder)
    for one, other in zip(resumed, whole, strict=True):
        assert one.pop("newest") in (25, 30)
        assert one == other["resumable"]
    assert resumed[0] == resumed[1]
    for worker_folder in (folder / "cut").iterdir():
        found = checkpoints.list_checkpoints(worker_folder)
        assert [each.steps for each in found] == [40, 45, 50]


class Folders:
    """Stands in for the stores of some workers and the strategy that joins them."""

    def __init__(self, *steps):
        self.steps = [list(each) for each in steps]
        self.barrier = threading.Barrier(len(steps))
        self.told = [None] * len(steps)

    def agree(self):
        """What each worker finds, or its error, and what then is left."""
        with concurrent.futures.ThreadPoolExecutor(len(self.steps)) as pool:
            return list(pool.map(self._find, range(len(self.steps)))), self.steps

    def _find(self, index):
        def gather(number, axis):
            self.told[index] = int(number[0])
            self.barrier.wait(60)
            told = list(self.told)
            self.barrier.wait(60)
            return told

        def newest(at_most=1000):
            found = [each for each in self.steps[index] if each <= at_most]
            own = types.SimpleNamespace(steps=found[-1]) if found else None
            return own, {}, []

        def remove_after(steps):
            self.steps[index] = [each for each in self.steps[index] if each <= steps]

        store = types.SimpleNamespace(
            folder=pathlib.Path("folder/worker-0"),
            newest=newest,
            remove_after=remove_after,
            checkpoints=lambda: [
                types.SimpleNamespace(steps=each) for each in self.steps[index]
            ],
        )
        strategy = types.SimpleNamespace(gather=gather)
        model = types.SimpleNamespace(distribute_strategy=strategy)
        try:
            checkpoint, _, damaged = workers.find_common(model, store)
        except ValueError as error:
            return str(error)
        assert damaged == []
        return checkpoint and checkpoint.steps


@pytest.mark.parametrize(
    ("steps", "common", "left"),
    [
        ([[], []], None, [[], []]),
        ([[5, 10, 15], [5, 10, 15]], 15, [[5, 10, 15]] * 2),
        ([[5, 10, 15], [0, 5, 10], [5, 10, 15]], 10, [[5, 10], [0, 5, 10], [5, 10]]),
        ([[5, 15], [5, 10]], 5, [[5], [5]]),
        # Killed before the second worker had written anything.
        ([[0, 5], []], None, [[], []]),
    ],
)
def test_all_go_on_from_the_newest_that_all_have(steps, common, left):
    assert Folders(*steps).agree() == ([common] * len(steps), left)


@pytest.mark.parametrize("steps", [[[5, 10, 15], []], [[0, 5, 10], []], [[5], [10]]])
def test_what_a_worker_has_lost_is_an_error_and_costs_the_others_nothing(steps):
    errors, left = Folders(*steps).agree()
    for error in errors:
        assert error.startswith("`filepath` must hold a checkpoint of the same step")
        assert "Received: filepath=folder, here" in error
    assert left == steps


def test_several_workers_keep_two_checkpoints(monkeypatch):
    monkeypatch.setattr(workers, "are_several", lambda model: True)
    with pytest.raises(ValueError, match=r"`keep` must be >= 2 \(checkpoints\)"):
        arguments.check_arguments(worker.build("random"), 1, 1, 1, "stop", {})


# The workers find one another.


def free_address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def meet(lists, seconds):
    """What each of some workers gets, each with its own list of all."""

    def wait(index):
        cluster = devices.Cluster(tuple(lists[index]), index)
        try:
            return devices.wait_for_workers(cluster, seconds=seconds)
        except OSError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(len(lists)) as pool:
        return list(pool.map(wait, range(len(lists))))


def test_workers_meet():
    workers = [free_address() for _ in range(4)]
    found = meet([workers] * 4, seconds=60)
    assert [cluster.index for cluster in found] == [0, 1, 2, 3]
    assert f"1      {workers[1]}  this process" in str(found[1])


def test_a_missing_worker_is_named_by_all():
    workers = [free_address() for _ in range(3)]
    chief, other = meet([workers] * 2, seconds=3)
    missing = f"Worker 2 ({workers[2]}) has not come. Waited 3 seconds. Start all"
    assert chief.startswith(missing)
    assert other.startswith(missing)
    assert other.endswith(f"Received: workers={tuple(workers)}, index=1")


def test_a_missing_chief_is_named():
    workers = (free_address(), free_address())
    cluster = devices.Cluster(workers, 1)
    with pytest.raises(TimeoutError, match=r"The chief, worker 0 \(.*, does not answ"):
        devices.wait_for_workers(cluster, seconds=0.3)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
@pytest.mark.parametrize("wrong", [0, 1])
def test_a_wrong_address_is_named(host, wrong):
    workers = [free_address(), free_address()]
    workers[wrong] = f"{host}:{workers[wrong].rpartition(':')[2]}"
    # A chief that nobody finds waits all its time; the other case ends early.
    found = meet([workers] * 2, seconds=20 if wrong else 1)
    named = f"({workers[wrong]})"
    assert named in found[1]
    assert found[0].startswith("Worker 1 (")
    if wrong:
        for each in found:
            assert "called, but does not answer at its address" in each


def test_another_list_is_named():
    workers = [free_address() for _ in range(3)]
    found = meet([workers[:2], workers], seconds=20)
    for each in found:
        assert f"Worker 1 ({workers[1]}) has another list of workers" in each


def test_a_taken_port_is_an_error_at_once():
    address = free_address()
    with socket.create_server(("127.0.0.1", int(address.split(":")[1]))):
        cluster = devices.Cluster((address, free_address()), 0)
        with pytest.raises(OSError, match=r"and another program listens there\. End"):
            devices.wait_for_workers(cluster, seconds=60)


def test_another_program_at_the_chiefs_address_is_none():
    address = free_address()
    with socket.create_server(("127.0.0.1", int(address.split(":")[1]))) as server:

        def answer():
            with server.accept()[0] as call:
                call.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        cluster = devices.Cluster((address, free_address()), 1)
        with pytest.raises(TimeoutError, match="is another program than a worker"):
            devices.wait_for_workers(cluster, seconds=0.5)
        thread.join()


def config(**changes):
    whole = {
        "cluster": {"worker": ["a:1", "b:2"]},
        "task": {"type": "worker", "index": 1},
    }
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`TF_CONFIG` must be set on each worker, such as to {"),
        ("{", "`TF_CONFIG` must be JSON"),
        ("[]", "`TF_CONFIG` must be JSON"),
        (config(task={"type": "worker", "index": 2}), "name this process among them"),
        (config(task={"type": "worker", "index": -1}), "name this process among them"),
        (config(task={"type": "ps", "index": 0}), "name this process among them"),
        (config(cluster={"worker": ["a:1", "b:2"], "ps": ["c:3"]}), "alone"),
        (config(cluster={"worker": ["a:1", "a:1"]}), "an address of its own"),
        (config(cluster={"worker": ["a:1", "b"]}), 'must name workers as "host:port"'),
        (config(cluster={"worker": ["a:1", "b:0"]}), "with a port from 1 to 65535"),
    ],
)
def test_the_list_of_workers_is_checked(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        devices.read_cluster(text)
    assert "Received: " in str(caught.value)


def test_a_chief_counts_before_the_workers():
    jobs = {"chief": ["[::1]:3"], "worker": ["a:1", "b:2"]}
    found = devices.read_cluster(config(cluster=jobs))
    assert found == devices.Cluster(("[::1]:3", "a:1", "b:2"), 2)


# The launcher.


def run_workers(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return devices.launch_workers(command, **options)


def test_launched_workers_meet():
    outputs = run_workers(MEET, workers=3, seconds=60)
    assert [output.count("this process") for output in outputs] == [1, 1, 1]


# The worker is deaf to SIGTERM, has a child, and lives until it is killed.
DEAF = """
import json, os, pathlib, signal, subprocess, sys, time
from workbench.devices import read_cluster
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
folder, index = pathlib.Path(sys.argv[1]), read_cluster().index
(folder / f"{index}.part").write_text(f"{os.getpid()} {child.pid}")
(folder / f"{index}.part").rename(folder / f"{index}")
print("begun", flush=True)
while len(list(folder.glob("?"))) < 3:
    time.sleep(0.05)
if index == 1:
    sys.stderr.write("out of memory, say")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(600)
"""


def lives(pid):
    """Whether a process runs; a dead one may wait for its parent to look."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_worker_is_reported_and_leaves_no_process(tmp_path):
    with pytest.raises(devices.WorkerError, match="Worker 1 of 3 was kil") as caught:
        run_workers(DEAF, tmp_path, workers=3, seconds=600)
    error = caught.value
    assert (error.index, error.returncode) == (1, -9)
    assert error.outputs == ("begun\n",) * 3
    assert "was killed by SIGKILL after" in str(error)
    assert str(error).endswith("out of memory, say")
    pids = " ".join(path.read_text() for path in tmp_path.glob("?")).split()
    assert len(pids) == 6
    end = time.monotonic() + 60
    while any(map(lives, pids)):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_worker_that_never_joins_is_reported():
    code = (
        "import time; from workbench import devices\n"
        "if devices.read_cluster().index == 1: time.sleep(600)\n"
        "devices.wait_for_workers(seconds=600)"
    )
    with pytest.raises(devices.WorkerError, match="had not joined after 1 s") as caught:
        run_workers(code, seconds=1)
    assert (caught.value.index, caught.value.returncode) == (1, None)


def test_all_begin_anew_after_a_loss(tmp_path):
    code = (
        "import pathlib, sys; from workbench import devices\n"
        "index = devices.wait_for_workers(seconds=60).index\n"
        "mark = pathlib.Path(sys.argv[1]) / 'mark'\n"
        "if index == 1 and not mark.exists(): mark.touch(); sys.exit(3)\n"
        "print(index)"
    )
    with pytest.raises(
        devices.WorkerError, match="Worker 1 of 2 failed with exit code 3"
    ):
        run_workers(code, tmp_path, seconds=60)
    (tmp_path / "mark").unlink()
    assert run_workers(code, tmp_path, restarts=1, seconds=60) == ("0\n", "1\n")


@pytest.mark.parametrize("arguments", [{"workers": 0}, {"restarts": -1}])
def test_the_launcher_checks_its_arguments(arguments):
    with pytest.raises(ValueError, match="`workers` must be >= 1 and `restarts` >= 0"):
        run_workers("", **arguments)


def test_the_command_runs_a_script_as_workers(tmp_path, capfd):
    script = tmp_path / "train.py"
    script.write_text(f"import sys; {MEET}; sys.exit(int(sys.argv[1]))")
    command = ["launch", "--workers", "2", "--seconds", "60", str(script)]
    before = signal.getsignal(signal.SIGTERM)
    assert __main__.main([*command, "0"]) == 0
    assert capfd.readouterr().out.count("Workers: 2") == 2
    assert __main__.main([*command, "3"]) == 1
    assert "of 2 failed with exit code 3 after" in capfd.readouterr().err
    assert __main__.main(["launch", "--workers", "0", str(script)]) == 2
    assert "`workers` must be >= 1" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before

"""Tests of one report for all workers of a cluster."""

import asyncio
import concurrent.futures
import os
import signal

import distributed
import pytest

from workbench import devices
from workbench.devices import clusters, detection, readers

UUID = "GPU-{host}{number}000000-0000-4000-8000-000000000000"


def report(host, number, *, versions=None):
    """What a machine with so many GPUs answers, from what `nvidia-smi -L` writes."""
    listed = "".join(
        f"GPU {i}: NVIDIA H100 80GB HBM3 (UUID: {UUID.format(host=host, number=i)})\n"
        for i in range(number)
    )
    return detection.build_report(
        readers.parse_nvidia_smi(listed or "No devices found.\n"),
        None,
        sources=[],
        driver_versions=versions or {},
        mask=None,
    )


def worker(address, host, number, **others):
    return devices.WorkerDevices(address, host, report(host, number, **others))


@pytest.fixture(scope="module")
def simulated():
    return devices.ClusterReport(
        (
            worker("tcp://a:1", "a", 0),
            worker("tcp://b:1", "b", 1, versions={"driver": "550"}),
            worker("tcp://c:1", "c", 2, versions={"driver": "550"}),
            worker("tcp://d:1", "d", 8, versions={"driver": "535"}),
            devices.WorkerDevices("tcp://e:1", problem="nothing for 10 seconds."),
        )
    )


def test_zero_one_two_and_eight_gpus_in_one_report(simulated):
    assert [len(each.report.gpus) for each in simulated.answered] == [0, 1, 2, 8]
    assert len(simulated.gpus) == 11
    assert [host for host, _ in simulated.gpus] == ["b", "c", "c", *"dddddddd"]
    assert [each.worker for each in simulated.silent] == ["tcp://e:1"]
    lines = str(simulated).splitlines()
    assert lines[0] == "GPUs that the cluster can use: 11, on 4 machines"
    rows = [line.split() for line in lines if line.startswith("tcp://")]
    assert [row[:3] for row in rows[:4]] == [
        ["tcp://a:1", "a", "0"],
        ["tcp://b:1", "b", "1"],
        ["tcp://c:1", "c", "2"],
        ["tcp://d:1", "d", "8"],
    ]
    assert sum("NVIDIA H100 80GB HBM3" in line for line in lines) == 11
    assert "No answer: 1 worker" in lines
    assert lines[-1] == "tcp://e:1: nothing for 10 seconds."


def test_it_reads_as_html_too(simulated):
    page = simulated._repr_html_()
    assert "<b>GPUs that the cluster can use: 11, on 4 machines</b>" in page
    assert page.count("NVIDIA H100 80GB HBM3") == 11
    assert "<b>No answer: 1 worker</b>" in page


def test_versions_that_differ_are_told(simulated):
    text = str(simulated).replace("\n", " ")
    assert (
        "driver differs: 535 on tcp://d:1; 550 on tcp://b:1, tcp://c:1; none on "
        "tcp://a:1." in text
    )
    assert "Python differs" not in text


def test_a_gpu_that_two_workers_share_counts_once():
    shared = devices.ClusterReport(
        (worker("tcp://a:1", "a", 2), worker("tcp://a:2", "a", 2))
    )
    assert len(shared.gpus) == 2
    assert "use: 2, on 1 machine\n" in str(shared)
    assert "Several workers use the same GPU." in str(shared)
    apart = devices.ClusterReport((worker("tcp://a:1", "a", 2),))
    assert "Several workers" not in str(apart)


class Client:
    """Stands in for a Dask client of four workers in trouble, and one in none."""

    answers = {  # noqa: RUF012, nobody changes it
        "tcp://a:1": ("a", report("a", 1)),
        "tcp://b:1": ModuleNotFoundError("No module named 'workbench'"),
        "tcp://c:1": OSError("connection refused"),
    }

    def scheduler_info(self, n_workers):
        return {"workers": dict.fromkeys(("tcp://e:1", "tcp://d:1", *self.answers))}

    def sync(self, function, *arguments):
        # In a thread of its own, since a browser's test leaves a loop running in this.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(function(*arguments))).result()

    async def run(self, function, *arguments, workers, on_error):
        (address,) = workers
        if address == "tcp://e:1":
            await asyncio.sleep(600)
        return {address: self.answers[address]} if address in self.answers else {}


def test_what_is_wrong_with_a_worker_is_told():
    found = devices.detect_cluster(Client(), seconds=0.2)
    assert [each.worker for each in found.answered] == ["tcp://a:1"]
    assert {each.worker: each.problem for each in found.silent} == {
        "tcp://b:1": "No module named 'workbench'; install it there, in the same "
        "version as here.",
        "tcp://c:1": "OSError: connection refused",
        "tcp://d:1": "it has left the cluster.",
        "tcp://e:1": "nothing for 0.2 seconds; it hangs or cannot be reached.",
    }


def test_two_processes_and_one_that_hangs():
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        found = devices.detect_cluster(client, seconds=60)
        here = clusters._detect(False)
        assert found.silent == ()
        assert [each.host for each in found.workers] == [here[0]] * 2
        for each in found.workers:
            assert each.report.cpus == here[1].cpus
            assert each.report.gpus == here[1].gpus
        pids = client.run(os.getpid)
        stopped, awake = sorted(pids)
        os.kill(pids[stopped], signal.SIGSTOP)
        try:
            found = devices.detect_cluster(client, seconds=3)
        finally:
            os.kill(pids[stopped], signal.SIGCONT)
        assert [each.worker for each in found.silent] == [stopped]
        assert [each.worker for each in found.answered] == [awake]
        assert f"{stopped}: nothing for 3 seconds" in str(found)

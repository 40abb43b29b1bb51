"""The GPUs of every worker of a cluster in one report."""

import asyncio
import dataclasses
import platform

from workbench.devices.detection import detect_devices
from workbench.devices.records import DeviceReport, text_table
from workbench.reports import Heading, Note, Report, format_bytes


@dataclasses.dataclass(frozen=True)
class WorkerDevices:
    """What one worker of a cluster has.

    Attributes:
        worker: str, its address in the cluster.
        host: str, the name of its machine; None when it did not answer.
        report: `DeviceReport`; None when it did not answer.
        problem: str, why it did not answer, else `""`.
    """

    worker: str
    host: str | None = None
    report: DeviceReport | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class ClusterReport(Report):
    """The devices of all workers of a cluster.

    Attributes:
        workers: Tuple of `WorkerDevices`, by address.
    """

    workers: tuple

    @property
    def answered(self):
        """Tuple of `WorkerDevices` that have a report."""
        return tuple(each for each in self.workers if each.report is not None)

    @property
    def silent(self):
        """Tuple of `WorkerDevices` that did not answer; `.problem` says why."""
        return tuple(each for each in self.workers if each.report is None)

    @property
    def gpus(self):
        """Tuple of `(host, Gpu)`, each GPU once, however many workers may use it.

        The UUID tells GPUs apart; where it is not known, machine and number do.
        """
        found = {}
        for each in self.answered:
            for position, gpu in enumerate(each.report.gpus):
                number = position if gpu.index is None else gpu.index
                found.setdefault(gpu.uuid or (each.host, number), (each.host, gpu))
        return tuple(found.values())

    def blocks(self):
        """Returns the report as headings, notes and tables."""
        yield Heading(
            f"GPUs that the cluster can use: {len(self.gpus)}, "
            f"on {_count(len({each.host for each in self.answered}), 'machine')}"
        )
        yield text_table(
            ("worker", "machine", "GPUs", "model", "memory", "in use", "main memory"),
            (row for each in self.answered for row in _rows(each)),
        )
        users = sum(len(each.report.gpus) for each in self.answered)
        if users > len(self.gpus):
            yield Note(
                "Several workers use the same GPU. TensorFlow in each of them takes "
                "nearly all of its memory; give each worker its own in "
                "CUDA_VISIBLE_DEVICES, or set a limit."
            )
        for name in sorted({n for e in self.answered for n in e.report.versions}):
            yield from self._version_notes(name)
        if self.silent:
            yield Heading(f"No answer: {_count(len(self.silent), 'worker')}")
            for each in self.silent:
                yield Note(f"{each.worker}: {each.problem}")

    def _version_notes(self, name):
        versions = {}
        for each in self.answered:
            version = each.report.versions.get(name)
            versions.setdefault(version or "none", []).append(each.worker)
        # A machine without a GPU has no driver; that is no difference.
        known = {version for version in versions if version != "none"}
        if len(known) > 1:
            yield Note(
                f"{name} differs: "
                + "; ".join(
                    f"{version} on {', '.join(workers)}"
                    for version, workers in sorted(versions.items())
                )
                + "."
            )


def detect_cluster(client, *, tensorflow=False, seconds=10.0):
    """Finds the GPUs and processors of all workers of a Dask cluster.

    `detect_devices` runs on each worker, beside what the worker computes. One that
    hangs, has died or lacks the workbench is named in the report, and the others'
    answers stay.

    Args:
        client: `distributed.Client`.
        tensorflow: bool, whether TensorFlow is asked, too; it is imported on each
            worker, which takes seconds.
        seconds: float, seconds to wait for the workers, all at once.

    Returns:
        `ClusterReport`.

    Source:
        https://distributed.dask.org/en/stable/api.html, `Client.run`
    """
    addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
    return ClusterReport(
        tuple(client.sync(_ask_all, client, addresses, tensorflow, seconds))
    )


async def _ask_all(client, addresses, tensorflow, seconds):
    asked = (_ask(client, address, tensorflow, seconds) for address in addresses)
    return await asyncio.gather(*asked)


async def _ask(client, address, tensorflow, seconds):
    try:
        # In the client's own loop `run` gives something to wait for.
        answers = await asyncio.wait_for(
            client.run(_detect, tensorflow, workers=[address], on_error="return"),
            seconds,
        )
    except TimeoutError:
        problem = f"nothing for {seconds:g} seconds; it hangs or cannot be reached."
        return WorkerDevices(address, problem=problem)
    except Exception as error:  # noqa: BLE001, the others' answers must stay
        return WorkerDevices(address, problem=_describe(error))
    answer = answers.get(address)
    if not isinstance(answer, tuple):
        return WorkerDevices(address, problem=_describe(answer))
    return WorkerDevices(address, *answer)


def _detect(tensorflow):
    """Runs on the worker."""
    return platform.node(), detect_devices(tensorflow=tensorflow, seconds=3.0)


def _describe(error):
    if error is None:
        return "it has left the cluster."
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it there, in the same version as here."
    return f"{type(error).__name__}: {error}"


def _rows(worker):
    report = worker.report
    memory = f"{format_bytes(report.memory_available)} free"
    first = (worker.worker, worker.host)
    if not report.gpus:
        yield (*first, 0, None, None, None, memory)
    for position, gpu in enumerate(report.gpus):
        yield (
            *(first if position == 0 else ("", "")),
            len(report.gpus) if position == 0 else "",
            gpu.model,
            format_bytes(gpu.memory),
            format_bytes(gpu.memory_used),
            memory if position == 0 else "",
        )


def _count(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"

"""The workers of `TF_CONFIG` meet before TensorFlow waits for them, without an end."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import selectors
import socket
import time

from workbench.reports import Heading, Report, Table

_PAUSE = 0.05  # seconds between two calls
_ANSWER = 2.0  # seconds for whoever answers to say who it is
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster(Report):
    """The workers that train together, as `TF_CONFIG` names them.

    Attributes:
        workers: Tuple of str, `"host:port"`; the first is the chief.
        index: int, which of them this process is.
    """

    workers: tuple
    index: int

    @property
    def digest(self):
        """str, the same on all workers that have the same list."""
        return hashlib.sha256("\n".join(self.workers).encode()).hexdigest()[:16]

    def blocks(self):
        """Returns the workers as a table."""
        rows = (
            (str(i), address, "this process" if i == self.index else "")
            for i, address in enumerate(self.workers)
        )
        yield Heading(f"Workers: {len(self.workers)}")
        yield Table(("index", "address", ""), tuple(rows))


def read_cluster(text=None):
    """Reads the list of workers and checks it.

    Args:
        text: str, JSON as TensorFlow reads it; None takes the environment's
            `TF_CONFIG`.

    Returns:
        `Cluster`.

    Raises:
        ValueError: If it is not set, is no JSON, or names no workers, one twice, or
            an address that is not `host:port`.

    Source:
        https://www.tensorflow.org/guide/distributed_training, "TF_CONFIG"
    """
    text = os.environ.get("TF_CONFIG") if text is None else text
    if not text:
        raise ValueError(
            f"`TF_CONFIG` must be set on each worker, such as to {_EXAMPLE}. "
            "Received: nothing"
        )
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        lists = {job: list(jobs.get(job, ())) for job in ("chief", "worker")}
        place = lists[kind][index] if index >= 0 else None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        place = None
    if not isinstance(place, str) or set(jobs) - set(lists):
        raise ValueError(
            "`TF_CONFIG` must be JSON with the jobs `chief` and `worker` alone, and "
            f"name this process among them, such as {_EXAMPLE}. Received: {text}"
        )
    workers = (*lists["chief"], *lists["worker"])
    for address in workers:
        _split(address)
    if len(set(workers)) < len(workers):
        raise ValueError(
            "`TF_CONFIG` must give each worker an address of its own. Received: "
            f"workers={workers}"
        )
    return Cluster(workers, index + (len(lists["chief"]) if kind == "worker" else 0))


def wait_for_workers(cluster=None, *, seconds=12.0):
    """Waits until all workers of a cluster are there and find one another.

    Each worker calls it, and each gets the same answer. It needs no TensorFlow, so it
    checks a list of machines before anything is trained; `multi_worker_strategy`
    calls it first.

    Args:
        cluster: `Cluster`; None reads `TF_CONFIG`.
        seconds: float, seconds to wait for the others.

    Returns:
        `Cluster`, which prints as a table.

    Raises:
        OSError: If another program listens at this worker's port.
        TimeoutError: If a worker is missing, cannot be reached at its address, or has
            another list; the message names it.
        ValueError: If `TF_CONFIG` does not name workers.
    """
    cluster = cluster or read_cluster()
    if len(cluster.workers) == 1:
        return cluster
    deadline = time.monotonic() + seconds
    with _listen(cluster) as listener:
        meet = _call_chief if cluster.index else _gather
        problem = meet(listener, cluster, deadline)
    if problem:
        raise TimeoutError(
            f"{problem} Waited {seconds:g} seconds. Start all workers at about the "
            "same time, with the same list; each must reach the others' ports. "
            f"Received: workers={cluster.workers}, index={cluster.index}"
        )
    return cluster


def _split(address):
    host, _, port = str(address).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            '`TF_CONFIG` must name workers as "host:port", with a port from 1 to '
            f"65535. Received: {address!r}"
        )
    return host.strip("[]"), int(port)


def _listen(cluster):
    _, port = _split(cluster.workers[cluster.index])
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        listener.listen(len(cluster.workers))
    except OSError as error:
        listener.close()
        why = (
            "another program listens there"
            if error.errno == errno.EADDRINUSE
            else error.strerror
        )
        raise OSError(
            error.errno,
            f"`TF_CONFIG` gives this worker, number {cluster.index}, the port {port}, "
            f"and {why}. End what has the port, or name another one on all workers. "
            f"Received: {cluster.workers[cluster.index]}",
        ) from error
    return listener


def _gather(listener, cluster, deadline):
    """The chief's part: hears all, calls each back, tells all what came of it."""
    problems = dict.fromkeys(range(1, len(cluster.workers)), "has not come")
    calls = {}
    with contextlib.ExitStack() as stack:
        while len(calls) < len(problems) and (left := deadline - time.monotonic()) > 0:
            listener.settimeout(left)
            try:
                call = stack.enter_context(listener.accept()[0])
            except TimeoutError:
                break
            index, why = _introduce(call, cluster)
            if index in problems:
                calls[index] = call
                problems[index] = why or _call_back(cluster, index)
        problem = " ".join(
            f"Worker {index} ({cluster.workers[index]}) {why}."
            for index, why in problems.items()
            if why
        )
        for call in calls.values():
            with contextlib.suppress(OSError):
                call.sendall(f"{problem or 'go'}\n".encode())
    return problem


def _introduce(call, cluster):
    """Tells the caller who this is and hears who calls."""
    try:
        call.settimeout(_ANSWER)
        call.sendall(_identity(cluster))
        return _understand(_read_line(call), cluster)
    except OSError:
        return None, None


def _call_back(cluster, index):
    """Returns what is wrong with a worker's own address; None if it answers there."""
    address = _split(cluster.workers[index])
    try:
        with socket.create_connection(address, timeout=_ANSWER) as call:
            found, _ = _understand(_read_line(call), cluster)
    except OSError as error:
        return f"called, but does not answer at its address ({_brief(error)})"
    return None if found == index else "called, but another one answers at its address"


def _call_chief(listener, cluster, deadline):
    """A worker's part: calls the chief until it answers, then waits for its word."""
    address = cluster.workers[0]
    why = "does not answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            call = socket.create_connection(_split(address), timeout=min(left, _ANSWER))
        except OSError as error:
            why = f"does not answer ({_brief(error)})"
            time.sleep(_PAUSE)
            continue
        with call:
            try:
                index, other = _understand(_read_line(call), cluster)
                if index == 0:
                    call.sendall(_identity(cluster))
                    word = _hear(listener, call, cluster, deadline)
                    if word:
                        return "" if word == "go" else word
                    why = "answered, and then said nothing"
                else:
                    why = other or "is another program than a worker that waits"
            except OSError as error:
                why = f"is another program than a worker that waits ({_brief(error)})"
        time.sleep(_PAUSE)
    return f"The chief, worker 0 ({address}), {why}."


def _hear(listener, call, cluster, deadline):
    """Waits for the chief's word; says meanwhile who this is, where it is called."""
    with selectors.DefaultSelector() as selector:
        selector.register(call, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        # The chief's own clock may have begun later.
        while (left := deadline + _ANSWER - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if key.fileobj is call:
                    return _read_line(call)
                with listener.accept()[0] as other, contextlib.suppress(OSError):
                    other.sendall(_identity(cluster))
    return ""


def _identity(cluster):
    return f"workbench-worker {cluster.index} {cluster.digest}\n".encode()


def _understand(line, cluster):
    """Returns the index that a line tells, or None, and what is wrong with its list."""
    match line.split():
        case ["workbench-worker", index, digest] if index.isdecimal():
            other = None if digest == cluster.digest else "has another list of workers"
            return int(index), other
    return None, None


def _read_line(call):
    line = b""
    while not line.endswith(b"\n") and len(line) < 2**16:
        part = call.recv(1024)
        if not part:
            break
        line += part
    return line.decode("utf-8", "replace").strip()


def _brief(error):
    return error.strerror or str(error) or type(error).__name__

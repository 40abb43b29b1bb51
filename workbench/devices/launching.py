"""Several workers on this machine: started together, ended together."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import psutil

_PAUSE = 0.05  # seconds between two looks
_TAIL = 2000  # characters of what a worker wrote


class WorkerError(RuntimeError):
    """A worker failed, was killed or never joined; all others have been ended.

    Attributes:
        index: int, which worker.
        returncode: int, its exit code, negative the signal that killed it; None if it
            was still running.
        outputs: Tuple of str, what each worker had written.
    """

    def __init__(self, message, index, returncode, outputs):
        super().__init__(message)
        self.index = index
        self.returncode = returncode
        self.outputs = outputs


def launch_workers(
    command, workers=2, *, seconds=12.0, restarts=0, environment=None, capture=True
):
    """Runs a script as several workers on this machine until all have ended.

    Each gets a `TF_CONFIG` with free ports of the loopback address. When one fails or
    is killed, all others are killed, with all that they started, since those that wait
    for it in TensorFlow hear no SIGTERM. Linux only.

    Args:
        command: List of str, such as `[sys.executable, "train.py"]`.
        workers: int >= 1.
        seconds: float, seconds within which all must listen at their port, once one
            does.
        restarts: int >= 0, how often all may begin anew after a loss; a script that
            trains by `workbench.checkpoints.fit` goes on from its checkpoint.
        environment: dict of str, variables for the workers besides those of this
            process. No worker sees a GPU unless `CUDA_VISIBLE_DEVICES` is among them.
        capture: bool; False lets the workers write where this process writes.

    Returns:
        Tuple of str, what each worker wrote to its standard output; empty without
        `capture`.

    Raises:
        ValueError: If `workers` < 1 or `restarts` < 0.
        WorkerError: If a worker was lost, more often than `restarts`.
    """
    if workers < 1 or restarts < 0:
        raise ValueError(
            "`workers` must be >= 1 and `restarts` >= 0. Received: "
            f"workers={workers}, restarts={restarts}"
        )
    for left in reversed(range(restarts + 1)):
        try:
            return _launch(command, workers, seconds, environment or {}, capture)
        except WorkerError:
            if not left:
                raise
    raise AssertionError  # the loop has returned or raised


def _launch(command, workers, seconds, environment, capture):
    ports = _free_ports(workers)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        processes = []
        stack.callback(_end, processes)
        for index in range(workers):
            config = {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
            files = {}
            if capture:
                for name in ("stdout", "stderr"):
                    file = (folder / f"{index}.{name}").open("wb")
                    files[name] = stack.enter_context(file)
            processes.append(
                subprocess.Popen(  # noqa: S603, it is the caller's command
                    command,
                    env={
                        **os.environ,
                        "CUDA_VISIBLE_DEVICES": "-1",
                        **environment,
                        "TF_CONFIG": json.dumps(config),
                    },
                    # A group of its own, which ends with all that it started.
                    start_new_session=True,
                    **files,
                )
            )
        lost = _watch(processes, ports, seconds)
        if lost is None:
            return tuple(_read(folder, index, "stdout") for index in range(workers))
        index, returncode, why = lost
        _end(processes)
        told = _read(folder, index, "stderr")[-_TAIL:].strip()
        raise WorkerError(
            f"Worker {index} of {workers} {why}; the others were ended."
            + (f" The last that it wrote:\n{told}" if told else ""),
            index,
            returncode,
            tuple(_read(folder, i, "stdout") for i in range(workers)),
        )


def _watch(processes, ports, seconds):
    """Waits for the end of all; returns who was lost, its exit code and the reason."""
    started = time.monotonic()
    absent = dict(enumerate(ports)) if len(ports) > 1 else {}
    first = None
    while True:
        ended = {i: _ended(process) for i, process in enumerate(processes)}
        failed = {i: code for i, code in ended.items() if code}
        if failed:
            # One that was killed comes first: others may have failed because of it.
            index = min(failed, key=lambda i: (failed[i] > 0, i))
            after = time.monotonic() - started
            return index, failed[index], _describe(failed[index], after)
        if all(code == 0 for code in ended.values()):
            return None
        for index in [i for i in absent if _listens(processes[i].pid, absent[i])]:
            del absent[index]
        if first is None and len(absent) < len(ports):
            first = time.monotonic()
        waiting = [i for i in absent if ended[i] is None]
        if first is not None and waiting and time.monotonic() - first > seconds:
            return waiting[0], None, f"had not joined after {seconds:g} seconds"
        time.sleep(_PAUSE)


def _describe(code, after):
    if code > 0:
        return f"failed with exit code {code} after {after:.1f} seconds"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name} after {after:.1f} seconds"
    return f"was killed by signal {-code} after {after:.1f} seconds"


def _ended(process):
    """Returns the exit code as `Popen` gives it; None while the process runs.

    It is left to be waited for: until then its number, and its group's, stay its own.
    """
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    found = os.waitid(os.P_PID, process.pid, flags)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _listens(pid, port):
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        return any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == port
            for process in (leader, *leader.children(recursive=True))
            for each in process.net_connections("tcp")
        )
    return False


def _end(processes):
    """Kills each worker's group and waits for the worker."""
    for process in processes:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    for process in processes:
        process.wait()


def _free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _read(folder, index, name):
    path = folder / f"{index}.{name}"
    return path.read_text("utf-8", "replace") if path.exists() else ""

"""On disk: damage is noticed, a crash at any moment costs one interval at most."""

import errno
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from workbench.checkpoints import DamagedError
from workbench.checkpoints.disk import Disk
from workbench.checkpoints.encoding import decode, encode
from workbench.checkpoints.locks import FolderLock
from workbench.checkpoints.order import permutation
from workbench.checkpoints.store import Store, read

CHANGES = 10_000
IN_MEMORY = "/dev/shm"  # noqa: S108, a file system that may know no other way
PERMUTATION = [4, 2, 0, 6, 1, 5, 7, 3]  # of seed 1, epoch 2, size 8


def manifest(steps):
    return {
        "position": {"epoch": 0, "step": steps, "steps": steps},
        "metrics": {"loss": 0.5, "accuracy": "nan"},
        "finished": False,
        "saved": "2026-01-02T03:04:05+00:00",
    }


def tensors(steps):
    rng = np.random.default_rng(steps)
    return {
        "kernel": rng.random((5, 3), "float32"),
        "scale": np.array(3.0),
        "half": np.arange(4).astype(ml_dtypes.bfloat16),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 2), "int64"),
    }


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


# What is written


def test_what_is_written_is_read_back(tmp_path):
    path = Store(tmp_path).write(tensors(7), manifest(7), keep=3)
    checkpoint, found = read(path)
    assert_same(found, tensors(7))
    assert checkpoint.steps == 7
    assert checkpoint.metrics["loss"] == 0.5
    assert np.isnan(checkpoint.metrics["accuracy"])
    assert checkpoint.saved.year == 2026


def test_other_programs_can_read_and_check_it(tmp_path):
    arrays = {name: a for name, a in tensors(1).items() if name != "half"}
    path = Store(tmp_path).write(arrays, manifest(1), keep=1)
    loaded = safetensors.numpy.load_file(path / "tensors.safetensors")
    assert_same({name: loaded[name] for name in arrays}, arrays)
    checked = subprocess.run(
        ["sha256sum", "-c", "manifest.sha256"], cwd=path, check=False
    )
    assert checked.returncode == 0
    written = json.loads((path / "manifest.json").read_text())
    digest = hashlib.sha256(arrays["kernel"].tobytes()).hexdigest()
    assert written["tensors"]["kernel"] == digest


def wide_tensors():
    """Of all widths, at odd places, over several chunks of what is written at once."""
    rng = np.random.default_rng(0)
    sizes = {"bool": 3, "int8": 5_000_001, "float16": 7, "float32": 2_000_003}
    arrays = {
        dtype: rng.integers(0, 2, size).astype(dtype) for dtype, size in sizes.items()
    }
    return arrays | {"complex64": np.full((2, 3), 1 - 2j, "complex64"), **tensors(1)}


def refuse_first(write):
    """A file system that opens a file past the cache, and then takes no block."""
    calls = []

    def refusing(file, block):
        calls.append(file)
        if len(calls) == 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(file, block)

    return refusing


def a_few(write):
    """A disk that takes less than it is given."""
    return lambda file, block: write(
        file, block[: max(4096, len(block) // 8192 * 4096)]
    )


@pytest.mark.parametrize("how", [None, refuse_first, a_few, "no flag", IN_MEMORY])
def test_large_files_on_disks_of_every_kind(how, tmp_path, monkeypatch):
    folder = tmp_path
    if how == "no flag":
        monkeypatch.setattr("workbench.checkpoints.uncached._PAST_CACHE", 0)
    elif how == IN_MEMORY:
        folder = pathlib.Path(tempfile.mkdtemp(dir=how))
    elif how:
        monkeypatch.setattr(os, "write", how(os.write))
    arrays = wide_tensors()
    try:
        path = Store(folder).write(arrays, manifest(1), keep=1)
        assert_same(read(path)[1], arrays)
        plain = {name: array for name, array in arrays.items() if name != "half"}
        loaded = safetensors.numpy.load_file(path / "tensors.safetensors")
        assert_same({name: loaded[name] for name in plain}, plain)
    finally:
        shutil.rmtree(folder)


def test_a_dtype_that_no_file_holds_is_refused(tmp_path):
    with pytest.raises(TypeError, match="odd of dtype complex128"):
        Store(tmp_path).write({"odd": np.zeros(2, "complex128")}, manifest(1), keep=1)
    assert not list(tmp_path.iterdir())


def test_the_newest_stay(tmp_path):
    store = Store(tmp_path)
    for steps in range(5):
        store.write(tensors(steps), manifest(steps), keep=2)
    assert [c.steps for c in store.checkpoints()] == [3, 4]
    assert sorted(p.name[:8] for p in tmp_path.iterdir()) == ["00000004", "00000005"]


def test_a_format_of_the_future_is_not_called_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.checkpoints.store.FORMAT", 99)
    path = Store(tmp_path).write(tensors(1), manifest(1), keep=1)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="a newer workbench") as caught:
        read(path)
    assert not isinstance(caught.value, DamagedError)


# Damage


def put(file, place, values):
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(bytes(values))


def test_every_changed_or_missing_byte_is_noticed(tmp_path):
    path = Store(tmp_path).write(tensors(1), manifest(1), keep=1)
    files = [(file, file.read_bytes()) for file in sorted(path.iterdir())]
    rng = np.random.default_rng(0)
    noticed = 0
    for i in range(CHANGES):
        file, content = files[i % 3]
        place, change = int(rng.integers(len(content))), int(rng.integers(1, 256))
        if i % 4:
            put(file, place, [content[place] ^ change])
        else:
            os.truncate(file, place)
        try:
            read(path)
        except DamagedError:
            noticed += 1
        put(file, place, content[place:])
    assert noticed == CHANGES
    assert_same(read(path)[1], tensors(1))


@pytest.mark.parametrize("name", ["tensors.safetensors", "manifest.json"])
def test_a_missing_file_is_damage_and_the_one_before_is_found(name, tmp_path):
    store = Store(tmp_path)
    store.write(tensors(1), manifest(1), keep=3)
    path = store.write(tensors(2), manifest(2), keep=3)
    (path / name).unlink()
    checkpoint, found, damaged = store.newest()
    assert checkpoint.steps == 1
    assert_same(found, tensors(1))
    assert [p for p, _ in damaged] == [path]
    store.set_aside(path)
    assert store.newest()[2] == []
    # The numbers go on, or the next to be set aside would meet this one.
    assert store.write(tensors(3), manifest(3), keep=3).name == "00000003-step-3"


# A crash at any moment


class Folder:
    """A folder in a made-up file system: what it shows, and what is on disk."""

    def __init__(self):
        self.names, self.durable = {}, {}

    def sync(self):
        self.durable = dict(self.names)


class File:
    """A file in a made-up file system."""

    def __init__(self, content):
        self.content, self.durable = content, b""

    def sync(self):
        self.durable = self.content


class Recorded(Disk):
    """Does everything, and writes down the operations as functions of a root."""

    def __init__(self, base):
        self._base, self.operations = base, []

    def make_folder(self, path):
        super().make_folder(path)
        self._note(path, lambda folder, name: folder.names.update({name: Folder()}))

    def write_tensors(self, path, tensors):
        super().write_tensors(path, tensors)
        self._note_content(path)

    def write_bytes(self, path, content):
        super().write_bytes(path, content)
        self._note_content(path)

    def sync(self, path):
        super().sync(path)
        if path == self._base:
            self.operations.append(Folder.sync)
        else:
            self._note(path, lambda folder, name: folder.names[name].sync())

    def rename(self, path, new_path):
        super().rename(path, new_path)
        new = new_path.name
        self._note(
            path,
            lambda folder, name: folder.names.update({new: folder.names.pop(name)}),
        )

    def remove(self, path):
        super().remove(path)
        # One file after the other, as it is done.
        for file in ("manifest.json", "manifest.sha256", "tensors.safetensors"):
            self._note(path / file, lambda folder, name: folder.names.pop(name))
        self._note(path, lambda folder, name: folder.names.pop(name))

    def _note_content(self, path):
        content = path.read_bytes()
        for part in (content[: len(content) // 2], content):
            self._note(
                path,
                lambda folder, name, part=part: folder.names.update({name: File(part)}),
            )

    def _note(self, path, change):
        folders = path.relative_to(self._base).parts[:-1]

        def operation(root):
            for name in folders:
                root = root.names[name]
            change(root, path.name)

        self.operations.append(operation)


class Unsynced(Recorded):
    """Does not wait for files before it gives them their names."""

    def sync(self, path):
        if path == self._base:
            super().sync(path)


class Quick(Disk):
    """For what comes after the crash; whether that waits is not the question."""

    def sync(self, path):
        pass


def materialize(folder, path, *, all_names, all_content):
    path.mkdir()
    for name, thing in (folder.names if all_names else folder.durable).items():
        if isinstance(thing, File):
            content = thing.content if all_content else thing.durable
            (path / name).write_bytes(content)
        else:
            materialize(
                thing, path / name, all_names=all_names, all_content=all_content
            )


def lost_after_a_crash(tmp_path, kind):
    """Crashes after each operation, in three ways; counts what cannot be continued.

    Names and content may reach the disk in any order before they are waited for: all of
    both, the names alone, or neither.
    """
    base = tmp_path / "base"
    base.mkdir()
    disk = kind(base)
    store, ends = Store(base, disk), []
    for steps in range(1, 5):
        store.write(tensors(steps), manifest(steps), keep=2)
        ends.append(len(disk.operations))
    bad = 0
    for count in range(len(disk.operations) + 1):
        root = Folder()
        for operation in disk.operations[:count]:
            operation(root)
        done = sum(end <= count for end in ends)
        for names, content in ((True, True), (True, False), (False, False)):
            path = tmp_path / "crashed"
            materialize(root, path, all_names=names, all_content=content)
            bad += not goes_on(path, done)
            shutil.rmtree(path)
    return bad, len(disk.operations)


def goes_on(path, done):
    """Whether the newest is at most one interval old, and a next one can be written."""
    store = Store(path, Quick())
    store.clean()
    checkpoint, found, damaged = store.newest()
    if damaged or (checkpoint is None) != (found is None):
        return False
    steps = 0 if checkpoint is None else checkpoint.steps
    if found is not None:
        assert_same(found, tensors(steps))
    store.write(tensors(9), manifest(9), keep=2)
    return steps in (done, done + 1) and store.newest()[0].steps == 9


def test_a_crash_after_any_operation_loses_one_interval_at_most(tmp_path):
    bad, count = lost_after_a_crash(tmp_path, Recorded)
    assert bad == 0
    assert count > 50


def test_the_crashes_find_a_write_that_does_not_wait(tmp_path):
    bad, _ = lost_after_a_crash(tmp_path, Unsynced)
    assert bad > 0


# A full disk, a read-only one

ON_A_SMALL_DISK = """
import subprocess, sys, warnings
import keras, numpy as np
from workbench import checkpoints
def train(**arguments):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((400,)), keras.layers.Dense(400)])
    model.compile("adam", "mse")
    x = np.ones((40, 400), "float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = checkpoints.fit(model, (x, x), filepath=sys.argv[1], batch_size=4,
            save_every=3, keep=9, **arguments)
    return history, [str(w.message) for w in caught]
history, told = train(epochs=1)  # two of 1.9 MB fit
assert len(history.history["loss"]) == 1
assert "No space left on device" in told[0] and "training goes on" in told[0]
try:
    train(epochs=2, on_error="stop")
except OSError as error:
    assert "No space left" in str(error) and "was stopped" in str(error)
else:
    raise AssertionError
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
try:
    train(epochs=2)
except OSError as error:
    assert "must be a folder that can be written to (Read-only" in str(error)
else:
    raise AssertionError
found = checkpoints.list_checkpoints(sys.argv[1])
assert [c.steps for c in found] == [0, 3], found
for c in found:
    checkpoints.store.read(c.path)
"""


def test_a_real_disk_that_is_full_and_one_that_is_read_only(tmp_path):
    unshare = shutil.which("unshare")
    allowed = unshare and subprocess.run(
        [unshare, "-Urm", "true"], check=False, capture_output=True
    )
    if not allowed or allowed.returncode:
        pytest.skip("needs unshare with user namespaces, for a file system of its own")
    script = tmp_path / "train.py"
    script.write_text(ON_A_SMALL_DISK)
    (tmp_path / "disk").mkdir()
    command = (
        f"mount -t tmpfs -o size=5m none {tmp_path}/disk && "
        f"{sys.executable} {script} {tmp_path}/disk"
    )
    run = subprocess.run(
        [unshare, "-Urm", "sh", "-c", command],
        check=False,
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr[-2000:]


# Its parts


def test_one_user_at_a_time(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(RuntimeError, match="another run of this process"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    second.release()


@pytest.mark.parametrize(
    "state",
    [
        None,
        {"wait": 3, "best": float("inf"), 4: (1, [2.5, -0.0]), "on": True},
        [float("-inf"), "text", b"bytes", {}],
        {"float": 1.0},
        {"tuple": [1], "dict": 2},
        np.float32(0.1),
        np.int64(-(2**60)),
    ],
)
def test_state_comes_back_as_it_was(state):
    kept = {}
    text = json.dumps(encode(state, kept, "state"))
    back = decode(json.loads(text), kept)
    assert repr(back) == repr(state)
    assert type(back) is type(state)


def test_arrays_in_state_come_back_as_copies():
    kept = {}
    weights = [np.arange(3.0), np.ones((2, 2), "int8")]
    back = decode(encode({"best": weights}, kept, "state"), kept)["best"]
    for mine, wanted in zip(back, weights, strict=True):
        np.testing.assert_array_equal(mine, wanted)
        assert mine.dtype == wanted.dtype
        assert not any(np.shares_memory(mine, array) for array in kept.values())


@pytest.mark.parametrize("state", [{"model": object()}, {1, 2}, np.array(["text"])])
def test_state_that_cannot_be_kept_is_refused(state):
    with pytest.raises(TypeError, match="State must be made of"):
        encode(state, {}, "state")


def test_the_order_is_that_of_philox_counted_from_seed_and_epoch():
    numbers = np.random.Philox(key=[11, 3]).random_raw(1000)
    np.testing.assert_array_equal(permutation(11, 3, 1000), np.argsort(numbers))
    assert sorted(permutation(0, 0, 257)) == list(range(257))
    assert list(permutation(11, 3, 50)) != list(permutation(11, 4, 50))
    assert list(permutation(11, 3, 50)) != list(permutation(12, 3, 50))
    # The next version must go on where this one stopped.
    assert list(permutation(1, 2, 8)) == PERMUTATION

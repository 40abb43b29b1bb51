"""Exact resume: real kills, damaged files, and what is refused."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.models import compiled, mlp_with_dropout, state_of
from workbench import checkpoints
from workbench.checkpoints import locks

KILLS = 12  # of each
# Of the harness's 27: each pair of optimizer, layer, rate and extra, and all data.
CONFIGURATIONS = [0, 3, 6, 10, 13, 16, 20, 23, 26]


def net(optimizer="sgd"):
    """Step by step, it needs no time to be traced."""
    return compiled(mlp_with_dropout, optimizer, run_eagerly=True)


def train(digits, folder, *, epochs=2, model=None, **arguments):
    model = model or net(keras.optimizers.SGD(0.1, momentum=0.9))
    arguments = {"batch_size": 20, "save_every": 3, "seed": 1, **arguments}
    data = digits[0][:80], digits[1][:80]
    history = checkpoints.fit(model, data, filepath=folder, epochs=epochs, **arguments)
    return model, history


def assert_same_state(model, other):
    pairs = zip(state_of(model).values(), state_of(other).values(), strict=True)
    for mine, wanted in pairs:
        np.testing.assert_array_equal(mine, wanted)


@pytest.mark.timeout(1200)  # a minute and a half, on a machine with nothing else
def test_killed_anywhere_it_ends_in_the_same_bits():
    """SIGKILL from outside at random moments, and inside writes to the disk."""
    command = [sys.executable, "-m", "tests.kill_harness", "--seed", "3"]
    command += ["--configurations", *map(str, CONFIGURATIONS)]
    command += ["--kills", str(KILLS), "--processes", "2"]
    run = subprocess.run(command, capture_output=True, check=False, text=True)
    assert run.returncode == 0, run.stderr
    cases = [json.loads(line) for line in run.stdout.splitlines()]
    assert [case["number"] for case in cases] == CONFIGURATIONS
    kills = [case["kills"] for case in cases]
    assert sum(sum(kinds.values()) for kinds in kills) >= 100
    assert sum(kinds["write"] for kinds in kills) > 20
    for case in cases:
        assert case["different"] == 0, case
        assert (case["twice"], case["lost"]) == (0, 0), case


def test_a_finished_training_gives_its_history_and_more_epochs_go_on(tmp_path, digits):
    straight, wanted = train(digits, tmp_path / "straight", epochs=3)
    train(digits, tmp_path / "parts", epochs=2)
    again, history = train(digits, tmp_path / "parts", epochs=3)
    assert history.history == wanted.history
    assert_same_state(straight, again)
    _, stored = train(digits, tmp_path / "parts", epochs=3)
    assert stored.history == wanted.history


@pytest.mark.parametrize("way", ["flip", "cut"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(
    way, tmp_path, digits
):
    wanted, _ = train(digits, tmp_path / "straight")
    train(digits, tmp_path / "damaged")
    newest = checkpoints.list_checkpoints(tmp_path / "damaged")[-1]
    file = newest.path / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    if way == "flip":
        content[-5] ^= 1
    file.write_bytes(content if way == "flip" else content[:-5])
    with pytest.warns(UserWarning, match="is damaged"):
        model, _ = train(digits, tmp_path / "damaged")
    assert_same_state(wanted, model)


def test_another_model_or_other_data_are_refused(tmp_path, digits):
    train(digits, tmp_path)
    other = net()
    with pytest.raises(ValueError, match="`model` is not the one of the checkpoints"):
        train(digits, tmp_path, model=other)
    with pytest.raises(ValueError, match="`data` is not the one of the checkpoints"):
        train((digits[0] + 1, digits[1]), tmp_path)
    with pytest.raises(ValueError, match="`data` is not the one of the checkpoints"):
        train(digits, tmp_path, batch_size=10)


def test_a_second_process_on_one_folder_is_refused(tmp_path, digits):
    # The module alone: a process with all of TensorFlow takes seconds.
    code = pathlib.Path(locks.__file__).read_text() + (
        "import sys\n"
        "FolderLock(sys.argv[1]).acquire()\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(RuntimeError, match="is in use by"):
            train(digits, tmp_path)
        other.kill()
    train(digits, tmp_path, epochs=1)  # the lock died with its process


def test_keep_is_how_many_stay(tmp_path, digits):
    train(digits, tmp_path, keep=2)
    found = checkpoints.list_checkpoints(tmp_path)
    assert [c.steps for c in found] == [6, 8]
    assert found[-1].finished

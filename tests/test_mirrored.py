"""`Run` and `compare` on two and four replicas: Keras's bits, one device's numbers."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow.python.data.experimental.ops.distribute import _LegacyRebatchDataset

from workbench.steps.replicas import split_rows

STEPS = 50
# A minute of two cores, on a machine with nothing else.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two and four logical processors gave, in processes of their own."""
    folder = tmp_path_factory.mktemp("mirrored")
    command = [sys.executable, "-W", "error::UserWarning", "-m", "tests.mirrored"]
    running = {
        number: subprocess.Popen(
            [*command, str(number), folder / f"{number}.json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (2, 4)
    }
    for each in running.values():
        said = each.communicate(timeout=600)[1]
        assert each.returncode == 0, said[-3000:]
    return {n: json.loads((folder / f"{n}.json").read_text()) for n in running}


@pytest.mark.parametrize("number", [2, 4])
def test_a_run_of_fifty_steps_is_that_of_one_device(found, number):
    gaps = found[number]["equals_one_device"]
    assert gaps["steps"] == STEPS
    assert max(gaps[name] for name in ("weights", "records", "history")) < 1e-5
    assert gaps["timed"]


@pytest.mark.parametrize("optimizer", ["schedule", "own clip"])
def test_a_run_ends_in_the_bits_and_the_history_of_fit(found, optimizer):
    assert found[2]["equals_fit"][optimizer] == [True, True]


def test_values_are_live_in_all_replicas(found):
    steered = found[2]["is_steered"]
    assert steered["changes"] == [
        [5, "learning_rate", "hand"],
        [5, "beta_1", "hand"],
        [5, "clip", "hand"],
        [9, "learning_rate", "callback"],
    ]
    assert steered["clipped"]
    assert steered["rates"] == 0
    assert max(steered["weights"], steered["norms"]) < 1e-5


def test_a_run_obeys_hand_and_panel_and_leaves_nothing_patched(found):
    assert found[2]["obeys"] == {
        "state": "stopped",
        "changes": [[1, "learning_rate", 0.25]],
        "epochs": True,
        "kept": 0.25,
        "patched": [],
    }


def test_nan_in_one_replica_is_skipped_by_all_and_located(found):
    guarded = found[2]["guards"]
    of_x, of_y, of_layer, _ = guarded["said"]
    assert of_x == "step 2: the input batch is the first with NaN or Inf"
    assert of_y.startswith("step 4: every layer's output is finite, but the loss")
    assert of_layer.endswith("/root is the first with NaN or Inf")
    assert guarded["unchanged"] == [2, 4, 1, 2]
    assert guarded["left out"]


def test_a_run_with_a_folder_goes_on_to_the_same_bits(found):
    assert found[2]["resumes"]


def test_the_background_thread_is_under_the_callers_strategy(found):
    assert found[2]["carries_the_scope"] == [True, False]


@pytest.mark.parametrize("what", ["Run", "compare"])
@pytest.mark.parametrize(
    ("case", "start", "end"),
    [
        ("batch", "`data` must go", "batches of 1 rows for 2 replicas"),
        ("last batch", "`data` must go", "of 1 rows for 2 replicas"),
        ("held out", "`validation_data` must go", "of 1 rows for 2 replicas"),
        ("dataset", "`data` must go", "batches of 1 rows for 2 replicas"),
        ("steps", "`model` must go", "steps_per_execution=2"),
        ("jit", "`model` must go", "jit_compile=True"),
    ],
)
def test_what_does_not_go_with_a_strategy_is_refused(found, what, case, start, end):
    text = found[2]["refuses"][f"{what}, {case}"]
    assert text.startswith(start)
    assert text.endswith(end)


def test_the_rest_of_a_dataset_is_found_when_it_comes(found):
    text = found[2]["refuses"]["Run, rest of a dataset"]
    assert text.startswith("step 3: the batch has too few rows for 2 replicas")


@pytest.mark.parametrize("number", [2, 4])
def test_variants_are_those_of_one_device(found, number):
    compared = found[number]["compares"]
    assert len(compared) == 4 if number == 2 else 2
    for gaps in compared.values():
        why = f"the model lives on {number} replicas"
        assert gaps["how"] == ["vectorized", "fit", why, "finished"]
        assert gaps["steps"] == STEPS
        assert max(gaps[name] for name in ("weights", "series", "epochs")) < 1e-5


def test_a_variant_has_the_bits_of_fit(found):
    assert found[2]["compare_is_fit"]["weights"]
    assert found[2]["compare_is_fit"]["loss"] < 1e-6


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_rows_are_dealt_out_as_tensorflow_does(replicas):
    for rows in range(1, 14):
        dataset = tf.data.Dataset.from_tensors(tf.range(rows))
        parts = _LegacyRebatchDataset(dataset, replicas)
        assert [len(part) for part in parts] == split_rows(rows, replicas)

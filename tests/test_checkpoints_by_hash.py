"""Checkpoints that name a frozen table by its hash, and do not hold it."""

import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.models import state_of
from workbench import checkpoints, data
from workbench.embeddings import load_vectors
from workbench.training import Run

WORDS = ["", "[UNK]", "king", "queen", "man", "woman", "the", "of"]
SETTINGS = {"epochs": 2, "batch_size": 8, "save_every": 3, "seed": 1}


@pytest.fixture(scope="module")
def glove():
    path = data._DATA / "glove.6B.50d.top10k.txt.gz"
    return load_vectors(path, limit=2000, cache=False)


def build(glove, *, seed=0, trainable=False):
    """A classifier over words of the file; `seed` is that of `[UNK]`."""
    layer, _ = glove.to_layer(WORDS, seed=seed, trainable=trainable)
    keras.utils.set_random_seed(4)
    layers = [keras.Input((6,), dtype="int32"), layer]
    layers += [keras.layers.GlobalAveragePooling1D(), keras.layers.Dropout(0.3)]
    model = keras.Sequential([*layers, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def sentences():
    rng = np.random.default_rng(2)
    return rng.integers(0, 8, (40, 6)).astype("int32"), rng.integers(0, 2, 40)


def train(model, folder, callbacks=(), **arguments):
    arguments = {"by_hash": [model.layers[0]], **SETTINGS, **arguments}
    history = checkpoints.fit(
        model, sentences(), filepath=folder, callbacks=callbacks, **arguments
    )
    return history.history


def assert_same(model, other):
    pairs = zip(state_of(model).values(), state_of(other).values(), strict=True)
    for mine, wanted in pairs:
        np.testing.assert_array_equal(mine, wanted)


def places(checkpoint):
    """Which variables it holds; their names count on within a process."""
    names = (name.split(":")[0] for name in checkpoint.manifest["tensors"])
    return {name for name in names if "/" in name}


class Killed(keras.callbacks.Callback):
    """Ends the process without a word."""

    def __init__(self, step):
        self.left = step
        super().__init__()

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def test_the_table_is_not_in_the_checkpoint_and_all_else_is(glove, tmp_path):
    model, plain = build(glove), build(glove)
    history = train(model, tmp_path / "named")
    assert train(plain, tmp_path / "whole", by_hash=()) == history
    assert_same(model, plain)
    named = checkpoints.list_checkpoints(tmp_path / "named")[-1]
    whole = checkpoints.list_checkpoints(tmp_path / "whole")[-1]
    table = model.layers[0].embeddings
    lost = places(whole) - places(named)
    assert [place.split("/")[0] for place in lost] == ["model"]
    assert whole.bytes - named.bytes >= table.numpy().nbytes
    ((name, found),) = named.manifest["by_hash"].items()
    assert "embeddings" in name
    assert (found["shape"], found["dtype"]) == ([8, 50], "float32")
    assert "by_hash" not in whole.manifest


def test_killed_it_ends_in_the_same_bits(glove, tmp_path):
    """SIGKILL in another process, after the second checkpoint."""
    code = (
        "import pathlib, sys\n"
        "from tests import test_checkpoints_by_hash as here\n"
        "here.run_until_killed(pathlib.Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "killed")]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    found = checkpoints.list_checkpoints(tmp_path / "killed")
    assert found[-1].steps >= 3  # it was on disk when the one after it began
    straight, again = build(glove), build(glove)
    keras.utils.set_random_seed(9)
    again.layers[-1].kernel.assign(again.layers[-1].kernel * 0)  # it must come back
    wanted = train(straight, tmp_path / "straight")
    assert train(again, tmp_path / "killed", [Killed(0)]) == wanted
    assert_same(straight, again)


def run_until_killed(folder):
    path = data._DATA / "glove.6B.50d.top10k.txt.gz"
    vectors = load_vectors(path, limit=2000, cache=False)
    train(build(vectors), folder, [Killed(8)])


def test_another_table_is_refused_before_anything_is_changed(glove, tmp_path):
    train(build(glove), tmp_path)
    other = build(glove, seed=1)
    before = state_of(other)
    with pytest.raises(ValueError, match=r"only name: .*SHA-256 .* and was SHA-256"):
        train(other, tmp_path, epochs=3)
    for mine, wanted in zip(state_of(other).values(), before.values(), strict=False):
        np.testing.assert_array_equal(mine, wanted)
    # One bit is enough.
    damaged = build(glove)
    value = damaged.layers[0].embeddings.numpy().copy()
    value.view("uint32")[3, 7] ^= 1
    damaged.layers[0].embeddings.assign(value)
    with pytest.raises(ValueError, match="Make the layer from the same file"):
        train(damaged, tmp_path, epochs=3)
    train(build(glove), tmp_path, epochs=3)


def test_what_the_checkpoint_says_counts_not_the_argument(glove, tmp_path):
    wanted = build(glove)
    train(wanted, tmp_path / "straight", epochs=3, by_hash=())
    train(build(glove), tmp_path / "named")
    model = build(glove)
    train(model, tmp_path / "named", epochs=3, by_hash=())
    assert_same(model, wanted)
    newest = checkpoints.list_checkpoints(tmp_path / "named")[-1]
    assert "by_hash" not in newest.manifest
    train(build(glove), tmp_path / "whole", by_hash=())
    model = build(glove)
    train(model, tmp_path / "whole", epochs=3)
    assert_same(model, wanted)


def test_a_table_that_changes_all_the_same_is_found(glove, tmp_path):
    class Sneaks(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            table = self.model.layers[0].embeddings
            table.assign(table + float(epoch))

        def get_state(self):
            return None

        def set_state(self, state):
            pass

    train(build(glove), tmp_path, [Sneaks()])
    with pytest.raises(ValueError, match="only name"):
        train(build(glove), tmp_path, [Sneaks()], epochs=3)


def test_a_damaged_hash_is_found(glove, tmp_path):
    train(build(glove), tmp_path, keep=1)
    path = checkpoints.list_checkpoints(tmp_path)[-1].path / "manifest.json"
    content = path.read_text()
    place = content.index('"sha256"') + 14
    digit = "0" if content[place] != "0" else "1"
    path.write_text(content[:place] + digit + content[place + 1 :])
    with (
        pytest.warns(UserWarning, match="does not match its SHA-256"),
        pytest.raises(ValueError, match="only damaged checkpoints"),
    ):
        train(build(glove), tmp_path, epochs=3)


def test_only_frozen_layers_of_the_model_are_named(glove, tmp_path):
    model, trained = build(glove), build(glove, trainable=True)
    for bad, message in (
        ([model.layers[-1]], "must hold frozen layers with weights"),
        ([model.layers[1]], "which has no weights"),
        ([trained.layers[0]], "must hold layers of the model"),
        (["embedding"], "must hold layers of the model"),
        ([model], "must hold layers of the model"),
    ):
        with pytest.raises(ValueError, match=message):
            train(model, tmp_path, by_hash=bad)
    with pytest.raises(ValueError, match="which is trained"):
        train(trained, tmp_path)
    with pytest.raises(ValueError, match="`by_hash` is about checkpoints"):
        Run(model, sentences(), by_hash=[model.layers[0]])


def test_the_whole_matrix_a_branch_and_an_explanation(glove, tmp_path):
    def whole():
        layer, _ = glove.to_layer()
        keras.utils.set_random_seed(4)
        layers = [keras.Input((6,), dtype="int32"), layer, keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    run = Run(
        (model := whole()),
        sentences(),
        filepath=tmp_path / "run",
        by_hash=[model.layers[0]],
        **SETTINGS,
    )
    run.start()
    run.wait()
    newest = checkpoints.list_checkpoints(tmp_path / "run")[-1]
    assert newest.bytes < model.layers[0].embeddings.numpy().nbytes / 10
    copy = checkpoints.branch(newest, tmp_path / "branch")
    assert copy.manifest["by_hash"] == newest.manifest["by_hash"]
    report = str(checkpoints.explain_restore(tmp_path / "branch", whole()))
    assert "1 arrays, the model's own" in report
    other = whole()
    other.layers[0].embeddings.assign(other.layers[0].embeddings * 2)
    report = str(checkpoints.explain_restore(tmp_path / "branch", other))
    assert "frozen weights that are only named by their hash" in report.replace(
        "\n", " "
    )
    files = pathlib.Path(tmp_path / "branch").glob("*/tensors.safetensors")
    assert sum(file.stat().st_size for file in files) == newest.bytes

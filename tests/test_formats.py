"""Looking into model files: what is in them, and nothing that they want done."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import workbench.__main__ as command
from tests import harmless, hostile, hostile_graphs, known_names
from workbench.formats import FileReport, Risk, inspect_file, snappy, wire
from workbench.formats.sources import Budget, BytesSource, DamagedError

ROOT = pathlib.Path(__file__).parents[1]
CRASHED = "cannot be read"  # how a report says that a reader met what it did not expect


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Folder and paths of the harmless files."""
    folder = tmp_path_factory.mktemp("harmless")
    return folder, harmless.write_all(folder)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Folder and paths of the hostile files."""
    folder = tmp_path_factory.mktemp("hostile")
    return folder, hostile.write_all(folder)


def names_of(report):
    return {risk.name for risk in report.risks}


def texts(report):
    return " | ".join(f"{risk.where}: {risk.text}" for risk in report.risks)


# The corpus


def test_every_hostile_file_is_flagged(bad):
    _, paths = bad
    assert len(set(paths)) >= 200
    reports = {path.name: inspect_file(path) for path in paths}
    assert [name for name, report in reports.items() if report.is_harmless] == []
    assert [name for name, report in reports.items() if CRASHED in texts(report)] == []


def test_no_harmless_file_is_flagged(good):
    _, paths = good
    assert len(set(paths)) >= 300
    reports = {path.name: inspect_file(path) for path in paths}
    flagged = {n: texts(r) for n, r in reports.items() if not r.is_harmless}
    assert flagged == {}
    assert {n for n, r in reports.items() if r.kind in ("unknown", "folder")} == set()


def test_every_layer_optimizer_loss_and_metric_of_keras_is_among_them():
    layers = set(harmless.layer_objects())
    exported = {
        cls.__name__
        for name, cls in vars(keras.layers).items()
        if isinstance(cls, type) and issubclass(cls, keras.layers.Layer)
    }
    assert exported - layers - harmless.CODE == {"Layer", "Wrapper"}
    assert len(layers) > 120


def test_the_lists_of_names_are_those_of_the_installed_libraries():
    """`python tests/known_names.py` writes them again."""
    stored, now = json.loads(known_names.TARGET.read_text()), known_names.collect()
    for group, names in now.items():
        assert stored[group] == names, group


def test_the_reasons_are_the_right_ones(bad):
    folder, _ = bad
    for name, trust, text in (
        ("config-lambda-top-stored.keras", "Lambda", "runs Python code"),
        ("config-lambda-module-nested-model.h5", "Lambda", "runs Python code"),
        ("config-os-system-top-stored.keras", "function os.system", "module os"),
        ("config-custom-top-stored.keras", "class my_package>Evil", "my_package"),
        ("config-tfsm-top-stored.keras", "TFSMLayer", "another SavedModel"),
        ("config-vocabulary-home-top-stored.keras", "", "reads the file '~/.netrc'"),
        ("zip-up.keras", "", "outside the folder"),
        ("zip-bomb.keras", "", "unpacks to 20000000 bytes"),
        ("hdf5-external-link.keras", "", "another file"),
        ("hdf5-claims-too-much.h5", "", "claims 40000000000 bytes"),
        ("graph-ReadFile.pb", "op ReadFile", "reads any file"),
        ("graph-PyFunc-in-function.pbtxt", "op PyFunc", "calls Python"),
        ("pickle-system-4.pkl", "posix.system", "calls posix.system"),
        ("onnx-up.onnx", "", "outside the folder"),
        ("tflite-FlexReadFile.tflite", "op ReadFile", "ReadFile"),
    ):
        report = inspect_file(folder / name)
        assert trust in names_of(report), name
        assert text in texts(report), name


SCRIPT = """
import heapq, json, pathlib, sys, time
import encodings.cp437, encodings.raw_unicode_escape, encodings.unicode_escape
from workbench.formats import inspect_file
folder, package = map(pathlib.Path, sys.argv[1:])
paths = sorted(folder.iterdir())
warm = folder / "config-lambda-top-stored.keras"
inspect_file(warm)
allowed = (str(folder), str(package))
seen, slowest = [], 0
def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        inside = str(path).startswith(allowed)
        if not inside or flags & 3 or (mode and set(str(mode)) & set("wax+")):
            seen.append([event, str(path), str(mode)])
    elif event == "compile" and arguments[1] == "<unknown>":
        pass  # NumPy's header, parsed as a literal and not run
    elif event.split(".")[0] in WATCHED:
        seen.append([event, repr(arguments)[:200]])
WATCHED = {"exec", "compile", "import", "os", "subprocess", "socket", "pickle",
           "marshal", "ctypes", "shutil", "tempfile", "winreg", "urllib"}
QUIET = {"os.listdir", "os.scandir", "os.walk", "os.fwalk"}
sys.addaudithook(lambda e, a: None if e in QUIET else watch(e, a))
for path in paths:
    start = time.process_time()
    inspect_file(path)
    slowest = max(slowest, time.process_time() - start)
found = seen[:5]
status = pathlib.Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(json.dumps({
    "found": found, "slowest": slowest, "files": len(paths),
    "MiB": peak / 1024,
    "loaded": [m for m in ("keras", "tensorflow", "h5py") if m in sys.modules],
}))
"""


def look_from_outside(folder):
    """Inspects a folder's files in a process that reports what they made it do."""
    package = ROOT / "workbench"
    command = [sys.executable, "-c", SCRIPT, str(folder), str(package)]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=True
    )
    return json.loads(result.stdout)


def test_nothing_is_run_written_or_read_elsewhere(bad):
    folder, _ = bad
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if not p.is_symlink()}
    seen = look_from_outside(folder)
    assert seen["found"] == []
    assert seen["loaded"] == []
    assert seen["files"] >= 200
    assert seen["slowest"] < 1.0
    assert seen["MiB"] < 200
    after = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if not p.is_symlink()}
    assert after == before
    assert not list(pathlib.Path.cwd().glob(hostile.MARKER))


def test_the_watch_sees_what_it_should(tmp_path):
    """The check of the check: one file whose reading opens another."""
    (tmp_path / "config-lambda-top-stored.keras").write_bytes(
        hostile.zipped(hostile.keras_members(hostile.sequential()))
    )
    spoiled = SCRIPT.replace("    inspect_file(path)\n", "    open('/etc/hostname')\n")
    command = [sys.executable, "-c", spoiled, str(tmp_path), str(ROOT / "workbench")]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert json.loads(result.stdout)["found"][0][1] == "/etc/hostname"


# What is in a file, against what others read in it


def shapes(report):
    return {w.name: (w.shape, w.dtype) for w in report.weights}


def test_keras_files_keep_what_the_model_has(good):
    folder, _ = good
    model = harmless.small_models()["image"]
    count = len(model.trainable_variables) + len(model.non_trainable_variables)
    for suffix in (".keras", ".h5", ".weights.h5", "-packed.keras", "-unpacked"):
        report = inspect_file(folder / f"model-image{suffix}")
        rest = [w for w in report.weights if not w.name.startswith("optimizer")]
        ours = sorted((w.shape, w.dtype) for w in rest)
        theirs = [
            (tuple(v.shape), v.dtype) for v in model.variables if "seed" not in v.path
        ]
        assert ours == sorted(theirs), suffix
        assert len(rest) <= count
        assert any(line.startswith("optimizer state") for line in report.keeps)
        if suffix != ".weights.h5":
            assert "optimizer settings: Adam, rate 0.001" in report.keeps
            assert report.versions["Keras"] == keras.__version__
            assert report.inputs[0].endswith("(?, 8, 8, 1)")


def test_a_clipped_optimizer_is_known_and_its_module_named(good):
    folder, _ = good
    report = inspect_file(folder / "model-text.keras")
    assert any("ClippedOptimizer around SGD" in line for line in report.keeps)
    assert set(report.modules) == {
        "workbench.clipping.methods",
        "workbench.clipping.optimizer",
    }


def test_checkpoints_hold_what_tensorflow_lists(good):
    folder, _ = good
    for name in ("checkpoint-image/c-1", "v1/model.ckpt", "v1/old.ckpt"):
        listed = tf.train.load_checkpoint(str(folder / name))
        dtypes = listed.get_variable_to_dtype_map()
        expected = {
            key: (tuple(shape), dtypes[key].name)
            for key, shape in listed.get_variable_to_shape_map().items()
            if key != "_CHECKPOINTABLE_OBJECT_GRAPH"
        }
        assert shapes(inspect_file(folder / name)) == expected
    report = inspect_file(folder / "v1" / "model.ckpt")
    assert "optimizer state: 4 arrays" in report.keeps


def test_graphs_hold_what_their_classes_read(good):
    folder, _ = good
    for name, kind in (
        ("frozen", "frozen"),
        ("traced", "not frozen"),
        ("v1", "not frozen"),
    ):
        graph = tf.compat.v1.GraphDef.FromString((folder / f"{name}.pb").read_bytes())
        total = len(graph.node) + sum(len(f.node_def) for f in graph.library.function)
        binary = inspect_file(folder / f"{name}.pb")
        text = inspect_file(folder / f"{name}.pbtxt")
        assert binary.kind == f"TensorFlow graph (GraphDef), {kind}"
        assert text.kind == f"{binary.kind}, as text"
        assert binary.keeps[0].startswith(f"operations: {total} (")
        assert (binary.keeps, binary.inputs) == (text.keeps, text.inputs)
        assert shapes(binary) == shapes(text)
        constants = {n.name for n in graph.node if n.op == "Const"}
        assert set(shapes(binary)) == constants
    report = inspect_file(folder / "frozen.pb")
    assert report.inputs == ("a (?, 4) float32", "b (?, 4) float32")
    assert report.outputs == ("Identity",)


def test_saved_models_name_their_signatures(good):
    folder, _ = good
    loaded = tf.saved_model.load(folder / "saved-keras")
    report = inspect_file(folder / "saved-keras")
    signature = loaded.signatures["serving_default"]
    assert [name.split()[0] for name in report.inputs] == sorted(
        signature.structured_input_signature[1]
    )
    assert [n.split()[0] for n in report.outputs] == list(signature.structured_outputs)
    assert report.versions["TensorFlow"] == tf.__version__
    v1 = inspect_file(folder / "saved-v1")
    assert (v1.inputs, v1.outputs) == (("x (x:0)",), ("y (y:0)",))


def test_litert_models_hold_what_the_interpreter_lists(good):
    folder, _ = good
    content = (folder / "lite.tflite").read_bytes()
    with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
        interpreter = tf.lite.Interpreter(model_content=content)
    report = inspect_file(folder / "lite.tflite")
    inputs = [d["name"] for d in interpreter.get_input_details()]
    assert list(report.inputs) == inputs
    listed = {
        d["name"]: (tuple(d["shape"].tolist()), np.dtype(d["dtype"]).name)
        for d in interpreter.get_tensor_details()
    }
    assert report.weights
    assert {n: shapes(report)[n] for n in shapes(report)}.items() <= listed.items()


def test_arrays_are_listed_as_their_libraries_read_them(good, tmp_path):
    folder, _ = good
    with np.load(folder / "arrays-float16.npz") as arrays:
        expected = {n: (arrays[n].shape, arrays[n].dtype.str) for n in arrays.files}
    assert shapes(inspect_file(folder / "arrays-float16.npz")) == expected
    path = tmp_path / "w.safetensors"
    safetensors.numpy.save_file({"a": np.ones((2, 3)), "b": np.zeros(0, "int8")}, path)
    assert shapes(inspect_file(path)) == {"a": ((2, 3), "F64"), "b": ((0,), "I8")}


def test_onnx_models_list_inputs_weights_and_outputs(good):
    folder, _ = good
    report = inspect_file(folder / "by-hand.onnx")
    assert (report.inputs, report.outputs) == (("x",), ("y",))
    assert shapes(report) == {"w": ((2,), "float32")}
    assert report.versions == {"ONNX format": "8", "by": "by hand"}


# Bad input


def test_cut_files_give_a_report(good, tmp_path):
    _, paths = good
    files = [p for p in paths if p.is_file()]
    chosen = [p for p in files if not p.name.startswith(("layer", "kernel", "loss"))]
    seen = 0
    for path in chosen[::2]:
        data = path.read_bytes()
        for share in (0.05, 0.5, 0.97):
            cut = tmp_path / f"cut-{path.name}"
            cut.write_bytes(data[: int(share * len(data))])
            report = inspect_file(cut)
            assert CRASHED not in texts(report), (path.name, share, texts(report))
            if path.suffix in (".keras", ".h5", ".safetensors", ".npz", ".index"):
                assert not report.is_harmless, (path.name, share)
            seen += 1
    assert seen > 100


def test_files_with_bytes_changed_give_a_report(good, tmp_path):
    _, paths = good
    rng = random.Random(7)
    files = [p for p in paths if p.is_file() and p.stat().st_size < 100_000]
    for number in range(400):
        data = bytearray(rng.choice(files).read_bytes())
        for _ in range(rng.choice((1, 4, 32))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = tmp_path / "changed"
        path.write_bytes(data)
        report = inspect_file(path)
        assert CRASHED not in texts(report), (number, report.kind, texts(report))
        assert str(report)


def test_what_is_empty_or_incomplete_is_said_to_be(good, tmp_path):
    (tmp_path / "empty.keras").touch()
    report = inspect_file(tmp_path / "empty.keras")
    assert (report.kind, report.size) == ("empty file", 0)
    assert "is empty: 0 bytes" in texts(report)
    (tmp_path / "folder").mkdir()
    report = inspect_file(tmp_path / "folder")
    assert "a SavedModel has saved_model.pb" in texts(report)
    assert "here is nothing" in texts(report)
    half = tmp_path / "half"
    half.mkdir()
    source = good[0] / "saved-keras" / "saved_model.pb"
    (half / "saved_model.pb").write_bytes(source.read_bytes())
    assert "the weights are missing" in texts(inspect_file(half))
    index = good[0] / "v1" / "model.ckpt.index"
    (tmp_path / "lone.index").write_bytes(index.read_bytes())
    assert "is missing: the numbers are in it" in texts(inspect_file(tmp_path / "lone"))
    with pytest.raises(FileNotFoundError, match=r"`filepath` must name .*nowhere"):
        inspect_file(tmp_path / "nowhere.keras")


def test_large_and_odd_files_are_not_read_through(tmp_path):
    sparse = tmp_path / "sparse.keras"
    with sparse.open("wb") as file:
        file.truncate(10 * 2**30)
    report = inspect_file(sparse)
    assert report.size == 10 * 2**30
    assert not report.is_harmless
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in texts(inspect_file(tmp_path / "pipe"))


def test_a_large_honest_file_is_read_within_limits(tmp_path):
    """A sparse 3 GB `.npz`-like archive would be slow; weights of 600 MB are not."""
    path = tmp_path / "large.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", (150_000_000,), "float32")
        file["layers/dense/vars/0"][-1] = 1.0
    report = inspect_file(path)
    assert report.is_harmless
    assert "weights: 1 arrays, 150000000 numbers" in report.keeps


def test_checkpoints_of_the_workbench_are_checked_by_their_manifest(good, tmp_path):
    report = inspect_file(good[0] / "own")
    assert report.kind == "workbench checkpoint"
    assert any(line.startswith("optimizer state") for line in report.keeps)
    assert any(line.startswith("place in the data") for line in report.keeps)
    newest = max(path for path in (good[0] / "own").iterdir() if path.is_dir())
    for old, new, text in (
        (b'"steps"', b'"stepz"', "its SHA-256 is another"),
        (b'"format": 1', b'"format": 9', "has the format 9, newer than 1"),
    ):
        copy = tmp_path / newest.name
        shutil.copytree(newest, copy)
        manifest = copy / "manifest.json"
        assert old in manifest.read_bytes()
        manifest.write_bytes(manifest.read_bytes().replace(old, new))
        assert text in texts(inspect_file(copy))
        shutil.rmtree(copy)


@pytest.mark.parametrize("version", ["earliest", "v108", "v110", "latest"])
@pytest.mark.parametrize("packed", [None, "gzip"])
def test_hdf5_of_every_age_is_read_as_the_library_reads_it(tmp_path, version, packed):
    path, rng = tmp_path / "x.h5", np.random.default_rng(0)
    with h5py.File(path, "w", libver=(version, "latest")) as file:
        file.attrs["keras_version"] = "3.0"
        for name, dtype in (("a/b/c", "float64"), ("a/d", "uint8"), ("e", "int32")):
            data = rng.integers(0, 9, (300, 40)).astype(dtype)
            file.create_dataset(name, data=data, compression=packed)
        file["number"] = np.float16(1)
        file["text"] = "abc"
        file["truth"] = np.array([True])
    report = inspect_file(path)
    assert report.is_harmless, texts(report)
    expected = {
        "a/b/c": ((300, 40), "float64"),
        "a/d": ((300, 40), "uint8"),
        "e": ((300, 40), "int32"),
        "number": ((), "float16"),
        "text": ((), "str"),
        "truth": ((1,), "bool"),
    }
    assert shapes(report) == expected
    assert report.versions["Keras"] == "3.0"


def test_groups_of_many_links_are_read(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for i in range(3000):
            file[f"g{i % 7}/v{i}"] = float(i)
    report = inspect_file(path)
    assert {w.name for w in report.weights} == {f"g{i % 7}/v{i}" for i in range(3000)}
    assert report.is_harmless


def test_a_wrong_ending_is_noticed(good, tmp_path):
    renamed = tmp_path / "model.h5"
    renamed.write_bytes((good[0] / "model-image.keras").read_bytes())
    report = inspect_file(renamed)
    assert report.kind == "Keras model (.keras)"
    assert "The name ends in .h5, the content is another." in report.notes


def test_too_many_parts_and_too_much_time_are_refused():
    budget = Budget(seconds=-1)
    with pytest.raises(ValueError, match="takes too long"):
        for _ in range(100):
            budget.check()


# The parts


def test_varints_are_those_of_protocol_buffers():
    for value in (0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1):
        data = hostile_graphs.varint(value)
        assert wire.varint(data, 0) == (value, len(data))
    with pytest.raises(DamagedError):
        wire.varint(b"\xff" * 11, 0)


def test_fields_do_not_reach_beyond_their_message():
    source = BytesSource(b"\x0a\x05ab")
    with pytest.raises(DamagedError, match="beyond"):
        list(wire.fields(source, 0, 4, Budget()))


def test_snappy_unpacks_by_its_description():
    # "ab" as it is, then six bytes from two bytes back.
    assert snappy.decompress(
        bytes([8, 1 << 2]) + b"ab" + bytes([2 << 2 | 1, 2]), 99
    ) == (b"abababab")
    long = bytes([200, 1, 60 << 2, 99]) + bytes(100) + bytes([63 << 2 | 2, 100, 0])
    assert snappy.decompress(long + bytes([35 << 2 | 2, 1, 0]), 999) == bytes(200)
    for broken in (bytes([8, 1, 5]), bytes([3, 1 << 2]) + b"ab", bytes([2, 1, 9])):
        with pytest.raises(DamagedError):
            snappy.decompress(broken, 99)


def test_reports_print_without_what_a_terminal_would_obey():
    risk = Risk("", "a\x1b[31m", "<b>\r")
    report = FileReport("x.keras", "Keras model", 3, keeps=("a\nb",), risks=(risk,))
    assert "\x1b" not in str(report)
    assert "\r" not in str(report)
    assert "&lt;b&gt;" in report._repr_html_()


def test_reports_read_well(good):
    text = str(inspect_file(good[0] / "model-image.keras"))
    lines = text.splitlines()
    assert "Keras model (.keras)" in lines[0]
    assert "Risks: none found" in lines
    assert any(line.startswith("loses") and "random state" in line for line in lines)


def test_importing_loads_no_tensorflow():
    code = (
        "import sys, workbench.formats as f; f.inspect_file('README.md');"
        "sys.exit(bool({'tensorflow', 'keras', 'numpy', 'h5py'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert result.returncode == 0


def test_the_command_prints_reports_and_says_by_its_code(good, bad, capsys):
    fine = str(good[0] / "model-image.keras")
    assert command.main(["inspect", fine]) == 0
    assert "Keras model (.keras)" in capsys.readouterr().out
    assert command.main(["inspect", fine, str(bad[0] / "zip-up.keras")]) == 1
    assert "outside the folder" in capsys.readouterr().out
    assert command.main(["inspect", "nowhere"]) == 2
    assert "`filepath` must name" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([])


def test_the_command_runs_as_a_module(bad):
    path = str(bad[0] / "pickle-system-2.pkl")
    result = subprocess.run(
        [sys.executable, "-m", "workbench", "inspect", path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert "calls posix.system" in result.stdout
    assert result.stderr == ""


def test_archives_are_read_where_they_lie(good, tmp_path):
    """Stored weights of an archive are not copied into memory."""
    path = tmp_path / "m.keras"
    config = hostile.sequential(hostile.dense())
    members = hostile.keras_members(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert inspect_file(path).is_harmless

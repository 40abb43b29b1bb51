"""Model files that would do harm when loaded, each written by a few lines.

Their harm is for show: at the worst one would write a marker into its own folder. No
test loads one. `write_all(folder)` writes them; the names tell what is wrong.
"""

import base64
import io
import json
import marshal
import pickle
import struct
import zipfile

import h5py
import numpy as np

from tests import hostile_graphs

MARKER = "marker-of-a-hostile-file"
_BYTECODE = (lambda _: __import__("pathlib").Path(MARKER).touch()).__code__
CODE = base64.b64encode(marshal.dumps(_BYTECODE)).decode()


def layer(name, config, module="keras.layers", registered=None, **more):
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": registered,
        **more,
    }


def function(name, module="builtins", registered=None):
    return layer("function", name, module, registered or name)


def lambda_value():
    value = {"code": CODE, "defaults": None, "closure": None}
    return {"class_name": "__lambda__", "config": {"value": value}}


def dense(**config):
    return layer("Dense", {"units": 2, "name": "dense", **config})


PAYLOADS = {
    "lambda": layer("Lambda", {"name": "l", "function": lambda_value()}),
    "lambda-old": layer(
        "Lambda", {"function": [CODE, None, None], "function_type": "lambda"}
    ),
    "lambda-module": layer("Lambda", {"function": "system", "module": "os"}),
    "lambda-as-activation": dense(activation=lambda_value()),
    "lambda-as-initializer": dense(kernel_initializer=lambda_value()),
    "os-system": dense(activation=function("system", "os")),
    "builtin-eval": dense(activation=function("eval", "builtins")),
    "popen": layer("Popen", {"args": ["touch", MARKER]}, "subprocess"),
    "runpy": dense(kernel_regularizer=function("run_path", "runpy")),
    "get-file": dense(activation=function("get_file", "keras.utils")),
    "load-model": dense(activation=function("load_model", "keras.models")),
    "unsafe-on": dense(
        activation=function("enable_unsafe_deserialization", "keras.config")
    ),
    "func-load": dense(
        activation=function("func_load", "keras.src.utils.python_utils")
    ),
    "other-registered-name": layer("Dense", {"units": 2}, registered="other>Dense"),
    "function-registered": dense(activation=function("relu", registered="other>relu")),
    "tfsm": layer("TFSMLayer", {"filepath": "elsewhere", "name": "t"}),
    "torch": layer("TorchModuleWrapper", {"module": CODE}),
    "jax": layer("JaxLayer", {"call_fn": lambda_value()}),
    "custom": layer("Evil", {}, "my_package.layers", "my_package>Evil"),
    "custom-no-module": layer("Evil", {}, None, "my_package>Evil"),
    "unknown-keras": layer("NoSuchLayer", {}),
    "keras-source": layer("KerasFileEditor", {}, "keras.src.saving.file_editor"),
    "false-workbench": layer(
        "Evil", {}, "workbench.clipping.methods", "workbench>Evil"
    ),
    "workbench-outside": layer("ByNorm", {}, "workbench.os", "workbench>ByNorm"),
    "vocabulary-absolute": layer("StringLookup", {"vocabulary": "/etc/hostname"}),
    "vocabulary-home": layer("TextVectorization", {"vocabulary": "~/.netrc"}),
    "vocabulary-relative": layer("IntegerLookup", {"vocabulary": "secret.txt"}),
    "vocabulary-url": layer("StringLookup", {"vocabulary": "http://127.0.0.1:1/x"}),
    "url": layer("Rescaling", {"scale": 1.0, "name": "https://example.org/x"}),
    "path-up": layer("Rescaling", {"scale": 1.0, "source": "a/../../b"}),
    "windows-path": layer("Rescaling", {"scale": 1.0, "source": "C:\\x"}),
    "typespec": {
        "class_name": "__typespec__",
        "spec_name": "Popen",
        "module": "subprocess",
        "config": [["x"]],
        "registered_name": None,
    },
    "no-name": layer(["Dense"], {}),
}


def sequential(*layers, **more):
    config = {"name": "model", "layers": list(layers)}
    return layer("Sequential", config, "keras", **more)


def deep(payload, times):
    for _ in range(times):
        payload = sequential(payload)
    return payload


POSITIONS = {
    "top": sequential,
    "nested": lambda payload: sequential(sequential(dense(), payload)),
    "wrapped": lambda payload: sequential(
        layer("TimeDistributed", {"layer": layer("Bidirectional", {"layer": payload})})
    ),
    "compiled": lambda payload: sequential(
        dense(), compile_config={"optimizer": "adam", "loss": {"a": [payload]}}
    ),
    "twenty-deep": lambda payload: deep(payload, 20),
}


def weights(write=None):
    """The bytes of a small weights file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 2), "float32")
        if write:
            write(file)
    return buffer.getvalue()


def keras_members(config, content=None):
    return {
        "metadata.json": json.dumps({"keras_version": "3.15.1"}),
        "config.json": config if isinstance(config, str) else json.dumps(config),
        "model.weights.h5": weights() if content is None else content,
    }


def zipped(members, method=zipfile.ZIP_STORED):
    """The bytes of an archive of a dict, or of pairs of ZipInfo or name and bytes."""
    buffer = io.BytesIO()
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in pairs:
            archive.writestr(name, data)
    return buffer.getvalue()


def h5_model(config, write=None):
    def add(file):
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["model_config"] = json.dumps(config)
        if write:
            write(file)

    return weights(add)


CONTAINERS = {
    "stored.keras": lambda c: zipped(keras_members(c)),
    "rezipped.keras": lambda c: zipped(keras_members(c), zipfile.ZIP_DEFLATED),
    "renamed.bin": lambda c: zipped(keras_members(c)),
    "in-a.zip": lambda c: zipped({"model.keras": zipped(keras_members(c))}),
    "model.h5": h5_model,
    "renamed.npz": h5_model,
    "architecture.json": lambda c: json.dumps(c).encode(),
}


def configs():
    """Each payload in a container and a place of its own, and in the plainest."""
    kinds, places = list(CONTAINERS), list(POSITIONS)
    for number, (name, payload) in enumerate(PAYLOADS.items()):
        chosen = {("stored.keras", "top"), ("model.h5", "nested")}
        for step in range(3):
            kind = kinds[(number + step * 2) % len(kinds)]
            chosen.add((kind, places[(number + step) % len(places)]))
        for kind, place in sorted(chosen):
            yield (
                f"config-{name}-{place}-{kind}",
                CONTAINERS[kind](POSITIONS[place](payload)),
            )


def archives():
    good = keras_members(sequential(dense()))
    pairs = list(good.items())
    for label, name in {
        "up": "../x",
        "deep-up": "assets/../../x",
        "absolute": "/x",
        "drive": "C:x",
        "backslash": "assets\\..\\x",
        "home": "~/x",
        "pickle-member": "payload.pkl",
        "invisible": "assets/a\u202eb",
    }.items():
        yield f"zip-{label}.keras", zipped([*pairs, (name, b"x")])
        yield f"zip-{label}-packed.bin", zipped([*pairs, (name, b"x")], 8)
    for name in ("config.json", "Config.json", "metadata.json"):
        info = zipfile.ZipInfo(name)
        yield f"zip-twice-{name}.keras", _twice(pairs, info)
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = 0o120777 << 16
    yield "zip-link.keras", zipped([*pairs, (link, b"/etc/hostname")])
    bomb = ("assets/x", bytes(2 * 10**7))
    yield "zip-bomb.keras", zipped([*pairs, bomb], zipfile.ZIP_DEFLATED)
    spread = [(f"assets/{i}", bytes(400_000)) for i in range(20)]
    yield "zip-bomb-spread.keras", zipped([*pairs, *spread], zipfile.ZIP_DEFLATED)
    blank = json.dumps(sequential(dense())) + " " * (9 * 2**20)
    yield "zip-bomb-config.keras", zipped(keras_members(blank), zipfile.ZIP_DEFLATED)
    data = zipped(good)
    yield "zip-before.keras", b"#!/bin/sh\n" + data
    yield "zip-other-header.keras", data.replace(b"config.json", b"confix.json", 1)
    yield "zip-and-hdf5.h5", h5_model(sequential(PAYLOADS["lambda"])) + data
    yield "zip-encrypted.keras", _encrypted(data)
    yield "zip-no-weights.keras", zipped(pairs[:2])
    yield "zip-weights-no-hdf5.keras", zipped(keras_members(sequential(dense()), b"x"))
    names = '{"class_name": "Lambda", "class_name": "Dense", "config": {"units": 1}}'
    yield "json-twice.json", names.encode()
    yield "json-twice.keras", zipped(keras_members(names))
    yield "json-deep.json", b'{"class_name":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    newer = dict(good, **{"metadata.json": '{"keras_version": "4.0.0"}'})
    yield "newer.keras", zipped(newer)


def _twice(pairs, info):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the double name
        return zipped([*pairs, (info, b"{}")])


def _encrypted(data):
    changed = bytearray(data)
    for mark, skip in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            changed[at + skip] |= 1
            at = data.find(mark, at + 4)
    return bytes(changed)


def _external(file):
    kind = [("other.bin", 0, 800)]
    file.create_dataset("layers/x/vars/0", (200,), "float32", external=kind)


def _virtual(file):
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource("other.h5", "a", shape=(4,))
    file.create_virtual_dataset("layers/x/vars/0", layout)


def _plugin(file):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, plist)


def _cycle(file):
    file["layers/dense/back"] = file["layers"]


HDF5 = {
    "external-link": lambda f: f.update({"layers/x": h5py.ExternalLink("o.h5", "/a")}),
    "external-link-top": lambda f: f.update({"x": h5py.ExternalLink("/o.h5", "/a")}),
    "external-link-deep": lambda f: f.update(
        {"layers/a/b/c/d/vars": h5py.ExternalLink("o.h5", "/a")}
    ),
    "soft-link": lambda f: f.update({"layers/x": h5py.SoftLink("/layers/dense")}),
    "soft-link-deep": lambda f: f.update({"layers/a/b/0": h5py.SoftLink("/nowhere")}),
    "external-storage": _external,
    "virtual": _virtual,
    "claims-too-much": lambda f: f.create_dataset("layers/x/0", (10**10,), "float32"),
    "claims-chunks": lambda f: f.create_dataset(
        "layers/x/0", (10**10,), "float32", chunks=(1000,)
    ),
    "packed-bomb": lambda f: f.create_dataset(
        "layers/x/0", data=np.zeros(2**22, "u1"), compression="gzip"
    ),
    "plugin": _plugin,
    "cycle": _cycle,
}


def hdf5_files():
    config = sequential(dense())
    for name, write in HDF5.items():
        yield f"hdf5-{name}.weights.h5", weights(write)
        yield f"hdf5-{name}.h5", h5_model(config, write)
        inside = zipped(keras_members(config, weights(write)))
        yield f"hdf5-{name}.keras", inside
        yield f"hdf5-{name}-renamed.npz", weights(write)
    yield "hdf5-user-block.h5", bytes(512) + h5_model(sequential(PAYLOADS["lambda"]))


class _Reduced:
    def __init__(self, call, *arguments):
        self._reduced = call, arguments

    def __reduce__(self):
        return self._reduced


def pickles():
    import os

    calls = {
        "system": _Reduced(os.system, f"touch {MARKER}"),
        "eval": _Reduced(eval, "1"),
        "open": _Reduced(open, MARKER, "w"),
        "nested": {"weights": [np.ones(2), (1, {"a": _Reduced(exec, "pass")})]},
    }
    for name, value in calls.items():
        for protocol in range(6):
            yield f"pickle-{name}-{protocol}.pkl", pickle.dumps(value, protocol)
    yield "pickle-renamed.h5", pickle.dumps(calls["system"])
    torch = {"archive/data.pkl": pickle.dumps(calls["eval"]), "archive/version": "3"}
    yield "pickle-torch.pt", zipped(torch)
    yield "pickle-stack.pkl", b"\x80\x04\x8c\x02os\x8c\x06systemh\x00h\x01\x93."
    yield "pickle-persistent.pkl", b"\x80\x02X\x01\x00\x00\x00aQ."
    for name in ("system", "nested"):
        array = np.array([calls[name]], dtype=object)
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        yield f"numpy-{name}.npy", buffer.getvalue()
        yield f"numpy-{name}.npz", zipped({"a.npy": buffer.getvalue()})
    yield "numpy-member.npz", zipped({"a.npy": pickle.dumps(calls["eval"]), "b": b""})


def tensors():
    def safetensors(header, size):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + bytes(size)

    def entry(start, stop, shape=(2,)):
        return {"dtype": "F32", "shape": list(shape), "data_offsets": [start, stop]}

    overlap = {"a": entry(0, 8), "b": entry(4, 12)}
    yield "safetensors-overlap.safetensors", safetensors(overlap, 12)
    yield "safetensors-beyond.safetensors", safetensors({"a": entry(0, 8)}, 4)
    big = {"a": entry(0, 8, (10**9,))}
    yield "safetensors-claims.safetensors", safetensors(big, 8)
    yield "safetensors-gap.safetensors", safetensors({"a": entry(4, 12)}, 12)
    yield "safetensors-header.safetensors", struct.pack("<Q", 2**30) + b"{}" + bytes(9)


def shards():
    for name, file in {
        "up": "../x.weights.h5",
        "absolute": "/x.weights.h5",
        "missing": "x.weights.h5",
        "other": "x.txt",
        "linked": "hdf5-external-link.weights.h5",
    }.items():
        listed = {"metadata": {}, "weight_map": {"/layers/dense/vars": [file]}}
        yield f"shards-{name}.weights.json", json.dumps(listed).encode()


def write_all(folder):
    """Writes all of them and returns their paths, folders among them."""
    paths = []
    for family in (configs, archives, hdf5_files, pickles, tensors, shards):
        for name, data in family():
            path = folder / name
            path.write_bytes(data)
            paths.append(path)
    paths += hostile_graphs.write_all(folder)
    return paths

"""Loads Keras models, those that inspection finds harmless."""

import contextlib
import importlib
import pathlib
import shutil
import tempfile

import keras

from workbench.formats.inspecting import inspect_file

_KINDS = {
    "Keras model (.keras)": ".keras",
    "Keras model in HDF5 (.h5)": ".h5",
    "Keras model (.keras), unpacked": "",
}
_REMEDIES = (
    ("SavedModel", "use tf.saved_model.load, or keras.layers.TFSMLayer in a new model"),
    ("TensorFlow graph", "use workbench.formats.load_graph"),
    ("TensorFlow MetaGraph", "use tf.compat.v1.train.import_meta_graph"),
    ("TensorFlow checkpoint", "build the model, then workbench.formats.move_weights"),
    ("Keras weights", "build the model, then model.load_weights"),
    ("Keras architecture", "use keras.models.model_from_json; it has no weights"),
    ("workbench checkpoint", "run the same workbench.checkpoints.fit line again"),
    ("LiteRT", "use tf.lite.Interpreter"),
    ("ONNX", "use onnxruntime.InferenceSession"),
    ("safetensors", "build the model, then workbench.formats.move_weights"),
    ("NumPy", "build the model, then workbench.formats.move_weights"),
)


class RiskyFileError(ValueError):
    """A file that is not loaded because of what loading it would do.

    Attributes:
        report: `FileReport` that says why.
    """

    def __init__(self, report, reasons):
        self.report = report
        lines = [f"- {r.where}: {r.text}" for r in reasons[:8]]
        if len(reasons) > 8:
            lines.append(f"- and {len(reasons) - 8} more")
        message = f"`filepath` is not loaded. Received: {report.filepath}\n"
        super().__init__(message + "\n".join(lines) + "\n" + _ways_out(reasons))


def _ways_out(reasons):
    if any(not reason.name for reason in reasons):
        return "No trust helps against this: get the file again from where it was made."
    names = list(dict.fromkeys(reason.name for reason in reasons))
    classes = [
        n.split(" ", 1)[1] for n in names if n.startswith(("class ", "function "))
    ]
    lines = []
    if classes:
        objects = ", ".join(f'"{_bare(name)}": …' for name in classes)
        lines.append(f"Bring their code along: custom_objects={{{objects}}}.")
    others = [n for n in names if not n.startswith(("class ", "function "))]
    if others:
        lines.append(
            "To go on you would have to trust whoever made the file with this machine: "
            f"trust={others}."
        )
    return "\n".join(lines)


def _bare(name):
    return name.rpartition(">")[2].rpartition(".")[2]


def check(report, trust=(), custom_objects=None):
    """Raises `RiskyFileError` unless all risks of a report are trusted.

    Args:
        report: `FileReport`.
        trust: Collection of str, names of risks.
        custom_objects: dict name -> class or function that the reader brings along.
    """
    reasons = [
        risk
        for risk in report.risks
        if not risk.name
        or not (risk.name in trust or _is_brought(risk.name, custom_objects or {}))
    ]
    if reasons:
        raise RiskyFileError(report, reasons)


def _is_brought(name, custom_objects):
    """Whether Keras would find a class with the reader and not with the file."""
    kind, _, label = name.partition(" ")
    if kind not in ("class", "function"):
        return False
    if label in custom_objects or _bare(label) in custom_objects:
        return True
    return keras.saving.get_registered_object(label) is not None


def load_model(filepath, *, custom_objects=None, trust=(), compile=True):  # noqa: A002
    """Loads a Keras model if looking into its file finds nothing against it.

    The workbench's own classes are known; the reader's are those registered with Keras
    or passed in. The file is recognised by its content, not by its name.

    Args:
        filepath: str or path of a `.keras` or `.h5` file of a whole model.
        custom_objects: dict name -> class or function, as for Keras.
        trust: Collection of str, the `name` of each risk to accept, such as "Lambda":
            its code then runs.
        compile: bool, whether the model gets its optimizer back, as for Keras.

    Returns:
        `keras.Model`.

    Raises:
        RiskyFileError: If something speaks against loading it; it says what, and what
            the reader would have to trust.
        ValueError: If the file is no whole Keras model.
    """
    if isinstance(trust, str):
        raise TypeError(f'`trust` must be a list of names. Received: trust="{trust}"')
    report = inspect_file(filepath)
    suffix = _KINDS.get(report.kind)
    if suffix is None and report.is_harmless:
        raise ValueError(
            f"`filepath` must be a whole Keras model; it is {report.kind}: "
            f"{_remedy(report.kind)}. Received: filepath={filepath}"
        )
    check(report, trust, custom_objects)
    for module in report.modules:
        # The classes register themselves with Keras.
        importlib.import_module(module)
    unsafe = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
    with _named(pathlib.Path(filepath), suffix) as path:
        return keras.saving.load_model(
            path,
            custom_objects=custom_objects,
            compile=compile,
            safe_mode=not unsafe & set(trust),
        )


def _remedy(kind):
    for begin, remedy in _REMEDIES:
        if kind.startswith(begin):
            return remedy
    return "see workbench.formats.inspect_file"


@contextlib.contextmanager
def _named(path, suffix):
    """Yields a path that ends as Keras wants it, of a copy where it does not."""
    if suffix in ("", None) or path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / f"model{suffix}"
        shutil.copyfile(path, copy)
        yield copy

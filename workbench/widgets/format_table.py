"""A panel that looks into model files, and measures what each format keeps."""

import math
import pathlib
import threading

import traitlets

from workbench import formats, plots
from workbench.formats.ways import all_ways
from workbench.plots.formats import plot_comparison, plot_report
from workbench.steps import ThreadState
from workbench.widgets.format_view import FormatView
from workbench.widgets.panel import Panel, shows_errors

_MOST_LISTED = 200
_SUFFIXES = {
    ".keras",
    ".h5",
    ".hdf5",
    ".pb",
    ".pbtxt",
    ".meta",
    ".index",
    ".ckpt",
    ".tflite",
    ".onnx",
    ".safetensors",
    ".npz",
    ".npy",
    ".pkl",
    ".pickle",
    ".pt",
    ".json",
    ".zip",
    ".bin",
}
_BEAT_SECONDS = 0.25
_CLOSING_SECONDS = 30.0


class _EndedError(Exception):
    """The panel was closed while a comparison ran."""


class FormatTable(Panel):
    """Looks into model files, and compares formats on the reader's model.

    **Look into it** shows what a file is, keeps, loses and would do when loaded,
    without loading it. **Compare formats** saves the model in each chosen format,
    loads it again and shows what came back; the files stay, to be looked into.

    Every control is a trait; setting it from Python does what the mouse does, and
    `look()`, `refresh()` and `compare()` are the buttons.

    Attributes:
        filepath: Trait, str, the file that is looked into; setting it looks.
        report: Trait, `workbench.formats.FileReport`, None before the first look. Read
            only, as all that follow but `chosen`.
        chosen: Trait, tuple of str, the formats to compare.
        comparing: Trait, bool.
        compared: Trait, float in [0, 1], how much of it is done.
        comparison: `workbench.formats.FormatComparison`, or None.
        error: Trait, str, what went wrong in a callback or a comparison, else "".

    Args:
        folder: str or path, whose files are offered, and where compared ones go.
        model: Built `keras.Model` to compare formats on, or None.
        data: `(x, y)` of a few samples for it, or None for random ones.
        custom_objects: dict name -> class or function of the reader's, as for Keras.

    Raises:
        ValueError: If there is no such folder.
    """

    filepath = traitlets.Unicode("")
    report = traitlets.Instance(formats.FileReport, allow_none=True)
    chosen = traitlets.Tuple()
    comparing = traitlets.Bool()
    compared = traitlets.Float()

    comparison = None
    _worker = None
    _failure = None
    _ending = False
    _step = 0, ""

    def __init__(self, folder=".", model=None, data=None, *, custom_objects=None):
        self._folder = pathlib.Path(folder)
        if not self._folder.is_dir():
            raise ValueError(
                f"`folder` must be a folder that exists. Received: folder={folder}"
            )
        self._model, self._data, self._custom_objects = model, data, custom_objects
        names = list(all_ways())
        self._view = FormatView(names, has_model=model is not None)
        super().__init__(self._view.rows)
        self.chosen = tuple(names)
        self.refresh()
        self._connect()
        self._start_beat()

    def _connect(self):
        super()._connect()
        view = self._view
        traitlets.link((self, "filepath"), (view.filepath, "value"))
        traitlets.link((self, "chosen"), (view.chosen, "value"))
        self.observe(self._on_filepath, "filepath")
        view.found.observe(self._on_found, "value")
        for name, button in (
            ("look", view.look),
            ("refresh", view.again),
            ("compare", view.compare),
        ):
            button.on_click(lambda _button, name=name: self._on_click(name))

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal):
        names = list(all_ways())
        if not set(proposal["value"]) <= set(names):
            raise ValueError(
                f"`chosen` must name formats among {names}. Received: "
                f"chosen={proposal['value']}"
            )
        return proposal["value"]

    # What the reader does

    def look(self):
        """Looks into the file that `filepath` names, and shows what was found.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If no file is named.
        """
        if not self.filepath:
            raise ValueError("`filepath` must name a file. Received: filepath=''")
        self.report = formats.inspect_file(self.filepath)
        self._view.show_report(self.report)

    def refresh(self):
        """Lists the model files of the folder again."""
        self._view.found.options = [
            ("choose …", ""),
            *((str(p.relative_to(self._folder)), str(p)) for p in _list(self._folder)),
        ]

    def compare(self):
        """Compares the chosen formats in the background; returns at once.

        Raises:
            RuntimeError: If a comparison runs already.
            ValueError: If there is no model, or no format is chosen.
        """
        if self._model is None:
            raise ValueError(
                "`model` must be given to compare formats: FormatTable(folder, model). "
                "Received: model=None"
            )
        if not self.chosen:
            raise ValueError("`chosen` must name a format. Received: chosen=()")
        if self.comparing:
            raise RuntimeError("A comparison runs already; wait until it has ended.")
        self._failure, self._step = None, (0, self.chosen[0])
        self.compared, self.comparing = 0.0, True
        self._worker = threading.Thread(
            target=self._work,
            args=(ThreadState(), _free(self._folder), self.chosen),
            name="workbench-formats",
            daemon=True,
        )
        self._worker.start()
        self._wake.set()

    @shows_errors
    def _on_click(self, name):
        getattr(self, name)()

    @shows_errors
    def _on_filepath(self, _change):
        if self.filepath:
            self.look()

    @shows_errors
    def _on_found(self, change):
        if change["new"]:
            self.filepath = change["new"]

    # What the comparison does

    def _work(self, state, folder, chosen):
        state.adopt()
        try:
            self.comparison = formats.compare_formats(
                self._model,
                folder,
                self._data,
                formats=chosen,
                custom_objects=self._custom_objects,
                progress=self._progress,
            )
        except _EndedError:
            pass
        except Exception as error:  # noqa: BLE001, in a thread it would go unseen
            self._failure = error

    def _progress(self, number, name):
        if self._ending:
            raise _EndedError
        self._step = number, name

    def _beat(self):
        worker = self._worker
        if worker is None:
            return math.inf
        done = not worker.is_alive()
        number, name = self._step
        count = len(self.comparison.results) if done and self.comparison else 0
        self.compared = 1.0 if done else number / max(len(self.chosen), 1)
        text = f"Measured {count} formats." if done else f"Measuring {name} …"
        if done:
            self._worker = None
            if self._failure is not None:
                text = "It ended with an error."
                self.error = f"{type(self._failure).__name__}: {self._failure}"
            elif self.comparison is not None:
                self._view.show_comparison(self.comparison)
                self.refresh()
            self.comparing = False
        self._view.show_progress(self.compared, text, active=not done)
        return math.inf if done else _BEAT_SECONDS

    def _picture(self):
        if self.comparison is not None:
            return plots.to_png(plot_comparison(self.comparison))
        if self.report is not None:
            return plots.to_png(plot_report(self.report))
        return None

    def close(self):
        """Ends a comparison after its format, and closes the panel."""
        worker, self._ending = self._worker, True
        if worker is not None:
            worker.join(_CLOSING_SECONDS)
        super().close()

    def __repr__(self):
        return (
            "FormatTable(folder)"
            if self._model is None
            else "FormatTable(folder, model)"
        )


def _list(folder):
    """Files and folders that may be models, two levels deep, sorted."""
    found = []
    for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")):
        if path.name.startswith(".") or len(found) >= _MOST_LISTED:
            continue
        is_model = path.suffix.lower() in _SUFFIXES and path.is_file()
        if is_model or (path / "saved_model.pb").is_file():
            found.append(path)
    return found


def _free(folder):
    """A subfolder that is not there yet."""
    number = 1
    while (folder / f"compared-{number}").exists():
        number += 1
    return folder / f"compared-{number}"

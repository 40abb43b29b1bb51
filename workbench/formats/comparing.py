"""What each way to save a model keeps, measured on the reader's own model."""

import dataclasses
import pathlib
import textwrap
import time

import keras
import numpy as np

from workbench.formats import advice
from workbench.formats.comparison import FormatComparison, FormatResult
from workbench.formats.converting import largest_difference
from workbench.formats.loading import RiskyFileError
from workbench.formats.samples import sample_inputs, sample_targets
from workbench.formats.ways import all_ways


def compare_formats(
    model, folder, data=None, *, formats=None, custom_objects=None, progress=None
):
    """Saves a model in every format, loads it again, and measures what came back.

    The model itself is only read. It needs some seconds for each format.

    Args:
        model: Built `keras.Model`; compiled, to see what becomes of the optimizer.
        folder: str or path, where the files go; is made if it is not there.
        data: `(x, y)` of a few samples for outputs and the training step; None for
            random ones that fit the model's shapes.
        formats: Sequence of names, such as `(".keras", "SavedModel")`; None for all.
        custom_objects: dict name -> class or function of the reader's, as for Keras.
        progress: Callable that takes the number of formats done and the name of the
            next.

    Returns:
        `FormatComparison`.

    Raises:
        FileExistsError: If something of these names is in the folder.
        ValueError: If the model is not built, or a name is none.
    """
    ways = _chosen(formats, custom_objects)
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            "`model` must be a built keras.Model: call it once, or give it an Input. "
            f"Received: model={model!r}"
        )
    folder = pathlib.Path(folder)
    for way in ways:
        if (folder / way.filename).exists():
            raise FileExistsError(
                f"`folder` must not hold {way.filename} yet; name another folder. "
                f"Received: folder={folder}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    with advice.held_back():
        original = _Original(model, data)
        for number, way in enumerate(ways):
            if progress is not None:
                progress(number, way.name)
            results.append(_measure(way, original, folder / way.filename))
    return FormatComparison(tuple(results), tuple(original.notes))


def _chosen(formats, custom_objects):
    ways = all_ways(custom_objects)
    names = list(ways) if formats is None else list(formats)
    unknown = [name for name in names if name not in ways]
    if unknown or isinstance(formats, str):
        raise ValueError(
            f"`formats` must be names among {list(ways)}. Received: formats={formats}"
        )
    return [ways[name] for name in names]


class _Original:
    """The model, and what is compared with: read once, never changed."""

    def __init__(self, model, data):
        self.model, self.notes = model, []
        self.x = sample_inputs(model) if data is None else data[0]
        # A copy: a call may change the states of seeds and of normalization.
        self.outputs = _clone_with_weights(model)(self.x, training=False)
        self.weights = [np.array(v) for v in _weights(model)]
        self.optimizer, self.is_optimizer_built = None, False
        if getattr(model, "optimizer", None) is not None:
            self.is_optimizer_built = model.optimizer.built
            self.optimizer = [np.array(v) for v in model.optimizer.variables]
        self.after = self._train(data)

    def twin(self):
        """Returns a model of the same structure, compiled, with other weights."""
        twin = _clone(self.model)
        if self.optimizer is None:
            return twin
        arguments = dict(self.model._compile_config.config)
        optimizer = self.model.optimizer
        arguments["optimizer"] = type(optimizer).from_config(optimizer.get_config())
        twin.compile(**arguments)
        if self.is_optimizer_built:
            twin.optimizer.build(twin.trainable_variables)
        return twin

    def _train(self, data):
        """Returns the weights after one step of an exact copy, None without one."""
        self.y = None
        if self.optimizer is None:
            self.notes.append("The model is not compiled: no optimizer, no next step.")
            return None
        try:
            copy = self.twin()
            self.y = (
                sample_targets(self.model, self.outputs) if data is None else data[1]
            )
            _assign(copy.variables, self.model.variables)
            _assign(copy.optimizer.variables, self.optimizer)
            return one_step(copy, self.x, self.y)
        except Exception as error:  # noqa: BLE001, whatever the reader's model raises
            text = str(error).splitlines()[0]
            self.notes.append(
                "The next step is not measured: a copy of the model cannot be trained "
                f"({type(error).__name__}: {text}). Pass `data=(x, y)` that fits."
            )
            return None


def _clone(model):
    # Keras would compile the clone itself, from what it can serialize.
    plain = object.__new__(type(model))
    vars(plain).update(vars(model), compiled=False)
    return keras.models.clone_model(plain)


def _clone_with_weights(model):
    clone = _clone(model)
    _assign(clone.variables, model.variables)
    return clone


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _weights(model):
    return [v for v in model.variables if "seed_generator" not in v.path]


def one_step(model, x, y):
    """Trains a model on one batch, without tracing; returns its weights after it."""
    model.run_eagerly = True
    model.train_on_batch(x, y)
    return [np.array(v) for v in _weights(model)]


def _measure(way, original, path):
    result = FormatResult(
        way.name, needs=way.needs, filepath=path, has_weights=way.keeps_weights
    )
    try:
        path.parent.mkdir(exist_ok=True)
        begin = time.perf_counter()
        way.save(original.model, path)
        saved = time.perf_counter()
        loaded = way.load(path, original.twin)
        call = way.call(path) if loaded is None else None
        ready = time.perf_counter()
        result = dataclasses.replace(
            result,
            size=_size(path),
            save_seconds=saved - begin,
            load_seconds=ready - saved,
        )
        if loaded is not None:
            return _measure_model(result, way, loaded, original)
        outputs = call(original.x)
        arrays = way.arrays(path)
        return dataclasses.replace(
            result,
            outputs=largest_difference(original.outputs, outputs),
            weights=None if arrays is None else _found(original.weights, arrays),
        )
    except Exception as error:  # noqa: BLE001, a row of the table says what it was
        return dataclasses.replace(result, error=_first_line(error))


def _first_line(error):
    lines = str(error).splitlines() or [""]
    # A refusal ends with what to do about it.
    line = f"{lines[1]}. {lines[-1]}" if isinstance(error, RiskyFileError) else lines[0]
    return f"{type(error).__name__}: {textwrap.shorten(line, 160, placeholder=' …')}"


def _measure_model(result, way, loaded, original):
    weights = [np.array(v) for v in _weights(loaded)]
    optimizer = getattr(loaded, "optimizer", None)
    slots = None
    if way.keeps_optimizer and None not in (optimizer, original.optimizer):
        slots = [np.array(v) for v in optimizer.variables]
        if not original.is_optimizer_built:
            slots = slots[: len(original.optimizer)]
    result = dataclasses.replace(
        result,
        outputs=largest_difference(
            original.outputs, loaded(original.x, training=False)
        ),
        weights=largest_difference(original.weights, weights)
        if way.keeps_weights
        else None,
        optimizer=None
        if slots is None
        else largest_difference(original.optimizer, slots),
    )
    if optimizer is None or original.after is None:
        return result
    try:
        after = one_step(loaded, original.x, original.y)
    except Exception as error:  # noqa: BLE001, what came back cannot train
        text = f"the next step fails: {_first_line(error)}"
        return dataclasses.replace(result, error=text)
    return dataclasses.replace(
        result, next_step=largest_difference(original.after, after)
    )


def _found(weights, arrays):
    """0.0 if every weight is among some arrays, else infinity."""
    left = [np.asarray(array) for array in arrays]
    for weight in weights:
        same = [i for i, a in enumerate(left) if a.shape == weight.shape]
        match = next((i for i in same if np.array_equal(left[i], weight)), None)
        if match is None:
            return float("inf")
        left.pop(match)
    return 0.0


def _size(path):
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    if path.is_file():
        return path.stat().st_size
    return sum(f.stat().st_size for f in path.parent.glob(f"{path.name}.*"))

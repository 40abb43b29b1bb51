"""A panel that shows what every layer of a model puts out, unit by unit."""

import difflib
import functools
import math

import traitlets

from workbench.activations.strongest import ranked
from workbench.plots import tiles
from workbench.steps import ThreadState
from workbench.widgets.activation_reading import ActivationReading
from workbench.widgets.activation_view import NUM_STRONGEST, ActivationView
from workbench.widgets.panel import Panel, shows_errors


class _EndedError(Exception):
    """Raised in a search that nobody waits for any more."""


class ActivationExplorer(Panel):
    """Shows what each layer puts out for one input, each unit as a map.

    All layers are computed in one pass, so that changing the layer computes nothing. A
    channel is a map, a unit of a sequence a row over time, an attention head a map of
    queries and keys, a unit of a dense layer a single field. Values beyond the colors
    and NaN have colors of their own. The model is only read, never changed.

    Every control is a trait; setting it from Python does what the mouse does, and
    `refresh()` is the button.

    Attributes:
        layer: Trait, str, the output that is shown, as in `outputs`.
        image: Trait, int, index in `x`.
        unit: Trait, int, the unit that was clicked, None for none.
        scale: Trait, str, "unit", "layer" or "global": what shares one color scale.
        training: Trait, bool, whether the model is called as in training.
        page: Trait, int, which part of a layer that is too large to be shown at once.
        strongest: Trait, tuple of `(index, value)`, the inputs for which `unit` puts
            out its largest value; found in the background. Read only.
        error: Trait, str, what went wrong in a callback, else "".

    Args:
        model: `keras.Model`, compiled or not; an unbuilt one is built from `x`.
        x: Array `(N, …)`, or list or dict of arrays, as the model takes them.
        pre_activations: Whether what goes into activations is shown too.
        batch_size: Positive int, inputs per pass when looking for the strongest.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If `x` does not fit, is empty, or is no array.
    """

    layer = traitlets.Unicode("")
    image = traitlets.Int(0)
    unit = traitlets.Int(None, allow_none=True)
    scale = traitlets.Unicode("layer")
    training = traitlets.Bool(False)
    page = traitlets.Int(0)
    strongest = traitlets.Tuple()

    _wish = None

    def __init__(self, model, x, *, pre_activations=False, batch_size=64):
        self._reading = ActivationReading(
            model, x, pre_activations=pre_activations, batch_size=batch_size
        )
        self._keras = ThreadState()
        self._view = ActivationView(self._reading.count)
        super().__init__(self._view.rows)
        self.layer = self._reading.first_layer()
        self._show_input()
        self._choose()
        self._connect()
        self._start_beat()

    @property
    def outputs(self):
        """Dict name -> `workbench.activations.maps.Output` for the input shown."""
        return self._reading.outputs

    def _connect(self):
        super()._connect()
        view = self._view
        pairs = (view.canvas, "layer"), (view.canvas, "unit"), (view.image, "image")
        for widget, name in (
            *pairs,
            (view.scale, "scale"),
            (view.training, "training"),
        ):
            there = name if widget is view.canvas else "value"
            traitlets.link((self, name), (widget, there))
        traitlets.link((self, "page"), (view.page, "value"))
        self.observe(self._on_layer, "layer")
        self.observe(self._on_input, ["image", "training"])
        self.observe(self._on_scale, ["scale", "page"])
        self.observe(self._on_unit, "unit")
        view.canvas.find_value = self._reading.value_at
        view.again.on_click(self._on_again)
        for slot in view.slots:
            slot.button.on_click(functools.partial(self._on_slot, slot))

    # What the reader does

    @traitlets.validate("layer")
    def _check_layer(self, proposal):
        name, names = proposal["value"], self._reading.drawable
        if name not in names:
            near = difflib.get_close_matches(name, names, n=5, cutoff=0.3) or names[:5]
            raise ValueError(
                f"`layer` must be one of the model's outputs; nearest are {near}. "
                f"Received: layer={name!r}"
            )
        return name

    @traitlets.validate("image")
    def _check_image(self, proposal):
        return _checked("image", proposal["value"], self._reading.count, "inputs")

    @traitlets.validate("unit")
    def _check_unit(self, proposal):
        if proposal["value"] is None:
            return None
        count = self._reading.maps.values.shape[1]
        return _checked("unit", proposal["value"], count, f"units of {self.layer}")

    @traitlets.validate("page")
    def _check_page(self, proposal):
        return _checked("page", proposal["value"], self._reading.num_pages, "pages")

    @traitlets.validate("scale")
    def _check_scale(self, proposal):
        if proposal["value"] not in tiles.SCALES:
            raise ValueError(
                f"`scale` must be one of {list(tiles.SCALES)}. Received: "
                f"scale={proposal['value']!r}"
            )
        return proposal["value"]

    def refresh(self):
        """Computes again, with the model's weights of now."""
        self._reading.forget()
        self._compute()
        self._look_for_strongest()

    @shows_errors
    def _on_again(self, _button):
        self.refresh()

    @shows_errors
    def _on_slot(self, slot, _button):
        self.image = slot.index

    @shows_errors
    def _on_layer(self, _change):
        self._reading.choose(self.layer)
        self.unit, self.page = None, 0
        self._show_maps()

    @shows_errors
    def _on_input(self, change):
        self._compute()
        self._show_input()
        if change["name"] == "training":
            self._look_for_strongest()

    @shows_errors
    def _on_scale(self, _change):
        self._show_maps()

    @shows_errors
    def _on_unit(self, _change):
        if self.unit is not None:
            self.page = self.unit // self._reading.per_page
        self._look_for_strongest()

    # What the model computes

    def _compute(self):
        self._reading.compute(self.image, training=self.training)
        # Another input may take another way through the model.
        if self.layer not in self._reading.drawable:
            self.layer = self._reading.drawable[0]
        else:
            self._choose()

    def _choose(self):
        self._reading.choose(self.layer)
        self._show_maps()

    def _beat(self):
        if self._keras is not None:
            self._keras.adopt()
            self._keras = None
        wish, self._wish = self._wish, None
        if wish is not None:
            try:
                self._search(*wish)
            except _EndedError:
                pass
            except Exception:
                self._view.say("The strongest inputs could not be found.")
                raise
        return math.inf

    def _search(self, layer, unit, training):
        peaks = self._reading.peaks(layer, training=training, progress=self._progress)
        with self._lock:
            if self._wish is not None or (self.layer, self.unit) != (layer, unit):
                return
            found = tuple(ranked(peaks[:, unit], NUM_STRONGEST))
            name = self._reading.maps.names[0]
            text = f"The inputs that excite {name} {unit} of {layer} most:"
            pictures = [self._reading.thumbnail(index) for index, _ in found]
            self._view.show_strongest(text, found, pictures)
            self.strongest = found

    def _progress(self, share):
        if self._closing or self._wish is not None:
            raise _EndedError
        self._view.found.value = f"Looking through the inputs: {share:.0%}"

    # What is shown

    def _look_for_strongest(self):
        self.strongest = ()
        if self.unit is None:
            self._view.say("")
            return
        self._view.say(f"Looking through {self._reading.count} inputs …")
        self._wish = self.layer, self.unit, self.training
        self._wake.set()

    def _show_input(self):
        self._view.show_thumbnail(self._reading.thumbnail(self.image))

    def _show_maps(self):
        reading = self._reading
        limits, signed = reading.limits(self.scale)
        self._view.show_maps(
            reading.maps,
            limits,
            first=self.page * reading.per_page,
            count=reading.per_page,
            signed=signed,
            tree=reading.lines,
            layer=self.layer,
            alt=self.alt,
        )
        self._view.show_page(self.page, reading.num_pages)
        self._view.show_title(self._title())

    def _title(self):
        return self._reading.title(self.layer, self.image, training=self.training)

    @property
    def alt(self):
        """str, in words what the picture shows now."""
        return (
            f"What {self.layer} puts out for input {self.image}, each unit as a map, "
            "beside the list of layers."
        )

    def _picture(self):
        return self._reading.picture(self.layer, self.scale, self._title())

    def __repr__(self):
        return "ActivationExplorer(model, x)"


def _checked(name, value, count, what):
    if not 0 <= value < count:
        raise ValueError(
            f"`{name}` must be >= 0 and below {count} ({what}). Received: "
            f"{name}={value}"
        )
    return value

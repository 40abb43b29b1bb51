"""What the activation explorer reads: outputs for one input, and which excite most."""

import keras
import numpy as np

from workbench.activations import arrays, capture
from workbench.activations.maps import as_floats, maps_of, outputs_of
from workbench.activations.strongest import part_of, unit_peaks
from workbench.plots import tiles
from workbench.plots.activations import plot_tiles, to_picture
from workbench.widgets.activation_view import list_layers

# What is sent at once, in values of 4 bytes; more lie on further pages.
MOST_VALUES = 2**22


class ActivationReading:
    """What a model puts out for one of its inputs.

    Attributes:
        count: int, inputs.
        outputs: dict name -> `workbench.activations.maps.Output`.
        lines: List of dict, see `activation_view.list_layers`.
        maps: `workbench.activations.maps.Maps` of the output that was chosen last.

    Args:
        model: `keras.Model`; it stays untouched.
        x: Array `(N, …)` or structure of arrays.
        pre_activations: bool, whether what goes into activations is read too.
        batch_size: int, inputs per pass when looking for the strongest.

    Raises:
        ValueError: If `x` is empty or no array, or nothing can be drawn.
    """

    def __init__(self, model, x, *, pre_activations, batch_size):
        self._model, self._x = model, x
        self.count = _count_samples(x)
        if batch_size < 1:
            raise ValueError(
                f"`batch_size` must be >= 1 (inputs). Received: {batch_size=}"
            )
        self._pre_activations, self._batch_size = bool(pre_activations), batch_size
        self.forget()
        self.compute(0, training=False)
        if not self.drawable:
            raise ValueError(
                "`model` must have a layer that puts out numbers. Received: "
                f"{list(self.outputs) or 'no outputs'}"
            )

    def compute(self, image, *, training):
        """Computes all outputs for one input."""
        found = capture(
            self._model,
            part_of(self._x, slice(image, image + 1)),
            training=training,
            inputs=True,
            pre_activations=self._pre_activations,
        )
        self.outputs = outputs_of(found)
        self.lines = list_layers(self.outputs, found.missing)
        self._common = None

    @property
    def drawable(self):
        """The names of the outputs that hold numbers, a list."""
        return [name for name, o in self.outputs.items() if o.is_drawable]

    def first_layer(self):
        """Returns the first output that has several units and is no input."""
        inner = [n for n in self.drawable if self.outputs[n].kind != "input"]
        several = (
            n for n in inner if self.outputs[n].array.shape[-1:] not in ((), (1,))
        )
        return next(several, (inner or self.drawable)[0])

    def choose(self, layer):
        """Arranges an output as maps."""
        output = self.outputs[layer]
        array = output.array[:1] if output.array.ndim else output.array
        self.maps = maps_of(array, output.kind)

    @property
    def per_page(self):
        """How many units are shown at once."""
        _, _, rows, columns = self.maps.values.shape
        return max(1, MOST_VALUES // (rows * columns))

    @property
    def num_pages(self):
        """How many pages there are."""
        return -(-self.maps.values.shape[1] // self.per_page)

    def limits(self, scale):
        """Finds the ends of the colors of the output that was chosen.

        Args:
            scale: str, see `tiles.SCALES`.

        Returns:
            float32 `(1, 2)` or `(units, 2)`, and whether they are symmetric about 0.
        """
        values = self.maps.values[0]
        if scale == "global":
            if self._common is None:
                found = (as_floats(self.outputs[name].array) for name in self.drawable)
                self._common = tiles.find_common_limits([v for v, _ in found])
            low, high, signed = self._common
            return np.array([[low, high]], "float32"), signed
        signed = tiles.is_signed(values)
        if scale == "unit":
            return tiles.find_unit_limits(values, signed=signed), signed
        return np.array([tiles.find_limits(values, signed=signed)], "float32"), signed

    def value_at(self, unit, row, column):
        """Says the value there in the output that was chosen."""
        value = self.maps.values[0, unit, row, column]
        return "NaN" if np.isnan(value) else f"{value:.6g}"

    def title(self, layer, image, *, training):
        """Says in one line what is shown."""
        output = self.outputs[layer]
        shape = "x".join(map(str, output.array.shape[1:])) or "1"
        mode = "as in training" if training else "inference"
        parts = [layer, output.kind, shape, f"input {image}", mode, self.maps.note]
        return " · ".join(filter(None, parts))

    def picture(self, layer, scale, title):
        """Draws the output that was chosen beside the list of layers, a PNG."""
        limits, signed = self.limits(scale)
        figure = plot_tiles(
            self.maps,
            limits,
            signed=signed,
            title=title,
            lines=[
                f"{'  ' * line['depth']}{line['label']}  {line['text']}"
                for line in self.lines
            ],
            chosen=[line["key"] for line in self.lines].index(layer),
        )
        return to_picture(figure)

    def thumbnail(self, index):
        """Draws one of the inputs, bytes of a PNG file; None for what is no picture."""
        first = keras.tree.flatten(self._x)[0]
        return tiles.thumbnail(np.asarray(first[index]))

    def forget(self):
        """Forgets what was found with weights that may have changed."""
        self._peaks = {}

    def peaks(self, layer, *, training, progress):
        """Finds each unit's largest value for each input, see `unit_peaks`."""
        # What is forgotten meanwhile goes into a dict that nobody reads.
        known, wish = self._peaks, (layer, training)
        if wish not in known:
            found = unit_peaks(
                self._model,
                self._x,
                layer,
                training=training,
                batch_size=self._batch_size,
                progress=progress,
            )
            known.clear()
            known[wish] = found
        return known[wish]


def _count_samples(x):
    if arrays.is_batched(x):
        raise ValueError(
            "`x` must be an array or a list or dict of arrays; take a batch of a "
            f"dataset: next(iter(dataset)). Received: a {type(x).__name__}"
        )
    found = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
    counts = {len(leaf) if getattr(leaf, "ndim", 0) else 0 for leaf in found}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(
            "`x` must hold arrays of one length, of at least one input. Received: "
            f"lengths {sorted(counts)}"
        )
    return counts.pop()

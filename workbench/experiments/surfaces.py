"""Losses of two weights, on which the path of an optimizer can be drawn."""

import dataclasses
import types
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Surface:
    """A loss over two weights.

    Attributes:
        name: str.
        function: From `x` and `y`, arrays or tensors of one shape, to the loss.
        start: `(x, y)`, floats, where a race begins.
        minima: Tuple of `(x, y)`, where the loss is lowest.
        lowest: float, the loss there.
        x_limits: `(low, high)`, the part that is drawn.
        y_limits: The same of y.
        rates: Mapping of the names in `contestants.CONTESTANTS` -> float, the best of
            a few rates for each; `benchmarks/optimizers.py rates` finds them.
    """

    name: str
    function: Callable
    start: tuple
    minima: tuple
    lowest: float
    x_limits: tuple
    y_limits: tuple
    rates: types.MappingProxyType = dataclasses.field(default_factory=dict)

    def __call__(self, x, y):
        """Computes the loss."""
        return self.function(x, y)


_NAMES = (
    "gradient descent",
    "momentum",
    "Nesterov",
    "Adagrad",
    "Adadelta",
    "RMSprop",
    "Adam",
    "AdamW",
    "Lion",
    "Muon",
)


def _rates(*rates):
    return types.MappingProxyType(dict(zip(_NAMES, rates, strict=True)))


def _beale(x, y):
    return (
        (1.5 - x + x * y) ** 2
        + (2.25 - x + x * y**2) ** 2
        + (2.625 - x + x * y**3) ** 2
    )


def _rosenbrock(x, y):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _saddle(x, y):
    return x**2 - y**2 + y**4 / 4


def quadratic(kappa, start=(1.0, 1.0)):
    """Makes a bowl with the curvatures 1 and `kappa`: (x² + kappa·y²) / 2.

    Args:
        kappa: float >= 1, the condition number.
        start: `(x, y)`, floats.

    Returns:
        `Surface` with its minimum 0 at (0, 0), where float32 has no end of digits.

    Raises:
        ValueError: If `kappa` < 1.
    """
    if not kappa >= 1:
        raise ValueError(
            f"`kappa` must be >= 1 (larger curvature by smaller). Received: {kappa=}"
        )

    def bowl(x, y):
        return (x**2 + kappa * y**2) / 2

    width, height = 1.2 * max(abs(start[0]), 0.1), 1.6 * max(abs(start[1]), 0.1)
    return Surface(
        name=f"bowl with curvatures 1 and {kappa:g}",
        function=bowl,
        start=start,
        minima=((0.0, 0.0),),
        lowest=0.0,
        x_limits=(-width, width),
        y_limits=(-height, height),
    )


BEALE = Surface(
    name="Beale",
    function=_beale,
    start=(1.0, 1.5),
    minima=((3.0, 0.5),),
    lowest=0.0,
    x_limits=(-0.5, 4.5),
    y_limits=(-1.0, 2.4),
    rates=_rates(0.02, 0.002, 0.005, 1.0, 1.0, 0.02, 0.5, 0.5, 0.1, 0.1),
)
ROSENBROCK = Surface(
    name="Rosenbrock",
    function=_rosenbrock,
    start=(-1.2, 1.0),
    minima=((1.0, 1.0),),
    lowest=0.0,
    x_limits=(-1.8, 1.8),
    y_limits=(-0.8, 2.4),
    rates=_rates(0.001, 0.001, 0.0005, 0.2, 1.0, 0.05, 0.2, 0.2, 0.02, 0.1),
)
# A saddle at (0, 0) that has a way down to both sides, and an end to it.
SADDLE = Surface(
    name="saddle",
    function=_saddle,
    start=(-1.2, 0.001),
    minima=((0.0, 2**0.5), (0.0, -(2**0.5))),
    lowest=-1.0,
    x_limits=(-1.6, 1.6),
    y_limits=(-1.0, 2.2),
    rates=_rates(0.5, 0.2, 0.2, 0.5, 1.0, 0.02, 1.0, 1.0, 0.02, 0.2),
)
LONG_VALLEY = dataclasses.replace(
    quadratic(100.0, start=(-4.0, 0.4)),
    name="long valley",
    rates=_rates(0.01, 0.01, 0.005, 0.5, 1.0, 0.05, 0.1, 0.1, 0.2, 0.2),
)
SURFACES = {
    surface.name: surface for surface in (BEALE, ROSENBROCK, SADDLE, LONG_VALLEY)
}

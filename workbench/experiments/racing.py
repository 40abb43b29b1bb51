"""Optimizers on a surface of two weights, all in one compiled loop."""

import dataclasses
import types

import keras
import numpy as np
import tensorflow as tf

from workbench.experiments import functional, tails, variants
from workbench.experiments.contestants import get_contestant
from workbench.experiments.surfaces import Surface


@dataclasses.dataclass(frozen=True, eq=False)
class Race:
    """Where optimizers went on a surface.

    Attributes:
        surface: `Surface`.
        paths: Mapping of name -> float32 `(num_steps + 1, 2)`, the weights before the
            first step and after each.
        losses: Mapping of name -> float32 `(num_steps + 1,)`, the surface's loss there.
    """

    surface: Surface
    paths: types.MappingProxyType
    losses: types.MappingProxyType

    def steps_to(self, gap):
        """Counts each one's steps until the loss stays near the lowest.

        Args:
            gap: float > 0, how far above the lowest loss counts as near.

        Returns:
            Dict of name -> int, or None for one that does not get there.
        """
        counts = {}
        for name, losses in self.losses.items():
            far = np.flatnonzero(~(losses - self.surface.lowest <= gap))
            first = int(far[-1]) + 1 if len(far) else 0
            counts[name] = first if first < len(losses) else None
        return counts

    def convergence_factor(self, name, *, nearest=1e-30, farthest=1e-12):
        """Fits by what factor a step brings the weights closer to the minimum.

        Theory speaks of the factor far from the start, which is why the fit is there.

        Args:
            name: str, one of `paths`.
            nearest: float > 0, the distance at which the fit ends.
            farthest: float, the distance at which it begins.

        Returns:
            float.

        Raises:
            ValueError: If the path has fewer than three steps between the two.
        """
        path = self.paths[name].astype("float64")
        gaps = [np.linalg.norm(path - m, axis=1) for m in self.surface.minima]
        distance = np.min(gaps, axis=0)
        fitted = np.flatnonzero((distance > nearest) & (distance < farthest))
        if len(fitted) < 3:  # a line through two fits always
            raise ValueError(
                "`farthest` and `nearest` must have at least three steps between them. "
                f"Received: {farthest=}, {nearest=}, {len(fitted)} steps of {name}"
            )
        return float(np.exp(np.polyfit(fitted, np.log(distance[fitted]), 1)[0]))


def race(surface, optimizers=None, num_steps=200, *, start=None, live=None):
    """Lets optimizers go downhill from one point, and records where they go.

    The two weights are one matrix (1, 2), so that Muon, which treats matrices alone,
    takes part as itself. The optimizers are Keras's own code, and are not changed.

    Args:
        surface: `Surface`.
        optimizers: Dict of name -> `keras.optimizers.Optimizer`, its learning rate a
            number or a schedule. None for all of `contestants.CONTESTANTS`, each at
            the surface's own rate for it.
        num_steps: Positive int, updates.
        start: `(x, y)`, or None for the surface's own.
        live: Dict of name -> dict of attribute -> array `(num_steps,)`: numbers of an
            optimizer that change while it goes, such as
            `{"momentum": {"momentum": np.linspace(0.5, 0.99, 200)}}`. An optimizer
            that is to have momentum must begin with some.

    Returns:
        `Race`.

    Raises:
        ValueError: If an argument is out of range.
    """
    if optimizers is None:
        rates = surface.rates
        optimizers = {n: get_contestant(n).make(rate) for n, rate in rates.items()}
    live = live or {}
    _check(optimizers, num_steps, live)
    start = np.asarray(surface.start if start is None else start, "float32")[None]
    runners = [
        _Runner(name, optimizer, start, live.get(name, {}), num_steps)
        for name, optimizer in optimizers.items()
    ]
    paths = _trace(surface, runners, start, num_steps)
    paths = {r.name: path for r, path in zip(runners, paths, strict=True)}
    # Whoever leaves the plane is where no number is.
    with np.errstate(all="ignore"):
        losses = {name: surface(*path.T) for name, path in paths.items()}
    return Race(surface, types.MappingProxyType(paths), types.MappingProxyType(losses))


class _Runner:
    """One optimizer as a pure function of weights, state and step."""

    def __init__(self, name, optimizer, start, live, num_steps):
        candidate = variants.resolve(
            name, variants.Variant(optimizer=optimizer), None, 0
        )
        self.name = name
        self._optimizer = candidate.make_optimizer(functional.functional_class)
        self._optimizer.build([keras.Variable(start)])
        self._live = {}
        for attribute, values in live.items():
            if not hasattr(self._optimizer, attribute):
                raise ValueError(
                    f"`live` must name numbers of the optimizer; {name} has no "
                    f"`{attribute}`. Received: live={{{name!r}: {{{attribute!r}: …}}}}"
                )
            if np.shape(values) != (num_steps,):
                raise ValueError(
                    f"`live` must hold one number per step, {num_steps}. Received: "
                    f"{attribute} of shape {np.shape(values)}"
                )
            if not getattr(self._optimizer, attribute):
                raise ValueError(
                    "`live` must change a number that is not 0 at the start, or Keras "
                    f"keeps no state for it. Received: {name} with {attribute}=0"
                )
            self._live[attribute] = tf.constant(values, tf.float64)

    def begin(self):
        return [tf.convert_to_tensor(v) for v in self._optimizer.variables]

    def step(self, number, weights, slots, gradient):
        now = {
            attribute: functional.LiveFloat(1.0, values[number])
            for attribute, values in self._live.items()
        }
        with tails._attributes(self._optimizer, now):
            (weights,), slots = self._optimizer.stateless_apply(
                slots, [gradient], [weights]
            )
        return weights, slots


def _trace(surface, runners, start, num_steps):
    """Runs all in one compiled loop; returns a list of arrays `(num_steps + 1, 2)`."""

    @tf.function
    def run():
        def advance(number, states, paths):
            states, paths = list(states), list(paths)
            for i, runner in enumerate(runners):
                weights, slots = states[i]
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    loss = surface(weights[0, 0], weights[0, 1])
                gradient = tape.gradient(loss, weights)
                states[i] = runner.step(number, weights, slots, gradient)
                paths[i] = paths[i].write(number, states[i][0][0])
            return number + 1, states, paths

        states = [(tf.constant(start), runner.begin()) for runner in runners]
        paths = [
            tf.TensorArray(start.dtype, num_steps, element_shape=(2,)) for _ in runners
        ]
        _, _, paths = tf.while_loop(
            lambda number, *_: number < num_steps, advance, (0, states, paths)
        )
        return [path.stack() for path in paths]

    # A concrete function: TensorFlow warns of a `tf.function` made again and again.
    paths = run.get_concrete_function()()
    return [np.concatenate([start, path.numpy()]) for path in paths]


def _check(optimizers, num_steps, live):
    if not isinstance(optimizers, dict) or not optimizers:
        raise ValueError(
            "`optimizers` must be a dict of name -> Keras optimizer with at least one "
            f"entry. Received: optimizers={optimizers!r}"
        )
    if not isinstance(num_steps, int) or num_steps < 1:
        raise ValueError(
            f"`num_steps` must be an int >= 1 (updates). Received: {num_steps=}"
        )
    if not set(live) <= set(optimizers):
        raise ValueError(
            f"`live` must name optimizers among {list(optimizers)}. "
            f"Received: {list(live)}"
        )

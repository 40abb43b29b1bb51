"""Keras's optimizers that race each other: rule, two sentences, and how to make one."""

import dataclasses
import types

import keras

from workbench.reports import Note, Report, Table

_LEGEND = (
    "w: weights, g: gradient, lr: learning rate; operations work element by element. "
    "The forms are Keras's: the rate stands inside of the momentum (PyTorch's stands "
    "outside), Adagrad's sum starts at 0.1, Adadelta has a rate (the paper has none, "
    "which is 1.0 here), and epsilon is 1e-7 everywhere."
)


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One of Keras's optimizers.

    Attributes:
        name: str.
        optimizer_class: Keras optimizer class.
        settings: Dict of its arguments, where they are not Keras's defaults.
        rule: str, how one step changes the weights.
        text: str, two sentences: what it does, and what that is good or bad for.
        source: str, where it was published.
    """

    name: str
    optimizer_class: type
    settings: dict
    rule: str
    text: str
    source: str

    def make(self, learning_rate):
        """Makes the optimizer.

        Args:
            learning_rate: Number or `keras.optimizers.schedules.LearningRateSchedule`.

        Returns:
            Keras optimizer.
        """
        if isinstance(learning_rate, int):
            learning_rate = float(learning_rate)  # Keras takes no int here
        return self.optimizer_class(learning_rate, **self.settings)


@dataclasses.dataclass(frozen=True)
class Explanation(Report):
    """A table of optimizers with their rules.

    Attributes:
        contestants: Tuple of `Contestant`.
    """

    contestants: tuple

    def blocks(self):
        """Returns the table and what its letters mean."""
        rows = tuple((c.name, c.rule, c.text, c.source) for c in self.contestants)
        yield Table(("optimizer", "update rule", "in two sentences", "source"), rows)
        yield Note(_LEGEND)


_EVERY = (
    Contestant(
        "gradient descent",
        keras.optimizers.SGD,
        {},
        "w ← w - lr·g",
        "Each step goes straight downhill, by the slope times the rate. The steepest "
        "direction limits the rate, and the flattest then takes as many steps as the "
        "two differ.",
        "Cauchy 1847",
    ),
    Contestant(
        "momentum",
        keras.optimizers.SGD,
        {"momentum": 0.9},
        "v ← 0.9·v - lr·g;  w ← w + v",
        "The step remembers the steps before it, so that what they agree in adds up, "
        "to ten times the rate, and what they differ in cancels. It runs through flat "
        "stretches, and past its goal.",
        "Polyak 1964",
    ),
    Contestant(
        "Nesterov",
        keras.optimizers.SGD,
        {"momentum": 0.9, "nesterov": True},
        "v ← 0.9·v - lr·g;  w ← w + 0.9·v - lr·g",
        "Momentum whose gradient is taken where the memory is about to carry the "
        "weights. That brakes a little before the turn, where momentum brakes after.",
        "Nesterov 1983, Sutskever 2013",
    ),
    Contestant(
        "Adagrad",
        keras.optimizers.Adagrad,
        {},
        "a ← a + g²;  w ← w - lr·g / √(a + 1e-7)",
        "Each weight's rate is divided by the size of all its gradients so far, so "
        "that rare ones keep a large rate. The sum only grows, and in a long training "
        "the steps fade away.",
        "Duchi, Hazan, Singer 2011",
    ),
    Contestant(
        "Adadelta",
        keras.optimizers.Adadelta,
        {},
        "a ← 0.95·a + 0.05·g²;  d ← g·√(b + 1e-7) / √(a + 1e-7);  "
        "b ← 0.95·b + 0.05·d²;  w ← w - lr·d",
        "The size of recent steps by the size of recent gradients takes the place of "
        "a rate. It begins with steps of 0.0003, and needs a while to dare more.",
        "Zeiler 2012",
    ),
    Contestant(
        "RMSprop",
        keras.optimizers.RMSprop,
        {},
        "a ← 0.9·a + 0.1·g²;  w ← w - lr·g / √(a + 1e-7)",
        "Adagrad that forgets: each weight's gradient is divided by its usual size of "
        "late. All weights move about lr per step, also close to the goal, where it "
        "circles until the rate falls.",
        "Hinton, lecture 6e, 2012",
    ),
    Contestant(
        "Adam",
        keras.optimizers.Adam,
        {},
        "m ← 0.9·m + 0.1·g;  v ← 0.999·v + 0.001·g²;  "
        "w ← w - lr·√(1 - 0.999ᵗ)/(1 - 0.9ᵗ) · m / (√v + 1e-7)",
        "RMSprop with momentum, and with a correction for the start, when both "
        "memories are still empty. The rate says how far a weight moves in a step, "
        "which makes one rate fit many models.",
        "Kingma, Ba 2015",
    ),
    Contestant(
        "AdamW",
        keras.optimizers.AdamW,
        {},
        "w ← w - lr·0.004·w, then as Adam",
        "Adam that also draws each weight towards 0, by a share that no gradient "
        "scales. What an L2 penalty does under plain gradient descent, this does "
        "under Adam, where a penalty would be divided away.",
        "Loshchilov, Hutter 2019",
    ),
    Contestant(
        "Lion",
        keras.optimizers.Lion,
        {},
        "w ← w - lr·sign(0.9·m + 0.1·g);  m ← 0.99·m + 0.01·g",
        "Only the sign of the averaged gradient counts: every weight moves by exactly "
        "lr, with half of Adam's memory. It wants a rate 3 to 10 times smaller than "
        "Adam's, and one that falls at the end.",
        "Chen et al. 2023",
    ),
    Contestant(
        "Muon",
        keras.optimizers.Muon,
        {},
        "m ← 0.95·m + g;  w ← w - lr·0.004·w;  "
        "w ← w - lr·0.2·√(larger side) · orthogonalized(g + 0.95·m)",
        "A matrix of weights moves by a matrix whose singular values are all about 1, "
        "so that no direction in it lags behind. Whatever is not a matrix (biases, "
        "filters, embeddings) Keras's Muon trains by AdamW.",
        "Jordan et al. 2024",
    ),
)
CONTESTANTS = types.MappingProxyType({one.name: one for one in _EVERY})


def explain(names=None):
    """Explains optimizers, each by its update rule and in two sentences.

    Args:
        names: Iterable of names in `CONTESTANTS`, or None for all.

    Returns:
        `Explanation`, a report that prints as a table.

    Raises:
        ValueError: If there is no such optimizer.
    """
    return Explanation(tuple(get_contestant(name) for name in names or CONTESTANTS))


def get_contestant(name):
    """Returns the `Contestant` of a name; ValueError if there is none."""
    if name not in CONTESTANTS:
        raise ValueError(
            f"`name` must be one of {list(CONTESTANTS)}. Received: name={name!r}"
        )
    return CONTESTANTS[name]

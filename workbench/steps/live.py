"""An optimizer's settings, live for a while: the rate, momentum, betas, decay.

Keras bakes Python numbers into the compiled step, and refuses a number where it was
compiled with a schedule. Here the step is traced a second time, with variables in their
place; which of the two runs is decided at each step, so that settings which nobody
touched give Keras's own bits.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from workbench.steps import replicas
from workbench.steps.assignment import answers_assignment
from workbench.steps.diagnosis import current_graph

# In every Keras optimizer that has them they are numbers, read anew at each trace.
SETTINGS = ("momentum", "beta_1", "beta_2", "rho", "weight_decay")
# Keras notes here what is not decayed, when it first traces with a decay.
_DECAY_CACHE = "_exclude_from_weight_decay_cache"


def innermost(optimizer):
    """Returns the optimizer that applies gradients itself, inside scaling and clips."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def settings_of(optimizer):
    """Returns the settings that `LiveSettings` can change, beside the rate.

    A momentum of 0 is none: Keras has made no velocities for it.

    Args:
        optimizer: Keras optimizer that applies gradients itself.

    Returns:
        Dict of name -> number, or None for no weight decay.
    """
    values = {name: vars(optimizer).get(name, "") for name in SETTINGS}
    settings = {name: value for name, value in values.items() if _is_number(value)}
    if "weight_decay" in values and values["weight_decay"] is None:
        settings["weight_decay"] = None
    if not settings.get("momentum"):
        settings.pop("momentum", None)
    return settings


class LiveSettings:
    """The settings of one optimizer that can change between two steps.

    Args:
        optimizer: Keras optimizer that applies gradients itself.
        on_rate: Function that is given what is assigned to `optimizer.learning_rate`
            meanwhile; None leaves that to Keras.
    """

    def __init__(self, optimizer, on_rate=None):
        self._optimizer = optimizer
        self._on_rate = on_rate
        # One rate per iteration, the last for all later ones; NaN for Keras's own.
        self._rates = tf.Variable([np.nan], shape=[None], dtype=tf.float32)
        settings = settings_of(optimizer)
        self._numbers = {name: _LiveNumber(x) for name, x in settings.items()}
        self._seen = settings
        # Set before Keras made the variables: a momentum of 0 would leave some out.
        self._hidden = set()
        self._touched = tf.Variable(initial_value=False)
        self._live_graph = None
        self._patches = contextlib.ExitStack()
        self._own = set()

    @property
    def rate_is_variable(self):
        """Whether the optimizer was compiled with a number, not with a schedule."""
        # The public property evaluates the schedule; only the attribute tells.
        return isinstance(self._optimizer._learning_rate, keras.Variable)

    def __enter__(self):
        self._own = set(vars(self._optimizer))
        if self._on_rate is not None:
            self._patches.enter_context(
                answers_assignment(self._optimizer, "learning_rate", self._on_rate)
            )
        return self

    def __exit__(self, *exception):
        self._show()
        if _DECAY_CACHE not in self._own:
            vars(self._optimizer).pop(_DECAY_CACHE, None)
        self._patches.close()

    # Between two steps.

    def read_rate(self):
        """Returns the rate that the next step will use, float."""
        by_hand = float(self._rate_by_hand())
        if np.isfinite(by_hand):
            return by_hand
        return float(tf.convert_to_tensor(self._optimizer.learning_rate))

    def write_rate(self, value):
        """Sets the rate from the next step on.

        Args:
            value: float; float array `(N,)`, a rate for each iteration of the
                optimizer, of which the last holds on; or None for Keras's own: its
                schedule, else the last number.
        """
        if value is None or np.ndim(value):
            self._rates.assign(np.asarray([np.nan] if value is None else value, "f"))
        elif self.rate_is_variable:
            self._optimizer._learning_rate.assign(value)
            self._rates.assign([np.nan])
        else:
            self._rates.assign([value])

    @property
    def rates(self):
        """What was set by hand, float32 `(N,)`, one rate for each iteration."""
        return self._rates.numpy()

    @rates.setter
    def rates(self, values):
        self._rates.assign(values)

    @property
    def follows_schedule(self):
        """bool, whether the rate changes from step to step without anybody's doing."""
        rates = self._rates.numpy()
        own = len(rates) == 1 and np.isnan(rates[0])
        return len(rates) > 1 or (own and not self.rate_is_variable)

    def read(self, name):
        """Returns a setting by its name: float, or None for no weight decay."""
        return self._seen[name]

    def write(self, name, value):
        """Sets a setting from the next step on; float, or what it was at the start.

        The optimizer's attribute follows, and keeps it when all is over.
        """
        number = self._numbers[name]
        number.variable.assign(0.0 if value is None else value)
        self._seen[name] = value
        self._hidden.add(name)
        if self._optimizer.built:
            self._show()
        touched = any(self._seen[n] != x.start for n, x in self._numbers.items())
        self._touched.assign(touched)

    def assigned(self):
        """Finds the settings that other code assigned to the optimizer's attributes.

        Returns:
            Dict of name -> value.
        """
        if self._optimizer.built:
            self._show()
        attributes = vars(self._optimizer)
        seen = {n: x for n, x in self._seen.items() if n not in self._hidden}
        return {n: attributes[n] for n, value in seen.items() if attributes[n] != value}

    def _show(self):
        for name in self._hidden:
            vars(self._optimizer)[name] = self._seen[name]
        self._hidden.clear()

    # What follows is traced into the step.

    def _rate_by_hand(self):
        rates = self._rates.read_value()
        step = tf.cast(self._optimizer._iterations, tf.int32)
        return tf.gather(rates, tf.minimum(step, tf.size(rates) - 1))

    def follow(self):
        """Brings an optimizer's own rate variable up to a schedule set by hand.

        Returns:
            float64 scalar tensor, the rate of this step.
        """
        optimizer, by_hand = self._optimizer, self._rate_by_hand()
        rate = tf.convert_to_tensor(optimizer.learning_rate)
        now = tf.where(tf.math.is_nan(by_hand), rate, tf.cast(by_hand, rate.dtype))
        if self.rate_is_variable:
            optimizer._learning_rate.assign(now)
        return tf.cast(now, tf.float64)

    def current_rate(self, original):
        """Replaces `_get_current_learning_rate` where a schedule was compiled in."""
        # Another thread may ask for the rate while this one traces.
        if tf.executing_eagerly() or self._live_graph in _graphs_outwards():
            rate = tf.convert_to_tensor(original())
            by_hand = tf.cast(self._rate_by_hand(), rate.dtype)
            return tf.where(tf.math.is_nan(by_hand), rate, by_hand)
        # Untouched, so that the graph is optimized, and rounds, as without the hook.
        return original()

    def apply(self, update):
        """Traces an update twice, as Keras has it and with what is live.

        Args:
            update: Function without arguments.
        """

        def by_keras():
            return self._attributes({n: x.start for n, x in self._numbers.items()})

        @contextlib.contextmanager
        def by_hand():
            self._live_graph = current_graph()
            try:
                with self._attributes(self._numbers):
                    yield
            finally:
                self._live_graph = None

        touched = self._touched.read_value()
        if not self.rate_is_variable:
            touched = touched | tf.math.is_finite(self._rate_by_hand())
        replicas.cond(touched, update, update, (by_hand, by_keras))

    @contextlib.contextmanager
    def _attributes(self, values):
        attributes = vars(self._optimizer)
        before = {name: attributes[name] for name in values}
        attributes.update(values)
        try:
            yield
        finally:
            attributes.update(before)


def _graphs_outwards():
    """The graph that is being traced, and those around it."""
    graph = current_graph()
    while graph is not None:
        yield graph
        graph = getattr(graph, "outer_graph", None)


def _is_number(value):
    return isinstance(value, float | int) and not isinstance(value, bool)


class _LiveNumber:
    """A variable that an optimizer takes for the number it holds.

    Comparisons answer for the number at the start: by them Keras decides at tracing
    which parts of an update there are.
    """

    def __init__(self, start):
        self.start = start
        # float64: `1 - beta` in float32 has lost its digits.
        self.variable = tf.Variable(0.0 if start is None else start, dtype=tf.float64)

    def __tf_tensor__(self, dtype=None, name=None):
        return tf.cast(self.variable, dtype or keras.config.floatx(), name=name)

    def __rsub__(self, other):
        return tf.cast(other - self.variable, keras.config.floatx())

    def __sub__(self, other):
        return tf.cast(self.variable - other, keras.config.floatx())

    def __mul__(self, other):
        return keras.ops.multiply(tf.convert_to_tensor(self), other)

    __rmul__ = __mul__

    def __float__(self):
        return float(self.variable.numpy())

    def __bool__(self):
        return bool(self.start)

    def __eq__(self, other):
        return self.start == other

    __hash__ = None

    def __lt__(self, other):
        return self.start < other

    def __le__(self, other):
        return self.start <= other

    def __gt__(self, other):
        return self.start > other

    def __ge__(self, other):
        return self.start >= other

"""Any schedule's rates before anything trains."""

import keras
import numpy as np
import tensorflow as tf

from workbench.schedules.base import check_number

_KERAS = keras.optimizers.schedules.LearningRateSchedule
# What tracing, converting for many steps at once or running a foreign schedule raises.
_REFUSALS = (
    TypeError,
    ValueError,
    AttributeError,
    NotImplementedError,
    tf.errors.OpError,
)


def sample_schedule(schedule, num_steps):
    """Evaluates a learning-rate schedule at every optimizer step.

    Each step is given to the schedule alone, as an optimizer does, so a schedule that
    refuses a vector of steps works too: traced once for all steps at the same time,
    else in a loop inside the graph, and only where neither is possible, as for one
    that asks NumPy, step by step in Python.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`, a number, or a
            function of the step.
        num_steps: Positive int, in optimizer steps, not epochs.

    Returns:
        float32 array of shape `(num_steps,)`.

    Raises:
        TypeError: If `schedule` is none of these.
        ValueError: If `num_steps` < 1, or a rate is negative, NaN or infinite.
    """
    check_number(
        "num_steps",
        num_steps,
        (">= 1 (optimizer steps)", lambda value: value >= 1 and value == int(value)),
    )
    num_steps = int(num_steps)
    if isinstance(schedule, _KERAS) or (
        callable(schedule) and not isinstance(schedule, keras.Variable)
    ):
        rates = _rates_of(schedule, num_steps)
    else:
        try:
            rates = np.full(num_steps, float(schedule), "float32")
        except (TypeError, ValueError) as error:
            raise TypeError(
                "`schedule` must be a LearningRateSchedule or a number. Received: "
                f"schedule={schedule!r}"
            ) from error
    check_rates(schedule, rates)
    return rates


def check_rates(schedule, rates):
    """Raises ValueError if a rate is negative, NaN or infinite.

    Args:
        schedule: What gave the rates, for the message.
        rates: float array `(S,)`.
    """
    bad = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
    if len(bad):
        step = int(bad[0])
        raise ValueError(
            "`schedule` must give finite rates >= 0; look at its decay and at its end. "
            f"Received: schedule={_name_of(schedule)}, rate {rates[step]:g} at step "
            f"{step}, and {len(bad)} of {len(rates)} such steps"
        )


def _name_of(schedule):
    return getattr(schedule, "__name__", None) or type(schedule).__name__


def _rates_of(schedule, num_steps):
    # What an optimizer passes in is a Keras variable, and some arithmetic works with
    # it only; within the scope it holds the step that is being traced.
    variable = keras.Variable(0, dtype="int64", trainable=False, name="iteration")

    def rate_of(step):
        with keras.StatelessScope(state_mapping=[(variable, step)]):
            rate = tf.cast(tf.convert_to_tensor(schedule(variable)), tf.float32)
        return tf.ensure_shape(rate, ())

    def all_at_once(steps):
        return tf.vectorized_map(rate_of, steps, fallback_to_while_loop=False)

    def in_a_loop(steps):
        return tf.map_fn(rate_of, steps, fn_output_signature=tf.float32)

    steps = tf.range(num_steps, dtype=tf.int64)
    for way in (all_at_once, in_a_loop):
        try:
            # Concrete at once: TensorFlow would warn of a new trace for each schedule.
            traced = tf.function(way, autograph=False).get_concrete_function(steps)
            return traced(steps).numpy()
        except _REFUSALS:
            continue
    rates = np.empty(num_steps, "float32")
    for step in range(num_steps):
        variable.assign(step)
        rates[step] = keras.ops.convert_to_numpy(schedule(variable))
    return rates

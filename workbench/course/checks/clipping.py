"""Checks of notebook 4, clipping."""

import keras
import numpy as np
import tensorflow as tf

from workbench.clipping import ByGlobalNorm
from workbench.course.asking import function, letters, number
from workbench.course.verdicts import Wrong


def _moved(optimizer, gradients):
    """How far one step of a fresh optimizer moves weights that start at zero."""
    fresh = type(optimizer).from_config(optimizer.get_config())
    variables = [keras.Variable(tf.zeros_like(gradient)) for gradient in gradients]
    fresh.apply(gradients, variables)
    return np.concatenate([np.ravel(variable) for variable in variables])


def exercise_1(explode_at_1000, explode_at_0_001, longest_step):
    """Predicts a limit that is far too high, and one that is far too low."""
    high = number("explode_at_1000", explode_at_1000, "nets")
    low = number("explode_at_0_001", explode_at_0_001, "nets")
    for name, nets in (("explode_at_1000", high), ("explode_at_0_001", low)):
        if nets not in range(11):
            raise Wrong(f"`{name}` must be a number of nets, out of ten.")
    if high <= 5:
        raise Wrong(
            "At 1000 more of them explode: a gradient of 999 is not clipped at all, "
            "and its step is 200 long."
        )
    if low > 0:
        raise Wrong(
            "At 0.001 fewer of them explode: think of how far a net gets in a hundred "
            "steps that are clipped so."
        )
    step = number("longest_step", longest_step, "length of a step")
    sgd = ByGlobalNorm(0.001).wrap(keras.optimizers.SGD(0.2))
    measured = np.linalg.norm(_moved(sgd, [tf.constant([300.0, 400.0])]))
    if not np.isclose(step, measured, rtol=0.02):
        raise Wrong(
            f"A step at 0.001 was measured, with a gradient of length 500, and it was "
            f"{'shorter' if measured < step else 'longer'} than {step:g}."
        )
    return (
        "At 1000 the limit is met only when a net is already lost; at 0.001 nothing "
        f"explodes, and in a hundred steps of {measured:.4f} nothing is learned."
    )


def exercise_2(my_clip):
    """Changes `my_capper` so that it keeps the direction."""
    function("my_clip", my_clip)
    for size in (5.0, 0.2, 0.0):
        raw = [size * np.array([0.6, 0.0], "float32"), size * np.array([[0.8]], "f4")]
        arguments = [tf.constant(part) for part in raw]
        given = my_clip(arguments, [tf.ones_like(part) for part in raw])
        if not isinstance(given, (list, tuple)) or len(given) != len(raw):
            raise Wrong("It must return a list of as many gradients as it was given.")
        shapes = [tuple(getattr(part, "shape", ())) for part in given]
        if shapes != [part.shape for part in raw]:
            raise Wrong("Each gradient must come back in the shape that it had.")
        before, after = (
            np.concatenate([np.ravel(part) for part in parts]) for parts in (raw, given)
        )
        _judge_arrow(before, after)
    return "One number for all gradients: the arrow gets shorter and does not turn."


def _judge_arrow(before, after):
    length, size = np.linalg.norm(after), np.linalg.norm(before)
    arrows = f"({', '.join(f'{part:.3g}' for part in before)}) became "
    arrows += f"({', '.join(f'{part:.3g}' for part in after)})"
    if not np.isfinite(length):
        raise Wrong(f"{arrows}: that is not finite any more.")
    if size > 0 and before @ after < 0.9999 * size * length:
        raise Wrong(f"{arrows}: that points in another direction.")
    if length > 1.001:
        raise Wrong(f"{arrows}: that is {length:.2f} long, which is more than 1.")
    if not np.isclose(length, min(size, 1), rtol=1e-3):
        what = "shorter than it need be" if length < size else "longer than it was"
        raise Wrong(f"{arrows}: {length:.2f} long, which is {what}.")


def exercise_3(sgd_times, adam_times):
    """Predicts how long a step gets when every gradient is 1000 times as long."""
    small = [tf.constant([0.03, -0.04])]
    large = [1000 * gradient for gradient in small]
    for name, value, optimizer in (
        ("sgd_times", sgd_times, keras.optimizers.SGD(0.01)),
        ("adam_times", adam_times, keras.optimizers.Adam(0.01)),
    ):
        times = number(name, value, "times as long")
        one, other = (np.linalg.norm(_moved(optimizer, g)) for g in (small, large))
        if not np.isclose(times, other / one, rtol=0.02):
            raise Wrong(
                f"`{name}` was measured on a first step, and it is "
                f"{'less' if other / one < times else 'more'} than {times:g}."
            )
    return (
        "Adam divides a gradient by its own recent size, so a factor that all "
        "gradients share cancels: its net does not explode, and clipping every step "
        "changes next to nothing."
    )


def exercise_4(statements, log_these):
    """Explains a flat line of 1.0."""
    letters(
        "statements",
        statements,
        {
            "a": None,
            "b": "What is 1.0 long here is the gradient after the clip. Give the "
            "wrapper gradients 10,000 times as long and log again.",
            "c": None,
            "d": "A gradient that vanishes is shorter than 1, and clipping makes "
            "nothing longer.",
            "e": "Nothing in this line says so: how long a step may be is the limit "
            "times the rate, and only the limit is seen.",
        },
    )
    letters(
        "log_these",
        log_these,
        {
            "p": None,
            "q": "That is the line they have.",
            "r": None,
            "s": "It is the same number at every step.",
        },
    )
    return "`last_step()` of the wrapper has both sides of the clip, per variable."


def exercise_5(cause, first_step, my_optimizer):
    """Diagnoses weights that are NaN although gradients are clipped."""
    step = number("first_step", first_step, "steps, counted from 1")
    if step != 57 // 20 + 1:
        raise Wrong(
            f"`first_step` is not {step:g}. Rows are taken in order, 20 at a time; "
            "find the batch of row 57 and count from 1."
        )
    letters(
        "cause",
        cause,
        {
            "a": "A limit of 0.001 ends the same way: try it.",
            "b": None,
            "c": "A rate of 0.0001 ends the same way: try it.",
            "d": "All weights are NaN after one single step; an explosion builds up.",
        },
    )
    if not isinstance(my_optimizer, keras.optimizers.Optimizer):
        raise Wrong("`my_optimizer` must be a Keras optimizer.")
    spoilt = [tf.constant([np.inf, 1.0]), tf.constant([1.0])]
    moved = _moved(my_optimizer, spoilt)
    if not np.isfinite(moved).all():
        raise Wrong("With this optimizer one infinite gradient still makes NaN.")
    if moved.any():
        raise Wrong(
            "The weights live, and yet the spoilt step has moved them. A step that "
            "means nothing should be left out."
        )
    length = np.linalg.norm(_moved(my_optimizer, [tf.constant([300.0, 400.0])]))
    if not np.isclose(length, 0.1, rtol=0.02):
        raise Wrong(
            f"A gradient of length 500 now moves the weights by {length:.2g}; with the "
            "rate of 0.1 and the limit of 1 it was to be 0.1."
        )
    return (
        "The spoilt step is left out and counted, all others go on as they did. "
        "`last_step()` names the variable."
    )

"""Telling what the mouse did from what the page does by itself."""

import math

_HALF_A_STEP = 0.5001


def is_echo(slider, shown, sent):
    """Says whether the page only sent back what it was told to show.

    When a `FloatLogSlider` appears on a page, the page rounds its value to a step of
    the slider and sends it back: taken as a wish, looking would change the value.

    Args:
        slider: `ipywidgets.FloatLogSlider`.
        shown: float, the value that it stands for.
        sent: float, the value that came.

    Returns:
        bool; a move by less than half a step counts as an echo.
    """
    low, high = slider.base**slider.min, slider.base**slider.max
    inside = min(max(shown, low), high)
    steps = abs(math.log(sent / inside, slider.base)) / slider.step
    return steps <= _HALF_A_STEP

"""Figures that pyplot does not know, and pictures with alternative text."""

import base64
import html
import io

from IPython.display import HTML
from matplotlib.figure import Figure


def new_figure(width=7.0, height=3.0, **subplots):
    """Makes a figure that pyplot does not know, safe in any thread.

    Args:
        width: float, inches.
        height: float, inches.
        **subplots: Passed to `Figure.subplots`, such as `ncols=2`.

    Returns:
        `(figure, axes)`, axes as `Figure.subplots` gives them.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**subplots)


def to_png(figure, *, dpi=100):
    """Draws a figure.

    Args:
        figure: `matplotlib.figure.Figure`.
        dpi: int, dots per inch.

    Returns:
        bytes of a PNG file.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def image_tag(picture, alt):
    """Wraps a picture as an HTML image that a screen reader can read.

    Args:
        picture: bytes of a PNG or GIF file.
        alt: str, what the picture shows, for those who cannot see it.

    Returns:
        str, one `<img>` element that holds the picture itself.

    Raises:
        ValueError: If `alt` is empty.
    """
    if not alt.strip():
        raise ValueError(
            f"`alt` must say in words what the figure shows. Received: alt={alt!r}"
        )
    kind = "gif" if picture.startswith(b"GIF8") else "png"
    data = base64.b64encode(picture).decode()
    return (
        f'<img alt="{html.escape(alt, quote=True)}" style="max-width:100%" '
        f'src="data:image/{kind};base64,{data}">'
    )


def show(figure, alt, *, dpi=100):
    """Shows a figure as the last value of a cell, with alternative text.

    Args:
        figure: `matplotlib.figure.Figure`, or bytes of a PNG or GIF file.
        alt: str, what the picture shows.
        dpi: int, dots per inch, for a figure.

    Returns:
        `IPython.display.HTML` that displays in JupyterLab and stays in a saved page.
    """
    picture = figure if isinstance(figure, bytes) else to_png(figure, dpi=dpi)
    return HTML(image_tag(picture, alt))

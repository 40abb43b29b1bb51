"""Draws one picture per notebook that carries its idea without a word.

Usage: python -m book.ideas

Writes notebooks/data/NN_idea.svg, 16 by 9, for the index, the book and slides.
"""

import itertools
import math
import pathlib

import numpy as np

from workbench import data

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks" / "data"
WIDTH, HEIGHT = 480, 270
BLUE, RED, GREEN, AMBER = "#1f5fa8", "#c8553d", "#2e7d5b", "#e0a030"
INK, GREY, PALE, SKY = "#37414b", "#aab2ba", "#e4e8ec", "#9db8d6"

ALT = {
    1: "An eye looks at four graphics cards; a wall hides two of them, two are seen.",
    2: "A map of words, with two parallel arrows in it, flows into the first layer of "
    "a network.",
    3: "Three squares point at rows of a coloured table; these rows come out, in the "
    "order of the squares.",
    4: "Scissors cut a long arrow where it leaves a circle; the arrow that remains has "
    "the same direction.",
    5: "Three valleys: steps that are too small creep, good ones reach the bottom, and "
    "steps that are too large climb out.",
    6: "The same points with three lines: one that winds through each point, a smooth "
    "one and a flat one; below each a slider, further to the right each time.",
    7: "A falling curve is cut by a lightning; from a disk it goes on as if nothing "
    "had happened, while a pale line begins again at the top.",
    8: "Files with empty and filled places for a graph, numbers and a gear; in the "
    "last one a magnifying glass shows a bomb.",
    9: "A handwritten digit goes through two layers of small pictures into bars; a "
    "magnifying glass is held over one of the pictures.",
    10: "A screen with a falling curve that bends where a hand moves the slider below, "
    "beside buttons to pause and to stop; a network is connected to it.",
}


def tag(name, content="", **attributes):
    """Returns an element; `stroke_width=2` becomes `stroke-width="2"`."""
    words = [
        f'{key.replace("_", "-")}="{_number(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    start = " ".join([name, *words])
    return f"<{start}>{content}</{name}>" if content else f"<{start}/>"


def _number(value):
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def rect(x, y, width, height, fill="none", **more):
    """Returns a rectangle."""
    return tag(
        "rect",
        x=float(x),
        y=float(y),
        width=float(width),
        height=float(height),
        fill=fill,
        **more,
    )


def disc(x, y, radius, fill=INK, **more):
    """Returns a circle."""
    return tag("circle", cx=float(x), cy=float(y), r=float(radius), fill=fill, **more)


def line(points, color=INK, width=4.0, *, closed=False, **more):
    """Returns a line through points `(N, 2)`."""
    steps = " L".join(f"{_number(float(x))} {_number(float(y))}" for x, y in points)
    return path(f"M{steps}{'Z' if closed else ''}", color, width, **more)


def path(d, color=INK, width=4.0, **more):
    """Returns a path of round lines."""
    return tag(
        "path",
        d=d,
        **{"fill": "none"} | more,
        stroke=color,
        stroke_width=width,
        stroke_linecap="round",
        stroke_linejoin="round",
    )


def moved(content, x, y, scale=1.0, turn=0.0):
    """Returns a group put elsewhere."""
    place = f"translate({_number(float(x))} {_number(float(y))})"
    if turn:
        place += f" rotate({_number(float(turn))})"
    if scale != 1:
        place += f" scale({scale:.2f})"
    return tag("g", content, transform=place)


def arrow(start, end, color=INK, width=4.0, head=10.0, **more):
    """Returns an arrow with a filled head."""
    (x, y), (u, v) = start, end
    turn = math.atan2(v - y, u - x)
    back = head * 1.1
    stop = u - back * math.cos(turn), v - back * math.sin(turn)
    long = 1.6 * head
    sides = [turn + 0.5, turn - 0.5]
    corners = [(u - long * math.cos(side), v - long * math.sin(side)) for side in sides]
    corners.append((u, v))
    return line([start, stop], color, width, **more) + line(
        corners, color, 1.0, closed=True, fill=color
    )


def network(sizes, width, height, colors, edge=GREY):
    """Returns a small network: layers of `sizes` discs, each layer in its color."""
    places = []
    for i, size in enumerate(sizes):
        x = width * i / (len(sizes) - 1)
        places.append([(x, height * (j + 0.5) / size) for j in range(size)])
    edges = "".join(
        line([a, b], edge, 1.5)
        for first, second in itertools.pairwise(places)
        for a in first
        for b in second
    )
    nodes = "".join(
        disc(x, y, 9, color)
        for layer, color in zip(places, colors, strict=True)
        for x, y in layer
    )
    return edges + nodes


def magnifier(radius=34.0, color=INK):
    """Returns a magnifying glass around (0, 0), to be laid over something."""
    r = radius * 0.72
    end = radius * 1.75
    return line([(r, r), (end, end)], color, 11.0) + disc(
        0, 0, radius, "none", stroke=color, stroke_width=6
    )


def devices():
    """Four cards, of which two are seen."""
    eye = path("M-46 0Q0 -46 46 0Q0 46 -46 0Z", INK, 5.0, fill="#ffffff")
    eye += disc(0, 0, 20, BLUE) + disc(0, 0, 9, INK) + disc(6, -6, 4, "#ffffff")
    parts = []
    for i, y in enumerate((40, 100, 160, 220)):
        seen = i in (0, 2)
        beam = [
            (112, 135),
            (330 if seen else 246, y if seen else 135 + (y - 135) * 0.62),
        ]
        parts.append(line(beam, AMBER, 3.0, stroke_dasharray="2 8"))
        parts.append(moved(_card(GREEN if seen else GREY), 340, y - 22))
    wall = "".join(rect(246, y - 31, 18, 62, INK, rx=4) for y in (100 + 7, 220 - 17))
    return "".join(parts) + wall + moved(eye, 66, 135)


def _card(color):
    fans = "".join(
        disc(x, 22, 14, "#ffffff", opacity=0.9)
        + "".join(
            line(
                [
                    (x, 22),
                    (x + 11 * math.cos(a), 22 + 11 * math.sin(a)),
                ],
                color,
                3.5,
            )
            for a in np.arange(5) * math.tau / 5
        )
        for x in (28, 70)
    )
    pins = rect(18, 44, 46, 7, AMBER if color == GREEN else PALE)
    return (
        rect(-6, -4, 6, 54, INK, rx=2) + pins + rect(0, 0, 100, 44, color, rx=6) + fans
    )


def embeddings():
    """A map of words becomes the first layer."""
    random = np.random.default_rng(4)
    groups = [
        ((70, 70), BLUE),
        ((165, 80), RED),
        ((85, 190), GREEN),
        ((180, 200), AMBER),
    ]
    cloud = "".join(
        disc(x, y, 4.5, color, opacity=0.75)
        for middle, color in groups
        for x, y in random.normal(middle, (20, 17), (17, 2))
    )
    pair = arrow((72, 78), (156, 88), INK, 4.0, 9.0)
    pair += arrow((88, 182), (172, 192), INK, 4.0, 9.0)
    ends = "".join(
        disc(x, y, 7, color, stroke=INK, stroke_width=3)
        for (x, y), color in (
            ((68, 77.5), BLUE),
            ((164, 89), RED),
            ((84, 181.5), GREEN),
            ((180, 193), AMBER),
        )
    )
    frame = rect(16, 22, 222, 226, "#ffffff", rx=14, stroke=PALE, stroke_width=4)
    net = network([4, 3, 1], 130, 216, [BLUE, GREY, GREY])
    net += "".join(
        disc(0, 27 + 54 * i, 13, color)
        for i, color in enumerate((BLUE, RED, GREEN, AMBER))
    )
    return (
        frame
        + cloud
        + pair
        + ends
        + arrow((252, 135), (298, 135), INK, 6.0, 13.0)
        + (moved(net, 326, 27))
    )


def lookup():
    """Rows are picked out of a table."""
    random = np.random.default_rng(3)
    colors = [BLUE, RED, GREEN, AMBER, "#8a5aa8", "#4a9aa8", "#7a8a2e"]
    shades = random.uniform(0.25, 1, (7, 5))

    def row(i, x, y):
        return "".join(
            rect(
                x + 26 * j, y, 24, 26, colors[i], opacity=float(round(shades[i, j], 2))
            )
            for j in range(5)
        )

    asked = [5, 1, 4]
    table = "".join(row(i, 140, 31 + 30 * i) for i in range(7))
    table = rect(132, 23, 144, 222, "#ffffff", rx=8, stroke=INK, stroke_width=4) + table
    parts = [table]
    for place, i in enumerate(asked):
        y, level = 75 + 60 * place, 31 + 30 * i + 13
        parts.append(rect(18, y - 17, 34, 34, colors[i], rx=7))
        way = f"M58 {y}C98 {y} 90 {level} 120 {level}"
        parts.append(
            path(way, INK, 3.0) + arrow((118, level), (131, level), INK, 3.0, 8.0)
        )
        out = f"M278 {level}C308 {level} 296 {y} 318 {y}"
        parts.append(path(out, INK, 3.0) + arrow((316, y), (328, y), INK, 3.0, 8.0))
        frame = {"stroke": INK, "stroke_width": 3}
        parts.append(rect(330, y - 17, 132, 34, "#ffffff", rx=5, **frame))
        parts.append(row(i, 331, y - 13))
        parts.append(rect(138, level - 15, 132, 30, rx=3, **frame))
    return "".join(parts)


def clipping():
    """An arrow is cut where it leaves the circle."""
    middle, radius, turn = np.array([146, 158]), 92, -0.42
    way = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-way[1], way[0]])
    edge, far = middle + radius * way, middle + 318 * way
    circle = disc(
        *middle,
        radius,
        "#e6eef7",
        stroke=BLUE,
        stroke_width=4,
        stroke_dasharray="1 11",
        stroke_linecap="round",
    )
    rest = arrow(tuple(edge + 26 * way), tuple(far), "#e5b5aa", 10.0, 21.0)
    kept = arrow(tuple(middle), tuple(edge), BLUE, 10.0, 21.0)
    half = path("M-6 6L-3 -70Q9 -62 7 6Z", INK, 2.0, fill=INK)
    half += line([(0, 4), (-6, 34)], INK, 8.0)
    half += disc(-9, 52, 17, "none", stroke=RED, stroke_width=9)
    other = tag("g", half, transform="scale(-1 1)")
    both = moved(half, 0, 0, turn=20.0) + moved(other, 0, 0, turn=-20.0)
    pivot = edge + 13 * way + 34 * across
    scissors = moved(both + disc(0, 0, 4, "#ffffff"), *pivot, 1.0, math.degrees(turn))
    return circle + rest + kept + disc(*middle, 8, INK) + scissors


def learning_rate():
    """Steps that creep, arrive, and climb out."""
    parts = []
    for place, (rate, start, steps, color) in enumerate(
        ((0.035, -0.95, 8, AMBER), (0.3, -0.95, 6, GREEN), (1.08, -0.42, 7, RED))
    ):
        left = 90 + 150 * place

        def at(x, left=left):
            return left + 62 * x, 215 - 150 * x * x

        curve = [at(x) for x in np.linspace(-1.06, 1.06, 41)]
        parts.append(line(curve, GREY, 5.0))
        parts.append(line([(left - 60, 240), (left + 60, 240)], PALE, 4.0))
        x, points = start, []
        for _ in range(steps):
            points.append(at(x))
            x -= rate * 2 * x
        parts.append(line(points, color, 3.0))
        parts += [disc(u, v, 5.5, color) for u, v in points[:-1]]
        parts.append(disc(*points[-1], 9, color, stroke=INK, stroke_width=3))
    return "".join(parts)


def regularization():
    """The same points, learned by heart, well, and not at all."""
    random = np.random.default_rng(11)
    x = np.linspace(0.06, 0.94, 9)
    y = 0.5 + 0.36 * np.sin(2.6 * x * 1.9 - 0.6) + random.normal(0, 0.085, 9)
    wide = np.linspace(0, 1, 90)
    winding = np.polynomial.Polynomial.fit(x, y, 8)(wide)
    smooth = np.polynomial.Polynomial.fit(x, y, 3)(wide)
    parts = []
    lines = ((winding, RED), (smooth, GREEN), (np.full(90, y.mean()), AMBER))
    for place, (values, color) in enumerate(lines):
        left, low = 18 + 153 * place, 186
        inside = (values > -0.14) & (values < 1.12)
        curve = np.stack([left + 138 * wide, low - 146 * values], 1)[inside]
        parts.append(
            rect(left, 20, 138, 186, "#ffffff", rx=10, stroke=PALE, stroke_width=4)
        )
        parts.append(line(curve, color, 5.0))
        parts += [
            disc(left + 138 * u, low - 146 * v, 5.5, INK)
            for u, v in zip(x, y, strict=True)
        ]
        end = left + (12, 69, 126)[place]
        parts.append(line([(left + 8, 236), (left + 130, 236)], GREY, 6.0))
        parts.append(line([(left + 8, 236), (end, 236)], color, 6.0))
        parts.append(disc(end, 236, 11, color, stroke="#ffffff", stroke_width=3))
    return "".join(parts)


def resume():
    """A curve is cut, and goes on from a disk."""
    x = np.linspace(0, 1, 80)
    y = 52 + 168 * (1 - np.exp(-3.1 * x)) / (1 - math.exp(-3.1))
    y += 5 * np.sin(31 * x) * (1 - x)
    points = np.stack([32 + 416 * x, y], 1)
    cut, on = 34, 42
    anew = np.stack([points[on:, 0], 50 + (y - 52)[: 80 - on] * 0.96], 1)
    axes = line([(24, 24), (24, 246), (458, 246)], GREY, 4.0)
    parts = [axes, line(anew, "#e5b5aa", 5.0, stroke_dasharray="1 10")]
    parts.append(line(points[: cut + 1], BLUE, 7.0) + line(points[on:], GREEN, 7.0))
    bolt = [(6, -58), (-20, 4), (-3, 4), (-12, 52), (22, -16), (4, -16), (18, -58)]
    middle = (points[cut] + points[on]) / 2
    parts.append(
        moved(
            line(bolt, "#ffffff", 5.0, closed=True, fill=AMBER),
            middle[0],
            middle[1] - 62,
            0.9,
        )
    )
    parts.append(moved(_disk(), middle[0] - 23, middle[1] + 14, 0.8))
    parts.append(disc(*points[cut], 9, BLUE, stroke="#ffffff", stroke_width=3))
    parts.append(disc(*points[on], 9, GREEN, stroke="#ffffff", stroke_width=3))
    return "".join(parts)


def _disk():
    body = path("M0 5Q0 0 5 0H46L58 12V53Q58 58 53 58H5Q0 58 0 53Z", INK, 3.0, fill=INK)
    return (
        body
        + rect(14, 2, 26, 18, PALE, rx=2)
        + rect(30, 5, 6, 12, INK)
        + (
            rect(10, 30, 38, 26, "#ffffff", rx=2)
            + line([(16, 38), (42, 38)], GREY, 3.0)
            + line([(16, 46), (36, 46)], GREY, 3.0)
        )
    )


def formats():
    """What each file keeps, and what is hidden in one."""
    kept = ((False, True, False), (True, False, False), (True, True, True))
    parts = [moved(_file(row), 22 + 106 * i, 50) for i, row in enumerate(kept)]
    parts.append(moved(_file((False, False, False)), 340, 50))
    bomb = disc(0, 5, 19, INK) + rect(-7, -19, 14, 9, INK, rx=2)
    bomb += path("M0 -18Q4 -32 16 -28", INK, 3.5)
    rays = [
        line(
            [
                (18 + 4 * math.cos(a), -28 + 4 * math.sin(a)),
                (18 + 9 * math.cos(a), -28 + 9 * math.sin(a)),
            ],
            AMBER,
            3.0,
        )
        for a in np.arange(6) * math.tau / 6 + 0.3
    ]
    glass = disc(0, 0, 46, "#fdecea") + moved(bomb + "".join(rays), -2, 4, 1.05)
    glass += magnifier(46.0, RED)
    parts.append(moved(glass, 386, 128))
    return "".join(parts)


def _file(row):
    page = path(
        "M0 8Q0 0 8 0H66L90 24V162Q90 170 82 170H8Q0 170 0 162Z",
        INK,
        4.0,
        fill="#ffffff",
    )
    page += path("M66 0V24H90", INK, 4.0)
    parts = []
    for i, (has, symbol) in enumerate(zip(row, (_graph, _grid, _gear), strict=True)):
        y = 32 + 46 * i
        if has:
            parts.append(moved(symbol(), 45, y + 19))
        else:
            frame = {"stroke": GREY, "stroke_width": 3, "stroke_dasharray": "4 6"}
            parts.append(rect(25, y, 40, 38, rx=8, **frame))
    return page + "".join(parts)


def _graph():
    places = [(-16, -10), (-16, 12), (2, 1), (18, 1)]
    edges = line([places[0], places[2], places[1]], GREEN, 3.0)
    edges += line([places[2], places[3]], GREEN, 3.0)
    return edges + "".join(disc(x, y, 6, GREEN) for x, y in places)


def _grid():
    shades = ((0.9, 0.4, 0.6), (0.3, 0.8, 0.5), (0.6, 0.3, 1.0))
    return "".join(
        rect(-18 + 12.5 * j, -18 + 12.5 * i, 11, 11, BLUE, opacity=shade)
        for i, row in enumerate(shades)
        for j, shade in enumerate(row)
    )


def _gear():
    teeth = "".join(
        moved(rect(-4.5, -19, 9, 10, AMBER, rx=2), 0, 0, turn=45.0 * i)
        for i in range(8)
    )
    return teeth + disc(0, 0, 13, AMBER) + disc(0, 0, 5, "#ffffff")


def activations():
    """What each layer makes of a digit."""
    (images, labels), _ = data.load_mnist()
    image = images[np.flatnonzero(labels == 3)[7]]
    coarse = image.reshape(14, 2, 14, 2).mean((1, 3))
    down, across = np.gradient(coarse)
    maps = [np.maximum(m, 0) for m in (down, across, -down)]
    maps = [m / m.max() for m in maps]
    small = [m.reshape(7, 2, 7, 2).max((1, 3)) for m in maps]
    parts = [_picture(image, 16, 75, 120, INK)]
    for i, color in enumerate((BLUE, RED, GREEN)):
        parts.append(_picture(maps[i], 184, 16 + 84 * i, 70, color))
        parts.append(_picture(small[i], 312, 35 + 75 * i, 50, color))
    parts += [arrow((x, 135), (x + 26, 135), INK, 5.0, 10.0) for x in (144, 276, 370)]
    for i, length in enumerate((8, 16, 6, 62, 10, 22, 5)):
        color = GREEN if length > 60 else GREY
        parts.append(rect(404, 42 + 27 * i, length, 18, color, rx=3))
    glass = disc(0, 0, 48, "#ffffff") + _picture(
        maps[1], -34, -34, 68, RED, framed=False
    )
    parts.append(moved(glass + magnifier(48.0), 219, 135))
    return "".join(parts)


def _picture(values, x, y, size, color, *, framed=True):
    """Returns a picture of values in [0, 1], runs of equal shade as one rectangle."""
    rows, columns = values.shape
    cell = size / columns
    levels = np.round(np.clip(values, 0, 1) * 5).astype(int)
    parts = [rect(x, y, size, size, "#ffffff")]
    for i in range(rows):
        j = 0
        while j < columns:
            end = j
            while end < columns and levels[i, end] == levels[i, j]:
                end += 1
            if levels[i, j]:
                shade = float(levels[i, j]) / 5
                parts.append(
                    rect(
                        x + j * cell,
                        y + i * cell,
                        (end - j) * cell + 0.3,
                        cell + 0.3,
                        color,
                        fill_opacity=f"{shade:.1f}",
                    )
                )
            j = end
    if framed:
        parts.append(rect(x, y, size, size, rx=3, stroke=INK, stroke_width=3))
    return "".join(parts)


def steering():
    """A curve that bends where the slider was moved."""
    screen = rect(150, 16, 312, 170, "#ffffff", rx=12, stroke=INK, stroke_width=6)
    x = np.linspace(0, 1, 60)
    random = np.random.default_rng(2)
    shaky = 60 + 30 * x + random.normal(0, 12, 60) * (x > 0)
    bend = 32
    calm = 60 + 30 * x[bend] + 78 * (1 - np.exp(-5 * (x[bend:] - x[bend])))
    calm += random.normal(0, 1.5, 60 - bend)
    across = 172 + 268 * x
    first = np.stack([across[: bend + 1], shaky[: bend + 1]], 1)
    second = np.stack([across[bend:], [first[-1, 1], *calm[1:]]], 1)
    curve = line(first, RED, 5.0) + line(second, GREEN, 5.0)
    mark = line(
        [(across[bend], 30), (across[bend], 172)], GREY, 3.0, stroke_dasharray="2 9"
    )
    net = moved(network([3, 4, 2], 84, 140, [BLUE, BLUE, BLUE]), 24, 31)
    wire = path("M122 101H144", INK, 5.0)
    buttons = ""
    for i, symbol in enumerate(
        (
            rect(-8, -9, 6, 18, INK) + rect(3, -9, 6, 18, INK),
            rect(-8, -8, 17, 17, INK),
        )
    ):
        buttons += moved(disc(0, 0, 20, PALE) + symbol, 178 + 50 * i, 216)
    slider = line([(268, 216), (446, 216)], GREY, 7.0) + line(
        [(268, 216), (330, 216)], GREEN, 7.0
    )
    slider += line([(392, 216), (352, 216)], AMBER, 3.0) + arrow(
        (392, 216), (348, 216), AMBER, 4.0, 9.0
    )
    slider += disc(330, 216, 13, GREEN, stroke="#ffffff", stroke_width=3)
    hand = path(
        "M0 0V-24Q0 -30 5 -30Q10 -30 10 -24V-6L26 -3Q34 -1 33 7L31 20Q30 30 20 30H10"
        "Q3 30 -1 24L-12 8Q-16 2 -11 -1Q-7 -3 -3 2Z",
        INK,
        3.0,
        fill="#ffffff",
    )
    return (
        screen
        + mark
        + curve
        + net
        + wire
        + buttons
        + slider
        + moved(hand, 328, 238, 0.72)
    )


IDEAS = {
    1: devices,
    2: embeddings,
    3: lookup,
    4: clipping,
    5: learning_rate,
    6: regularization,
    7: resume,
    8: formats,
    9: activations,
    10: steering,
}


def svg(number):
    """Returns the picture of a notebook as the text of an SVG file.

    Args:
        number: int, the notebook's.
    """
    space = "http://www.w3.org/2000/svg"
    ground = rect(2, 2, WIDTH - 4, HEIGHT - 4, "#fafbfc", rx=16)
    picture = tag(
        "svg",
        ground + IDEAS[number](),
        xmlns=space,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
        aria_label=ALT[number],
    )
    return picture.replace("><", ">\n<") + "\n"


def main():
    """Writes all pictures."""
    for number in IDEAS:
        (FOLDER / f"{number:02d}_idea.svg").write_text(svg(number), encoding="utf-8")


if __name__ == "__main__":
    main()

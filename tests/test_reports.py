"""One description, two renderings."""

import dataclasses

import pytest

from workbench.reports import (
    Heading,
    Note,
    Report,
    Table,
    format_bytes,
    format_seconds,
    render_html,
    render_text,
)

BLOCKS = (
    Heading("GPUs"),
    Table(("name", "memory"), (("/GPU:0", "8.0 GiB"), ("<b>", "x"))),
    Note("word " * 30),
)


def test_text_aligns_columns_and_folds_notes():
    lines = render_text(BLOCKS).splitlines()
    assert lines[:5] == [
        "GPUs",
        "name    memory",
        "------  -------",
        "/GPU:0  8.0 GiB",
        "<b>     x",
    ]
    assert max(map(len, lines)) <= 88
    assert len(lines) == 7


def test_html_escapes_what_came_in():
    page = render_html(BLOCKS)
    assert "<b>GPUs</b>" in page
    assert ">&lt;b&gt;</td>" in page
    assert page.count("<tr>") == 3


def test_a_report_prints_both_ways():
    @dataclasses.dataclass(frozen=True)
    class Length(Report):
        meters: float

        def blocks(self):
            yield Note(f"{self.meters} m")

    assert str(Length(2.0)) == "2.0 m"
    assert Length(2.0)._repr_html_() == "<p>2.0 m</p>"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (17 * 2**30, "17.0 GiB"),
        (3 * 2**40, "3.0 TiB"),
    ],
)
def test_bytes(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text

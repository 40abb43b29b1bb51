"""The embedding explorer, driven by a mouse and by keys in JupyterLab."""

import matplotlib.path
import numpy as np
import pytest

from tests.browser.lab import PANEL, wait_for

NAME = "embedding_explorer.ipynb"
ROOT = ".workbench-points"
SETUP = """
from workbench.logs import quiet

with quiet():
    import keras

from workbench import data
from workbench.embeddings import load_vectors
from workbench.widgets import EmbeddingExplorer

vectors = load_vectors(data._DATA / "glove.6B.50d.top10k.txt.gz", cache=False)
panel = EmbeddingExplorer(vectors, tsne_words=60)
panel
"""


@pytest.fixture(scope="module")
def page(lab):
    """A notebook with an explorer of 10,000 words."""
    lab.run_notebook(NAME, SETUP)
    return lab.page


@pytest.fixture
def explorer(page):
    """The map and the lists, in the middle of the page."""
    place = page.locator(ROOT).first
    wait_for(lambda: place.get_attribute("data-drawn"))
    place.evaluate("node => node.scrollIntoView({block: 'center'})")
    return place


@pytest.fixture
def positions(lab):
    """The points that Python sent, `(N, 2)`."""
    return np.array(lab.evaluate("panel.positions.tolist()"))


def field(explorer):
    return explorer.locator(".field")


def on_screen(explorer, positions):
    """Where points lie on the map, in CSS pixels from its corner, `(N, 2)`."""
    x, y, width = map(float, explorer.get_attribute("data-view").split())
    edge = field(explorer).evaluate("node => [node.clientWidth, node.clientHeight]")
    k = edge[0] / width
    return np.stack(
        [
            (positions[:, 0] - x) * k + edge[0] / 2,
            edge[1] / 2 - (positions[:, 1] - y) * k,
        ],
        axis=1,
    )


def spot(explorer, place):
    """The same place from the corner of the page."""
    box = field(explorer).bounding_box()
    return box["x"] + 1 + place[0], box["y"] + 1 + place[1]


def pixel(explorer, place):
    """The color that is drawn there."""
    return explorer.locator("canvas").first.evaluate(
        """(canvas, [x, y]) => {
            const ratio = canvas.width / canvas.getBoundingClientRect().width;
            const at = [x * ratio, y * ratio].map(Math.floor);
            const context = canvas.getContext("2d");
            return [...context.getImageData(...at, 1, 1).data].slice(0, 3);
        }""",
        list(map(float, place)),
    )


def drag(page, explorer, places):
    """Draws with the mouse from place to place."""
    page.mouse.move(*spot(explorer, places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(explorer, place), steps=3)
    page.mouse.up()


def test_all_points_are_drawn_in_their_colors(lab, page, explorer, positions):
    assert explorer.get_attribute("data-visible") == "10000"
    places = on_screen(explorer, positions)
    edge = field(explorer).evaluate("node => [node.clientWidth, node.clientHeight]")
    assert (places > 0).all()
    assert (places < edge).all()
    table = lab.evaluate(
        "__import__('workbench.plots.embeddings').plots.embeddings.color_table()"
        "[panel._reading.codes('rank', '')[0][:1]].tolist()"
    )
    assert pixel(explorer, places[0]) == table[0]  # the first word lies on top
    lab.screenshot("explorer")


def test_a_search_shows_neighbors(lab, page, explorer):
    search = page.locator(PANEL).first.get_by_label("Search")
    search.fill("kin")
    wait_for(lambda: lab.evaluate("len(panel._view.canvas.marks)") == 5)
    lab.screenshot("explorer_search")
    search.fill("king")
    wait_for(lambda: explorer.get_by_role("option").count() == 10)
    first = explorer.get_by_role("option").first
    assert first.inner_text().split() == ["prince", "0.824"]
    lab.screenshot("explorer_king")
    first.focus()
    first.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for(lambda: lab.evaluate("panel.word") == "queen")
    wait_for(lambda: search.input_value() == "queen")


def test_hover_says_the_word_and_a_click_takes_it(lab, page, explorer, positions):
    places = on_screen(explorer, positions)
    page.mouse.move(*spot(explorer, places[0]))
    status = explorer.get_by_role("status")
    wait_for(lambda: status.inner_text() == "the · word 1")
    page.mouse.move(*spot(explorer, places[2]))
    wait_for(lambda: status.inner_text() == ". · word 3")
    page.mouse.move(*spot(explorer, places[0]))
    page.mouse.down()
    page.mouse.up()
    wait_for(lambda: lab.evaluate("panel.word") == "the")


def test_an_analogy_is_answered_and_an_unknown_word_named(lab, page, explorer):
    for name, word in (("Analogy", "man"), ("is to", "king"), ("as", "woman")):
        page.get_by_label(name, exact=True).first.fill(word)
        page.keyboard.press("Enter")
    wait_for(lambda: lab.evaluate("panel.answers and panel.answers[0][0]") == "queen")
    wait_for(lambda: page.get_by_text("is to queen").count())
    lab.screenshot("explorer_analogy")
    page.get_by_label("as", exact=True).first.fill("Frau")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert").filter(has_text="must be one of the 10,000 words")
    wait_for(alert.count)
    page.get_by_label("as", exact=True).first.fill("girl")
    page.keyboard.press("Enter")
    wait_for(lambda: not alert.count())


def test_wheel_keys_and_python_move_the_map(lab, page, explorer, positions):
    place = on_screen(explorer, positions)[0]
    page.mouse.move(*spot(explorer, place))
    before = explorer.get_attribute("data-view").split()
    page.mouse.wheel(0, 100)  # the map was not clicked yet: the page scrolls
    field(explorer).focus()
    explorer.evaluate("node => node.scrollIntoView({block: 'center'})")
    page.mouse.move(*spot(explorer, place))
    page.mouse.wheel(0, -400)
    wait_for(lambda: len(lab.evaluate("panel.view")) == 3)
    view = lab.evaluate("panel.view")
    assert view[2] < 0.6 * float(before[2])
    # What lies under the mouse stays there.
    assert on_screen(explorer, positions)[0] == pytest.approx(place, abs=1.5)
    page.keyboard.press("ArrowRight")
    wait_for(lambda: lab.evaluate("panel.view") != view)
    assert lab.evaluate("panel.view")[0] == pytest.approx(view[0] + view[2] / 10)
    lab.screenshot("explorer_zoomed")
    lab.evaluate("setattr(panel, 'view', ())")
    wait_for(lambda: explorer.get_attribute("data-visible") == "10000")


@pytest.mark.parametrize("tool", ["box", "lasso"])
def test_what_is_drawn_around_comes_back(lab, page, explorer, positions, tool):
    page.get_by_role("button", name=tool).first.click()
    wait_for(lambda: lab.evaluate("panel._view.canvas.tool") == tool)
    corners = np.array([[200.0, 150], [420, 150], [420, 330], [200, 330]])
    drawn = corners[[0, 2]] if tool == "box" else corners[[0, 1, 2]]
    drag(page, explorer, drawn)
    region = matplotlib.path.Path(corners if tool == "box" else drawn)
    inside = region.contains_points(on_screen(explorer, positions))
    wait_for(lambda: abs(len(lab.evaluate("panel.selection")) - inside.sum()) <= 25)
    words = lab.evaluate("list(vectors.words)")
    found = set(lab.evaluate("panel.selection"))
    expected = {words[i] for i in np.flatnonzero(inside)}
    assert len(found ^ expected) <= 25  # at the edge, by rounding
    assert len(expected) > 300
    lab.screenshot(f"explorer_{tool}")
    field(explorer).press("Escape")
    wait_for(lambda: lab.evaluate("panel.selection") == [])


def test_tsne_comes_from_the_background(lab, page, explorer):
    page.get_by_role("button", name="t-SNE").first.click()
    wait_for(lambda: explorer.get_attribute("data-visible") == "60")
    lab.screenshot("explorer_tsne")
    page.get_by_role("button", name="PCA").first.click()
    wait_for(lambda: explorer.get_attribute("data-visible") == "10000")
    assert lab.evaluate("panel.error") == ""


def test_no_request_leaves_the_machine(lab, page):
    assert lab.requests_outside() == []

"""Tests of EmbeddingExplorer and of what it draws, driven from Python."""

import base64
import itertools
import threading

import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances

from tests.waiting import wait_for
from workbench import data
from workbench.embeddings import Coverage, load_vectors
from workbench.embeddings.words import Words
from workbench.plots import embeddings as drawing
from workbench.plots import to_png
from workbench.widgets.embedding_explorer import EmbeddingExplorer


@pytest.fixture(scope="module")
def glove(tmp_path_factory):
    path = data._DATA / "glove.6B.50d.top10k.txt.gz"
    return load_vectors(path, limit=3000, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def make_panel(closed_after):
    return lambda *args, **kwargs: closed_after(EmbeddingExplorer(*args, **kwargs))


@pytest.fixture
def panel(glove, make_panel):
    return make_panel(glove, tsne_words=60)


def marked(panel, kind):
    words = panel._reading.vectors.words
    return [words[row] for row, k in panel._view.canvas.marks if k == kind]


def test_the_page_gets_every_word_its_point_and_its_color(glove, panel):
    canvas = panel._view.canvas
    positions = np.frombuffer(canvas.positions, "<f4").reshape(-1, 2)
    np.testing.assert_array_equal(positions, glove.project())
    offsets = np.frombuffer(canvas.offsets, "<u4")
    words = [canvas.names[a:b].decode() for a, b in itertools.pairwise(offsets)]
    assert words == list(glove.words)
    codes = np.frombuffer(canvas.codes, "uint8")
    assert (codes[0], codes[-1]) == (255, 0)
    assert (np.diff(codes.astype(int)) <= 0).all()


def test_a_word_has_its_neighbors_beside_and_on_the_map(glove, panel):
    panel.word = "king"
    assert list(panel.neighbors) == glove.neighbors("king", 10)
    assert panel.search == "king"
    assert marked(panel, "word") == ["king"]
    assert marked(panel, "near") == [w for w, _ in glove.neighbors("king", 10)]
    assert panel._view.canvas.lists[0]["title"] == "Near king"
    panel.k = 3
    assert list(panel.neighbors) == glove.neighbors("king", 3)
    assert len(panel._view.canvas.lists[0]["rows"]) == 3
    panel.word = ""
    assert (panel.neighbors, panel.search) == ((), "")
    assert panel._view.canvas.lists == []


def test_what_is_typed_is_completed_and_a_word_is_taken(glove, panel):
    panel._view.search.value = "pres"
    expected = [w for w in glove.words if w.startswith("pres")][:12]
    assert list(panel._view.search.options) == expected
    assert marked(panel, "match") == expected
    assert panel.word == ""
    panel._view.search.value = "president"
    assert panel.word == "president"
    assert marked(panel, "match") == []
    panel._view.search.value = "Pres"  # the file has small letters only
    assert list(panel._view.search.options) == expected
    panel._view.search.value = "no such beginning"
    assert panel._view.search.options == ()
    assert (panel.word, panel.error) == ("president", "")
    panel._view.canvas.word = "the"  # a click
    assert (panel.word, panel._view.search.value) == ("the", "the")


def test_an_analogy_is_answered_and_drawn(glove, panel):
    panel.analogy = ("man", "king", "woman")
    assert list(panel.answers) == glove.analogy("man", "king", "woman", 10)
    best = panel.answers[0][0]
    assert f"<b>{best}</b>" in panel._view.answer.value
    rows = [glove.index(word) for word in ("man", "king", "woman", best)]
    assert panel._view.canvas.arrows == [rows[:2], rows[2:]]
    assert marked(panel, "asked") == ["man", "king", "woman"]
    assert marked(panel, "answer") == [best]
    assert [text.value for text in panel._view.asked] == ["man", "king", "woman"]
    panel._view.asked[2].value = "girl"
    assert panel.analogy == ("man", "king", "girl")
    panel._view.asked[0].value = "Mensch"
    assert "Received: word='Mensch'" in panel.error
    assert panel.analogy == ("man", "king", "girl")
    panel._view.asked[0].value = ""
    assert (panel.error, panel.answers) == ("", ())


def test_colors_follow_the_similarity_to_the_word(glove, panel):
    panel.color = "similarity"
    assert not any(panel._view.canvas.codes)
    panel.word = "king"
    codes = np.frombuffer(panel._view.canvas.codes, "uint8")
    unit = glove.matrix / np.linalg.norm(glove.matrix, axis=1, keepdims=True)
    expected = 255 * np.clip(unit @ unit[glove.index("king")], 0, 1)
    assert np.abs(codes - expected).max() <= 0.51
    panel.word = "the"
    assert np.frombuffer(panel._view.canvas.codes, "uint8")[0] == 255


def test_a_selection_goes_both_ways(glove, panel):
    rows = np.array([5, 2, 9], "<u4")
    canvas = panel._view.canvas
    message = {"chosen": 3, "version": canvas.version}
    canvas._on_message(canvas, message, [memoryview(rows.tobytes())])
    assert panel.selection == tuple(glove.words[i] for i in rows)
    assert "3 words selected" in panel._view.selected.value
    stale = {"chosen": 3, "version": canvas.version - 1}
    canvas._on_message(canvas, stale, [memoryview(rows[:1].tobytes())])
    assert len(panel.selection) == 3
    panel.selection = ("king", "the")
    chosen = np.frombuffer(canvas.chosen, "<u4").tolist()
    assert chosen == [glove.index("king"), 0]
    panel._view.clear.click()
    assert (panel.selection, canvas.chosen) == ((), b"")


def test_tsne_comes_from_the_background_and_the_rest_stays(glove, panel):
    panel.selection = ("the", glove.words[2000])
    panel.word = "the"
    panel.view = (0.0, 0.0, 1.0)
    panel.projection = "tsne"
    wait_for(lambda: len(panel.positions) == 60)
    assert not panel.projecting
    expected = glove.project("tsne", words=glove.words[:60])
    np.testing.assert_array_equal(panel.positions, expected)
    canvas = panel._view.canvas
    assert np.frombuffer(canvas.chosen, "<u4").tolist() == [0]
    assert all(row < 60 for row, _ in canvas.marks)
    assert (panel.view, len(panel.neighbors)) == ((), 10)
    assert "60 of 3,000 words" in panel._view.text.value
    panel.projection = "pca"
    assert len(panel.positions) == 3000
    assert np.frombuffer(canvas.chosen, "<u4").tolist() == [0, 2000]
    panel.projection = "tsne"  # known already
    assert (len(panel.positions), panel.projecting) == (60, False)


def test_a_failing_projection_is_told_and_taken_back(panel):
    def broken(_method):
        raise RuntimeError("out of order")

    panel._reading.compute = broken
    panel.projection = "tsne"
    wait_for(lambda: panel.error)
    assert panel.error == "RuntimeError: out of order"
    assert (panel.projection, panel.projecting) == ("pca", False)
    panel.color = "similarity"
    assert panel.error == ""


def test_the_view_goes_both_ways(panel):
    panel.view = (1, 2, 3)
    assert panel._view.canvas.view == [1.0, 2.0, 3.0]
    panel._view.canvas.view = [0.5, 0.25, 2]
    assert panel.view == (0.5, 0.25, 2.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("word", "Mensch", "`word` must be one of the 3,000 words"),
        ("word", "King", "'king' is there"),
        ("k", 0, "`k` must be in 1 to 50"),
        ("analogy", ("man", "king"), "`analogy` must be three words"),
        ("analogy", ("man", "king", "Frau"), "Received: word='Frau'"),
        ("projection", "umap", "`projection` must be one of"),
        ("color", "red", "`color` must be one of"),
        ("tool", "pen", "`tool` must be one of"),
        ("view", (0, 0, 0), "`view` must be"),
        ("selection", ("king", "Mensch"), "Received: word='Mensch'"),
    ],
)
def test_wrong_values_are_refused(panel, name, value, message):
    before = getattr(panel, name)
    with pytest.raises(ValueError, match=message):
        setattr(panel, name, value)
    assert getattr(panel, name) == before


def test_bad_arguments_are_refused(glove):
    with pytest.raises(TypeError, match="`vectors` must be what"):
        EmbeddingExplorer(glove.matrix)
    with pytest.raises(ValueError, match="`tsne_words` must be >= 3"):
        EmbeddingExplorer(glove, tsne_words=2)


def test_a_row_that_is_not_finite_has_no_point(make_panel, tmp_path):
    matrix = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
    matrix[4] = np.inf
    np.save(tmp_path / "m.npy", matrix)
    vectors = load_vectors(tmp_path / "m.npy", rows=list("abcdefghi"), cache=False)
    panel = make_panel(vectors)
    assert np.isnan(panel.positions[4]).all()
    panel.selection = ("a", "e")
    assert np.frombuffer(panel._view.canvas.chosen, "<u4").tolist() == [0]
    panel.color, panel.word = "similarity", "e"
    assert not any(panel._view.canvas.codes)


def test_close_ends_everything(glove):
    before = (set(_instances), threading.active_count())
    panel = EmbeddingExplorer(glove, tsne_words=50)
    panel.word = "king"
    panel.projection = "tsne"
    panel.close()
    wait_for(lambda: threading.active_count() == before[1])
    assert set(_instances) == before[0]
    panel.close()


def test_repr_is_stable_and_the_bundle_holds_a_picture(panel):
    panel.analogy = ("man", "king", "woman")
    assert repr(panel) == "EmbeddingExplorer(vectors)"
    assert panel.alt.startswith("A map of 3,000 words")
    picture = base64.b64decode(panel._repr_mimebundle_()["image/png"])
    assert picture.startswith(b"\x89PNG")


def test_script_and_style_are_shipped_and_fetch_nothing():
    from workbench.widgets.point_canvas import PointCanvas

    assert "export default" in PointCanvas._esm
    for text in (PointCanvas._esm, PointCanvas._css):
        assert "http" not in text
        assert "import" not in text.replace("important", "")


# What is drawn


def test_the_picture_has_the_points_and_the_marks(glove):
    positions = glove.project()
    marks = [(0, "word"), (7, "near")]
    figure = drawing.plot_words(
        positions, glove.words, marks=marks, arrows=[(0, 7)], title="a_$b$"
    )
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.collections[0].get_offsets()[::-1], positions)
    names = [text.get_text() for text in axes.texts]
    assert names == ["", glove.words[0], glove.words[7]]
    assert to_png(figure).startswith(b"\x89PNG")


def test_words_that_begin_so_are_found_in_any_script():
    words = Words.of(["größe", "grün", "g", "日本", "日", "", "gr"])
    assert words.starting_with("gr", 9).tolist() == [0, 1, 6]
    assert words.starting_with("gr", 2).tolist() == [0, 1]
    assert words.starting_with("日", 9).tolist() == [3, 4]
    assert words.starting_with("x", 9).tolist() == []
    assert words.starting_with("", 2).tolist() == [0, 1]


def test_coverage_is_drawn_in_shares():
    coverage = Coverage(tuple("abcdef"), ("$x", "y", "z"), ("a", "z", "q"), (), "mean")
    figure = drawing.plot_coverage(coverage)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([5 / 9, 2 / 9, 2 / 9])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "5 (55.6%)"
    assert texts[-1] == "missing: $x, y"
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["found", "missing", "unreachable"]
    assert to_png(figure).startswith(b"\x89PNG")
    two = drawing.plot_coverage({"one": coverage, "two": coverage})
    assert [label.get_text() for label in two.axes[0].get_yticklabels()] == [
        "one",
        "two",
    ]

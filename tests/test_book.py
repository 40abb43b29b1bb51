"""The book: it builds without a warning, all its links lead somewhere, it is whole."""

import functools
import pathlib
import re
import subprocess
import sys
import urllib.parse

import bs4
import nbformat
import numpy as np
import pytest

from book import ideas

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
SCHEMES = {"https", "http", "mailto"}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of the book, built as `make book` builds it."""
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "book"]
    places = ["-d", folder / "doctrees", ".", folder / "html"]
    done = subprocess.run(
        [*command, *places], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def page_of(book):
    """Function from a path in the book to its parsed page."""

    @functools.cache
    def parse(path):
        return bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")

    return parse


def pages(book):
    """All pages; what the theme ships beside them is no page."""
    found = book.rglob("*.html")
    return sorted(path for path in found if "_static" not in path.parts)


def links(page):
    """All addresses that a page names, with the element that names them."""
    for name in ("href", "src", "data"):
        for element in page.find_all(attrs={name: True}):
            yield element, element[name]


def test_every_notebook_and_page_is_in_it(book):
    for path in [*NOTEBOOKS, *SOLUTIONS, *(ROOT / "book").glob("*.md")]:
        assert (book / path.relative_to(ROOT)).with_suffix(".html").exists()


def test_links_and_anchors_inside_lead_somewhere(book, page_of):
    seen = 0
    for path in pages(book):
        for _, address in links(page_of(path)):
            parts = urllib.parse.urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = path.parent / urllib.parse.unquote(parts.path)
            target = (target if parts.path else path).resolve()
            assert target.is_relative_to(book.resolve()), f"{path.name}: {address}"
            assert target.exists(), f"{path.name}: {address}"
            if parts.fragment and target.suffix == ".html":
                name = urllib.parse.unquote(parts.fragment)
                assert page_of(target).find(id=name), f"{path.name}: {address}"
                seen += 1
    assert seen > 300  # the check itself must not have gone blind


def test_addresses_outside_are_well_formed(book, page_of):
    for path in pages(book):
        for _, address in links(page_of(path)):
            parts = urllib.parse.urlsplit(address)
            if not (parts.scheme or parts.netloc) or parts.scheme in ("data",):
                continue
            assert parts.scheme in SCHEMES, f"{path.name}: {address}"
            host = re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc)
            assert host or parts.scheme == "mailto", f"{path.name}: {address}"
            assert not re.search(r"\s", address)


def test_a_page_loads_nothing_from_outside(book, page_of):
    for path in pages(book):
        for element, address in links(page_of(path)):
            loads = element.name in ("script", "img", "link", "iframe", "object")
            rel = " ".join(element.get("rel", []))
            if loads and rel not in ("canonical", "search", "index", "next", "prev"):
                parts = urllib.parse.urlsplit(address)
                assert not parts.netloc, f"{path.name}: {address}"


def test_every_picture_has_a_text(book, page_of):
    count = 0
    for path in pages(book):
        for image in page_of(path).select("article.bd-article img"):
            assert len(image.get("alt", "")) >= 20, f"{path.name}: {image}"[:300]
            count += 1
    assert count > 60


def test_notebooks_are_shown_with_their_stored_outputs(book, page_of):
    for path in NOTEBOOKS[1:]:
        page = page_of((book / path.relative_to(ROOT)).with_suffix(".html"))
        printed = [
            output.text.strip().splitlines()[0]
            for cell in nbformat.read(path, 4).cells
            for output in cell.get("outputs", ())
            if output.output_type == "stream" and output.text.strip()
        ]
        assert printed
        text = page.get_text()
        assert all(line in text for line in printed)


# The glossary


def slugs(path):
    """The anchors of the headings of a page in Markdown, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in found}


def words():
    """Dict of the glossary's words -> what it says of them."""
    parts = re.split(
        r"^### (.+)$", (ROOT / "book" / "glossary.md").read_text(), flags=re.M
    )
    texts = (re.split(r"^## ", part, flags=re.M)[0] for part in parts[2::2])
    return dict(zip(parts[1::2], texts, strict=True))


def test_the_glossary_is_plain_and_short():
    assert len(words()) >= 40
    for word, text in words().items():
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.split()))
        sentences = re.findall(r"[.?…\"”]\)?(?:\s|$)", plain)
        assert 1 <= len(sentences) <= 4, word
        assert len(plain.split()) <= 50, word


def markdown_of(path):
    if path.suffix == ".md":
        return path.read_text()
    cells = nbformat.read(path, 4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", NOTEBOOKS[0]], ids=lambda p: p.name
)
def test_words_of_the_field_lead_to_the_glossary(path):
    found = re.findall(r"\]\(([^)]*glossary\.md)#([^)]+)\)", markdown_of(path))
    assert len(set(found)) >= 8
    anchors = slugs(ROOT / "book" / "glossary.md")
    for target, anchor in found:
        assert (path.parent / target).exists()
        assert anchor in anchors


# Pictures


def numbers_and_rest(text):
    """A picture's numbers, which may differ in their last digit, and all else."""
    number = r"-?\d+(?:\.\d+)?"
    return np.array(re.findall(number, text), float), re.sub(number, "#", text)


@pytest.mark.parametrize("number", ideas.IDEAS)
def test_each_picture_is_as_it_is_drawn_and_has_no_word(number):
    path = ROOT / "notebooks" / "data" / f"{number:02d}_idea.svg"
    text = path.read_text(encoding="utf-8")
    (stored, rest), (drawn, wanted) = map(numbers_and_rest, (text, ideas.svg(number)))
    assert rest == wanted
    np.testing.assert_allclose(stored, drawn, atol=0.2)
    assert "<text" not in text
    picture = bs4.BeautifulSoup(text, "html.parser").svg
    assert (picture["width"], picture["height"]) == ("480", "270")
    alt = ideas.ALT[number]
    assert picture["aria-label"] == alt
    index = markdown_of(NOTEBOOKS[0])
    assert re.search(f'<img src="data/{path.name}" [^>]*alt="{alt}">', index)

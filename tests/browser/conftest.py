"""One JupyterLab for all browser tests."""

import pytest

from tests.browser.lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """`Lab` on an empty folder; tests copy their notebooks into it."""
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


def pytest_collection_modifyitems(items):
    """Marks what lies in this folder."""
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)

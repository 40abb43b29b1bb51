"""The book: the notebooks as they are stored, made by Sphinx and MyST-NB."""

import pathlib
import tomllib

ROOT = pathlib.Path(__file__).parents[1]
_project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = "TensorFlow Workbench"
author = project
release = _project["version"]
extensions = ["myst_nb"]

# The source is the whole repository, so that links between files stay as they are.
root_doc = "book/index"
include_patterns = ["book/*.md", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb"]
exclude_patterns = [".*", "build", "tests", "workbench", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"  # the outputs are those that the tests compare
nb_merge_streams = True
# A panel needs a kernel; the book shows its picture, and loads nothing from outside.
nb_mime_priority_overrides = [("html", "image/png", 5)]
nb_ipywidgets_js = {}
nb_render_image_options = {
    "alt": "The panel as it stood when the notebook was run; the text tells of it."
}
myst_heading_anchors = 3
myst_enable_extensions = ["html_image"]  # pictures of a given width, with alt text

html_theme = "sphinx_book_theme"
html_title = project
html_extra_path = ["static"]
html_static_path = ["style"]
html_css_files = ["book.css"]
html_copy_source = False
html_theme_options = {
    "repository_url": _project["urls"]["Source"],
    "repository_branch": "main",
    "use_repository_button": True,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
    "show_toc_level": 2,
}

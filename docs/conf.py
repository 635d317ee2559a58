"""How the guide is built: `make docs`.

The reference is read from the docstrings, which are Markdown (`_ext/markdown_docstrings.py`), on the pure-Python core,
whose signatures and sources Python can show.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
os.environ["TYPEDLOOPS_PURE"] = "1"
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from typedloops import __version__  # noqa: E402

project = "typedloops"
author = "the authors of typedloops"
copyright = author  # noqa: A001
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "markdown_docstrings",
    "reference",
    "pages",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_static"]
nitpicky = True
nitpick_ignore = [("py:class", "Console")]  # rich is imported for type checkers only

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # as the repository's host has them

autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
html_title = f"typedloops {version}"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["typedloops.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {
        "color-brand-primary": "#2f5fb3",
        "color-brand-content": "#2f5fb3",
        "color-api-name": "#1d4080",
    },
    "dark_css_variables": {
        "color-brand-primary": "#8ab4f8",
        "color-brand-content": "#8ab4f8",
        "color-api-name": "#a8c7fa",
    },
}

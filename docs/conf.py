"""How Sphinx builds these pages. Nothing here needs the network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

from meshdisent import __version__  # noqa: E402 - found only now, in a checkout that is not installed

project = "meshdisent"
author = "The meshdisent authors"
copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "one_line_fields",  # before napoleon, which reads what it writes
    "sphinx.ext.napoleon",
    "myst_parser",
    "command_pages",
    "executed_pages",
    "mathml",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "scripts", "*-table.md", "*-table-*.md"]  # tables that pages include
templates_path = ["templates"]

html_theme = "furo"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5fa5", "color-brand-content": "#0b5fa5"},
    "dark_css_variables": {"color-brand-primary": "#79b8f3", "color-brand-content": "#79b8f3"},
    "navigation_with_keys": True,
}
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_title = f"meshdisent {version}"
html_show_sourcelink = html_copy_source = False
html_math_renderer = "mathml"
smartquotes_action = "qe"  # quotes and ellipses; --workers stays --workers

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False  # types stand in the signature
napoleon_custom_sections = ["Attributes"]  # a list in the class, not entries of their own beside those autodoc finds


def _skip(app, what, name, thing, skip, options):
    """Leave out the fields of named tuples, of which Python says no more than their number."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def setup(app):
    app.connect("autodoc-skip-member", _skip)

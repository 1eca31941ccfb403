"""Sphinx's settings. Not run from here: tools/build_site.py gathers what Sphinx reads."""

import re

import book
import docments
import site_pages

import magnitude_ae as mag

project = "magnitude_ae"
author = "The magnitude_ae developers"
release = mag.__version__
copyright = f"{author}, MIT license"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx-mathjax-offline"]
exclude_patterns = ["download"]
templates_path = []

# Pages
nb_execution_mode = "off"  # the committed outputs are what people read
nb_code_prompt_show = "Imports"  # the only cells that are folded
nb_code_prompt_hide = "Imports"
nb_mime_priority_overrides = [("html", "image/gif", 5)]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_number_code_blocks = []
suppress_warnings = ["misc.highlighting_failure"]  # what a cell printed is no Python

# Reference
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"inherited-members": True}  # those of the package: see on_member
add_module_names = False
maximum_signature_line_length = 76
python_maximum_signature_line_length = 76

# Looks
html_theme = "furo"
html_title = "magnitude_ae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # summaries are fetched, which a page opened as a file may not do
html_use_index = False
html_domain_indices = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#7a3b00", "color-brand-content": "#9a4a00"},
    "dark_css_variables": {"color-brand-primary": "#f0b36a", "color-brand-content": "#f0b36a"},
    "navigation_with_keys": True,
}
# With SVG, formulas need no fonts, which browsers do not always load for pages that are files.
mathjax3_config = {"svg": {"fontCache": "global"}, "options": {"enableMenu": False}}


def rst(text: str) -> str:
    """Text of a docstring or a comment as reStructuredText.

    What stands in backticks is code, nothing else is markup.
    """
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    plain = [re.sub(r"([*|\\]|\b_|_\b)", r"\\\1", part) for part in parts[::2]]
    code = [f"\\ ``{part.strip('`')}``\\ " for part in parts[1::2]] + [""]
    return "".join(a + b for a, b in zip(plain, code, strict=True))


def fields(value: object) -> list[str]:
    """What the comments beside parameters or fields say, as fields of reStructuredText."""
    signature = docments.signature(value)
    shown = []
    for parameter in signature.parameters:
        if parameter.said:
            shown.append(f":param {parameter.name}: {rst(parameter.said)}")
            if parameter.annotation not in (None, "Any"):
                shown.append(f":type {parameter.name}: ``{parameter.annotation}``")
    if signature.returns:
        shown.append(f":returns: {rst(signature.returns)}")
    return shown


def explained(name: str) -> list[str]:
    """Where in the notebooks a public name of a module is defined and explained."""
    module, _, part = name.removeprefix("magnitude_ae.").rpartition(".")
    if module not in book.modules() or not name.startswith("magnitude_ae."):
        return []
    label = book.modules()[module].label
    return ["", f"Explained in :ref:`{label} <{site_pages.place_of(module, part)}>`."]


def on_docstring(app, what, name, value, options, lines):
    """Turns a docstring of the package into reStructuredText.

    Parameters and the notebook that explains the name are added to it.
    """
    if not (getattr(value, "__module__", None) or name).startswith("magnitude_ae"):
        return
    text, mark, shown = "\n".join(lines).partition(">>>")
    said = fields(value) if what in ("class", "function", "method") else []
    example = (mark + shown).split("\n")
    lines[:] = [*rst(text.rstrip()).split("\n"), "", *said, "", *example, *explained(name), ""]


def on_member(app, what, name, value, skip, options):
    """Leaves out what classes inherit from other libraries."""
    own = (getattr(value, "__module__", None) or "").startswith("magnitude_ae")
    return True if what in ("class", "exception") and not own else None


def setup(app):
    """Called by Sphinx."""
    app.config.mathjax_path = "mathjax/tex-svg.js"
    app.connect("autodoc-skip-member", on_member)
    app.connect("autodoc-process-docstring", on_docstring)

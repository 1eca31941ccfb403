"""Sphinx's settings. Not run from here: tools/build_site.py gathers what Sphinx reads, this file included."""

import ast
import inspect
import io
import re
import textwrap
import tokenize

from build_site import chapters, modules

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
    """Text of a docstring or a comment as reStructuredText: what stands in single backticks is code, nothing else is markup."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    plain = [re.sub(r"([*|\\]|\b_|_\b)", r"\\\1", part) for part in parts[::2]]
    code = [f"\\ ``{part.strip('`')}``\\ " for part in parts[1::2]] + [""]
    return "".join(a + b for a, b in zip(plain, code))


def definition(value: object) -> tuple[ast.AST, dict[int, str]] | None:
    """A function or class as a syntax tree, and the comments of its lines; None for what has no source."""
    try:
        source = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        return None
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return ast.parse(source).body[0], {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def beside(
    function: ast.FunctionDef, comments: dict[int, str]
) -> list[tuple[str, ast.expr | None, str]]:
    """Parameters with annotation and comment. A comment belongs to the first parameter of its line, or to the one it names."""
    lines: dict[int, list[ast.arg]] = {}
    for argument in [*function.args.args, *function.args.kwonlyargs]:
        if argument.arg not in ("self", "cls"):
            lines.setdefault(argument.lineno, []).append(argument)
    found = []
    for line, arguments in lines.items():
        comment = re.sub(r"^self: \w+;?\s*", "", comments.get(line, ""))
        name, colon, rest = comment.partition(": ")
        named = [argument for argument in arguments if colon and argument.arg == name]
        argument = (named or arguments)[0]
        found.append((argument.arg, argument.annotation, rest if named else comment))
    return found


def parameters(value: object) -> list[str]:
    """What the comments beside parameters, or beside the fields of a class, say: as fields. Behind an arrow is what comes back."""
    tree, comments = definition(value) or (None, {})
    said, back = [], []
    if isinstance(tree, ast.ClassDef):
        fields = [
            node
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and not node.target.id.startswith("_")
        ]
        said = [(node.target.id, node.annotation, comments.get(node.lineno, "")) for node in fields]
        tree = next(
            (
                node
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and node.name == "__init__"
            ),
            None,
        )
    if isinstance(tree, ast.FunctionDef):
        said = beside(tree, comments)
        last = tree.body[0].lineno - 1  # the line that ends the signature
        back = (
            [comments[last]]
            if last in comments
            and last not in {a.lineno for a in [*tree.args.args, *tree.args.kwonlyargs]}
            else []
        )
    shown = []
    for name, annotation, comment in said:
        words, _, after = comment.partition("->")
        kind = ast.unparse(annotation).strip("'\"") if annotation else "Any"
        back += [after] if after else []
        shown += (
            ([f":param {name}: {rst(words)}"] + [f":type {name}: ``{kind}``"] * (kind != "Any"))
            if words
            else []
        )
    return shown + [f":returns: {rst(words.strip())}" for words in back]


def explained(name: str) -> list[str]:
    """Where in the notebooks a public name of a module is defined and explained."""
    package, module, *rest = name.split(".")
    if package != "magnitude_ae" or len(rest) != 1 or module not in modules():
        return []
    notebook = modules()[module]
    return [
        "",
        f"Explained in :ref:`{notebook[:2]} {chapters()[notebook]} <def-{module}-{rest[0]}>`.",
    ]


def on_docstring(app, what, name, value, options, lines):
    """Turns a docstring of the package into reStructuredText, with its parameters and the notebook that explains it."""
    if not (getattr(value, "__module__", None) or name).startswith("magnitude_ae"):
        return
    text, mark, shown = "\n".join(lines).partition(">>>")
    body = rst(text.rstrip()).split("\n")
    fields = parameters(value) if what in ("class", "function", "method") else []
    lines[:] = [*body, "", *fields, "", *(mark + shown).split("\n"), *explained(name), ""]


def on_member(app, what, name, value, skip, options):
    """Leaves out what classes inherit from other libraries."""
    return (
        True
        if what in ("class", "exception")
        and not (getattr(value, "__module__", None) or "").startswith("magnitude_ae")
        else None
    )


def setup(app):
    app.config.mathjax_path = "mathjax/tex-svg.js"
    app.connect("autodoc-skip-member", on_member)
    app.connect("autodoc-process-docstring", on_docstring)

"""What the site shows: pages of notebooks, links made to lead somewhere, and blanks filled in."""

import ast
import copy
import inspect
import posixpath
import re
from functools import cache

import book
import build_readme
import jinja2
import package_map
from book import LESSONS, SHELVES, STUDIES, Notebook, directive, exported, hidden, joined
from findings import FINDINGS

import magnitude_ae as mag

root = book.root
largest_copy = 1_000_000  # bytes of a file of the repository that pages may link to
plumbing = re.compile(r"^#\s*\|\s*(?:hide|default_exp\b.*)\s*$", re.MULTILINE)
alternative = re.compile(r"^#\s*\|\s*fig-alt:\s*(.+)$", re.MULTILINE)
fenced = re.compile(r"(^```.*?^```[ \t]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
link = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z][a-z0-9+.-]*:|#)([^)\s#]+)(#[^)\s]*)?\)")
heading = re.compile(r"^#+ (.+)$", re.MULTILINE)


# Notebooks


def only_imports(source: str) -> bool:
    """Whether a cell does nothing but import."""
    body = book.syntax_tree(source).body
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in body)


def shown_outputs(outputs: list[dict]) -> list[dict]:
    """The outputs as pages can show them: of a widget the picture that it brings, if any."""
    shown = []
    for output in copy.deepcopy(outputs):
        widgets = [kind for kind in output.get("data", {}) if "widget-view" in kind]
        for kind in widgets:
            del output["data"][kind]
        if not widgets or set(output["data"]) - {"text/plain"}:
            shown.append(output)
    return shown


def shown_code(cell: dict, module: str | None, section: str) -> list[dict]:
    """A code cell without directives.

    In front of a cell that is exported stands a place to link to for each name that it defines.
    """
    source = joined(cell["source"])
    shown = copy.deepcopy(cell)
    shown["source"] = directive.sub("", source).strip()
    if plumbing.search(source) or not shown["source"]:
        return []
    said = alternative.search(source)
    words = said[1].strip("\"' ") if said else f"Figure: {section}"
    is_exported = bool(exported.search(source))
    tags = {"exported": is_exported, "hide-input": only_imports(shown["source"])}
    shown["outputs"] = shown_outputs(shown["outputs"])
    shown["metadata"]["mystnb"] = {"image": {"alt": words}}
    shown["metadata"]["tags"] = [tag for tag, holds in tags.items() if holds]
    names = book.defined(shown["source"]) if is_exported else []
    return [*places(cell["id"], module, names), shown]


def places(cell: str, module: str | None, names: list[str]) -> list[dict]:
    """A cell that shows nothing, with a place to link to for each name."""
    if not names:
        return []
    targets = "\n".join(f"({place_of(module, name)})=" for name in names)
    return [
        {"cell_type": "markdown", "id": f"{cell}-names", "metadata": {}, "source": targets},
    ]


def place_of(module: str | None, name: str) -> str:
    """What the place is called at which a notebook defines a name."""
    return f"def-{module}-{name}"


def facts(notebook: Notebook) -> str:
    """The line under a notebook's title: which it is, what it makes, where to get it."""
    module = notebook.module
    shelf = notebook.shelf.name.lower()
    parts = [f"Notebook {notebook.number:02d} ({shelf})"]
    if module:
        parts.append(f"makes [`magnitude_ae.{module}`](../reference/{module}.md)")
    parts.append(f"{{download}}`download <../download/{notebook.name}.ipynb>`")
    return f"\n```{{container}} facts\n{' · '.join(parts)}\n```\n"


def page_of_notebook(notebook: Notebook) -> dict:
    """The notebook as the site shows it."""
    cells: list[dict] = []
    section = ""
    for cell in notebook.cells:
        if cell["cell_type"] == "code":
            cells += shown_code(cell, notebook.module, section)
            continue
        text = relinked(joined(cell["source"]), "nbs")
        if not section:  # the first prose: title, then one sentence
            below = facts(notebook)
            text = re.sub(r"\A(# .+\n\n> .+(?:\n|\Z))", lambda start: start[1] + below, text)  # noqa: B023 (called at once)
        headings = heading.findall(fenced.sub("", text))
        if headings:
            section = re.sub(r"[`$*]", "", headings[-1])
        cells.append({**cell, "source": text})
    return {**notebook.content, "cells": cells}


# Links


def slug(anchor: str) -> str:
    """Jupyter's anchor of a heading as the site writes it."""
    return re.sub(r"[^\w-]", "", anchor.lower())


def relinked(markdown: str, folder: str) -> str:
    """The Markdown of a file in `folder`, its links to notebooks and files leading somewhere."""

    def resolved(match: re.Match) -> str:
        return new_link(folder, *match.groups(default=""))

    parts = fenced.split(markdown)
    return "".join(part if part.startswith("`") else link.sub(resolved, part) for part in parts)


def new_link(folder: str, picture: str, text: str, target: str, anchor: str) -> str:
    """One link as the site writes it; code where the target is no page and too large to copy."""
    path = posixpath.normpath(posixpath.join(folder, target))
    place = "#" + slug(anchor[1:]) if anchor else ""
    if path in ("nbs/index.ipynb", "README.md"):
        return f"[{text}]({posixpath.relpath('index.md', folder)}{place})"
    if picture or is_page(path) or is_small_file(path):
        return f"{picture}[{text}]({target}{place})"
    if not (root / path).exists():
        where = folder or "the root"
        raise FileNotFoundError(f"a page of {where} links to {target}, which is not there")
    return f"`{path}`" if text in (path, posixpath.basename(path)) else f"{text} (`{path}`)"


def is_page(path: str) -> bool:
    """Whether the site makes a page of this file."""
    folder, _, name = path.rpartition("/")
    if folder == "nbs":
        return name.removesuffix(".ipynb") in book.notebooks()
    return path in ("CONTRIBUTING.md", "CHANGELOG.md")


def is_small_file(path: str) -> bool:
    """Whether the site carries a copy of this file."""
    return (root / path).is_file() and (root / path).stat().st_size < largest_copy


# Reference


def first_sentence(value: object) -> str:
    """What a docstring says first."""
    line = (inspect.getdoc(value) or "").split("\n")[0]
    return re.split(r"(?<=[.!?])\s", line)[0].replace("|", "\\|")


def public() -> dict[str, tuple[str, str, str]]:
    """Every public name as people write it: its module, its name there, its first sentence."""
    values = {}
    for name in mag.__all__:
        value = getattr(mag, name)
        if inspect.ismodule(value):
            values |= {f"{name}.{part}": getattr(value, part) for part in value.__all__}
        else:
            values[name] = value
    return {
        name: (home_of(name, value), name.rpartition(".")[2], first_sentence(value))
        for name, value in values.items()
        if callable(value)
    }


def home_of(name: str, value: object) -> str:
    """The module that makes a public value."""
    module = getattr(value, "__module__", None) or ""
    return module.removeprefix("magnitude_ae.") if "magnitude_ae." in module else book.home(name)


def reference_page(module: str, notebook: Notebook) -> str:
    """The page of a module: its docstring, then every public name of it."""
    return (
        f"# {module}\n\n"
        "```{container} facts\n"
        f"`magnitude_ae.{module}` · made by [{notebook.label}](../nbs/{notebook.name}.ipynb)\n"
        "```\n\n"
        "```{eval-rst}\n"
        f".. automodule:: magnitude_ae.{module}\n"
        "   :members:\n"
        "```\n"
    )


# Pages of docs/


@cache
def sections() -> dict[str, str]:
    """The index notebook by its headings, links made for a page at the root.

    What stands before the first heading is called "start".
    """
    text = build_readme.relink("\n\n".join(book.index().prose))
    start, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    bodies = zip(parts[::2], parts[1::2], strict=True)
    return {"start": start.strip()} | {title: body.strip() for title, body in bodies}


def opening() -> dict[str, str]:
    """What stands before the first heading of the index notebook, in parts.

    They are title, sentence, picture (with its caption), and the other words.
    """
    parts = sections()["start"].split("\n\n")
    picture = next(k for k, part in enumerate(parts) if part.startswith("!["))
    return {
        "title": parts[0],
        "sentence": parts[1],
        "picture": "\n\n".join(parts[picture : picture + 2]),
        "words": "\n\n".join(parts[2:picture] + parts[picture + 2 :]),
    }


def example() -> str:
    """The index notebook's code with what it printed."""
    cells = (cell for cell in book.index().code if not hidden.search(joined(cell["source"])))
    return build_readme.code_to_markdown(next(cells))


def found(where: str | None, pattern: str) -> str:
    """What the outputs of a notebook say, by a pattern with one group; of any notebook for None.

    Numbers are written once, by the cell that computes them.
    """
    notebooks = [book.notebooks()[where]] if where else book.notebooks().values()
    matches = {
        match
        for notebook in notebooks
        for match in re.findall(pattern, notebook.printed, re.MULTILINE)
    }
    if len(matches) != 1:
        said = ", ".join(sorted(matches)) or "nothing"
        raise ValueError(
            f"the outputs of {where or 'all notebooks'} say {said} for {pattern!r}; "
            "mend the pattern in tools/findings.py"
        )
    return matches.pop()


def power(number: str) -> str:
    """A number as people write it: 0.025, or a power of ten where there would be many zeros."""
    value = float(number)
    if abs(value) >= 1e-4:
        return f"{value:.2g}".replace("-", "−")
    digits, exponent = f"{value:.1e}".split("e")
    return f"${float(digits):g}\\cdot10^{{{int(exponent)}}}$"


def percent(number: str) -> str:
    """A share as a percentage."""
    return f"{float(number):.0%}"


def see(notebook: Notebook) -> str:
    """A link to a notebook."""
    return f"[{notebook.label}](nbs/{notebook.name}.ipynb)"


def lesson(subject: str) -> str:
    """A link to a lesson by its name without the number."""
    return see(book.lookup(subject, LESSONS))


def study(subject: str) -> str:
    """A link to a study by its name without the number."""
    return see(book.lookup(subject, STUDIES))


def explained(name: str) -> str:
    """A link to the cell that defines a public name, wherever that is: `explained("LU")`."""
    module = book.home(name)
    place = place_of(module, name.rpartition(".")[2])
    return f"{{ref}}`{book.modules()[module].label} <{place}>`"


def page(name: str) -> str:
    """The file of the notebook that defines a public name, for a link with words of its own."""
    return f"nbs/{book.modules()[book.home(name)].name}.ipynb"


def inline_map() -> str:
    """The map of the package for a page at the root, its boxes linked to pages."""
    return re.sub(r"\.\./nbs/(\w+)\.ipynb", r"nbs/\1.html", package_map.draw())


@cache
def blanks() -> dict[str, object]:
    """What pages of docs/ may ask for in double braces."""
    return {
        "book": book,
        "example": example(),
        "explained": explained,
        "found": {name: found(*where) for name, where in FINDINGS.items()},
        "lesson": lesson,
        "map": inline_map(),
        "modules": book.modules(),
        "opening": opening(),
        "page": page,
        "percent": percent,
        "power": power,
        "public": public(),
        "sections": sections(),
        "shelves": [(shelf, book.on(shelf)) for shelf in SHELVES],
        "study": study,
    }


def fill(text: str) -> str:
    """A page of docs/ with its blanks filled in."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        comment_start_string="{##",
        comment_end_string="##}",
    )
    return environment.from_string(text).render(blanks())

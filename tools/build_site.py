"""The documentation site: `python tools/build_site.py` makes _site/ from nbs/, the docstrings and docs/, without a network.

Sphinx does the work. What it is given is gathered in a folder of its own first: the notebooks as readers should see them, the
pages of docs/ with their blanks filled in from the notebooks, a page of reference for each module, and the files that pages
link to. Warnings are errors.
"""

import argparse
import ast
import copy
import importlib
import inspect
import json
import posixpath
import re
import shutil
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import jinja2
from sphinx.cmd.build import main as sphinx_build

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [
    str(root),
    str(root / "docs"),
    str(root / "tools"),
]  # the package as it is here, and the two beside this file

import hero
import package_map
from build_readme import hidden, joined, relink
from findings import FINDINGS

import magnitude_ae as mag

largest_copy = 1_000_000  # bytes of a file of the repository that pages may link to
directive = re.compile(r"^#\|.*\n?", re.MULTILINE)
exported = re.compile(r"^#\|\s*exporti?\b", re.MULTILINE)
plumbing = re.compile(r"^#\|\s*(?:hide|default_exp\b.*)\s*$", re.MULTILINE)
alternative = re.compile(r"^#\|\s*fig-alt:\s*(.+)$", re.MULTILINE)
fenced = re.compile(r"(^```.*?^```[ \t]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
link = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z][a-z0-9+.-]*:|#)([^)\s#]+)(#[^)\s]*)?\)")
heading = re.compile(r"^#+ (.+)$", re.MULTILINE)


# Notebooks


@cache
def notebook(name: str) -> dict:
    """A notebook of nbs/ by its stem."""
    return json.loads((root / "nbs" / f"{name}.ipynb").read_text(encoding="utf-8"))


def chapters() -> dict[str, str]:
    """The stems of the numbered notebooks, in order, with their titles."""
    prose = {
        path.stem: "\n".join(
            joined(c["source"])
            for c in notebook(path.stem)["cells"]
            if c["cell_type"] == "markdown"
        )
        for path in sorted((root / "nbs").glob("[0-9]*.ipynb"))
    }
    return {name: heading.search(text)[1] for name, text in prose.items()}


def short(name: str, title: str) -> str:
    """A title for the side bar: the notebook's number and a few words."""
    words = re.sub(r"^(?:Study: |The )", "", title)
    return f"{name[:2]} {words[0].upper()}{words[1:]}"


def module_of(name: str) -> str | None:
    """The module that a notebook makes."""
    found = re.search(
        r"^#\|\s*default_exp\s+(\w+)",
        "\n".join(joined(c["source"]) for c in notebook(name)["cells"] if c["cell_type"] == "code"),
        re.MULTILINE,
    )
    return found and found[1]


def defined(source: str) -> list[str]:
    """The public names that a cell defines."""
    names = []
    for node in ast.parse(source).body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        names += (
            [node.name]
            if hasattr(node, "name")
            else [target.id for target in targets if isinstance(target, ast.Name)]
        )
    return [name for name in names if not name.startswith("_")]


def only_imports(source: str) -> bool:
    """Whether a cell does nothing but import."""
    source = re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body)


def shown_outputs(outputs: list[dict]) -> list[dict]:
    """The outputs as pages can show them: of a widget the picture that it brings along, and nothing if it brings none."""
    shown = []
    for output in copy.deepcopy(outputs):
        widgets = [kind for kind in output.get("data", {}) if "widget-view" in kind]
        for kind in widgets:
            del output["data"][kind]
        if not widgets or set(output["data"]) - {"text/plain"}:
            shown.append(output)
    return shown


def shown_code(cell: dict, module: str | None, section: str) -> list[dict]:
    """A code cell without directives; in front of a cell that is exported, a place to link to for each name it defines."""
    source, cell = joined(cell["source"]), copy.deepcopy(cell)
    cell["source"] = directive.sub("", source).strip()
    if plumbing.search(source) or not cell["source"]:
        return []
    cell["outputs"] = shown_outputs(cell["outputs"])
    said = alternative.search(source)
    cell["metadata"]["mystnb"] = {
        "image": {"alt": said[1].strip("\"' ") if said else f"Figure: {section}"}
    }
    cell["metadata"]["tags"] = ["exported"] * bool(exported.search(source)) + [
        "hide-input"
    ] * only_imports(cell["source"])
    if not exported.search(source):
        return [cell]
    targets = "\n".join(f"(def-{module}-{name})=" for name in defined(cell["source"]))
    return (
        [{"cell_type": "markdown", "id": f"{cell['id']}-names", "metadata": {}, "source": targets}]
        if targets
        else []
    ) + [cell]


def facts(name: str) -> str:
    """The line under a notebook's title: which it is, what it makes, where to get it."""
    module = module_of(name)
    makes = (
        f" · makes [`magnitude_ae.{module}`](../reference/{module}.md)" if module else " · a study"
    )
    return f"\n```{{container}} facts\nNotebook {name[:2]}{makes} · {{download}}`download <../download/{name}.ipynb>`\n```\n"


def page_of_notebook(name: str) -> dict:
    """The notebook as the site shows it."""
    page, section = {**notebook(name), "cells": []}, ""
    for cell in notebook(name)["cells"]:
        if cell["cell_type"] == "code":
            page["cells"] += shown_code(cell, module_of(name), section)
            continue
        text = relinked(joined(cell["source"]), "nbs")
        if not section:  # the first prose: title, then one sentence
            text = re.sub(r"\A(# .+\n\n> .+(?:\n|\Z))", lambda start: start[1] + facts(name), text)
        section = (
            [section]
            + [re.sub(r"[`$*]", "", words) for words in heading.findall(fenced.sub("", text))]
        )[-1]
        page["cells"].append({**cell, "source": text})
    return page


# Links


def slug(anchor: str) -> str:
    """Jupyter's anchor of a heading as the site writes it."""
    return re.sub(r"[^\w-]", "", anchor.lower())


def relinked(markdown: str, folder: str) -> str:
    """`markdown` of a file in `folder` with its links to notebooks, files and folders made to lead somewhere."""

    def resolved(match: re.Match) -> str:
        picture, text, target, anchor = match.groups(default="")
        path = posixpath.normpath(posixpath.join(folder, target))
        anchor = anchor and "#" + slug(anchor[1:])
        if path in ("nbs/index.ipynb", "README.md"):
            return f"[{text}]({posixpath.relpath('index.md', folder)}{anchor})"
        if (
            picture
            or is_page(path)
            or (root / path).is_file()
            and (root / path).stat().st_size < largest_copy
        ):
            return f"{picture}[{text}]({target}{anchor})"
        if not (root / path).exists():
            raise FileNotFoundError(
                f"a page of {folder or 'the root'} links to {target}, which is not there"
            )
        return f"`{path}`" if text in (path, posixpath.basename(path)) else f"{text} (`{path}`)"

    return "".join(
        part if part.startswith("`") else link.sub(resolved, part)
        for part in fenced.split(markdown)
    )


def is_page(path: str) -> bool:
    """Whether the site makes a page of this file."""
    return (
        path.startswith("nbs/")
        and path[4:-6] in chapters()
        or path in ("CONTRIBUTING.md", "CHANGELOG.md")
    )


def copy_linked(stage: Path) -> None:
    """Copies the files of the repository that pages of `stage` link to, where the pages expect them."""
    for page in [*stage.glob("*.md"), *stage.glob("nbs/*.ipynb")]:
        text = (
            page.read_text(encoding="utf-8")
            if page.suffix == ".md"
            else "\n".join(
                joined(c["source"]) for c in json.loads(page.read_text(encoding="utf-8"))["cells"]
            )
        )
        for _, _, target, _ in link.findall(fenced.sub("", text)):
            path = posixpath.normpath(
                posixpath.join(page.parent.relative_to(stage).as_posix(), target)
            )
            if (root / path).is_file() and not (stage / path).exists():
                (stage / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / path, stage / path)


# Reference


def first_sentence(value: object) -> str:
    """What a docstring says first."""
    line = (inspect.getdoc(value) or "").split("\n")[0]
    return re.split(r"(?<=[.!?])\s", line)[0].replace("|", "\\|")


def public() -> dict[str, tuple[str, str, str]]:
    """Every public name as people write it: the module that defines it, its name there, its first sentence."""
    found = {}
    for name in mag.__all__:
        value = getattr(mag, name)
        parts = value.__all__ if inspect.ismodule(value) else [name]
        for part in parts:
            module = name if inspect.ismodule(value) else mag._NAMES[name]
            item = getattr(value, part) if inspect.ismodule(value) else value
            if callable(item):
                found[f"{name}.{part}" if inspect.ismodule(value) else name] = (
                    module,
                    part,
                    first_sentence(item),
                )
    return found


def modules() -> dict[str, str]:
    """The modules that notebooks make, with the notebooks."""
    return {module: name for name in chapters() if (module := module_of(name))}


def reference_page(module: str, name: str) -> str:
    """The page of a module: its docstring, then every public name of it."""
    title = chapters()[name]
    return (
        f"# {module}\n\n```{{container}} facts\n`magnitude_ae.{module}` · made by [{name[:2]} {title}](../nbs/{name}.ipynb)\n```\n\n"
        f"```{{eval-rst}}\n.. automodule:: magnitude_ae.{module}\n   :members:\n```\n"
    )


# Pages of docs/


@cache
def sections() -> dict[str, str]:
    """The index notebook by its headings, links made for a page at the root; what stands before the first is called "start"."""
    text = "\n\n".join(
        joined(c["source"]) for c in notebook("index")["cells"] if c["cell_type"] == "markdown"
    )
    parts = re.split(r"^## (.+)$", relink(text), flags=re.MULTILINE)
    return {"start": parts[0].strip()} | {
        title: body.strip() for title, body in zip(parts[1::2], parts[2::2])
    }


def opening() -> dict[str, str]:
    """What stands before the first heading of the index notebook: title, sentence, picture with its caption, and the other words."""
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
    cell = next(
        c
        for c in notebook("index")["cells"]
        if c["cell_type"] == "code" and not hidden.search(joined(c["source"]))
    )
    printed = "".join(
        joined(output["text"]) for output in cell["outputs"] if output.get("name") == "stdout"
    )
    return f"```python\n{directive.sub('', joined(cell['source'])).strip()}\n```\n\n```text\n{printed.rstrip()}\n```"


def found(name: str, pattern: str) -> str:
    """What a notebook's outputs say, by a pattern with one group: numbers are written once, by the cell that computes them."""
    outputs = [
        output
        for c in notebook(name)["cells"]
        if c["cell_type"] == "code"
        for output in c["outputs"]
    ]
    text = "\n".join(
        joined(output.get("text") or output.get("data", {}).get("text/plain", ""))
        for output in outputs
    )
    matches = set(re.findall(pattern, text, re.MULTILINE))
    if len(matches) != 1:
        raise ValueError(
            f"the outputs of nbs/{name}.ipynb say {sorted(matches) or 'nothing'} for {pattern!r}; mend the pattern in docs/findings.py"
        )
    return matches.pop()


def power(number: str) -> str:
    """A number as people write it: 0.025, or a power of ten where there would be many zeros."""
    value = float(number)
    digits, exponent = f"{value:.1e}".split("e")
    return (
        f"${float(digits):g}\\cdot10^{{{int(exponent)}}}$"
        if abs(value) < 1e-4
        else f"{value:.2g}".replace("-", "−")
    )


def see(name: str, part: str | None = None) -> str:
    """A link to a notebook, or to the cell in it that defines a public name."""
    words = short(name, chapters()[name])
    return (
        f"{{ref}}`{words} <def-{module_of(name)}-{part}>`"
        if part
        else f"[{words}](nbs/{name}.ipynb)"
    )


def inline_map() -> str:
    """The map of the package for a page at the root, its boxes linked to pages."""
    return re.sub(r"\.\./nbs/(\w+)\.ipynb", r"nbs/\1.html", package_map.draw())


def fill(text: str) -> str:
    """A page of docs/ with its blanks filled in."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        comment_start_string="{##",
        comment_end_string="##}",
    )
    environment.filters["short"] = lambda name: short(name, chapters()[name])
    book = [name for name in chapters() if module_of(name)]
    return environment.from_string(text).render(
        sections=sections(), opening=opening(), see=see, power=power, percent=lambda number: f"{float(number):.0%}", example=example(), found={key: found(*where) for key, where in FINDINGS.items()}, map=inline_map(), public=public(), modules=modules(), chapters=chapters(),
        book=book, studies=[name for name in chapters() if name not in book],
    )  # fmt: skip


# The whole


def gather(stage: Path) -> None:
    """Everything that Sphinx is to read, in the folder `stage`."""
    shutil.copytree(
        root / "docs",
        stage,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", "*.svg"),
    )
    for folder in ("nbs", "download"):
        (stage / folder).mkdir()
    for page in stage.glob("**/*.md"):
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        (stage / name).write_text(
            relinked((root / name).read_text(encoding="utf-8"), ""), encoding="utf-8"
        )
    for name in chapters():
        shutil.copyfile(root / "nbs" / f"{name}.ipynb", stage / "download" / f"{name}.ipynb")
        (stage / "nbs" / f"{name}.ipynb").write_text(
            json.dumps(page_of_notebook(name)), encoding="utf-8"
        )
    for module, name in modules().items():
        importlib.import_module(f"magnitude_ae.{module}")
        (stage / "reference" / f"{module}.md").write_text(
            reference_page(module, name), encoding="utf-8"
        )
    copy_linked(stage)
    hero.draw().savefig(stage / "_static" / "hero.png", dpi=160)


def main(arguments: list[str] | None = None) -> int:
    """Builds the site; the exit status is Sphinx's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=root / "_site",
        help="folder to make, replaced if it is there (default: _site)",
    )
    out, start = parser.parse_args(arguments).out, time.perf_counter()
    if out.exists() and not (out / "searchindex.js").exists() and any(out.iterdir()):
        parser.error(f"{out} holds something else than a site; name another folder")
    with tempfile.TemporaryDirectory() as folder:
        stage, built = Path(folder) / "source", Path(folder) / "site"
        gather(stage)
        status = sphinx_build(
            [
                "-W",
                "--keep-going",
                "-q",
                "-d",
                str(Path(folder) / "doctrees"),
                str(stage),
                str(built),
            ]
        )
        if status == 0:
            for path in (
                built / "_static" / "mathjax"
            ).iterdir():  # of MathJax, what draws TeX as SVG
                if path.name not in ("tex-svg.js", "input"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.rmtree(out, ignore_errors=True)
            shutil.move(built, out)
    if status == 0:
        print(f"{out / 'index.html'} ({time.perf_counter() - start:.0f} s)")
    return status


if __name__ == "__main__":
    raise SystemExit(main())

"""README.md from nbs/index.ipynb: `python tools/build_readme.py` writes it.

Two cells of the index are written, too: the reading path and the shelves, from the titles and the
sentences of the notebooks themselves and from TOPICS in tools/book.py. `--check` writes nothing
and fails when something is stale.
"""

import argparse
import copy
import difflib
import json
import posixpath
import re
import sys
from pathlib import Path

import book
from book import Notebook, Shelf, directive, hidden, joined

root = book.root
index_path = root / "nbs" / "index.ipynb"
readme_path = root / "README.md"
header = "<!-- Made from nbs/index.ipynb by tools/build_readme.py: edit the notebook. -->"
path_mark = "<!-- The reading path, written by tools/build_readme.py from tools/book.py. -->"
shelves_mark = "<!-- The shelves, written by tools/build_readme.py from the notebooks. -->"

fenced = re.compile(r"(^```.*?^```[ \t]*$)", re.MULTILINE | re.DOTALL)
link = re.compile(r"(\]\(|\bsrc=\"|\bhref=\")(?![a-z][a-z0-9+.-]*:|[/#])([^)\s\"]+)")


# What the index says about the notebooks


def reading_path() -> str:
    """The topics of the book, each with its question and its notebooks, for a page in nbs/."""
    by_number = {notebook.number: notebook for notebook in book.notebooks().values()}
    lines = []
    for place, topic in enumerate(book.TOPICS, 1):
        there = (by_number[number] for number in topic.numbers if number in by_number)
        links = " · ".join(map(named_link, there))
        lines.append(f"{place}. **{topic.name}.** {topic.question}<br>{links}")
    return "\n".join([path_mark, "", *lines])


def named_link(notebook: Notebook) -> str:
    """A link to a notebook; a study is called one."""
    kind = "study " if notebook.shelf is book.STUDIES else ""
    return f"{kind}[{notebook.label}]({notebook.name}.ipynb)"


def shelf(which: Shelf) -> str:
    """A shelf as a section with a table of its notebooks, for a page in nbs/."""
    makes_modules = any(notebook.module for notebook in book.on(which))
    heads = ["notebook", *(["module"] if makes_modules else []), "what it is about"]
    rows = [heads, ["---"] * len(heads)]
    for notebook in book.on(which):
        row = [f"[{notebook.name}]({notebook.name}.ipynb)"]
        if makes_modules:
            row.append(f"`{notebook.module}`" if notebook.module else "")
        rows.append([*row, notebook.sentence.replace("|", "\\|")])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"### {which.name}\n\n{which.sentence}\n\n{table}"


def renewed(index: Notebook) -> dict:
    """The index notebook's content with its two written cells as they should be."""
    written = {
        path_mark: reading_path(),
        shelves_mark: "\n\n".join([shelves_mark, *map(shelf, book.SHELVES)]),
    }
    content = copy.deepcopy(index.content)
    for cell in content["cells"]:
        first = joined(cell["source"]).partition("\n")[0]
        if first in written:
            cell["source"] = written.pop(first).splitlines(keepends=True)
    if written:
        raise ValueError(f"nbs/index.ipynb has no cell that begins with {' or '.join(written)}")
    return content


# From a notebook to Markdown


def relink(markdown: str, folder: str = "nbs") -> str:
    """`markdown` with its relative links, written to work from `folder`, working from the root."""

    def from_root(match: re.Match) -> str:
        return match[1] + posixpath.normpath(posixpath.join(folder, match[2]))

    parts = fenced.split(markdown)
    return "".join(part if part.startswith("```") else link.sub(from_root, part) for part in parts)


def output_text(output: dict) -> str:
    """What `output` shows as plain text; standard error (progress bars) shows nothing."""
    if output["output_type"] == "stream":
        return joined(output["text"]) if output["name"] == "stdout" else ""
    if output["output_type"] == "error":
        raise ValueError(
            f"nbs/index.ipynb holds an error output ({output['ename']}): "
            "mend its cell and run it again."
        )
    if any(kind.startswith("image/") for kind in output["data"]):
        raise ValueError(
            "nbs/index.ipynb makes a picture, which README.md cannot hold: "
            "save it and link to the file."
        )
    return joined(output["data"].get("text/plain", ""))


def code_to_markdown(cell: dict) -> str:
    """A code cell as a python block, with what it printed as a text block."""
    source = joined(cell["source"])
    if hidden.search(source) or not source.strip():
        return ""
    block = f"```python\n{directive.sub('', source).strip()}\n```"
    printed = "".join(output_text(output) for output in cell["outputs"]).rstrip()
    return f"{block}\n\n```text\n{printed}\n```" if printed else block


def to_markdown(content: dict) -> str:
    """The text of README.md for a notebook's content."""
    blocks = [header]
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            blocks.append(relink(joined(cell["source"])).strip())
        else:
            blocks.append(code_to_markdown(cell))
    return "\n\n".join(block for block in blocks if block) + "\n"


# The whole


def made() -> dict[Path, str]:
    """The files as they should be."""
    content = renewed(book.read(index_path))
    as_json = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    return {index_path: as_json, readme_path: to_markdown(content)}


def differences(path: Path, text: str) -> list[str]:
    """What is to change in a file, as a diff; empty when it is as it should be."""
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = (part.splitlines(keepends=True) for part in (found, text))
    return list(difflib.unified_diff(*lines, f"{path.name} as it is", f"{path.name} made afresh"))


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 when `--check` finds something stale, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help_text = "write nothing; exit with 1 and a diff when something is stale"
    parser.add_argument("--check", action="store_true", help=help_text)
    check = parser.parse_args(arguments).check
    stale = False
    for path, text in made().items():
        if not check:
            path.write_text(text, encoding="utf-8")
        elif lines := differences(path, text):
            stale = True
            sys.stdout.writelines(lines)
    return int(stale)


if __name__ == "__main__":
    raise SystemExit(main())

"""README.md from nbs/index.ipynb: `python tools/build_readme.py` writes it, `--check` fails when it is stale."""

import argparse
import difflib
import json
import posixpath
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
notebook_path = root / "nbs" / "index.ipynb"
readme_path = root / "README.md"
header = "<!-- Made from nbs/index.ipynb by tools/build_readme.py: edit the notebook. -->"

fenced = re.compile(r"(^```.*?^```[ \t]*$)", re.MULTILINE | re.DOTALL)
link = re.compile(r"(\]\(|\bsrc=\"|\bhref=\")(?![a-z][a-z0-9+.-]*:|[/#])([^)\s\"]+)")
hidden = re.compile(r"^#\|\s*hide\s*$", re.MULTILINE)
directive = re.compile(r"^#\|.*\n?", re.MULTILINE)


def joined(text: str | list[str]) -> str:
    """The text that a notebook stores as one string or as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


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
            f"nbs/index.ipynb holds an error output ({output['ename']}): mend its cell and run it again."
        )
    if any(kind.startswith("image/") for kind in output["data"]):
        raise ValueError(
            "nbs/index.ipynb makes a picture, which README.md cannot hold: save it and link to the file."
        )
    return joined(output["data"].get("text/plain", ""))


def code_to_markdown(cell: dict) -> str:
    """A code cell as a python block, with what it printed as a text block."""
    source = joined(cell["source"])
    if hidden.search(source) or not source.strip():
        return ""
    printed = "".join(output_text(output) for output in cell["outputs"]).rstrip()
    block = f"```python\n{directive.sub('', source).strip()}\n```"
    return f"{block}\n\n```text\n{printed}\n```" if printed else block


def to_markdown(notebook: dict) -> str:
    """The text of README.md for `notebook`."""
    blocks = [header]
    for cell in notebook["cells"]:
        is_prose = cell["cell_type"] == "markdown"
        blocks.append(
            relink(joined(cell["source"])).strip() if is_prose else code_to_markdown(cell)
        )
    return "\n\n".join(block for block in blocks if block) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 when `--check` finds README.md stale, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with 1 and a diff when it is stale",
    )
    check = parser.parse_args(arguments).check
    made = to_markdown(json.loads(notebook_path.read_text(encoding="utf-8")))
    if not check:
        readme_path.write_text(made, encoding="utf-8")
        return 0
    found = readme_path.read_text(encoding="utf-8") if readme_path.exists() else ""
    lines = (text.splitlines(keepends=True) for text in (found, made))
    sys.stdout.writelines(
        difflib.unified_diff(*lines, "README.md as it is", "README.md from nbs/index.ipynb")
    )
    return int(found != made)


if __name__ == "__main__":
    raise SystemExit(main())

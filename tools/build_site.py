"""The documentation site: `python tools/build_site.py` makes _site/, without a network.

Sphinx does the work. What it is given is gathered in a folder of its own first: the notebooks as
readers should see them, the pages of docs/ with their blanks filled in from the notebooks, a page
of reference for each module, and the files that pages link to. Warnings are errors.
"""

import argparse
import importlib
import json
import posixpath
import shutil
import sys
import tempfile
import time
from pathlib import Path

import book
import hero
import site_pages
from book import joined
from sphinx.cmd.build import main as sphinx_build

root = book.root
copied_pages = ("CONTRIBUTING.md", "CHANGELOG.md")


def gather(stage: Path) -> None:
    """Everything that Sphinx is to read, in the folder `stage`."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.svg")
    shutil.copytree(root / "docs", stage, dirs_exist_ok=True, ignore=unwanted)
    for page in stage.glob("**/*.md"):
        page.write_text(site_pages.fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name in copied_pages:
        text = (root / name).read_text(encoding="utf-8")
        (stage / name).write_text(site_pages.relinked(text, ""), encoding="utf-8")
    gather_notebooks(stage)
    gather_reference(stage / "reference")
    copy_linked(stage)
    hero.draw().savefig(stage / "_static" / "hero.png", dpi=160)


def gather_notebooks(stage: Path) -> None:
    """The notebooks as pages, and as they are for those who download them."""
    for folder in ("nbs", "download"):
        (stage / folder).mkdir()
    for name, notebook in book.notebooks().items():
        file = f"{name}.ipynb"
        shutil.copyfile(root / "nbs" / file, stage / "download" / file)
        content = json.dumps(site_pages.page_of_notebook(notebook))
        (stage / "nbs" / file).write_text(content, encoding="utf-8")


def gather_reference(folder: Path) -> None:
    """A page for each module."""
    for module, notebook in book.modules().items():
        importlib.import_module(f"magnitude_ae.{module}")
        text = site_pages.reference_page(module, notebook)
        (folder / f"{module}.md").write_text(text, encoding="utf-8")


def copy_linked(stage: Path) -> None:
    """Copies the files of the repository that pages link to, to where the pages expect them."""
    for page in [*stage.glob("*.md"), *stage.glob("nbs/*.ipynb")]:
        folder = page.parent.relative_to(stage).as_posix()
        text = site_pages.fenced.sub("", markdown_of(page))
        for _, _, target, _ in site_pages.link.findall(text):
            path = posixpath.normpath(posixpath.join(folder, target))
            if (root / path).is_file() and not (stage / path).exists():
                (stage / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / path, stage / path)


def markdown_of(page: Path) -> str:
    """The text of a page, or of the cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    return "\n".join(joined(cell["source"]) for cell in json.loads(text)["cells"])


def thin_out(mathjax: Path) -> None:
    """Removes what is not needed to draw TeX as SVG."""
    for path in mathjax.iterdir():
        if path.is_dir() and path.name != "input":
            shutil.rmtree(path)
        elif path.is_file() and path.name != "tex-svg.js":
            path.unlink()


def build(out: Path) -> int:
    """Makes the site in the folder `out`; the exit status is Sphinx's."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "source"
        built = Path(folder) / "site"
        gather(stage)
        options = ["-W", "--keep-going", "-q", "-d", f"{folder}/doctrees"]
        status = sphinx_build([*options, str(stage), str(built)])
        if status == 0:
            thin_out(built / "_static" / "mathjax")
            shutil.rmtree(out, ignore_errors=True)
            shutil.move(built, out)
    return status


def main(arguments: list[str] | None = None) -> int:
    """Builds the site; the exit status is Sphinx's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help_text = "folder to make, replaced if it is there (default: _site)"
    parser.add_argument("--out", type=Path, default=root / "_site", help=help_text)
    out = parser.parse_args(arguments).out
    if out.exists() and not (out / "searchindex.js").exists() and any(out.iterdir()):
        parser.error(f"{out} holds something else than a site; name another folder")
    start = time.perf_counter()
    status = build(out)
    if status == 0:
        print(f"{out / 'index.html'} ({time.perf_counter() - start:.0f} s)")
    return status


if __name__ == "__main__":
    sys.exit(main())

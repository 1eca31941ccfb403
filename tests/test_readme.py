"""README.md: made from the index notebook, up to date, and a quick start that can be followed."""

import re

import book
import build_readme
import pytest
from build_readme import readme_path
from quick_start import quick_start_blocks, sh_block

readme = readme_path.read_text(encoding="utf-8")


def prose(text: str) -> dict:
    return {"cell_type": "markdown", "source": text.splitlines(keepends=True)}


def code(text: str, *outputs: dict) -> dict:
    return {"cell_type": "code", "source": text.splitlines(keepends=True), "outputs": list(outputs)}


# It is fresh


def test_readme_and_index_are_fresh(capsys):
    status = build_readme.main(["--check"])
    assert status == 0, "run `python tools/build_readme.py`:\n" + capsys.readouterr().out


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The README and the index in a folder where they may be changed."""
    for name in ("readme_path", "index_path"):
        path = getattr(build_readme, name)
        copied = tmp_path / path.name
        copied.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(build_readme, name, copied)
    return tmp_path


def test_a_stale_readme_is_noticed(copies, capsys):
    stale = copies / "README.md"
    stale.write_text(readme + "an afterthought\n", encoding="utf-8")
    assert build_readme.main(["--check"]) == 1
    assert "-an afterthought" in capsys.readouterr().out
    assert build_readme.main([]) == 0
    assert stale.read_text(encoding="utf-8") == readme


def test_a_missing_readme_is_stale(copies):
    (copies / "README.md").unlink()
    assert build_readme.main(["--check"]) == 1


def test_a_notebook_with_another_sentence_makes_the_index_stale(copies, monkeypatch, capsys):
    first = book.on(book.LESSONS)[0]
    told = {"title": first.title, "sentence": "Something else."}
    monkeypatch.setattr(book.Notebook, "_opening", lambda notebook: told)
    assert build_readme.main(["--check"]) == 1
    assert "Something else." in capsys.readouterr().out
    assert build_readme.main([]) == 0
    for name in ("README.md", "index.ipynb"):
        assert "Something else." in (copies / name).read_text(encoding="utf-8")


def test_an_index_without_its_written_cells_is_refused():
    with pytest.raises(ValueError, match="no cell that begins with"):
        build_readme.renewed(book.Notebook("index", {"cells": [prose("# T")]}))


# What it holds


def test_every_notebook_stands_on_its_shelf():
    for shelf in book.SHELVES:
        section = build_readme.relink(build_readme.shelf(shelf))
        assert section in readme
        links = re.findall(r"^\| \[(\w+)\]\(nbs/\1\.ipynb\)", section, re.MULTILINE)
        assert links == [notebook.name for notebook in book.on(shelf)]


def test_quick_start_is_the_only_place_for_sh_blocks():
    blocks = quick_start_blocks(readme)
    assert len(blocks) == 2
    assert sh_block.findall(readme) == blocks
    fence = r"^[ \t]*(?:```|~~~)[ \t]*(?:sh|bash|shell|console)\b"
    assert len(re.findall(fence, readme, re.MULTILINE)) == 2


def test_quick_start_installs_the_tested_versions_each_time():
    job, tests = quick_start_blocks(readme)
    assert job.splitlines() == [
        "pip install -c constraints.txt -e .",
        "magnitude-ae reproduce shapes",
    ]
    assert tests.splitlines() == [
        'pip install -c constraints.txt -e ".[dev,lab,docs]"',
        'OMP_NUM_THREADS=1 nbdev_test && pytest -n 2 -m "not slow"',
    ]


def test_blocks_of_other_sections_are_not_quick_start():
    text = "# t\n```sh\nbefore\n```\n## Quick start\n```sh\none\n```\n```python\nno\n```\n"
    text += "## Next\n```sh\nafter\n```\n"
    assert quick_start_blocks(text) == ["one\n"]
    with pytest.raises(ValueError, match="Quick start"):
        quick_start_blocks("# t\n```sh\none\n```\n")


def test_relative_links_lead_somewhere():
    links = build_readme.link.findall(build_readme.fenced.sub("", readme))
    targets = [target.partition("#")[0] for _, target in links]
    assert targets
    assert [target for target in targets if not (book.root / target).exists()] == []


def test_nothing_is_left_to_be_filled_in():
    assert re.findall(r"TODO\S*|FIXME\S*|XXX", readme) == []


# How it is made


def test_links_are_rewritten_outside_code_alone():
    text = "![p](../a/b.png) [n](00_x.ipynb#part) [w](https://e.org/x) [h](#here)\n\n"
    expected = "![p](a/b.png) [n](nbs/00_x.ipynb#part) [w](https://e.org/x) [h](#here)\n\n"
    block = "```python\nf[0](../a)\n```\n"
    assert build_readme.relink(text + block) == expected + block


def test_code_is_shown_with_what_it_printed():
    printed = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}
    progress = {"output_type": "stream", "name": "stderr", "text": ["100%\n"]}
    value = {"output_type": "execute_result", "data": {"text/plain": ["2"]}}
    cells = [
        prose("# T"),
        code("# | hide\nimport x"),
        code("#| eval: true\nf()", progress, printed, value),
    ]
    shown = build_readme.to_markdown({"cells": cells})
    parts = [build_readme.header, "# T", "```python\nf()\n```", "```text\n1\n2\n```"]
    assert shown == "\n\n".join(parts) + "\n"


@pytest.mark.parametrize(
    "output",
    [
        {"output_type": "error", "ename": "ValueError"},
        {"output_type": "display_data", "data": {"image/png": "", "text/plain": "<Figure>"}},
    ],
    ids=["error", "picture"],
)
def test_what_the_readme_cannot_show_is_refused(output):
    with pytest.raises(ValueError, match="index.ipynb"):
        build_readme.to_markdown({"cells": [code("f()", output)]})

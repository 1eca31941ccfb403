"""README.md: made from the index notebook, up to date, and a quick start that can be followed."""

import re
from pathlib import Path

import build_readme
import pytest
from quick_start import quick_start_blocks, sh_block

root = Path(__file__).parent.parent
readme = (root / "README.md").read_text(encoding="utf-8")


def prose(text: str) -> dict:
    return {"cell_type": "markdown", "source": text.splitlines(keepends=True)}


def code(text: str, *outputs: dict) -> dict:
    return {"cell_type": "code", "source": text.splitlines(keepends=True), "outputs": list(outputs)}


def test_readme_is_fresh(capsys):
    status = build_readme.main(["--check"])
    assert status == 0, "run `python tools/build_readme.py`:\n" + capsys.readouterr().out


def test_a_stale_readme_is_noticed(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "README.md"
    stale.write_text(readme + "an afterthought\n", encoding="utf-8")
    monkeypatch.setattr(build_readme, "readme_path", stale)
    assert build_readme.main(["--check"]) == 1
    assert "-an afterthought" in capsys.readouterr().out
    assert build_readme.main([]) == 0
    assert stale.read_text(encoding="utf-8") == readme


def test_a_missing_readme_is_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(build_readme, "readme_path", tmp_path / "README.md")
    assert build_readme.main(["--check"]) == 1


def test_quick_start_is_the_only_place_for_sh_blocks():
    blocks = quick_start_blocks(readme)
    assert len(blocks) == 2
    assert sh_block.findall(readme) == blocks
    assert (
        len(
            re.findall(r"^[ \t]*(?:```|~~~)[ \t]*(?:sh|bash|shell|console)\b", readme, re.MULTILINE)
        )
        == 2
    )


def test_quick_start_installs_the_tested_versions_each_time():
    job, tests = quick_start_blocks(readme)
    assert job.splitlines() == [
        "pip install -c constraints.txt -e .",
        "magnitude-ae reproduce shapes",
    ]
    assert tests.startswith('pip install -c constraints.txt -e ".[dev,lab,docs]"\n')
    assert re.search(r"\bnbdev_test\b.*&& pytest$", tests)


def test_blocks_of_other_sections_are_not_quick_start():
    text = "# t\n```sh\nbefore\n```\n## Quick start\n```sh\none\n```\n```python\nno\n```\n## Next\n```sh\nafter\n```\n"
    assert quick_start_blocks(text) == ["one\n"]
    with pytest.raises(ValueError, match="Quick start"):
        quick_start_blocks("# t\n```sh\none\n```\n")


def test_relative_links_lead_somewhere():
    targets = [
        target for _, target in build_readme.link.findall(build_readme.fenced.sub("", readme))
    ]
    missing = [target for target in targets if not (root / target.partition("#")[0]).exists()]
    assert targets and not missing


def test_nothing_is_left_to_be_filled_in():
    assert re.findall(r"TODO\S*|FIXME\S*|XXX", readme) == []


def test_links_are_rewritten_outside_code_alone():
    text = "![p](../a/b.png) [n](00_x.ipynb#part) [w](https://e.org/x) [h](#here)\n\n```python\nf[0](../a)\n```\n"
    expected = "![p](a/b.png) [n](nbs/00_x.ipynb#part) [w](https://e.org/x) [h](#here)\n\n```python\nf[0](../a)\n```\n"
    assert build_readme.relink(text) == expected


def test_code_is_shown_with_what_it_printed():
    printed = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}
    progress = {"output_type": "stream", "name": "stderr", "text": ["100%\n"]}
    value = {"output_type": "execute_result", "data": {"text/plain": ["2"]}}
    notebook = {
        "cells": [
            prose("# T"),
            code("#| hide\nimport x"),
            code("#| eval: true\nf()", progress, printed, value),
        ]
    }
    shown = build_readme.to_markdown(notebook)
    assert shown == build_readme.header + "\n\n# T\n\n```python\nf()\n```\n\n```text\n1\n2\n```\n"


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

"""The notebooks keep the house rules; and each rule is shown to find something."""

import book
import lints
import pytest
from book import LESSONS, Notebook

notebooks = list(book.notebooks().values())
lessons = book.on(LESSONS)
everything = [*notebooks, book.index()]


def each(rules, of):
    """A parameter for each notebook and each rule."""
    pairs = [(notebook, rule) for notebook in of for rule in rules]
    ids = [f"{notebook.name}-{rule.__name__.removeprefix('lint_')}" for notebook, rule in pairs]
    return pytest.mark.parametrize("notebook, rule", pairs, ids=ids)


# The notebooks as they are


def test_notebooks_are_numbered_once():
    numbers = [notebook.number for notebook in notebooks]
    assert numbers == sorted(set(numbers))
    files = {path.stem for path in (book.root / "nbs").glob("[!_.]*.ipynb")}
    assert files == {notebook.name for notebook in everything}


def test_every_module_comes_from_one_notebook():
    """Except the faces of the subpackages, which are written by hand."""
    made = [notebook.module for notebook in notebooks if notebook.module]
    files = lints.layers.module_names()
    assert sorted(made) == sorted(name for name in files if files[name].name != "__init__.py")


def test_studies_make_no_module():
    assert [notebook.name for notebook in book.on(book.STUDIES) if notebook.module] == []


@each(lints.everywhere, everything)
def test_every_notebook(notebook, rule):
    assert rule(notebook) == []


@each(lints.in_lessons, lessons)
def test_every_lesson(notebook, rule):
    assert rule(notebook) == []


# The reading path


def test_every_lesson_and_study_belongs_to_one_topic():
    """TOPICS in tools/book.py, from which README and site make the reading path."""
    planned = [number for topic in book.TOPICS for number in topic.numbers]
    there = [notebook.number for notebook in [*lessons, *book.on(book.STUDIES)]]
    assert sorted(planned) == sorted(there)


# The rules themselves


def prose(text: str = "words") -> dict:
    return {"cell_type": "markdown", "source": [text]}


def code(text: str, *outputs: dict) -> dict:
    lines = text.splitlines(keepends=True)
    return {"cell_type": "code", "id": "c0", "source": lines, "outputs": list(outputs)}


def notebook_of(*cells: dict, **metadata: dict) -> Notebook:
    content = {"cells": list(cells), "metadata": {"kernelspec": {}, **metadata}}
    return Notebook("07_example", content)


def printed(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": [text]}


title = prose("# Title\n\n> One sentence.")
progress = {"output_type": "stream", "name": "stderr", "text": ["100%"]}
error = {"output_type": "error", "ename": "ZeroDivisionError"}
picture = {
    "output_type": "display_data",
    "data": {"image/png": "iVBO", "text/plain": ["<Figure size 640x480>"]},
}
define = '#| export\ndef {0}(x):\n    "Half of x."\n    return x / 2'
good = notebook_of(
    code("#| default_exp similarity"),
    title,
    code("# | export\nimport numpy as np"),
    code(define.format("half")),
    code("# | export\nclass Half:\n    'A half.'\n\n    def half(self, x):\n        return x / 2"),
    prose(),
    code(
        "from magnitude_ae.plots import show_points\nhalf(4), 'and/or', 1/2",
        printed("2.0 km/s, https://example.org/a/b, and/or"),
    ),
    code(define.format("third")),
    code("third(9)", printed("3.0")),
    code("fig, ax = plt.subplots()\nshow_points(ax)", picture),
    code("def draw():\n    plt.show()"),
    code("#| hide\nimport nbdev; nbdev.nbdev_export()"),
)
bad = {
    lints.lint_title: notebook_of(prose("# Title without a sentence"), prose("> too late")),
    lints.lint_opening: notebook_of(title, code("# | default_exp similarity")),
    lints.lint_ending: notebook_of(code("#| default_exp a"), code("nbdev.nbdev_export()")),
    lints.lint_errors: notebook_of(code("1 / 0", error)),
    lints.lint_outputs: notebook_of(code("1 + 1")),
    lints.lint_pictures: notebook_of(code("fig, ax = plt.subplots()")),
    lints.lint_wildcards: notebook_of(code("def f():\n    pass\nfrom torch import *")),
    lints.lint_prints: notebook_of(code("# | export\ndef f():\n    print(1)")),
    lints.lint_docstrings: notebook_of(code("#| export\ndef f():\n    return 1")),
    lints.lint_machine_paths: notebook_of(code("x", printed("saved to '/home/me/a.png'"))),
    lints.lint_metadata: notebook_of(widgets={"state": {}}),
    lints.lint_first_look: notebook_of(*[prose()] * 6, code("1", printed("1"))),
    lints.lint_definitions_in_a_row: notebook_of(*(code(define.format(c)) for c in "abc")),
    lints.lint_length: notebook_of(*[prose()] * (lints.most_cells + 1)),
}
every_rule = pytest.mark.parametrize("rule", bad, ids=lambda rule: rule.__name__)


def test_each_rule_has_a_bad_example():
    assert set(bad) == {*lints.everywhere, *lints.in_lessons}


@every_rule
def test_each_rule_passes_the_good_and_finds_the_bad(rule):
    assert rule(good) == []
    assert len(rule(bad[rule])) == 1


@pytest.mark.parametrize(
    "cell",
    [
        "from magnitude_ae.plots import show_points\nshow_points(points)",
        "from magnitude_ae.plots.points import show_points\nshow_points(points)",
        "for ax in axes:\n    plt.show()",
        "plt.figure()",
    ],
)
def test_pictures_are_missed_however_they_are_drawn(cell):
    assert lints.lint_pictures(notebook_of(code(cell)))
    assert not lints.lint_pictures(notebook_of(code(cell, picture)))
    assert not lints.lint_pictures(notebook_of(code("# | eval: false\n" + cell)))


@pytest.mark.parametrize(
    "text", ["/usr/lib/python3/x.py:3: UserWarning", 'File "/a/b"', "C:\\Users\\me"]
)
def test_machine_paths_are_seen(text):
    assert lints.lint_machine_paths(notebook_of(code("x", printed(text))))


@pytest.mark.parametrize(
    "html",
    [
        "<div class='a'></div><br/>",
        "<img src='data:image/jpeg;base64,/9j/4AAQ/abc'>",
        "a/b, m/s/s, 1/2/3",
    ],
)
def test_what_only_looks_like_a_path_is_not_one(html):
    output = {"output_type": "display_data", "data": {"text/html": [html]}}
    assert not lints.lint_machine_paths(notebook_of(code("x", output)))


@pytest.mark.parametrize("output", [progress, error], ids=["progress", "error"])
def test_progress_and_errors_are_nothing_to_look_at(output):
    cells = [code("#| hide\nsetup()"), title, code("f()", output), *[prose()] * 3]
    assert lints.lint_first_look(notebook_of(*cells, prose(), code("f()", printed("1"))))
    assert not lints.lint_first_look(notebook_of(*cells, code("f()", printed("1"))))


@pytest.mark.parametrize(
    "cell",
    [
        prose(),
        code("import numpy as np"),
        code("def helper():\n    return 1"),
        code("# | hide\nf()"),
        code(define.format("a")),
    ],
    ids=["prose", "import", "definition", "hidden", "the same again"],
)
def test_what_is_no_example_between_definitions(cell):
    first = [code(define.format("a")), code(define.format("b")), cell]
    assert lints.lint_definitions_in_a_row(notebook_of(*first, code(define.format("c"))))
    assert not lints.lint_definitions_in_a_row(notebook_of(*first, code("a(1)")))

"""House rules of the notebooks, read off their JSON: each lint lists what is wrong, and each is shown to find something."""

import ast
import json
import re
from pathlib import Path
from statistics import median

import pytest

root = Path(__file__).parent.parent
paths = sorted((root / "nbs").glob("[!_]*.ipynb"))
lesson_paths = [path for path in paths if path.name[0].isdigit()]

package = "magnitude_ae"
least_prose = 0.4
longest_median = 6
longest_export = 30

export_directive = re.compile(r"^#\|\s*exporti?\b", re.MULTILINE)
hide_directive = re.compile(r"^#\|\s*hide\s*$", re.MULTILINE)
eval_directive = re.compile(r"^#\|\s*eval:\s*false", re.MULTILINE)
default_exp_directive = re.compile(r"^#\|\s*default_exp\s+(\w+)", re.MULTILINE)
# A path from the root of a file system, but no tag, address or quotient.
machine_path = re.compile(r"(?<![\w.:/<)\]}~*-])/(?:[\w.-]+/)+[\w.-]*|\b[A-Za-z]:\\\w")
payload = re.compile(r"base64,[A-Za-z0-9+/=\\\n]+")
drawing = {"figure", "subplots", "show"}


# Reading


def source_of(cell: dict) -> str:
    return "".join(cell["source"])


def code_cells(notebook: dict) -> list[dict]:
    return [
        cell
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and source_of(cell).strip()
    ]


def exported_cells(notebook: dict) -> list[dict]:
    return [cell for cell in code_cells(notebook) if export_directive.search(source_of(cell))]


def n_lines(cell: dict) -> int:
    """Lines of code and comment: neither empty ones nor directives."""
    return sum(
        bool(line.strip()) and not line.startswith("#|") for line in source_of(cell).splitlines()
    )


def first_line(cell: dict) -> str:
    lines = [
        line for line in source_of(cell).splitlines() if line.strip() and not line.startswith("#|")
    ]
    return f"cell {cell.get('id', '?')} ({lines[0][:60] if lines else 'no code'})"


def tree_of(cell: dict) -> ast.Module:
    """The syntax tree of a cell; lines of IPython's own (`%`, `!`) count as blank."""
    return ast.parse(re.sub(r"^\s*[%!].*$", "", source_of(cell), flags=re.MULTILINE))


def module_of(notebook: dict) -> str | None:
    found = [default_exp_directive.search(source_of(cell)) for cell in code_cells(notebook)]
    return next((match[1] for match in found if match), None)


def text_outputs(cell: dict) -> str:
    """All text among the outputs of a cell, without embedded pictures."""
    texts = []
    for output in cell.get("outputs", []):
        texts.append("".join(output.get("text", "")))
        data = output.get("data", {})
        texts += ["".join(data[kind]) for kind in data if kind.startswith("text/")]
    return payload.sub("", "\n".join(texts))


def statements_run(tree: ast.Module):
    """The nodes of a cell that run with the cell: not the bodies of what it defines."""
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield node
            stack.extend(ast.iter_child_nodes(node))


def package_imports(tree: ast.Module) -> list[str]:
    """The modules of this package that a cell imports; "" stands for the package itself."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [
                alias.name.partition(".")[2]
                for alias in node.names
                if alias.name.split(".")[0] == package
            ]
        elif isinstance(node, ast.ImportFrom):
            name = (
                (node.module or "")
                if node.level
                else node.module.removeprefix(package).removeprefix(".")
            )
            if node.level or node.module.split(".")[0] == package:
                found += (
                    [name]
                    if name
                    else [alias.name for alias in node.names if alias.name != "__version__"]
                )
    return found


# Lints: each returns what is wrong with a notebook, in words


def lint_prose(notebook: dict) -> list[str]:
    cells = notebook["cells"]
    share = sum(cell["cell_type"] == "markdown" for cell in cells) / max(len(cells), 1)
    return (
        [f"{share:.0%} of the cells are prose, {least_prose:.0%} wanted"]
        if share < least_prose
        else []
    )


def lint_median(notebook: dict) -> list[str]:
    typical = median([n_lines(cell) for cell in code_cells(notebook)] or [0])
    return (
        [f"the median code cell has {typical} lines, at most {longest_median} wanted"]
        if typical > longest_median
        else []
    )


def lint_long_exports(notebook: dict) -> list[str]:
    return [
        f"{first_line(cell)} exports {n_lines(cell)} lines"
        for cell in exported_cells(notebook)
        if n_lines(cell) > longest_export
    ]


def lint_title(notebook: dict) -> list[str]:
    prose = [source_of(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    titled = prose and re.match(r"# \S.*\n+(?:.*\n+)?> \S", prose[0])
    return [] if titled else ["the first prose cell is not '# Title' and '> one sentence'"]


def lint_opening(notebook: dict) -> list[str]:
    """A notebook that makes a module says so in its first cell."""
    first = source_of(notebook["cells"][0]) if notebook["cells"] else ""
    exports = bool(exported_cells(notebook)) or module_of(notebook) is not None
    return (
        ["default_exp is not in the first cell"]
        if exports and not default_exp_directive.match(first)
        else []
    )


def lint_ending(notebook: dict) -> list[str]:
    if module_of(notebook) is None:
        return []
    last = source_of(notebook["cells"][-1])
    hidden_export = hide_directive.search(last) and re.search(r"\bnbdev_export\(\)", last)
    return [] if hidden_export else ["the last cell is not a hidden nbdev_export()"]


def lint_errors(notebook: dict) -> list[str]:
    failed = [
        cell
        for cell in code_cells(notebook)
        if any(o["output_type"] == "error" for o in cell["outputs"])
    ]
    return [f"{first_line(cell)} holds an error output" for cell in failed]


def lint_outputs(notebook: dict) -> list[str]:
    return (
        []
        if any(cell["outputs"] for cell in code_cells(notebook))
        else ["no cell holds an output: run it and save it"]
    )


def lint_pictures(notebook: dict) -> list[str]:
    """A cell that draws with pyplot, or calls a function of `plots` for its picture, holds an output."""
    plotters, problems = set(), []
    for cell in code_cells(notebook):
        tree, source = tree_of(cell), source_of(cell)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.split(".")[-1] == "plots"
            ):
                plotters |= {alias.asname or alias.name for alias in node.names}
        nodes = list(statements_run(tree))
        calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        bare = {
            ast.unparse(node.value.func)
            for node in nodes
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        }
        draws = calls & {f"plt.{name}" for name in drawing} or bare & plotters
        excused = eval_directive.search(source) or "plt.close" in source
        if draws and not excused and not cell["outputs"]:
            problems.append(f"{first_line(cell)} draws, but holds no output")
    return problems


def lint_wildcards(notebook: dict) -> list[str]:
    starred = [
        cell
        for cell in code_cells(notebook)
        for node in ast.walk(tree_of(cell))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    return [f"{first_line(cell)} imports *" for cell in starred]


def lint_prints(notebook: dict) -> list[str]:
    """Library code speaks by return values, warnings and exceptions."""
    calls = (
        (cell, node)
        for cell in exported_cells(notebook)
        for node in ast.walk(tree_of(cell))
        if isinstance(node, ast.Call)
    )
    return [
        f"{first_line(cell)} prints"
        for cell, node in calls
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def lint_docstrings(notebook: dict) -> list[str]:
    """Every public definition that a cell exports says what it returns or is."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = (
        node
        for cell in exported_cells(notebook)
        for node in tree_of(cell).body
        if isinstance(node, kinds)
    )
    return [
        f"{node.name} has no docstring"
        for node in defined
        if node.name[0] != "_" and not ast.get_docstring(node)
    ]


def lint_machine_paths(notebook: dict) -> list[str]:
    found = ((cell, machine_path.search(text_outputs(cell))) for cell in code_cells(notebook))
    return [f"{first_line(cell)} shows the path {match[0]}" for cell, match in found if match]


def lint_metadata(notebook: dict) -> list[str]:
    extra = set(notebook["metadata"]) - {"kernelspec"}
    return [f"the metadata holds {', '.join(sorted(extra))}: clear it"] if extra else []


def lint_import_order(notebook: dict, number: int, numbers: dict[str, int]) -> list[str]:
    """Exported code imports only modules of lower-numbered notebooks: `numbers` maps module to number."""
    problems = []
    for cell in exported_cells(notebook):
        for module in package_imports(tree_of(cell)):
            if module not in numbers:
                problems.append(
                    f"{first_line(cell)} imports {package}.{module}, which no notebook makes"
                )
            elif numbers[module] >= number:
                problems.append(
                    f"{first_line(cell)} imports {module} of notebook {numbers[module]}, which comes later"
                )
    return problems


everywhere = [
    lint_prose,
    lint_median,
    lint_long_exports,
    lint_title,
    lint_opening,
    lint_ending,
    lint_errors,
    lint_outputs,
    lint_pictures,
    lint_wildcards,
    lint_prints,
    lint_docstrings,
    lint_machine_paths,
    lint_metadata,
]


# index.ipynb shows its ten lines of code in one piece.
exempt = {("index", lint_median)}
house_rules = [
    (path, lint) for path in paths for lint in everywhere if (path.stem, lint) not in exempt
]


# The notebooks as they are


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def number_of(path: Path) -> int:
    return int(path.name.partition("_")[0])


def test_there_are_notebooks_to_read():
    assert root / "nbs" / "index.ipynb" in paths
    assert lesson_paths


def test_notebooks_are_numbered_once():
    numbers = [number_of(path) for path in lesson_paths]
    assert sorted(set(numbers)) == sorted(numbers)
    assert {path.stem for path in paths} - {path.stem for path in lesson_paths} == {"index"}


def test_every_module_comes_from_one_notebook():
    made = [module for module in (module_of(read(path)) for path in lesson_paths) if module]
    written = {path.stem for path in (root / package).glob("[!_]*.py")}
    assert sorted(made) == sorted(written)


@pytest.mark.parametrize(
    "path, lint", house_rules, ids=[f"{path.stem}-{lint.__name__}" for path, lint in house_rules]
)
def test_house_rules(path, lint):
    assert lint(read(path)) == []


@pytest.mark.parametrize("path", lesson_paths, ids=lambda path: path.stem)
def test_imports_point_backwards(path):
    numbers = {module_of(read(other)): number_of(other) for other in lesson_paths}
    assert lint_import_order(read(path), number_of(path), numbers) == []


# The lints themselves


def prose(text: str = "words") -> dict:
    return {"cell_type": "markdown", "source": [text]}


def code(text: str, *outputs: dict) -> dict:
    return {
        "cell_type": "code",
        "id": "c0",
        "source": text.splitlines(keepends=True),
        "outputs": list(outputs),
    }


def notebook_of(*cells: dict, **metadata: dict) -> dict:
    return {"cells": list(cells), "metadata": {"kernelspec": {}, **metadata}}


def printed(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": [text]}


title = prose("# Title\n\n> One sentence.")
picture = {
    "output_type": "display_data",
    "data": {"image/png": "iVBO", "text/plain": ["<Figure size 640x480>"]},
}
last = code("#| hide\nimport nbdev; nbdev.nbdev_export()")
good = notebook_of(
    code("#| default_exp similarity"),
    title,
    code("#| export\nimport numpy as np"),
    prose(),
    code('#| export\ndef half(x):\n    "Half of x."\n    return x / 2'),
    prose(),
    code(
        "from magnitude_ae.plots import show_points\nhalf(4), 'and/or', 1/2",
        printed("2.0 km/s, https://example.org/a/b, and/or"),
    ),
    prose(),
    code("fig, ax = plt.subplots()\nshow_points(ax)", picture),
    prose(),
    code("def draw():\n    plt.show()"),
    last,
)
bad = {
    lint_prose: notebook_of(prose(), code("1"), code("2")),
    lint_median: notebook_of(code("\n".join("abcdefg"))),
    lint_long_exports: notebook_of(code("#| export\n" + "x = 1\n" * 31)),
    lint_title: notebook_of(prose("# Title without a sentence"), prose("> too late")),
    lint_opening: notebook_of(title, code("#| default_exp similarity"), code("#| export\nx = 1")),
    lint_ending: notebook_of(
        code("#| default_exp similarity"), code("import nbdev; nbdev.nbdev_export()")
    ),
    lint_errors: notebook_of(code("1 / 0", {"output_type": "error", "ename": "ZeroDivisionError"})),
    lint_outputs: notebook_of(code("1 + 1")),
    lint_pictures: notebook_of(code("fig, ax = plt.subplots()")),
    lint_wildcards: notebook_of(code("def f():\n    pass\nfrom torch import *")),
    lint_prints: notebook_of(code("#| export\ndef f():\n    print(1)")),
    lint_docstrings: notebook_of(code("#| export\ndef f():\n    return 1")),
    lint_machine_paths: notebook_of(code("path", printed("saved to '/home/someone/picture.png'"))),
    lint_metadata: notebook_of(widgets={"state": {}}),
}


@pytest.mark.parametrize("lint", everywhere, ids=lambda lint: lint.__name__)
def test_each_lint_passes_the_good_and_fails_the_bad(lint):
    assert lint(good) == []
    assert len(lint(bad[lint])) == 1


@pytest.mark.parametrize(
    "cell",
    [
        "from magnitude_ae.plots import show_points\nshow_points(points)",
        "for ax in axes:\n    plt.show()",
        "plt.figure()",
    ],
)
def test_pictures_are_missed_however_they_are_drawn(cell):
    assert lint_pictures(notebook_of(code(cell)))
    assert not lint_pictures(notebook_of(code(cell, picture)))
    assert not lint_pictures(notebook_of(code("#| eval: false\n" + cell)))


@pytest.mark.parametrize(
    "text", ["/usr/lib/python3/x.py:3: UserWarning", 'File "/a/b"', "C:\\Users\\me"]
)
def test_machine_paths_are_seen(text):
    assert lint_machine_paths(notebook_of(code("x", printed(text))))


@pytest.mark.parametrize(
    "html",
    [
        "<div class='a'></div><br/>",
        "<img src='data:image/jpeg;base64,/9j/4AAQ/abc'>",
        "a/b, m/s/s, 1/2/3",
    ],
)
def test_what_only_looks_like_a_path_is_not_one(html):
    assert not lint_machine_paths(
        notebook_of(code("x", {"output_type": "display_data", "data": {"text/html": [html]}}))
    )


@pytest.mark.parametrize(
    "line, ok",
    [
        ("from magnitude_ae.similarity import distances", True),
        ("import magnitude_ae.similarity", True),
        ("import numpy", True),
        ("from magnitude_ae.weighting import weighting", False),
        ("from magnitude_ae import weighting", False),
        ("from .weighting import weighting", False),
        ("def f():\n    import magnitude_ae.training", False),
        ("from magnitude_ae.solvers import LU", False),
        ("from magnitude_ae.nowhere import x", False),
        ("import magnitude_ae as mag", False),
    ],
)
def test_import_order_is_seen(line, ok):
    numbers = {"similarity": 0, "solvers": 3, "weighting": 5, "training": 8}
    assert (lint_import_order(notebook_of(code("#| export\n" + line)), 3, numbers) == []) is ok
    assert lint_import_order(notebook_of(code(line)), 3, numbers) == []

"""A type checker is content with the package, and strictly so with a user's script."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import magnitude_ae as mag

pytest.importorskip("mypy")
root = Path(__file__).parent.parent


def mypy(cache, *arguments):
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--cache-dir",
        str(cache),
        *arguments,
    ]
    done = subprocess.run(
        command,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MYPYPATH": str(root)},
    )
    return [
        line for line in done.stdout.splitlines() if ": error:" in line
    ] + done.stderr.splitlines()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


def test_the_package(cache):
    assert mypy(cache) == []


def test_a_users_script(cache):
    assert mypy(cache, "--strict", "--follow-imports=silent", "tests/typing_sample.py") == []


def test_mistakes_are_found(tmp_path, cache):
    "A checker that passes everything would pass the sample too."
    (tmp_path / "wrong.py").write_text(
        "import magnitude_ae as mag\nmag.Joint(n_epochs='many')\nmag.trustworthiness([[1.0]], [[1.0]], n_neighbors='12')\nmag.weigthing\n"
    )
    assert len(mypy(cache, "--strict", "--follow-imports=silent", str(tmp_path / "wrong.py"))) == 3


def test_the_stub_offers_what_the_package_offers():
    tree = ast.parse((root / "magnitude_ae" / "__init__.pyi").read_text(encoding="utf-8"))
    found = {
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if alias.asname != "_Solver"
    }
    overloaded = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert found | set(overloaded) == set(mag.__all__) and not found & set(overloaded)
    for name, arguments in overloaded.items():
        parameters = inspect.signature(getattr(mag, name)).parameters
        assert [argument.arg for argument in [*arguments.args, *arguments.kwonlyargs]] == list(
            parameters
        ), name
        defaults = [
            ast.literal_eval(default) for default in [*arguments.defaults, *arguments.kw_defaults]
        ]
        assert (
            defaults == [parameter.default for parameter in parameters.values()][-len(defaults) :]
        ), name


def test_the_package_says_that_it_is_typed():
    assert (root / "magnitude_ae" / "py.typed").is_file()

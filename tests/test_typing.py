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
config = root / "pyproject.toml"
face = root / "magnitude_ae" / "__init__.pyi"


def mypy(cache, *files):
    """What mypy complains of, in these files or in those of its configuration."""
    options = ("--no-error-summary", "--config-file", str(config), "--cache-dir", str(cache))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, files)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MYPYPATH": str(root)},
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    return errors + done.stderr.splitlines()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture(scope="module")
def errors(cache):
    """What mypy complains of in the package and in the user's script, read in one go."""
    return mypy(cache)


def test_the_package(errors):
    assert [line for line in errors if "typing_sample" not in line] == []


def test_a_users_script(errors):
    """tests/typing_sample.py, which pyproject.toml wants to be read as `mypy --strict` would."""
    assert [line for line in errors if "typing_sample" in line] == []


MISTAKES = """
import magnitude_ae as mag

mag.Joint(n_epochs="many")
mag.trustworthiness([[1.0]], [[1.0]], n_neighbors="12")
mag.weigthing


def untyped(points):
    return mag.weighting(points)
"""


def test_mistakes_are_found(tmp_path, cache, errors):
    """A checker that passes everything would pass the sample, too."""
    script = tmp_path / "typing_sample.py"
    script.write_text(MISTAKES)
    found = [line for line in mypy(cache, script) if "typing_sample" in line]
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == [4, 5, 6, 9]


def test_no_kind_of_error_is_switched_off():
    text = config.read_text(encoding="utf-8")
    assert "disable_error_code" not in text
    assert "ignore_errors" not in text


def test_the_stub_offers_what_the_package_offers():
    tree = ast.parse(face.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    names = {alias.asname for node in imports for alias in node.names}
    imported = {name for name in names if name is not None and not name.startswith("_")}
    overloaded = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert imported | overloaded == set(mag.__all__)
    assert not imported & overloaded


def stub_functions():
    tree = ast.parse(face.read_text(encoding="utf-8"))
    return {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", stub_functions())
def test_the_stub_has_the_parameters_of_the_function(name):
    arguments = stub_functions()[name]
    parameters = inspect.signature(getattr(mag, name)).parameters
    assert [each.arg for each in [*arguments.args, *arguments.kwonlyargs]] == list(parameters)
    given = [each for each in [*arguments.defaults, *arguments.kw_defaults] if each is not None]
    defaults = [ast.literal_eval(each) for each in given]
    expected = [each.default for each in parameters.values()]
    assert defaults == expected[len(expected) - len(defaults) :]


def test_the_package_says_that_it_is_typed():
    assert (root / "magnitude_ae" / "py.typed").is_file()

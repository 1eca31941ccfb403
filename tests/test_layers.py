"""The package keeps its layers, its modules keep their privacy and a readable length."""

import ast

import layers
import lints
import pytest

sources = layers.sources()
found = layers.imports(sources)
each_module = pytest.mark.parametrize("module", sources)

# Modules over 500 lines, each with the reason.
LONG: dict[str, str] = {}

# Private names that tests use, each with the reason.
NEEDED_BY_TESTS = {
    "_NAMES": "the face is compared with what it promises",
    "_MODULES": "the face is compared with what it promises",
}


# The package as it is


def test_layers_and_modules_agree():
    """Every module stands in one layer, and every layer holds a module."""
    places = [layers.layer_of(module) for module in layers.module_names()]
    assert set(places) == set(range(len(layers.LAYERS)))


def test_modules_import_from_their_own_layer_and_those_above():
    assert lints.lint_layers(found) == []


def test_modules_do_not_import_each_other_in_a_circle():
    modules = layers.graph(each for each in found if not layers.is_anybodys(each))
    assert layers.cycle(modules) == []


@each_module
def test_no_private_name_crosses_a_module(module):
    assert lints.lint_private_names(sources[module], module) == []


@each_module
def test_classes_are_complete_where_they_are_defined(module):
    assert lints.lint_attached(sources[module]) == []


@each_module
def test_modules_are_short(module):
    problems = lints.lint_module_length(sources[module])
    assert bool(problems) == (module in LONG), problems or "take it out of LONG"


def test_tests_use_public_names():
    """Except for those in NEEDED_BY_TESTS, each of which is used."""
    used = {
        name: path.name
        for path in (layers.root / "tests").glob("*.py")
        for name in lints.private_names(path.read_text(encoding="utf-8"), f"tests.{path.stem}")
    }
    assert {name: used[name] for name in used if name not in NEEDED_BY_TESTS} == {}
    assert [name for name in NEEDED_BY_TESTS if name not in used] == []


# The rules themselves

SMALL = {
    "checks": "import numpy",
    "similarity": "from magnitude_ae.checks import check_scale",
    "solvers.__init__": "from magnitude_ae.solvers.dense import LU",
    "solvers.base": "from ..similarity import Similarity",
    "solvers.dense": "from magnitude_ae.solvers.base import Solver",
    "weighting": "import magnitude_ae.solvers.dense\ndef f():\n    from magnitude_ae import plots",
    "plots.__init__": "from .curves import curve",
    "plots.curves": "from magnitude_ae.weighting import weighting",
}


def with_module(name, source):
    """What is wrong with the layers of the small package when it holds one more module."""
    return lints.lint_layers(layers.imports({**SMALL, name: source}))


def test_imports_are_read_however_they_are_written():
    modules = layers.graph(layers.imports(SMALL))
    assert modules["similarity"] == {"checks"}
    assert modules["solvers"] == {"solvers.dense"}
    assert modules["solvers.base"] == {"similarity"}
    assert modules["weighting"] == {"solvers.dense", "plots"}
    assert modules["plots"] == {"plots.curves"}
    assert layers.graph(layers.imports(SMALL), later=False)["weighting"] == {"solvers.dense"}


@pytest.mark.parametrize(
    "module, source, ok",
    [
        ("functions", "from magnitude_ae.weighting import weighting", True),
        ("functions", "from magnitude_ae.checks import check_scale", True),
        ("functions", "import numpy", True),
        ("functions", "from magnitude_ae import __version__", True),
        ("functions", "def f():\n    from magnitude_ae.plots import curve", True),
        ("functions", "def f():\n    from magnitude_ae.plots.curves import curve", True),
        ("functions", "from magnitude_ae.plots import curve", False),
        ("functions", "if True:\n    from magnitude_ae import plots", False),
        ("functions", "import magnitude_ae.training.loop", False),
        ("functions", "def f():\n    from magnitude_ae.boundary import f", False),
        ("functions", "from .boundary import BoundaryDetector", False),
        ("solvers.hodlr", "from ..boundary import BoundaryDetector", False),
        ("solvers.hodlr", "from ..similarity import Similarity", True),
        ("functions", "import magnitude_ae as mag", False),
        ("functions", "from magnitude_ae import weighting as f", True),
        ("functions", "from magnitude_ae import magnitude", False),
    ],
)
def test_imports_against_the_layers_are_found(module, source, ok):
    extra = {"training.loop": "", "boundary": ""}
    problems = lints.lint_layers(layers.imports({**SMALL, **extra, module: source}))
    assert (problems == []) is ok


def test_a_module_without_a_layer_is_found():
    with pytest.raises(KeyError, match="nowhere stands in no layer"):
        with_module("nowhere", "import magnitude_ae.checks")


def test_circles_are_found():
    circle = layers.cycle(layers.graph(layers.imports(SMALL)))
    assert circle == ["weighting", "plots", "plots.curves", "weighting"]
    inward = [each for each in layers.imports(SMALL) if not layers.is_anybodys(each)]
    assert layers.cycle(layers.graph(inward)) == []
    assert layers.cycle({"a": {"a"}}) == ["a", "a"]
    assert layers.cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_what_follows_from_other_imports_is_left_out():
    modules = {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": {"a", "c"}}
    assert layers.essential(modules) == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}}
    assert layers.beyond(modules, "d") == {"a", "b", "c"}


@pytest.mark.parametrize(
    "source, ok",
    [
        ("from magnitude_ae.checks import check_scale", True),
        ("from magnitude_ae import __version__", True),
        ("from numpy import _private", True),
        ("from magnitude_ae import checks\nchecks.check_scale(1)", True),
        ("self._own = Other()._of_somebody", True),
        ("from magnitude_ae.checks import _sign", False),
        ("def f():\n    from .checks import _sign", False),
        ("from magnitude_ae._modidx import d", False),
        ("from magnitude_ae import checks\nchecks._sign(1)", False),
        ("import magnitude_ae.checks as c\nc._sign(1)", False),
        ("import magnitude_ae.checks\nmagnitude_ae.checks._sign(1)", False),
        ("import magnitude_ae as mag\nmag._NAMES", False),
    ],
)
def test_private_names_are_found(source, ok):
    assert (lints.lint_private_names(source, "scale") == []) is ok


@pytest.mark.parametrize(
    "source, ok",
    [
        ("class A:\n    b = 1\n    def f(self):\n        self.b = 2", True),
        ("settings.b = 1\nA = B = 3", True),
        ("def f(A):\n    A.b = 1", True),
        ("class A: pass\ndef f(self): pass\nA.f = f", False),
        ("A.b: int = 1", False),
        ("_A.b = property(f)", False),
        ("if True:\n    A.b = 1", False),
        ("setattr(A, 'f', f)", False),
    ],
)
def test_what_is_attached_to_a_class_is_found(source, ok):
    assert (lints.lint_attached(source) == []) is ok


def test_long_modules_are_found():
    assert lints.lint_module_length("x = 1\n" * lints.most_lines) == []
    assert len(lints.lint_module_length("x = 1\n" * (lints.most_lines + 1))) == 1


def test_the_package_is_read_from_its_files():
    assert {"checks", "arrays", "random"} <= set(layers.module_names())
    assert all(ast.parse(source) for source in sources.values())

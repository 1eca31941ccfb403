"""The files around the code say one thing: settings.ini. What is built from them works."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.version import Version

root = Path(__file__).parent.parent
package = root / "magnitude_ae"
parser = ConfigParser()
parser.read(root / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
modules = sorted(package.rglob("*.py"))
development_tools = {"nbdev", "fastcore", "execnb", "pytest", "hypothesis", "mypy", "ruff"}
largest_wheel = 300_000  # bytes


def named(path: Path) -> str:
    return path.relative_to(package).as_posix()


each_module = pytest.mark.parametrize("path", modules, ids=named)


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def names_of(key: str) -> set[str]:
    """What a key of settings.ini requires."""
    return {name_of(requirement) for requirement in settings[key].split()}


def constraints(file: str = "constraints.txt") -> dict[str, str]:
    lines = (root / file).read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name_of(name): version for name, version in pins}


# Metadata


def test_the_version_is_the_same_everywhere():
    version = settings["version"]
    face = (package / "__init__.py").read_text(encoding="utf-8")
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'__version__ = "{version}"' in face
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == version
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == version


def test_pyproject_agrees_with_settings():
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == settings["lib_name"]
    assert project["requires-python"] == ">=" + settings["min_python"]


def test_every_requirement_has_a_tested_version():
    pins = constraints()
    groups = [key for key in settings if key == "requirements" or key.endswith("_requirements")]
    assert len(groups) == 5
    assert set().union(*map(names_of, groups)) <= pins.keys()
    # A local version, as 2.13.0+cpu, installs on few machines.
    assert [version for version in pins.values() if "+" in version] == []


def test_the_lower_bounds_are_versions_that_were_tested():
    """constraints-min.txt pins what settings.ini admits, neither more nor less."""
    bounds = dict(requirement.split(">=") for requirement in settings["requirements"].split())
    admitted = {name_of(name): Version(bound) for name, bound in bounds.items()}
    pins = constraints("constraints-min.txt")
    assert admitted == {name: Version(pin) for name, pin in pins.items()}


def test_what_is_installed_is_what_settings_describe():
    installed = distribution("magnitude-ae")
    assert installed.version == settings["version"]
    assert installed.metadata["Requires-Python"] == ">=" + settings["min_python"]
    script, _, function = settings["console_scripts"].partition("=")
    assert {point.name: point.value for point in installed.entry_points} == {script: function}
    suffix = "_requirements"
    extras = {key.removesuffix(suffix) for key in settings if key.endswith(suffix)}
    assert set(installed.metadata.get_all("Provides-Extra")) == extras
    required = {name_of(line) for line in installed.requires if "extra" not in line}
    assert required == names_of("requirements")


# What is built


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """A source distribution, and the wheel that is built from what it holds."""
    folder = tmp_path_factory.mktemp("distributions")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, source / package.name, ignore=ignored)
    for path in root.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    build(source, "sdist", folder)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "unpacked", filter="data")
    build(next((folder / "unpacked").iterdir()), "wheel", folder)
    (wheel,) = folder.glob("*.whl")
    return archive, wheel


def build(folder, kind, to):
    """Calls setuptools as pip and build do (torch brings it along)."""
    program = f"import setuptools.build_meta as backend; backend.build_{kind}({str(to)!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    """Subpackages, types and all."""
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    files = (path for path in package.rglob("*") if path.is_file())
    expected = {
        path.relative_to(root).as_posix() for path in files if "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"magnitude_ae/py.typed", "magnitude_ae/__init__.pyi"} <= expected
    assert wheel.stat().st_size < largest_wheel


def test_every_subpackage_can_be_found():
    """A folder of modules without an `__init__.py` is left out of the wheel."""
    assert [path for path in modules if not (path.parent / "__init__.py").exists()] == []


def test_the_source_distribution_can_be_worked_with(distributions):
    source, _ = distributions
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        "settings.ini",
        "pyproject.toml",
        "setup.py",
        "constraints.txt",
        "constraints-min.txt",
        "README.md",
        "LICENSE",
        "magnitude_ae/py.typed",
    }
    assert expected <= names


TRY = """
import magnitude_ae as mag
from importlib.metadata import version
print(mag.__file__)
print(version("magnitude-ae"))
print(mag.magnitude([[0.0], [1.0]]) > 1)
print(mag.datasets.ball(5).shape)
"""


def test_the_wheel_installs_and_works_away_from_the_sources(distributions, tmp_path):
    _, wheel = distributions
    site = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    install = [sys.executable, "-m", "pip", "install", *options]
    subprocess.run(install, check=True, capture_output=True, text=True, timeout=120)
    done = subprocess.run(
        [sys.executable, "-c", TRY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(site / "magnitude_ae" / "__init__.py"),
        settings["version"],
        "True",
        "(5, 3)",
    ]


# What the code imports


def imported(nodes) -> set[str]:
    """Top-level packages that these nodes import, those of relative imports left out."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@each_module
def test_modules_do_without_the_tools_of_development(path):
    assert not imported(ast.walk(tree_of(path))) & development_tools


OTHERWISE = {
    "sklearn": "scikit-learn",
    "ipython": "ipywidgets",
    "umap": "umap-learn",
    "torch_topological": "torch-topological",
    "mpl_toolkits": "matplotlib",
    "pil": "matplotlib",  # which needs it
}


def required_by(names: set[str]) -> set[str]:
    """The distributions that bring these packages, those of Python and our own left out."""
    ours = sys.stdlib_module_names | {settings["lib_name"]}
    lower = {name.lower() for name in names - ours}
    return {OTHERWISE.get(name, name) for name in lower}


@each_module
def test_modules_import_only_what_settings_require(path):
    """What an extra installs is imported inside a function only, where its absence is told."""
    tree = tree_of(path)
    required = names_of("requirements")
    assert required_by(imported(tree.body)) <= required
    assert required_by(imported(ast.walk(tree))) <= required | names_of("compare_requirements")


def test_importing_the_library_loads_no_tool_of_development():
    program = f"import sys, magnitude_ae; print(sorted({development_tools!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [p for p in modules if not p.name.startswith("_")], ids=named)
def test_no_module_defines_a_name_twice(path):
    """A cell pasted twice would be exported twice, the later one hiding the earlier."""
    names = [
        node.name
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not is_overload(node)
    ]
    assert sorted(names) == sorted(set(names))


def is_overload(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether this only tells a type checker of one way to call a function."""
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)

"""The files around the code say one thing: settings.ini."""

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
parser = ConfigParser()
parser.read(root / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
modules = sorted((root / "magnitude_ae").glob("*.py"))
development_tools = {"nbdev", "fastcore", "execnb", "pytest", "hypothesis", "mypy"}


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def constraints(file: str = "constraints.txt") -> dict[str, str]:
    lines = (root / file).read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name_of(name): version for name, version in pins}


def imported(source: str) -> set[str]:
    """Top-level packages that `source` imports anywhere, its own left out."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def test_the_version_is_the_same_everywhere():
    version = settings["version"]
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'__version__ = "{version}"' in (root / "magnitude_ae" / "__init__.py").read_text(
        encoding="utf-8"
    )
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == version
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == version


def test_pyproject_agrees_with_settings():
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == settings["lib_name"]
    assert project["requires-python"] == ">=" + settings["min_python"]


def test_every_requirement_has_a_tested_version():
    pins = constraints()
    groups = [key for key in settings if key == "requirements" or key.endswith("_requirements")]
    wanted = {name_of(requirement) for key in groups for requirement in settings[key].split()}
    assert len(groups) == 5
    assert wanted <= pins.keys()
    assert not any("+" in version for version in pins.values()), (
        "a local version installs on few machines"
    )


def test_the_lower_bounds_are_versions_that_were_tested():
    """constraints-min.txt pins what settings.ini admits, neither more nor less."""
    bounds = dict(requirement.split(">=") for requirement in settings["requirements"].split())
    pins = constraints("constraints-min.txt")
    assert {name_of(name): Version(bound) for name, bound in bounds.items()} == {
        name: Version(pin) for name, pin in pins.items()
    }


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """A source distribution, and the wheel that is built from what it holds."""
    folder = tmp_path_factory.mktemp("distributions")
    for name in ("magnitude_ae", *(path.name for path in root.iterdir() if path.is_file())):
        if (root / name).is_dir():
            shutil.copytree(
                root / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy(root / name, folder / "source")
    build(folder / "source", "sdist", folder)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    build(next((folder / "unpacked").iterdir()), "wheel", folder)
    (wheel,) = folder.glob("*.whl")
    return source, wheel


def build(folder, kind, to):
    """Calls setuptools as pip and build do (torch brings it along)."""
    program = f"import setuptools.build_meta as backend; backend.build_{kind}({str(to)!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    _, wheel = distributions
    names = zipfile.ZipFile(wheel).namelist()
    expected = {
        f"magnitude_ae/{path.name}" for path in (root / "magnitude_ae").iterdir() if path.is_file()
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"magnitude_ae/py.typed", "magnitude_ae/__init__.pyi"} <= expected
    assert wheel.stat().st_size < 160_000


def test_the_source_distribution_can_be_worked_with(distributions):
    source, _ = distributions
    names = {name.partition("/")[2] for name in tarfile.open(source).getnames()}
    assert {
        "settings.ini",
        "pyproject.toml",
        "setup.py",
        "constraints.txt",
        "constraints-min.txt",
        "README.md",
        "LICENSE",
        "magnitude_ae/py.typed",
    } <= names


def test_the_wheel_installs_and_works_away_from_the_sources(distributions, tmp_path):
    _, wheel = distributions
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path / "site"),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True, timeout=120)
    program = """if True:
        import magnitude_ae as mag
        from importlib.metadata import version
        print(mag.__file__, version("magnitude-ae"), mag.magnitude([[0.0], [1.0]]) > 1, mag.datasets.ball(5).shape)"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == [
        str(tmp_path / "site" / "magnitude_ae" / "__init__.py"),
        f"{settings['version']} True (5, 3)\n",
    ]


def test_what_is_installed_is_what_settings_describe():
    installed = distribution("magnitude-ae")
    assert installed.version == settings["version"]
    assert installed.metadata["Requires-Python"] == ">=" + settings["min_python"]
    script, _, function = settings["console_scripts"].partition("=")
    assert {point.name: point.value for point in installed.entry_points} == {script: function}
    extras = {
        key.removesuffix("_requirements") for key in settings if key.endswith("_requirements")
    }
    assert set(installed.metadata.get_all("Provides-Extra")) == extras
    assert {name_of(line) for line in installed.requires if "extra" not in line} == {
        name_of(requirement) for requirement in settings["requirements"].split()
    }


@pytest.mark.parametrize("path", modules, ids=lambda path: path.name)
def test_modules_do_without_the_tools_of_development(path):
    assert not imported(path.read_text(encoding="utf-8")) & development_tools


def test_modules_import_only_what_settings_require():
    """Anything an extra installs may be imported inside a function only, where its absence can be told."""
    called_otherwise = {
        "sklearn": "scikit-learn",
        "ipython": "ipywidgets",
        "umap": "umap-learn",
        "mpl_toolkits": "matplotlib",
    }
    required = {name_of(requirement) for requirement in settings["requirements"].split()}
    extra = {name_of(requirement) for requirement in settings["compare_requirements"].split()}

    def outside(sources):
        names = {name.lower() for source in sources for name in imported(source)}
        return {
            called_otherwise.get(name, name)
            for name in names
            - {n.lower() for n in sys.stdlib_module_names}
            - {settings["lib_name"]}
        }

    sources = [path.read_text(encoding="utf-8") for path in modules]
    at_the_top = [
        "\n".join(
            ast.unparse(node)
            for node in ast.parse(source).body
            if isinstance(node, (ast.Import, ast.ImportFrom))
        )
        for source in sources
    ]
    assert outside(at_the_top) <= required
    assert outside(sources) <= required | extra


def test_importing_the_library_loads_no_tool_of_development():
    program = f"import sys, magnitude_ae; print(sorted({development_tools!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "path", sorted((root / "magnitude_ae").glob("[!_]*.py")), ids=lambda path: path.stem
)
def test_no_module_defines_a_name_twice(path):
    """A cell pasted twice into a notebook would be exported twice, the later one hiding the earlier."""
    names = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    assert sorted(names) == sorted(set(names))

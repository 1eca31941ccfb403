"""The files around the code say one thing: settings.ini."""

import ast
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path

import pytest

root = Path(__file__).parent.parent
parser = ConfigParser()
parser.read(root / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
modules = sorted((root / "magnitude_ae").glob("*.py"))
development_tools = {"nbdev", "fastcore", "execnb", "pytest", "hypothesis"}


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def constraints() -> dict[str, str]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
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
    assert f'__version__ = "{version}"' in (root / "magnitude_ae" / "__init__.py").read_text(encoding="utf-8")
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
    assert len(groups) == 4
    assert wanted <= pins.keys()
    assert not any("+" in version for version in pins.values()), "a local version installs on few machines"


def test_what_is_installed_is_what_settings_describe():
    installed = distribution("magnitude-ae")
    assert installed.version == settings["version"]
    assert installed.metadata["Requires-Python"] == ">=" + settings["min_python"]
    script, _, function = settings["console_scripts"].partition("=")
    assert {point.name: point.value for point in installed.entry_points} == {script: function}
    extras = {key.removesuffix("_requirements") for key in settings if key.endswith("_requirements")}
    assert set(installed.metadata.get_all("Provides-Extra")) == extras
    assert {name_of(line) for line in installed.requires if "extra" not in line} == {
        name_of(requirement) for requirement in settings["requirements"].split()
    }


@pytest.mark.parametrize("path", modules, ids=lambda path: path.name)
def test_modules_do_without_the_tools_of_development(path):
    assert not imported(path.read_text(encoding="utf-8")) & development_tools


def test_modules_import_only_what_settings_require():
    """Anything an extra installs may be imported inside a function only, where its absence can be told."""
    called_otherwise = {"sklearn": "scikit-learn", "ipython": "ipywidgets", "umap": "umap-learn"}
    required = {name_of(requirement) for requirement in settings["requirements"].split()}
    extra = {name_of(requirement) for requirement in settings["compare_requirements"].split()}

    def outside(sources):
        names = {name.lower() for source in sources for name in imported(source)}
        return {called_otherwise.get(name, name) for name in names - {n.lower() for n in sys.stdlib_module_names} - {settings["lib_name"]}}

    sources = [path.read_text(encoding="utf-8") for path in modules]
    at_the_top = [
        "\n".join(ast.unparse(node) for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))) for source in sources
    ]
    assert outside(at_the_top) <= required
    assert outside(sources) <= required | extra


def test_importing_the_library_loads_no_tool_of_development():
    program = f"import sys, magnitude_ae; print(sorted({development_tools!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((root / "magnitude_ae").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_no_module_defines_a_name_twice(path):
    """A cell pasted twice into a notebook would be exported twice, the later one hiding the earlier."""
    names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert sorted(names) == sorted(set(names))

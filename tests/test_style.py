"""The formatter and the linter have nothing to say; configured in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ruff")
root = Path(__file__).parent.parent


def ruff(*arguments, stdin=""):
    """What ruff says, line by line, and whether it is content."""
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(command, cwd=root, input=stdin, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines(), done.returncode == 0


def rules_broken(source, name):
    """The rules that a file of this name with this source would break."""
    options = ("--output-format", "concise", "--stdin-filename", name, "-")
    lines, _ = ruff("check", *options, stdin=source)
    return {line.split()[1] for line in lines if line.startswith(name)}


def test_everything_is_formatted():
    lines, content = ruff("format", "--check", ".")
    assert content, lines


def test_the_linter_is_content():
    lines, content = ruff("check", "--output-format", "concise", ".")
    assert content, lines


WRITTEN = [
    "tests/some.py",
    "tools/some.py",
    "magnitude_ae/__init__.py",
    "magnitude_ae/a/__init__.py",
]
EXPORTED = ["magnitude_ae/space.py", "magnitude_ae/solvers/dense.py"]
WIDE = f'x = "{"x" * 100}"\n'


def is_formatted(source, name):
    """Whether the formatter lets a file of this name with this source pass."""
    options = ("--check", "--force-exclude", "--stdin-filename", str(root / name), "-")
    return ruff("format", *options, stdin=source)[1]


@pytest.mark.parametrize("name", WRITTEN)
def test_sources_are_held_to_the_rules(name):
    branches = "".join(f"    if x == {k}:\n        print(x)\n" for k in range(11))
    steps = "".join(f"    x = {k}\n" for k in range(31))
    assert rules_broken(WIDE, name) == {"E501"}
    assert rules_broken("if True: x = 1\n", name) == {"E701"}
    assert rules_broken("f = lambda x: x\n", name) == {"E731"}
    assert rules_broken("import sys\nimport os\n\nprint(os, sys)\n", name) == {"I001"}
    assert rules_broken("x = list(zip([1], [2]))\n", name) == {"B905"}
    assert rules_broken(f"def f(x):\n{branches}", name) == {"C901"}
    assert rules_broken(f"def f():\n{steps}    return x\n", name) == {"PLR0915"}
    assert not is_formatted("x=1", name)


@pytest.mark.parametrize("name", EXPORTED)
def test_generated_modules_are_excused_from_their_frame_alone(name):
    """nbdev writes the frame and keeps imports where the notebook has them."""
    assert rules_broken(WIDE, name) == set()
    assert rules_broken("if True: x = 1\n", name) == {"E701"}
    assert rules_broken("import os\n", name) == {"F401"}
    assert is_formatted("x=1", name)

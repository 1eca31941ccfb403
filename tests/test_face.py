"""The public face: what `import magnitude_ae` offers, and what it leaves until it is needed."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import magnitude_ae as mag

HEAVY = {
    "torchvision",
    "mlxtend",
    "ipywidgets",
    "matplotlib",
    "pandas",
    "tadasets",
    "IPython",
    "typer",
}


def run(code):
    """The words that `code` prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# What is loaded when


def test_import_is_light():
    loaded = set(run("import sys, magnitude_ae; print(*sys.modules)"))
    assert "magnitude_ae" in loaded
    assert not (HEAVY | {"torch", "sklearn"}) & loaded


CLOCKED = """
import time
start = time.perf_counter()
import magnitude_ae
print(time.perf_counter() - start)
"""


def test_import_is_quick():
    """Well below the 2.5 seconds that are promised: it takes some milliseconds."""
    assert min(float(run(CLOCKED)[0]) for _ in range(3)) < 2.5


WEIGH = """
import sys
import magnitude_ae as mag
mag.weighting([[0.0], [1.0]])
print(*sys.modules)
"""


def test_a_weighting_needs_nothing_heavy():
    loaded = set(run(WEIGH))
    assert "torch" in loaded
    assert not (HEAVY - {"pandas"}) & loaded  # scikit-learn imports pandas where it finds it


TRAIN = """
import sys
import magnitude_ae as mag
model = mag.MagnitudeAutoencoder(
    max_epochs=1, strategy=mag.Joint(1), scale=1.0, progress=False
)
model.fit([[0.0], [1.0], [3.0]])
print(*sys.modules)
"""


def test_training_needs_no_pictures():
    loaded = set(run(TRAIN))
    assert not {"torchvision", "mlxtend", "ipywidgets", "matplotlib", "tadasets"} & loaded


# What is there


@pytest.mark.parametrize("name", mag.__all__)
def test_every_name_is_there_and_documented(name):
    value = getattr(mag, name)
    assert inspect.getdoc(value), f"mag.{name} has no docstring"
    if not inspect.ismodule(value):
        assert inspect.getmodule(value).__name__.startswith("magnitude_ae.")
        assert value.__doc__ is not object.__doc__
        assert "Attributes:" not in value.__doc__  # of a base class of somebody else's


def test_dir_lists_the_face():
    listed = set(dir(mag))
    assert {*mag.__all__, "__version__", "weighting"} <= listed
    assert not any(name.startswith("_m") for name in listed)


def test_unknown_names():
    with pytest.raises(AttributeError, match=r"no attribute 'magnitud'.*magnitude"):
        _ = mag.magnitud
    assert not hasattr(mag, "Weighting")


def test_version_is_that_of_the_settings():
    settings = (Path(__file__).parents[1] / "settings.ini").read_text(encoding="utf-8")
    assert mag.__version__ == re.search(r"^version = (.+)$", settings, re.MULTILINE)[1]


# A function and a module of the same name

ORDERS = {
    "module first": """
import magnitude_ae.weighting
import magnitude_ae as mag
""",
    "function first": """
import magnitude_ae as mag
mag.weighting([[0.0]])
import magnitude_ae.weighting
""",
    "from the module": """
from magnitude_ae.weighting import magnitude
import magnitude_ae as mag
""",
    "by importlib": """
import importlib
import magnitude_ae as mag
importlib.import_module("magnitude_ae.weighting")
""",
    "autoencoder first": """
import magnitude_ae.autoencoder
import magnitude_ae as mag
""",
    "from the package": """
from magnitude_ae import weighting
import magnitude_ae.weighting
import magnitude_ae as mag
assert callable(weighting)
""",
    "everything": """
from magnitude_ae import weighting, magnitude, solve
import magnitude_ae as mag
""",
}
TRY_ALL = f"""
import sys
for name, order in {ORDERS!r}.items():
    for module in list(sys.modules):
        if module.split(".")[0] == "magnitude_ae":
            del sys.modules[module]
    space = {{}}
    exec(order, space)
    mag = space["mag"]
    assert callable(mag.weighting), name
    assert mag.weighting([[0.0]]) == mag.magnitude([[0.0]]) == 1, name
    assert mag is sys.modules["magnitude_ae"], name
print("fine")
"""


def test_weighting_stays_the_function():
    """In whatever order the package and its module of the same name are imported.

    All orders are tried in one interpreter, since torch takes long to import.
    """
    assert run(TRY_ALL) == ["fine"]


def test_the_module_behind_the_function_is_reachable():
    module = importlib.import_module("magnitude_ae.weighting")
    assert inspect.ismodule(module)
    assert module.weighting is mag.weighting

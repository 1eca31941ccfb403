"""The public face: what `import magnitude_ae` offers, and what it leaves until it is needed."""

import importlib
import inspect
import subprocess
import sys

import pytest

import magnitude_ae as mag

HEAVY = [
    "torchvision",
    "mlxtend",
    "ipywidgets",
    "matplotlib",
    "pandas",
    "tadasets",
    "IPython",
    "typer",
]


def run(code):
    "The output of `code` in a fresh interpreter."
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_is_light():
    loaded = run("import sys, magnitude_ae; print(*sys.modules)")
    assert "magnitude_ae" in loaded and not {*HEAVY, "torch", "sklearn"} & set(loaded)


def test_import_is_quick():
    "Well below the 2.5 seconds that are promised, whatever the machine is doing: it takes some milliseconds."
    code = "import time; start = time.perf_counter(); import magnitude_ae; print(time.perf_counter() - start)"
    assert min(float(run(code)[0]) for _ in range(3)) < 2.5


def test_a_weighting_needs_nothing_heavy():
    loaded = run(
        "import sys, magnitude_ae as mag; mag.weighting([[0.0], [1.0]]); print(*sys.modules)"
    )
    assert "torch" in loaded and not ({*HEAVY} - {"pandas"}) & set(
        loaded
    )  # scikit-learn imports pandas where it finds it


def test_training_needs_no_pictures():
    code = """if True:
        import sys, magnitude_ae as mag
        mag.MagnitudeAutoencoder(max_epochs=1, strategy=mag.Joint(1), scale=1.0, progress=False).fit([[0.0], [1.0], [3.0]])
        print(*sys.modules)"""
    assert not {"torchvision", "mlxtend", "ipywidgets", "matplotlib", "tadasets"} & set(run(code))


@pytest.mark.parametrize("name", mag.__all__)
def test_every_name_is_there_and_documented(name):
    value = getattr(mag, name)
    assert inspect.getdoc(value), f"mag.{name} has no docstring"
    if not inspect.ismodule(value):
        assert inspect.getmodule(value).__name__.startswith("magnitude_ae."), name
        assert "Attributes:" not in value.__doc__ and value.__doc__ is not object.__doc__


@pytest.mark.parametrize("name", ["MagnitudeAutoencoder", "Similarity", "Solution", "LU"])
def test_public_methods_are_documented(name):
    if (cls := getattr(mag, name)).__module__.startswith("magnitude_ae"):
        bare = [
            m
            for m, f in vars(cls).items()
            if inspect.isfunction(f) and not m.startswith("_") and not inspect.getdoc(f)
        ]
        assert not bare


ORDERS = {
    "module first": "import magnitude_ae.weighting; import magnitude_ae as mag",
    "function first": "import magnitude_ae as mag; mag.weighting([[0.0]]); import magnitude_ae.weighting",
    "from the module": "from magnitude_ae.weighting import magnitude; import magnitude_ae as mag",
    "by importlib": "import importlib, magnitude_ae as mag; importlib.import_module('magnitude_ae.weighting')",
    "autoencoder first": "import magnitude_ae.autoencoder, magnitude_ae as mag",
    "from the package": "from magnitude_ae import weighting; import magnitude_ae.weighting, magnitude_ae as mag; assert callable(weighting)",
    "everything": "from magnitude_ae import weighting, magnitude, solve; import magnitude_ae as mag",
}


def test_weighting_stays_the_function():
    "In whatever order the package and its module of the same name are imported; in one interpreter, torch being slow to import."
    code = f"""if True:
        import sys
        for name, order in {ORDERS!r}.items():
            for module in [m for m in sys.modules if m.split(".")[0] == "magnitude_ae"]: del sys.modules[module]
            space = {{}}
            exec(order, space)
            mag = space["mag"]
            assert callable(mag.weighting) and mag.weighting([[0.0]]) == 1 == mag.magnitude([[0.0]]), name
            assert mag is sys.modules["magnitude_ae"], name
        print("fine")"""
    assert run(code) == ["fine"]


def test_the_module_behind_the_function_is_reachable():
    module = importlib.import_module("magnitude_ae.weighting")
    assert inspect.ismodule(module) and module.weighting is mag.weighting


def test_dir_lists_the_face():
    assert set(mag.__all__) <= set(dir(mag)) and "__version__" in dir(mag)
    assert "weighting" in dir(mag) and not any(name.startswith("_m") for name in dir(mag))


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'magnitud'.*magnitude"):
        mag.magnitud
    assert not hasattr(mag, "Weighting")


def test_version_is_that_of_the_settings():
    import re
    from pathlib import Path

    settings = (Path(__file__).parents[1] / "settings.ini").read_text(encoding="utf-8")
    assert mag.__version__ == re.search(r"^version = (.+)$", settings, re.M)[1]

"""Milliseconds from a key pressed on the slider of `mag.explore.scale()` to the new picture.

    python benchmarks/slider.py             # writes results/benchmarks/slider.json; two minutes

Measured in JupyterLab in a headless browser; needs Chromium, Playwright and JupyterLab
(CONTRIBUTING.md, "Browser tests"). The clock runs in the page, from the browser's event to the
picture decoded, so widget messages, solve, drawing and encoding are all in it. `new` are stops that
the slider has never been at, `known` are stops that it comes back to.
"""

import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import nbformat
import numpy as np

root = Path(__file__).parent.parent
sys.path.insert(0, str(root / "tests"))
from browser import answer, jupyterlab, open_notebook, run_all, running, settle  # noqa: E402

N_STOPS = 15
CELL = "import magnitude_ae as mag\nmag.explore.scale()"


def measure(explorer) -> dict:
    """Milliseconds of every move over the present points: right, left, and right again."""
    handle = explorer.locator(".noUi-handle")

    def moves(key, n):
        return [round(answer(explorer, lambda: handle.press(key)), 1) for _ in range(n)]

    return {
        "new": moves("ArrowRight", N_STOPS),
        "known": moves("ArrowLeft", N_STOPS) + moves("ArrowRight", N_STOPS),
    }


def all_shapes() -> tuple[dict, str]:
    """The same of each shape, and the browser's version."""
    with tempfile.TemporaryDirectory() as folder, running() as browser:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, Path(folder, "slider.ipynb"))
        with jupyterlab(Path(folder), Path(folder, "home")) as server, browser.new_page() as page:
            open_notebook(page, server, "slider.ipynb")
            run_all(page)
            explorer = page.locator(".magnitude-scale")
            found = {}
            for shape in explorer.locator("select option").evaluate_all(
                "options => options.map((option) => option.value)"
            ):
                explorer.locator("select").select_option(shape)
                explorer.locator(f".magnitude-picture img[alt^='{shape} at']").wait_for()
                settle(explorer)
                found[shape] = measure(explorer)
        return found, browser.chromium.version


if __name__ == "__main__":
    found, chromium = all_shapes()
    medians = {
        kind: {shape: float(np.median(times[kind])) for shape, times in found.items()}
        for kind in ("known", "new")
    }
    about = {
        "points": 1000,
        "machine": platform.machine(),
        "chromium": chromium,
        **{
            name: version(name)
            for name in ("torch", "matplotlib", "jupyterlab", "ipywidgets", "anywidget")
        },
    }
    path = root / "results" / "benchmarks" / "slider.json"
    path.write_text(
        json.dumps({"unit": "ms", "median": medians, "moves": found} | about, indent=1) + "\n"
    )
    for kind, row in medians.items():
        print(f"{kind}: " + ", ".join(f"{shape} {value:.0f} ms" for shape, value in row.items()))

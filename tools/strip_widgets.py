"""Takes widgets out of a notebook's outputs and leaves their stills.

A widget without its kernel is a line of broken text. To be called after a notebook with explorers
was run: `python tools/strip_widgets.py nbs/90_explore.ipynb`.
"""

import sys
from pathlib import Path

import nbformat


def strip(path: Path) -> None:
    """Rewrites a notebook without its widgets."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        strip(Path(name))

"""Takes widgets out of a notebook's outputs and leaves their stills.

A widget without its kernel is a line of broken text. After running a notebook with explorers:

python tools/strip_widgets.py nbs/19_looking_around.ipynb
"""

import sys
from pathlib import Path

import nbformat


def strip(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        strip(Path(name))

"""The map of the package: `python docs/package_map.py` draws docs/package_map.svg, `--check` fails when it is stale.

The boxes are the modules there are; their words are those of the table in nbs/index.ipynb. The arrows are the imports in
the code, without those that follow from others. Only the places of the boxes are chosen here.
"""

import argparse
import ast
import json
import re
import textwrap
from collections.abc import Iterable
from html import escape
from pathlib import Path

Graph = dict[str, set[str]]  # module -> modules it imports

root = Path(__file__).resolve().parent.parent
map_path = root / "docs" / "package_map.svg"

PLACES = {  # module -> column, row: the data flow of the library, from left to right
    "similarity": (0, 0), "solvers": (1, 0), "fast_solvers": (2, 0), "weighting": (3, 0), "boundary": (4, 0),
    "architectures": (1, 1), "training": (2, 1), "autoencoder": (3, 1), "cli": (4, 1),
    "datasets": (0, 2), "strategies": (1, 2), "evaluation": (2, 2), "reproduce": (3, 2), "explore": (4, 2),
    "plots": (3, 3),
}  # fmt: skip
STRANDS = {  # what a box is about: its colour, its word in the legend, its modules
    "#f6d9a8": ("weighing", ("similarity", "solvers", "fast_solvers", "weighting", "boundary")),
    "#bcd9f2": ("flattening", ("architectures", "strategies", "training", "autoencoder")),
    "#c9e6c4": ("points and pictures", ("datasets", "plots", "evaluation")),
    "#e2d0f0": ("running it all", ("reproduce", "explore", "cli")),
    "#e3e3e3": ("studies", ()),
}
WIDTH, HEIGHT, GAP, RISE, MARGIN = (
    180,
    102,
    28,
    40,
    6,
)  # of a box; between columns; between rows; around
INK, LINE = (
    "#1b1f24",
    "#7d8590",
)  # on the boxes; of arrows and words outside, to be seen on white and on black


# What there is


def imported(nodes: Iterable[ast.AST], modules: set[str]) -> set[str]:
    """The modules of the package that these nodes import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").split(".")[0] == "magnitude_ae"
        ):
            name = (node.module or "").removeprefix("magnitude_ae").lstrip(".")
            found |= {name} if name else {alias.name for alias in node.names}
    return found & modules


def imports(folder: Path = root / "magnitude_ae") -> tuple[Graph, Graph]:
    """For each module, those of the package that it imports as it is imported itself, and those that a function of it may import later."""
    trees = {
        path.stem: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[!_]*.py"))
    }
    at_once = {module: imported(tree.body, set(trees)) for module, tree in trees.items()}
    return at_once, {
        module: imported(ast.walk(tree), set(trees)) - at_once[module]
        for module, tree in trees.items()
    }


def beyond(graph: Graph, module: str) -> set[str]:
    """All that a module imports, itself or through others."""
    return graph[module].union(*(beyond(graph, name) for name in graph[module]))


def arrows(at_once: Graph, later: Graph) -> dict[tuple[str, str], bool]:
    """The imports that do not follow from others: (what is imported, by whom) -> whether only later."""
    both = {module: at_once[module] | later[module] for module in at_once}
    found = {}
    for module in at_once:
        for graph, name in [(at_once, name) for name in at_once[module]] + [
            (both, name) for name in later[module] - beyond(at_once, module)
        ]:
            if not any(name in beyond(graph, other) for other in graph[module] - {name}):
                found[name, module] = graph is both
    return dict(sorted(found.items()))


def chapters() -> dict[str, tuple[str, str]]:
    """Each notebook (its stem) with its module and what the index says about it; a notebook not in the index says it itself."""
    index = json.loads((root / "nbs" / "index.ipynb").read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in index["cells"])
    rows = {
        row[1]: row[2].strip()
        for row in re.finditer(r"^\| \[(\d\d_\w+)\]\(.*?\) \|[^|]*\| (.*?) \|$", text, re.MULTILINE)
    }
    found = {}
    for path in sorted((root / "nbs").glob("[0-9]*.ipynb")):
        sources = [
            "".join(cell["source"])
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        ]
        module = re.search(r"^#\|\s*default_exp\s+(\w+)", "\n".join(sources), re.MULTILINE)
        about = rows.get(path.stem) or re.search(r"^> (.+)", "\n".join(sources), re.MULTILINE)[1]
        found[path.stem] = (module[1] if module else "", re.sub(r"[`*$]|^a study: ", "", about))
    return found


# Drawing


def corner(column: float, row: float) -> tuple[float, float]:
    """The upper left corner of a place."""
    return MARGIN + column * (WIDTH + GAP), MARGIN + row * (HEIGHT + RISE)


def arrow(source: str, target: str) -> str:
    """The path from one module to another, in the spaces between the boxes."""
    (c, r), (column, row) = PLACES[source], PLACES[target]
    (x, y), (to_x, to_y), middle = corner(c, r), corner(column, row), HEIGHT / 2
    if (c, r + 1) == (column, row):
        return f"M{x + WIDTH / 2} {y + HEIGHT}V{to_y}"
    if (
        c == column
        and all(place != (c, between) for place in PLACES.values() for between in range(r + 1, row))
        and r < row
    ):
        return f"M{x + WIDTH / 2} {y + HEIGHT}V{to_y}"
    if (c, r - 1) == (column, row):
        return f"M{x + WIDTH / 2} {y}V{to_y + HEIGHT}"
    if (c + 1, r) == (column, row):
        return f"M{x + WIDTH} {y + middle}H{to_x}"
    if c + 1 == column and abs(r - row) == 1:  # to the next column, a row up or down
        side = 20 if r > row else -20
        return f"M{x + WIDTH} {y + middle - side}C{x + WIDTH + GAP} {y + middle - side} {to_x - GAP} {to_y + middle + side} {to_x} {to_y + middle + side}"
    if c - 1 == column and r + 1 == row:  # to the column before, a row down
        return f"M{x + 18} {y + HEIGHT}C{x + 18} {y + HEIGHT + RISE * 0.7} {to_x + WIDTH - 40} {to_y - RISE * 0.9} {to_x + WIDTH - 40} {to_y}"
    if abs(r - row) > 1 and column in (
        c,
        c - 1,
    ):  # through the gutter on the right of the target's column
        leave, arrive = (y, to_y + HEIGHT) if r > row else (y + HEIGHT, to_y)
        turn, gutter = (-RISE if r > row else RISE), to_x + WIDTH + GAP / 2
        start = x + (WIDTH - 18 if c == column else 40)
        first = f"M{start} {leave}C{start} {leave + turn * 0.9} {gutter} {leave + turn * 0.5} {gutter} {leave + turn}"
        return (
            first
            + f"V{arrive - turn}C{gutter} {arrive - turn * 0.3} {to_x + WIDTH - 18} {arrive - turn * 0.6} {to_x + WIDTH - 18} {arrive}"
        )
    lane, start, end = max(y, to_y) + HEIGHT + RISE / 2, x + WIDTH / 2, to_x + 50  # below both
    return f"M{start} {y + HEIGHT}C{start} {lane} {start} {lane} {start + 40} {lane}H{end - 40}C{end} {lane} {end} {lane} {end} {to_y + HEIGHT}"


def box(
    x: float, y: float, name: str, module: str, about: str, colour: str, height: float = HEIGHT
) -> str:
    """One notebook: its number, its module or title, and its one line, all of it a link."""
    number, _, stem = name.partition("_")
    title = module or stem.replace("_", " ")
    lines = textwrap.wrap(about, 26, max_lines=4, placeholder=" …")
    words = "".join(f'<tspan x="{x + 10}" dy="15">{escape(line)}</tspan>' for line in lines)
    return (
        f'<a href="../nbs/{name}.ipynb"><title>{escape(about)}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{height}" rx="9" fill="{colour}"/>'
        f'<text x="{x + 10}" y="{y + 20}" font-size="{min(14.5, 210 / len(title)):.1f}" font-weight="650">{escape(title)}<tspan font-size="13" fill-opacity=".55" font-weight="400" x="{x + WIDTH - 10}" text-anchor="end">{number}</tspan></text>'
        f'<text y="{y + 24}" font-size="11.6">{words}</text></a>'
    )


def legend(x: float, y: float) -> str:
    """What the colours and the arrows mean."""
    parts = []
    for k, (colour, (word, _)) in enumerate(list(STRANDS.items())[:-1]):
        at = x + (k % 2) * 170, y + 16 + 24 * (k // 2)
        parts.append(
            f'<rect x="{at[0]}" y="{at[1]}" width="16" height="16" rx="4" fill="{colour}"/><text x="{at[0] + 23}" y="{at[1] + 13}" fill="{LINE}">{word}</text>'
        )
    says = (
        "An arrow leads from a module to one that imports it,",
        "dashed where that waits until it is needed.",
        "The numbers are the order of reading.",
    )
    lines = "".join(f'<tspan x="{x}" dy="18">{line}</tspan>' for line in says)
    return f'<g font-size="13">{"".join(parts)}<text y="{y + 66}" fill="{LINE}">{lines}</text></g>'


def draw() -> str:
    """The text of the SVG file."""
    known, (graph, later) = chapters(), imports()
    unplaced = sorted(set(graph) - set(PLACES))
    if unplaced:
        raise ValueError(
            f"the map has no place for {', '.join(unplaced)}; add it to PLACES in docs/package_map.py"
        )
    colours = {module: colour for colour, (_, modules) in STRANDS.items() for module in modules}
    names = {module: (name, about) for name, (module, about) in known.items() if module in graph}
    boxes = [
        box(*corner(*PLACES[module]), name, module, about, colours[module])
        for module, (name, about) in names.items()
    ]
    studies = [(name, about) for name, (module, about) in known.items() if not module]
    bottom = corner(0, 4)[1]
    boxes += [
        box(
            corner(k % 5, 0)[0],
            bottom + k // 5 * (HEIGHT - 12),
            name,
            "",
            about,
            "#e3e3e3",
            HEIGHT - 22,
        )
        for k, (name, about) in enumerate(studies)
    ]
    dashes = {True: ' stroke-dasharray="5 4"', False: ""}
    paths = "".join(
        f'<path d="{arrow(*pair)}"{dashes[only_later]}/>'
        for pair, only_later in arrows(graph, later).items()
    )
    width, height = corner(5, 0)[0] - GAP + MARGIN, bottom + (len(studies) + 4) // 5 * (HEIGHT - 12)
    style = f'fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#tip)"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="map-title" font-family="system-ui, -apple-system, \'Segoe UI\', \'DejaVu Sans\', sans-serif" fill="{INK}">\n'
        f'<title id="map-title">Map of the package magnitude_ae: its modules, what each is about, and which imports which</title>\n'
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 .6L7.6 4L0 7.4z" fill="{LINE}" stroke="none"/></marker></defs>\n'
        f"<g {style}>{paths}</g>\n"
        + "\n".join(boxes)
        + "\n"
        + legend(MARGIN, corner(0, 3)[1])
        + "\n</svg>\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 when `--check` finds the picture stale, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 when the picture is stale"
    )
    check, made = parser.parse_args(arguments).check, draw()
    if check:
        return int(not map_path.exists() or map_path.read_text(encoding="utf-8") != made)
    map_path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

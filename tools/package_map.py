"""The map of the package: `python tools/package_map.py` draws docs/package_map.svg.

`--check` writes nothing and fails when the picture is stale. The bands are the layers, from the
ground at the top; the boxes are modules and subpackages; an arrow leads from a module to one that
imports it, unless that follows from other arrows. All of it is read from the code and the
notebooks. Not drawn is what any module may do: import the ground, and `plots` inside a function.
"""

import argparse
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import book
import layers
from book import Notebook

map_path = book.root / "docs" / "package_map.svg"

SEVERAL = "#eceae4"  # of a subpackage
COLOURS = {"Lessons": "#f6d9a8", "Workshop": "#bcd9f2", "Studies": "#e3e3e3"}
INK = "#1b1f24"  # of words on boxes
LINE = "#7d8590"  # of arrows and words beside the boxes, to be seen on white and on black
BRIGHT = "#c2410c"  # of the arrows of the box under the pointer

SIDE = 96  # width of the column with the names of the layers
BOX = 184  # width of a box
GAP = 40  # between boxes: arrows pass through
RISE = 46  # between bands
ROW = 17  # height of a line of text
HEAD = 26  # height of a box's first line
SPREAD = 9  # between arrows that pass through the same gap
MARGIN = 8
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Line:
    """A line of a box: what it says, and the notebook that it leads to."""

    text: str
    notebook: Notebook


@dataclass(frozen=True)
class Box:
    """A module or subpackage at its place; x and y are those of the upper left corner."""

    name: str
    lines: tuple[Line, ...]
    colour: str
    x: float
    y: float

    @property
    def height(self) -> float:
        """From the upper to the lower edge."""
        return HEAD + ROW * len(self.lines) + 6


# What there is


def family(module: str) -> str:
    """The subpackage of a module, or the module itself."""
    return module.partition(".")[0]


def families() -> dict[str, list[str]]:
    """Modules and subpackages, each with the modules in it that notebooks make."""
    found: dict[str, list[str]] = {family(module): [] for module in layers.module_names()}
    for module in book.modules():
        found.setdefault(family(module), []).append(module)
    return found


def imports() -> tuple[layers.Graph, layers.Graph]:
    """Who imports whom, among families: all of it, and what happens at once."""
    found = []
    for each in layers.imports(layers.sources()):
        ends = family(each.importer), family(each.module)
        if all(ends) and ends[0] != ends[1] and not for_anybody(each):
            found.append(layers.Import(*ends, None, each.later))
    return layers.graph(found), layers.graph(found, later=False)


def for_anybody(each: layers.Import) -> bool:
    """Whether an import is one that any module may make."""
    ground = [layers.layer_of(module) == 0 for module in (each.module, each.importer)]
    return layers.is_anybodys(each) or ground == [True, False]


def arrows() -> dict[tuple[str, str], bool]:
    """(what is imported, by whom) -> whether only later; without what follows from others."""
    everything, at_once = imports()
    return {
        (name, module): name not in at_once.get(module, set())
        for module, imported in sorted(layers.essential(everything).items())
        for name in sorted(imported)
    }


# Where it goes


def bands() -> list[list[str]]:
    """The families of each layer, from left to right."""
    drawn = list(arrows())
    found: list[list[str]] = [[] for _ in layers.LAYERS]
    for name in families():
        found[layers.layer_of(name)].append(name)
    places: dict[str, float] = {}
    for band in found:
        band[:] = least_strained(band, drawn, places)
        places |= {name: middle(k, len(band)) for k, name in enumerate(band)}
    return found


def least_strained(
    band: list[str], drawn: list[tuple[str, str]], places: dict[str, float]
) -> tuple[str, ...]:
    """The order of a band with the least strain.

    What the next box adds depends on which boxes stand left of it and not on their order. So the
    best order of each subset follows from the best ones of subsets with a box fewer.
    """
    best: dict[frozenset[str], tuple[float, tuple[str, ...]]] = {frozenset(): (0.0, ())}
    for place in range(len(band)):
        x = middle(place, len(band))
        longer: dict[frozenset[str], tuple[float, tuple[str, ...]]] = {}
        for left, (so_far, order) in best.items():
            right = set(band) - left
            for name in sorted(right):
                total = so_far + strain(name, x, left, right, drawn, places)
                known = longer.get(left | {name})
                if known is None or (total, (*order, name)) < known:
                    longer[left | {name}] = (total, (*order, name))
        best = longer
    return best[frozenset(band)][1]


def strain(
    name: str,
    x: float,
    left: frozenset[str],
    right: set[str],
    drawn: list[tuple[str, str]],
    places: dict[str, float],
) -> float:
    """What a box at x adds: arrows to it run sideways, and within the band had better lead right.

    An arrow to the right costs its length: its end adds x, and its beginning takes x away.
    """
    above = sum(abs(places[a] - x) for a, b in drawn if b == name and a in places)
    ends = sum(x for a, b in drawn if b == name and a in left)
    begins = sum(-x if b in right else 1e4 for a, b in drawn if a == name and b in left | right)
    return above + ends + begins


def middle(place: int, count: int) -> float:
    """Where the centre of a box lies, relative to the centre of its band of `count` boxes."""
    return (place - (count - 1) / 2) * (BOX + GAP)


def width() -> float:
    """Of the picture."""
    widest = max(len(band) for band in bands())
    return 2 * MARGIN + SIDE + widest * BOX + (widest + 1) * GAP


def lines_of(name: str, modules: list[str]) -> tuple[Line, ...]:
    """What a box says below its name: the notebook's title, or the subpackage's modules."""
    known = book.modules()
    if modules == [name]:
        words = textwrap.wrap(known[name].label, 23, max_lines=2, placeholder=" …")
        return tuple(Line(text, known[name]) for text in words)
    rows = []
    for module in sorted(modules, key=lambda module: known[module].number):
        child = module.removeprefix(f"{name}.") if module != name else name
        rows.append(Line(f"{known[module].number:02d} {child}", known[module]))
    return tuple(rows)


def colour_of(modules: list[str]) -> str:
    """The shelf's colour for one module; a subpackage has a colour of its own."""
    return COLOURS[book.modules()[modules[0]].shelf.name] if len(modules) == 1 else SEVERAL


def placed() -> list[list[Box]]:
    """The boxes of each band, at their places."""
    found = []
    y: float = MARGIN
    centre = (width() + SIDE) / 2
    modules = families()
    for band in bands():
        row = []
        for place, name in enumerate(band):
            x = centre + middle(place, len(band)) - BOX / 2
            lines = lines_of(name, modules[name])
            row.append(Box(name, lines, colour_of(modules[name]), x, y))
        found.append(row)
        y += max((box.height for box in row), default=0) + RISE
    return found


# Arrows


def passages(row: list[Box]) -> list[float]:
    """Where arrows may cross a band: between its boxes and beside them."""
    if not row:
        return []
    left = row[0].x - GAP / 2
    return [left, *(box.x + BOX + GAP / 2 for box in row)]


def spread(ends: Iterable[tuple[str, str]], boxes: dict[str, Box], at: int) -> dict:
    """Where on the edge of its box each arrow begins (`at` 0) or ends (`at` 1), side by side."""
    found = {}
    ends = list(ends)
    for name, box in boxes.items():
        own = sorted((pair for pair in ends if pair[at] == name), key=lambda p: boxes[p[1 - at]].x)
        for place, pair in enumerate(own, 1):
            found[pair] = box.x + BOX * place / (len(own) + 1)
    return found


def paths(rows: list[list[Box]]) -> dict[tuple[str, str], str]:
    """The path of each arrow, as SVG writes it."""
    boxes = {box.name: box for row in rows for box in row}
    level = {box.name: k for k, row in enumerate(rows) for box in row}
    across = [pair for pair in arrows() if level[pair[0]] < level[pair[1]]]
    leave, arrive = spread(across, boxes, 0), spread(across, boxes, 1)
    taken: dict[tuple[int, float], int] = {}
    found = {}
    for pair in sorted(across, key=lambda pair: (leave[pair], arrive[pair])):
        above, below = boxes[pair[0]], boxes[pair[1]]
        points = [(leave[pair], above.y + above.height)]
        first, last = level[pair[0]], level[pair[1]]
        points.append((points[0][0], bottom(rows[first])))
        for k in range(first + 1, last):
            if not rows[k]:
                continue
            part = (k - first) / (last - first)
            wish = leave[pair] + part * (arrive[pair] - leave[pair])
            passage = min(passages(rows[k]), key=lambda x: abs(x - wish))
            count = taken[k, passage] = taken.get((k, passage), 0) + 1
            x = passage + SPREAD * ((count // 2) * (-1) ** count)
            points += [(x, rows[k][0].y), (x, bottom(rows[k]))]
        points.append((arrive[pair], below.y))
        found[pair] = curve(points)
    for a, b in arrows():
        if level[a] == level[b]:
            found[a, b] = beside(boxes[a], boxes[b])
    return found


def bottom(row: list[Box]) -> float:
    """The lower edge of a band."""
    return max(box.y + box.height for box in row)


def curve(points: list[tuple[float, float]]) -> str:
    """Through all points, downwards: straight where it can be, else bent at both ends."""
    (x, y), *rest = points
    path = f"M{x:.0f} {y:.0f}"
    for to_x, to_y in rest:
        half = (y + to_y) / 2
        bend = f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {to_y:.0f}"
        path += f"V{to_y:.0f}" if x == to_x else bend
        x, y = to_x, to_y
    return path


def beside(a: Box, b: Box) -> str:
    """From one box to another of the same band: straight to a neighbour, else below the others."""
    if 0 < b.x - a.x < 1.5 * (BOX + GAP):
        y = a.y + HEAD / 2 + 2
        return f"M{a.x + BOX:.0f} {y:.0f}H{b.x:.0f}"
    start, end = a.x + BOX * 0.8, b.x + BOX * 0.2
    from_y, to_y = a.y + a.height, b.y + b.height
    dip = max(from_y, to_y) + RISE * 0.6
    bend = f"C{start:.0f} {dip:.0f} {end:.0f} {dip:.0f} {end:.0f} {to_y:.0f}"
    return f"M{start:.0f} {from_y:.0f}{bend}"


# Drawing


def linked(notebook: Notebook, content: str) -> str:
    """A part of the picture that leads to a notebook, whose sentence is shown to the pointer."""
    words = escape(f"{notebook.label}: {notebook.sentence}")
    return f'<a href="../nbs/{notebook.name}.ipynb"><title>{words}</title>{content}</a>'


def drawn_box(box: Box) -> str:
    """A box with its name and its lines, each of which leads to its notebook."""
    frame = (
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{BOX}" height="{box.height:.0f}" '
        f'rx="8" fill="{box.colour}"/>'
    )
    name = (
        f'<text x="{box.x + 10:.0f}" y="{box.y + 19:.0f}" font-size="14.5" font-weight="650">'
        f"{escape(box.name)}</text>"
    )
    lines = [drawn_line(box, place) for place in range(len(box.lines))]
    inner = "\n".join([frame + name, *lines])
    if box.colour != SEVERAL and box.lines:
        inner = linked(box.lines[0].notebook, inner)
    return f'<g id="map-{box.name}">{inner}</g>'


def drawn_line(box: Box, place: int) -> str:
    """A line of a box; in a subpackage with the colour of its shelf, and leading somewhere."""
    line = box.lines[place]
    y = box.y + HEAD + ROW * place + 11
    if box.colour != SEVERAL:
        return f'<text x="{box.x + 10:.0f}" y="{y:.0f}">{escape(line.text)}</text>'
    mark = (
        f'<rect x="{box.x + 10:.0f}" y="{y - 10:.0f}" width="11" height="11" rx="3" '
        f'fill="{COLOURS[line.notebook.shelf.name]}"/>'
    )
    text = f'<text x="{box.x + 27:.0f}" y="{y:.0f}">{escape(line.text)}</text>'
    return linked(line.notebook, mark + text)


def layer_names(rows: list[list[Box]]) -> str:
    """The name of each layer beside its band."""
    parts = []
    for name, row in zip(layers.LAYERS, rows, strict=True):
        if row:
            y = (row[0].y + bottom(row)) / 2 + 5
            parts.append(f'<text x="{MARGIN}" y="{y:.0f}">{name}</text>')
    return f'<g font-size="14" fill="{LINE}">{"".join(parts)}</g>'


def legend(y: float) -> str:
    """What colours and arrows mean."""
    parts = []
    words = {"Lessons": "a lesson", "Workshop": "of the workshop", "Studies": "a study"}
    x: float = MARGIN + SIDE
    for shelf, word in words.items():
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="15" height="15" rx="4" '
            f'fill="{COLOURS[shelf]}"/>'
            f'<text x="{x + 21:.0f}" y="{y + 12:.0f}">{word}</text>'
        )
        x += 50 + 7.5 * len(word)
    says = (
        "An arrow leads from a module to one that imports it, dashed where a function does so.",
        "No arrows: any module may import the ground, and plots inside a function.",
    )
    for k, line in enumerate(says):
        parts.append(f'<text x="{x:.0f}" y="{y + 12 + 18 * k:.0f}">{line}</text>')
    return f'<g font-size="12.5" fill="{LINE}">{"".join(parts)}</g>'


def without_module(y: float) -> tuple[str, float]:
    """The notebooks that make no module, in rows below the layers; and where they end."""
    across = int((width() - SIDE - 2 * MARGIN) // (BOX + 12))
    boxes = []
    free = [notebook for notebook in book.notebooks().values() if notebook.module is None]
    height = HEAD + ROW
    for k, notebook in enumerate(free):
        x = MARGIN + SIDE + (k % across) * (BOX + 12)
        top = y + (k // across) * (height + 10)
        words = textwrap.wrap(notebook.label, 25, max_lines=2, placeholder=" …")
        spans = "".join(f'<tspan x="{x + 10:.0f}" dy="16">{escape(w)}</tspan>' for w in words)
        frame = (
            f'<rect x="{x:.0f}" y="{top:.0f}" width="{BOX}" height="{height}" rx="8" '
            f'fill="{COLOURS[notebook.shelf.name]}"/>'
        )
        boxes.append(linked(notebook, f'{frame}<text y="{top + 3:.0f}">{spans}</text>'))
    name = f'<text x="{MARGIN}" y="{y + 25:.0f}" font-size="14" fill="{LINE}">no module</text>'
    return name + "\n".join(boxes), y + -(-len(free) // across) * (height + 10)


def highlights(names: Iterable[str]) -> str:
    """Rules by which a box under the pointer makes its arrows bright."""
    rules = (
        f"svg:has(#map-{name}:hover) .of-{name},svg:has(#map-{name}:focus-within) .of-{name}"
        for name in names
    )
    return f"<style>{','.join(rules)}{{stroke:{BRIGHT};stroke-width:2.6}}</style>"


def draw() -> str:
    """The text of the SVG file."""
    rows = placed()
    boxes = [box for row in rows for box in row]
    later = arrows()
    lines = "".join(
        f'<path class="of-{a} of-{b}" d="{path}"{dashed(later[a, b])}/>'
        for (a, b), path in paths(rows).items()
    )
    below = max(bottom(row) for row in rows if row) + 26
    studies, end = without_module(below)
    title = "Map of the package: its layers, its modules, and which imports which"
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 .6L7.6 4L0 7.4z" fill="{LINE}" stroke="none"/></marker>'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width():.0f} {end + 50:.0f}" '
        f'role="img" aria-labelledby="map-title" font-family="{FONT}" font-size="12.5" '
        f'fill="{INK}">',
        f'<title id="map-title">{title}</title>',
        f"<defs>{tip}</defs>",
        highlights(box.name for box in boxes),
        f'<g fill="none" stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)">{lines}</g>',
        layer_names(rows),
        *map(drawn_box, boxes),
        studies,
        legend(end + 10),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def dashed(later: bool) -> str:
    """How an arrow of an import that waits for a function is marked."""
    return ' stroke-dasharray="5 4"' if later else ""


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 when `--check` finds the picture stale, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help_text = "write nothing; exit with 1 when the picture is stale"
    parser.add_argument("--check", action="store_true", help=help_text)
    check = parser.parse_args(arguments).check
    made = draw()
    if check:
        return int(not map_path.exists() or map_path.read_text(encoding="utf-8") != made)
    map_path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The notebooks of nbs/ as data: their numbers, titles, sentences, modules and shelves.

Whatever lists notebooks reads this: the README, the site, the map of the package and the tests.
"""

import ast
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

root = Path(__file__).resolve().parent.parent
package = "magnitude_ae"

# The formatter writes `# | export`, people write `#| export`: nbdev and we read both.
directive = re.compile(r"^#\s*\|.*\n?", re.MULTILINE)
hidden = re.compile(r"^#\s*\|\s*hide\s*$", re.MULTILINE)
exported = re.compile(r"^#\s*\|\s*exporti?\b", re.MULTILINE)
default_exp = re.compile(r"^#\s*\|\s*default_exp\s+([\w.]+)", re.MULTILINE)
opening = re.compile(r"# (?P<title>\S.*)\n+> (?P<sentence>\S.*)")
magic = re.compile(r"^[%!].*$", re.MULTILINE)


@dataclass(frozen=True)
class Shelf:
    """A part of the book: the notebooks whose numbers lie in `numbers`."""

    name: str
    numbers: range
    sentence: str


LESSONS = Shelf(
    "Lessons",
    range(0, 20),
    "For reading, in order. Each teaches one idea, tests it on the spot and exports its code.",
)
STUDIES = Shelf(
    "Studies",
    range(20, 80),
    "Questions put to the finished library, and what came out. They export nothing.",
)
WORKSHOP = Shelf(
    "Workshop",
    range(80, 1000),
    "For looking things up: the parts that the lessons use. No lesson needs them to be read.",
)
SHELVES = (LESSONS, WORKSHOP, STUDIES)


@dataclass(frozen=True)
class Topic:
    """A part of the reading path: a question, and the numbers of the notebooks that answer it."""

    name: str
    question: str
    numbers: tuple[int, ...]


TOPICS = (
    Topic(
        "Magnitude",
        "How many points does a cloud effectively have, and at which scale does its edge show?",
        (0, 4),
    ),
    Topic(
        "Weighting and solvers",
        "Which point contributes how much? How is ζw = 1 solved, also for many points?",
        (2, 3, 5, 6, 7, 8, 9, 12, 27),
    ),
    Topic(
        "Architectures",
        "Which networks draw a cloud flat without folding two of its points into one?",
        (10,),
    ),
    Topic(
        "Training strategies",
        "What is minimised, when, and on which points?",
        (11, 13, 14, 21, 23, 29),
    ),
    Topic(
        "Shapes",
        "Is the boundary kept where we know it? How do we see and measure that?",
        (1, 15, 16, 19, 20, 26),
    ),
    Topic(
        "MNIST",
        "And in 784 dimensions, with handwritten digits?",
        (24,),
    ),
)


def joined(text: str | list[str]) -> str:
    """The text that a notebook stores as one string or as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


@dataclass(frozen=True, eq=False)
class Notebook:
    """A notebook: its name (the file's stem) and its content as JSON."""

    name: str
    content: dict

    @property
    def number(self) -> int:
        """What the name begins with."""
        return int(self.name.partition("_")[0])

    @property
    def subject(self) -> str:
        """The name without its number."""
        return self.name.partition("_")[2]

    @property
    def shelf(self) -> Shelf:
        """Where it stands."""
        return next(shelf for shelf in SHELVES if self.number in shelf.numbers)

    @property
    def cells(self) -> list[dict]:
        """All cells."""
        return self.content["cells"]

    @property
    def prose(self) -> list[str]:
        """The text of the Markdown cells."""
        cells = (cell for cell in self.cells if cell["cell_type"] == "markdown")
        return [joined(cell["source"]) for cell in cells]

    @property
    def code(self) -> list[dict]:
        """The code cells that hold something."""
        cells = (cell for cell in self.cells if cell["cell_type"] == "code")
        return [cell for cell in cells if joined(cell["source"]).strip()]

    @property
    def exports(self) -> list[dict]:
        """The code cells that go into a module."""
        return [cell for cell in self.code if exported.search(joined(cell["source"]))]

    @property
    def title(self) -> str:
        """The heading of the first prose cell."""
        return self._opening()["title"]

    @property
    def sentence(self) -> str:
        """What stands under the title."""
        return self._opening()["sentence"]

    @property
    def label(self) -> str:
        """The number and the title, short enough for a list: `27 How far does it scale?`."""
        words = re.sub(r"^(?:Study: |The )", "", self.title)
        return f"{self.number:02d} {words[0].upper()}{words[1:]}"

    @property
    def module(self) -> str | None:
        """The module it makes, as `solvers.vecchia`, or None."""
        found = (default_exp.search(joined(cell["source"])) for cell in self.code)
        return next((match[1] for match in found if match), None)

    @property
    def printed(self) -> str:
        """All plain text among the outputs."""
        outputs = (output for cell in self.code for output in cell["outputs"])
        return "\n".join(
            joined(output.get("text") or output.get("data", {}).get("text/plain", ""))
            for output in outputs
        )

    def _opening(self) -> re.Match:
        found = opening.match(self.prose[0]) if self.prose else None
        if found is None:
            raise ValueError(
                f"nbs/{self.name}.ipynb must open with '# Title', an empty line and '> a sentence'."
            )
        return found


def read(path: Path) -> Notebook:
    """The notebook in a file."""
    return Notebook(path.stem, json.loads(path.read_text(encoding="utf-8")))


@cache
def notebooks() -> dict[str, Notebook]:
    """The numbered notebooks by name, in the order of their numbers."""
    found = [read(path) for path in (root / "nbs").glob("[0-9]*.ipynb")]
    found.sort(key=lambda notebook: notebook.number)
    return {notebook.name: notebook for notebook in found}


@cache
def index() -> Notebook:
    """The notebook that README.md is made from."""
    return read(root / "nbs" / "index.ipynb")


def on(shelf: Shelf) -> list[Notebook]:
    """The notebooks of a shelf, in order."""
    return [notebook for notebook in notebooks().values() if notebook.shelf is shelf]


def lookup(subject: str, shelf: Shelf) -> Notebook:
    """The notebook of a shelf with this name, its number left out."""
    for notebook in on(shelf):
        if notebook.subject == subject:
            return notebook
    raise KeyError(f"no notebook of the {shelf.name.lower()} is called NUMBER_{subject}.ipynb")


def modules() -> dict[str, Notebook]:
    """The modules that notebooks make, with their notebooks."""
    return {
        notebook.module: notebook
        for notebook in notebooks().values()
        if notebook.module is not None
    }


def syntax_tree(source: str) -> ast.Module:
    """The syntax tree of a cell; lines of IPython's own (`%`, `!`) count as blank."""
    return ast.parse(magic.sub("", source))


def defined(source: str) -> list[str]:
    """The public names that a cell defines, in order; not those it passes on (`f = losses.f`)."""
    names = []
    for node in syntax_tree(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            passed_on = node.value.attr if isinstance(node.value, ast.Attribute) else None
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            names += [name for name in targets if name != passed_on]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return [name for name in names if not name.startswith("_")]


@cache
def definitions() -> dict[str, list[str]]:
    """Every public name that a notebook exports, with the modules that define it (mostly one)."""
    found: dict[str, list[str]] = {}
    for module, notebook in modules().items():
        for cell in notebook.exports:
            for name in defined(joined(cell["source"])):
                found.setdefault(name, []).append(module)
    return found


def home(name: str) -> str:
    """The module that defines a public name, given as `LU` or, where several do, `solvers.LU`."""
    *parts, last = name.split(".")
    found = [
        module
        for module in definitions().get(last, [])
        if not parts or module == ".".join(parts) or module.startswith(f"{'.'.join(parts)}.")
    ]
    if len(found) != 1:
        raise KeyError(f"{name} is defined by {len(found)} modules: {', '.join(found) or 'none'}")
    return found[0]

"""The layers of the package, and its imports as a graph.

A module imports from its own layer and from those above it in `LAYERS`, without a cycle. The one
exception is `plots`: any module may import it inside a function, to draw what it has. The tests
compare the graph with the layers, and `tools/package_map.py` draws both.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

root = Path(__file__).resolve().parent.parent
package = "magnitude_ae"

# `solvers.*` stands for `solvers` itself, too: the face of a subpackage is part of it.
LAYERS: dict[str, tuple[str, ...]] = {
    "ground": ("checks", "arrays", "random", "files"),
    "space": ("space",),
    "similarity": ("products.*", "similarity"),
    "solvers": ("solvers.*",),
    "verbs": ("weighting", "functions", "scale", "updates", "subsets"),
    "data": ("datasets.*",),
    "model": ("architectures", "losses", "batches", "strategies", "training.*"),
    "people": ("estimators", "fitted", "fitting", "autoencoder", "detection", "boundary"),
    "judging": ("neighbours", "loops", "evaluation", "baselines", "rivals", "comparison"),
    "outside": ("plots.*", "explore.*", "reproduce.*", "cli.*"),
}
ANYBODYS_LATER = "plots"  # what every module may import inside a function

Graph = dict[str, set[str]]  # module -> the modules that it imports


@dataclass(frozen=True)
class Import:
    """One import of something of this package: `name` of `module`, by `importer`.

    `name` is None when the module itself is imported; `later` says that a function does it.
    """

    importer: str
    module: str
    name: str | None
    later: bool


def layer_of(module: str) -> int:
    """The place of a module's layer in `LAYERS`, counted from 0; KeyError where it has none."""
    for place, patterns in enumerate(LAYERS.values()):
        if any(fnmatch(f"{module}.", pattern) or module == pattern for pattern in patterns):
            return place
    raise KeyError(f"{module} stands in no layer; write it into LAYERS in tools/layers.py.")


def module_names(folder: Path = root / package) -> dict[str, Path]:
    """The modules of the package, subpackages included, with their files; not the face itself."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts).removesuffix("__init__").removesuffix(".")
        if name and not parts[-1].startswith("_mod"):
            found[name] = path
    return found


def statements(tree: ast.AST, later: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """The import statements of a tree, each with whether it waits for a function to be called."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, later
        yield from statements(node, later or isinstance(node, functions))


def targets(statement: ast.stmt, importer: str) -> Iterator[tuple[str, str | None]]:
    """What a statement imports of the package: dotted paths below it, each with a name or None."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            first, _, rest = alias.name.partition(".")
            if first == package:
                yield rest, None
    elif isinstance(statement, ast.ImportFrom):
        base = origin(statement, importer)
        if base is not None:
            yield from ((base, alias.name) for alias in statement.names)


def origin(statement: ast.ImportFrom, importer: str) -> str | None:
    """What stands between `from` and `import`, as a path below the package; None elsewhere."""
    if statement.level:
        parts = importer.split(".")
        above = parts[: len(parts) - statement.level]
        return ".".join([*above, *([statement.module] if statement.module else [])])
    first, _, rest = (statement.module or "").partition(".")
    return rest if first == package else None


def imports(sources: dict[str, str]) -> list[Import]:
    """Every import within the package, given the source of each of its modules by name.

    A subpackage's own file is written `solvers.__init__`, so that its relative imports resolve.
    """
    names = {name.removesuffix(".__init__") for name in sources}
    found = []
    for path, source in sources.items():
        importer = path.removesuffix(".__init__")
        for statement, later in statements(ast.parse(source)):
            for base, name in targets(statement, path):
                inner = f"{base}.{name}".removeprefix(".")
                if inner in names:  # `from magnitude_ae.solvers import dense`
                    base, name = inner, None
                found.append(Import(importer, base, name, later))
    return found


def sources(folder: Path = root / package) -> dict[str, str]:
    """The source of each module of the package, by name, ready for `imports`."""
    return {
        f"{name}.__init__" if path.name == "__init__.py" else name: path.read_text(encoding="utf-8")
        for name, path in module_names(folder).items()
    }


def graph(found: Iterable[Import], later: bool = True) -> Graph:
    """Who imports whom. Without `later`, only what happens as soon as a module is imported."""
    modules: Graph = {}
    for each in found:
        imported = modules.setdefault(each.importer, set())
        modules.setdefault(each.module, set())
        if later or not each.later:
            imported.add(each.module)
    return modules


def is_anybodys(each: Import) -> bool:
    """Whether this is the import that the layers do not restrict."""
    return each.later and each.module.split(".")[0] == ANYBODYS_LATER


def beyond(modules: Graph, module: str) -> set[str]:
    """All that a module imports, itself or through others."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        new = modules.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def essential(modules: Graph) -> Graph:
    """The graph without the imports that follow from others. It must have no cycle."""
    reached = {module: beyond(modules, module) for module in modules}
    return {
        module: {
            name
            for name in imported
            if not any(name in reached[other] for other in imported - {name})
        }
        for module, imported in modules.items()
    }


def cycle(modules: Graph) -> list[str]:
    """Modules that import each other in a circle, the first one repeated at the end; or nothing."""
    done: set[str] = set()
    for start in modules:
        trail: list[str] = []
        if found := _circle(modules, start, trail, done):
            return found
    return []


def _circle(modules: Graph, module: str, trail: list[str], done: set[str]) -> list[str]:
    """A circle that a walk from `module` runs into; `trail` is how it came there."""
    if module in trail:
        return [*trail[trail.index(module) :], module]
    if module in done:
        return []
    trail.append(module)
    for name in sorted(modules.get(module, ())):
        if found := _circle(modules, name, trail, done):
            return found
    trail.pop()
    done.add(module)
    return []

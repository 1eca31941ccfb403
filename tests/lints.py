"""House rules that a program can check. Each function lists what is wrong, in words.

Those of notebooks take a `book.Notebook`, those of code the source and its name. That each of them
finds something is shown in tests/test_notebooks.py and tests/test_layers.py.
"""

import ast
import re
from collections.abc import Iterator

import layers
from book import Notebook, default_exp, directive, exported, hidden, joined, opening, syntax_tree

most_cells = 65  # of a lesson: about sixty
first_look = 6  # by this cell a lesson shows something
most_definitions = 2  # in a row, before something is run
most_lines = 500  # of a module

# A path from the root of a file system, but no tag, address or quotient.
machine_path = re.compile(r"(?<![\w.:/<)\]}~*-])/(?:[\w.-]+/)+[\w.-]*|\b[A-Za-z]:\\\w")
payload = re.compile(r"base64,[A-Za-z0-9+/=\\\n]+")
not_evaluated = re.compile(r"^#\s*\|\s*eval:\s*false", re.MULTILINE)
drawing = {"plt.figure", "plt.subplots", "plt.show"}
DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORT = (ast.Import, ast.ImportFrom)


# Reading cells


def source_of(cell: dict) -> str:
    """The text of a cell."""
    return joined(cell["source"])


def named(cell: dict) -> str:
    """A cell by its id and its first line of code."""
    lines = directive.sub("", source_of(cell)).strip().splitlines()
    return f"cell {cell.get('id', '?')} ({lines[0][:60] if lines else 'no code'})"


def statements_run(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes of a cell that run with the cell: not the bodies of what it defines."""
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if not isinstance(node, (*DEFINITION, ast.Lambda)):
            yield node
            stack.extend(ast.iter_child_nodes(node))


def called(tree: ast.Module) -> set[str]:
    """What a cell calls while it runs, as it is written: `plt.subplots`."""
    nodes = statements_run(tree)
    return {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}


def called_for_its_effect(tree: ast.Module) -> set[str]:
    """What a cell calls without keeping the answer."""
    lines = (node.value for node in statements_run(tree) if isinstance(node, ast.Expr))
    return {ast.unparse(call.func) for call in lines if isinstance(call, ast.Call)}


def text_outputs(cell: dict) -> str:
    """All text among the outputs of a cell, without embedded pictures."""
    texts = []
    for output in cell.get("outputs", []):
        texts.append(joined(output.get("text", "")))
        data = output.get("data", {})
        texts += [joined(data[kind]) for kind in data if kind.startswith("text/")]
    return payload.sub("", "\n".join(texts))


def shows(cell: dict) -> bool:
    """Whether a cell has an output to look at: neither progress nor an error."""
    if cell["cell_type"] != "code":
        return False
    kinds = {output.get("name", output["output_type"]) for output in cell["outputs"]}
    return bool(kinds - {"stderr", "error"})


def runs(cell: dict) -> bool:
    """Whether a cell does something: it neither exports, nor only imports and defines."""
    source = source_of(cell)
    if exported.search(source) or default_exp.search(source) or hidden.search(source):
        return False
    return any(not isinstance(node, DEFINITION + IMPORT) for node in syntax_tree(source).body)


# Every notebook


def lint_title(notebook: Notebook) -> list[str]:
    """The first prose is a title and one sentence."""
    first = notebook.prose[0] if notebook.prose else ""
    return [] if opening.match(first) else ["the first prose cell is not '# Title', '> a sentence'"]


def lint_opening(notebook: Notebook) -> list[str]:
    """A notebook that makes a module says so in its first cell."""
    first = source_of(notebook.cells[0]) if notebook.cells else ""
    makes_a_module = bool(notebook.exports) or notebook.module is not None
    if makes_a_module and not default_exp.match(first):
        return ["default_exp is not in the first cell"]
    return []


def lint_ending(notebook: Notebook) -> list[str]:
    """A notebook that makes a module ends by exporting it."""
    if notebook.module is None:
        return []
    last = source_of(notebook.cells[-1])
    exports = re.search(r"\bnbdev_export\(\)", last)
    return [] if hidden.search(last) and exports else ["the last cell is no hidden nbdev_export()"]


def lint_errors(notebook: Notebook) -> list[str]:
    """An error is caught and its message printed."""
    return [
        f"{named(cell)} holds an error output"
        for cell in notebook.code
        if any(output["output_type"] == "error" for output in cell["outputs"])
    ]


def lint_outputs(notebook: Notebook) -> list[str]:
    """Outputs are committed."""
    if any(cell["outputs"] for cell in notebook.code):
        return []
    return ["no cell holds an output: run it and save it"]


def lint_pictures(notebook: Notebook) -> list[str]:
    """A cell that draws, by pyplot or by calling a function of `plots`, holds an output."""
    plotters: set[str] = set()
    problems = []
    for cell in notebook.code:
        tree = syntax_tree(source_of(cell))
        plotters |= names_of_plots(tree)
        draws = called(tree) & drawing or called_for_its_effect(tree) & plotters
        excused = not_evaluated.search(source_of(cell)) or "plt.close" in called(tree)
        if draws and not excused and not cell["outputs"]:
            problems.append(f"{named(cell)} draws, but holds no output")
    return problems


def names_of_plots(tree: ast.Module) -> set[str]:
    """What a cell imports from `plots` or a module of it."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and "plots" in (node.module or "").split(".")
        for alias in node.names
    }


def lint_wildcards(notebook: Notebook) -> list[str]:
    """Names are imported one by one."""
    return [
        f"{named(cell)} imports *"
        for cell in notebook.code
        for node in ast.walk(syntax_tree(source_of(cell)))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]


def lint_prints(notebook: Notebook) -> list[str]:
    """Library code speaks by return values, warnings and exceptions."""
    return [
        f"{named(cell)} prints"
        for cell in notebook.exports
        for node in ast.walk(syntax_tree(source_of(cell)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]


def lint_docstrings(notebook: Notebook) -> list[str]:
    """Every public definition that a cell exports says what it returns or is."""
    return [
        f"{node.name} has no docstring"
        for cell in notebook.exports
        for node in syntax_tree(source_of(cell)).body
        if isinstance(node, DEFINITION) and node.name[0] != "_" and not ast.get_docstring(node)
    ]


def lint_machine_paths(notebook: Notebook) -> list[str]:
    """Outputs look the same on every machine."""
    found = ((cell, machine_path.search(text_outputs(cell))) for cell in notebook.code)
    return [f"{named(cell)} shows the path {match[0]}" for cell, match in found if match]


def lint_metadata(notebook: Notebook) -> list[str]:
    """Nothing of the machine or of widgets is kept beside the cells."""
    extra = set(notebook.content["metadata"]) - {"kernelspec"}
    return [f"the metadata holds {', '.join(sorted(extra))}: clear it"] if extra else []


everywhere = [
    lint_title,
    lint_opening,
    lint_ending,
    lint_errors,
    lint_outputs,
    lint_pictures,
    lint_wildcards,
    lint_prints,
    lint_docstrings,
    lint_machine_paths,
    lint_metadata,
]


# Lessons


def lint_first_look(notebook: Notebook) -> list[str]:
    """There is something to look at early on; cells that nobody sees do not count."""
    seen = [cell for cell in notebook.cells if not unseen(cell)]
    if any(shows(cell) for cell in seen[:first_look]):
        return []
    return [f"none of the first {first_look} cells shows something"]


def unseen(cell: dict) -> bool:
    """Whether readers are spared a cell: it is hidden, or says which module is made."""
    source = source_of(cell)
    return bool(hidden.search(source) or default_exp.search(source))


def lint_definitions_in_a_row(notebook: Notebook) -> list[str]:
    """What is defined is soon used."""
    problems = []
    waiting: list[str] = []
    for cell in notebook.code:
        if runs(cell):
            waiting = []
        if exported.search(source_of(cell)):
            body = syntax_tree(source_of(cell)).body
            new = [node.name for node in body if isinstance(node, DEFINITION)]
            waiting += [name for name in dict.fromkeys(new) if name not in waiting]
            if new and len(waiting) > most_definitions:
                problems.append(f"{', '.join(waiting)} are defined before anything is run")
                waiting = []
    return problems


def lint_length(notebook: Notebook) -> list[str]:
    """A lesson can be read in one sitting."""
    count = len(notebook.cells)
    return [f"it has {count} cells, {most_cells} at most"] if count > most_cells else []


in_lessons = [lint_first_look, lint_definitions_in_a_row, lint_length]


# Code


def lint_private_names(source: str, importer: str) -> list[str]:
    """No private name of another module is imported, nor reached through that module."""
    return [f"uses {name}" for name in sorted(private_names(source, importer))]


def private_names(source: str, importer: str) -> set[str]:
    """The private names of other modules of the package that code uses, as `weighting._weigh`."""
    tree = ast.parse(source)
    found = set()
    for statement, _ in layers.statements(tree):
        for module, name in layers.targets(statement, importer):
            parts = [*filter(None, module.split(".")), *([name] if name else [])]
            if any(map(is_private, parts)):
                found.add(".".join(parts))
    aliases = module_aliases(tree, importer)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            place = aliases.get(ast.unparse(node.value))
            if place is not None:
                found.add(f"{place}.{node.attr}".lstrip("."))
    return found


def is_private(name: str) -> bool:
    """Whether a name is for its own module alone."""
    return name.startswith("_") and not name.startswith("__")


def module_aliases(tree: ast.Module, importer: str) -> dict[str, str]:
    """How code calls the modules of the package that it imports, with what they are."""
    modules = layers.module_names()
    found = {}
    for statement, _ in layers.statements(tree):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                first, _, rest = alias.name.partition(".")
                if first == layers.package:
                    found[alias.asname or alias.name] = rest
        elif (base := layers.origin(statement, importer)) is not None:
            for alias in statement.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                if inner in modules:
                    found[alias.asname or alias.name] = inner
    return found


def lint_attached(source: str) -> list[str]:
    """A class is complete where it is defined: nothing is attached to it afterwards."""
    problems = []
    for node in statements_run(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            written = node.targets if isinstance(node, ast.Assign) else [node.target]
            problems += [f"assigns {ast.unparse(t)}" for t in written if of_a_class(t)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            problems.append(f"calls {ast.unparse(node)}")
    return problems


def of_a_class(target: ast.AST) -> bool:
    """Whether an assignment's target is an attribute of a name that begins with a capital."""
    if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
        return False
    return target.value.id.lstrip("_")[:1].isupper()


def lint_module_length(source: str) -> list[str]:
    """A module has one idea."""
    count = len(source.splitlines())
    return [f"it has {count} lines, {most_lines} at most"] if count > most_lines else []


def lint_layers(found: list[layers.Import]) -> list[str]:
    """Modules import from their own layer and those above, and never from the face."""
    names = list(layers.LAYERS)
    problems = []
    for each in found:
        if each.module == "" and each.name != "__version__":
            problems.append(f"{each.importer} imports {each.name or 'the face'} from the face")
        elif each.module and not layers.is_anybodys(each):
            own, other = layers.layer_of(each.importer), layers.layer_of(each.module)
            if other > own:
                problems.append(
                    f"{each.importer} ({names[own]}) imports {each.module} ({names[other]})"
                )
    return problems

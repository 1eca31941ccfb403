"""What the comments beside parameters say: nbdev's way of documenting them, one to a line.

A comment stands behind its parameter or field, or on lines of its own above it.
"""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function or a field of a class: its annotation and what is said of it."""

    name: str
    annotation: str | None
    said: str


@dataclass(frozen=True)
class Signature:
    """The parameters of a function or class, and what is said of what comes back."""

    parameters: list[Parameter]
    returns: str


class Comments:
    """The comments of a source: those behind code, and those on lines of their own."""

    def __init__(self, source: str):
        self.behind: dict[int, str] = {}
        self.alone: dict[int, str] = {}
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                is_alone = token.line.lstrip().startswith("#")
                kind = self.alone if is_alone else self.behind
                kind[token.start[0]] = token.string.lstrip("# ")

    def of(self, first: int, last: int) -> str:
        """What is said of the code on these lines: behind it, else above it."""
        behind = [self.behind[line] for line in range(first, last + 1) if line in self.behind]
        above = []
        line = first - 1
        while line in self.alone:
            above.insert(0, self.alone[line])
            line -= 1
        return " ".join(behind or above)


def signature(value: object) -> Signature:
    """The signature of a function or class; an empty one for what has no source."""
    try:
        source = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        return Signature([], "")
    comments = Comments(source)
    node = ast.parse(source).body[0]
    if isinstance(node, ast.ClassDef):
        start = next((each for each in node.body if is_named(each, "__init__")), None)
        return of_function(start, comments) if start else of_fields(node, comments)
    return of_function(node, comments)


def is_named(node: ast.stmt, name: str) -> bool:
    """Whether this defines a function of that name."""
    return isinstance(node, ast.FunctionDef) and node.name == name


def of_fields(node: ast.ClassDef, comments: Comments) -> Signature:
    """The public fields of a class."""
    found = []
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and not field.target.id.startswith("_"):
            said = comments.of(field.lineno, field.end_lineno)
            found.append(Parameter(field.target.id, ast.unparse(field.annotation), said))
    return Signature(found, "")


def of_function(node: ast.AST, comments: Comments) -> Signature:
    """The parameters of a function. What stands behind an arrow is what comes back."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return Signature([], "")
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    spoken = [argument for argument in arguments if argument.arg not in ("self", "cls")]
    starts = [argument.lineno for argument in spoken]
    closing = node.body[0].lineno - 1  # the line that ends the signature
    back = [] if closing in starts else [comments.behind.get(closing, "")]
    found = []
    for argument in spoken:
        start = argument.lineno
        following = [line for line in starts if line > start]
        end = max(start, min([*following, closing]) - 1)
        text = named(comments.of(start, end), argument.arg, alone=starts.count(start) == 1)
        words, _, after = text.partition("->")
        back.append(after)
        annotation = ast.unparse(argument.annotation).strip("'\"") if argument.annotation else None
        found.append(Parameter(argument.arg, annotation, words.strip()))
    return Signature(found, next((text.strip() for text in back if text), ""))


def named(text: str, name: str, alone: bool) -> str:
    """A comment as the parameter's own: `name: words` is about `name`.

    Where several parameters share a line, its comment belongs to the one that it names.
    """
    text = re.sub(r"^self: \w+;?\s*", "", text)
    first, colon, rest = text.partition(": ")
    if colon and first == name:
        return rest
    return text if alone else ""

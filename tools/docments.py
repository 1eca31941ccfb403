"""What the comments beside parameters say: nbdev's way of documenting them, one to a line."""

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


def signature(value: object) -> Signature:
    """The signature of a function or class; an empty one for what has no source."""
    try:
        source = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        return Signature([], "")
    comments = comments_of(source)
    node = ast.parse(source).body[0]
    if isinstance(node, ast.ClassDef):
        start = next((each for each in node.body if is_named(each, "__init__")), None)
        return of_function(start, comments) if start else of_fields(node, comments)
    return of_function(node, comments)


def is_named(node: ast.stmt, name: str) -> bool:
    """Whether this defines a function of that name."""
    return isinstance(node, ast.FunctionDef) and node.name == name


def comments_of(source: str) -> dict[int, str]:
    """The comment of each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = (token for token in tokens if token.type == tokenize.COMMENT)
    return {token.start[0]: token.string.lstrip("# ") for token in found}


def of_fields(node: ast.ClassDef, comments: dict[int, str]) -> Signature:
    """The public fields of a class."""
    found = []
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and not field.target.id.startswith("_"):
            said = between(comments, field.lineno, field.end_lineno)
            found.append(Parameter(field.target.id, ast.unparse(field.annotation), said))
    return Signature(found, "")


def of_function(node: ast.AST, comments: dict[int, str]) -> Signature:
    """The parameters of a function. What stands behind an arrow is what comes back."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return Signature([], "")
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    spoken = [argument for argument in arguments if argument.arg not in ("self", "cls")]
    body = node.body[0].lineno
    starts = [argument.lineno for argument in spoken]
    ends = [*(start - 1 for start in starts[1:]), body - 2]
    found = []
    back = [comments.get(body - 1, "")] if body - 1 not in starts else []
    for argument, start, end in zip(spoken, starts, ends[: len(starts)], strict=True):
        if start == body - 1 or end < start:  # several on one line: the comment names its own
            end = start
        words, _, after = beside(argument.arg, starts.count(start), comments, start, end)
        back.append(after)
        annotation = ast.unparse(argument.annotation).strip("'\"") if argument.annotation else None
        found.append(Parameter(argument.arg, annotation, words.strip()))
    return Signature(found, next((text.strip() for text in back if text), ""))


def beside(
    name: str, sharing: int, comments: dict[int, str], start: int, end: int
) -> tuple[str, str, str]:
    """The comment of a parameter, split at an arrow.

    Where several parameters share a line, its comment belongs to the one that it names.
    """
    text = re.sub(r"^self: \w+;?\s*", "", between(comments, start, end))
    first, colon, rest = text.partition(": ")
    if colon and first == name:
        text = rest
    elif sharing > 1:
        text = ""
    return text.partition("->")


def between(comments: dict[int, str], start: int, end: int) -> str:
    """The comments of some lines, as one."""
    return " ".join(comments[line] for line in range(start, end + 1) if line in comments)

"""Every public name says what it gives, in which shape, when it raises, where it comes from, and shows it by an example that runs."""

import ast
import doctest
import inspect
import io
import re
import textwrap
import tokenize
import warnings

import numpy as np
import pytest

import magnitude_ae as mag

PUBLIC = {
    name: getattr(mag, name) for name in mag.__all__ if not inspect.ismodule(getattr(mag, name))
}
PUBLIC |= {
    f"{module}.{name}": getattr(getattr(mag, module), name)
    for module in mag._MODULES
    for name in getattr(mag, module).__all__
}
PUBLIC = {name: value for name, value in PUBLIC.items() if callable(value)}
every = pytest.mark.parametrize("name", PUBLIC)
TOOLS = {
    "Solution",
    "BestState",
    "Checkpoint",
    "EarlyStopping",
    "LogFile",
    "Snapshots",
    "TensorBoard",
}  # they come from nowhere in particular
ERRORS = {
    name
    for name, value in PUBLIC.items()
    if isinstance(value, type) and issubclass(value, Exception)
}


def without_example(value):
    "The docstring up to its example."
    return inspect.getdoc(value).partition(">>>")[0]


def definition(value):
    "The function, or the class's own __init__ or fields, as a syntax tree with the comments of its lines."
    source = textwrap.dedent(inspect.getsource(value))
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return ast.parse(source).body[0], comments


def parameters(value):
    "Parameter -> what is said beside it."
    tree, comments = definition(value)
    if isinstance(tree, ast.ClassDef):
        fields = {
            node.target.id: comments.get(node.lineno, "")
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and not node.target.id.startswith("_")
        }
        tree = next(
            (
                node
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and node.name == "__init__"
            ),
            None,
        )
        if tree is None:
            return fields
    arguments = [*tree.args.args, *tree.args.kwonlyargs]
    return {
        argument.arg: comments.get(argument.lineno, "")
        for argument in arguments
        if argument.arg != "self"
    }


@every
def test_one_line_says_what_it_gives(name):
    first = inspect.getdoc(PUBLIC[name]).split("\n")[0]
    assert len(first) > 20 and re.match(r"[A-Zζv0-9\"‖`]", first) and "." in first


@every
def test_parameters_are_explained_beside_them(name):
    bare = [
        parameter for parameter, comment in parameters(PUBLIC[name]).items() if len(comment) < 4
    ]
    assert not bare


ARRAYS = (
    "points",
    "embedding",
    "images",
    "values",
    "input_weighting",
    "latent_weighting",
    "magnitudes",
    "is_boundary",
    "train_points",
    "new_points",
)


@every
def test_arrays_have_shapes(name):
    "The shape of an array stands beside it, that of the answer in the signature or in the first line."
    said = parameters(PUBLIC[name])
    assert not [
        parameter
        for parameter in said
        if parameter in ARRAYS and not re.search(r"\([nmks]|\(\)|n times", said[parameter])
    ]


@every
def test_scales_have_a_unit(name):
    said = parameters(PUBLIC[name])
    assert (
        "unit of distance" in said["scale"] or "auto" in said["scale"] if "scale" in said else True
    )


@every
def test_it_says_when_it_raises(name):
    if name not in ERRORS | {"Solution", "datasets.digits"}:
        assert re.search(r"[Rr]aises", without_example(PUBLIC[name])), without_example(PUBLIC[name])


@every
def test_it_says_where_it_comes_from(name):
    if not name.startswith("plots.") and name not in ERRORS | TOOLS:
        assert "Source: " in without_example(PUBLIC[name])


@every
def test_the_example_runs(name, capsys):
    value = PUBLIC[name]
    found = [
        test
        for test in doctest.DocTestFinder(recurse=False).find(value, name, globs={})
        if test.examples
    ]
    assert found, "there is no example"
    with warnings.catch_warnings(), np.printoptions(legacy=False):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found[0])
    assert result.failed == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [name for name, value in PUBLIC.items() if inspect.isclass(value) and name not in ERRORS],
)
def test_public_methods_say_what_they_give(name):
    bare = [
        m
        for m, f in vars(PUBLIC[name]).items()
        if inspect.isfunction(f) and not m.startswith("_") and not inspect.getdoc(f)
    ]
    assert not bare

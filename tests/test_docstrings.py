"""Every public name says what it gives and shows it by an example that runs.

It also says in which shape, when it raises and where it comes from.
"""

import doctest
import inspect
import re
import warnings

import docments
import numpy as np
import pytest

import magnitude_ae as mag


def public():
    """The public names as people write them, with what they stand for."""
    values = {}
    for name in mag.__all__:
        value = getattr(mag, name)
        if inspect.ismodule(value):
            values |= {f"{name}.{part}": getattr(value, part) for part in value.__all__}
        else:
            values[name] = value
    return {name: value for name, value in values.items() if callable(value)}


PUBLIC = public()
ERRORS = {
    name
    for name, value in PUBLIC.items()
    if inspect.isclass(value) and issubclass(value, Exception)
}
CLASSES = [name for name, value in PUBLIC.items() if inspect.isclass(value) and name not in ERRORS]
# These come from nowhere in particular.
TOOLS = {
    "Solution",
    "BestState",
    "Checkpoint",
    "EarlyStopping",
    "LogFile",
    "Snapshots",
    "TensorBoard",
}
ARRAYS = {
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
}
every = pytest.mark.parametrize("name", PUBLIC)


def without_example(name):
    """The docstring up to its example."""
    return inspect.getdoc(PUBLIC[name]).partition(">>>")[0]


def said(name):
    """Parameter -> what is said beside it."""
    found = docments.signature(PUBLIC[name]).parameters
    return {parameter.name: parameter.said for parameter in found}


@every
def test_one_line_says_what_it_gives(name):
    first = inspect.getdoc(PUBLIC[name]).split("\n")[0]
    assert len(first) > 20
    assert re.match(r"[A-Zζv0-9\"‖`]", first)
    assert "." in first


@every
def test_parameters_are_explained_beside_them(name):
    assert [parameter for parameter, comment in said(name).items() if len(comment) < 4] == []


@every
def test_arrays_have_shapes(name):
    """That of the answer stands in the signature or in the first line."""
    arrays = {parameter: text for parameter, text in said(name).items() if parameter in ARRAYS}
    shape = re.compile(r"\([nmks]|\(\)|n times")
    assert [parameter for parameter, text in arrays.items() if not shape.search(text)] == []


@pytest.mark.parametrize("name", [name for name in PUBLIC if "scale" in said(name)])
def test_scales_have_a_unit(name):
    assert re.search("unit of distance|auto", said(name)["scale"])


@pytest.mark.parametrize(
    "name", [n for n in PUBLIC if n not in ERRORS | {"Solution", "datasets.digits"}]
)
def test_it_says_when_it_raises(name):
    assert re.search(r"[Rr]aises", without_example(name))


@pytest.mark.parametrize(
    "name", [n for n in PUBLIC if not n.startswith("plots.") and n not in ERRORS | TOOLS]
)
def test_it_says_where_it_comes_from(name):
    assert "Source: " in without_example(name)


@every
def test_the_example_runs(name, capsys):
    finder = doctest.DocTestFinder(recurse=False)
    found = [test for test in finder.find(PUBLIC[name], name, globs={}) if test.examples]
    assert found, "there is no example"
    with warnings.catch_warnings(), np.printoptions(legacy=False):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found[0])
    assert result.failed == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", CLASSES)
def test_public_methods_say_what_they_give(name):
    own = {key: value for key, value in vars(PUBLIC[name]).items() if not key.startswith("_")}
    methods = {key: value for key, value in own.items() if inspect.isfunction(value)}
    assert [key for key, value in methods.items() if not inspect.getdoc(value)] == []


# How comments are read


def one_line(x, y):  # y: (n,) numbers -> their sum
    return x + y


def several_lines(
    points,  # (n, d) points
    scale: float = 1.0,  # t, one over
    # the unit of distance
    *,
    method: str | None = None,  # a name
):  # (n,) the answer
    return points, scale, method


class Fields:
    first: int = 1  # a count
    _second: int = 2  # nobody's business


class Started:
    first: int = 1

    def __init__(self, start: int):  # start: where it begins
        self.start = start


def test_comments_belong_to_the_parameters_beside_them():
    found = docments.signature(several_lines)
    assert [(each.name, each.annotation, each.said) for each in found.parameters] == [
        ("points", None, "(n, d) points"),
        ("scale", "float", "t, one over the unit of distance"),
        ("method", "str | None", "a name"),
    ]
    assert found.returns == "(n,) the answer"


def test_a_comment_of_one_line_names_its_parameter():
    found = docments.signature(one_line)
    assert [each.said for each in found.parameters] == ["", "(n,) numbers"]
    assert found.returns == "their sum"


def test_a_class_has_fields_or_an_init():
    fields = docments.signature(Fields).parameters
    assert [(each.name, each.said) for each in fields] == [("first", "a count")]
    start = docments.signature(Started).parameters
    assert [(each.name, each.said) for each in start] == [("start", "where it begins")]


def test_what_has_no_source_has_no_parameters():
    assert docments.signature(int) == docments.Signature([], "")

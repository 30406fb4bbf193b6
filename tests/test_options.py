"""Options are the keyword-only parameters of a builder; values are strictly of their types."""

from typing import Any, Literal

import pytest

from edgecv.errors import InputError
from edgecv.options import ModelOption, options_of, read_options


def builder(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    pooling: Literal["align", "max"] = "align",
    levels: Literal[3, 5] = 5,
    is_wide: bool = False,
    depth: int = 2,
    prior: float = 0.01,
    title: str = "7",
    strides: tuple[int, ...] = (8, 16),
    variances: tuple[float, float] = (0.1, 0.2),
) -> object:
    raise NotImplementedError


OPTIONS = options_of(builder)


def test_they_are_the_keyword_only_parameters() -> None:
    assert list(OPTIONS) == [
        "pooling", "levels", "is_wide", "depth", "prior", "title", "strides", "variances",
    ]  # fmt: skip
    assert OPTIONS["pooling"] == ModelOption(Literal["align", "max"], "align")
    assert OPTIONS["pooling"].choices == ("align", "max")
    assert OPTIONS["is_wide"].choices == (False, True)
    assert OPTIONS["depth"].choices == ()


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("pooling", "max", "max"),
        ("levels", 3, 3),
        ("levels", "3", 3),
        ("is_wide", True, True),
        ("is_wide", "true", True),
        ("depth", "4", 4),
        ("prior", 1, 1.0),
        ("prior", "1e-3", 1e-3),
        ("title", "7", "7"),
        ("title", "true", "true"),
        ("strides", "4,8, 16", (4, 8, 16)),
        ("strides", [4], (4,)),
        ("strides", (4, 8), (4, 8)),
        ("variances", "0.1,1", (0.1, 1.0)),
    ],
)
def test_values_and_their_texts(name: str, given: object, value: object) -> None:
    (found,) = read_options("net", OPTIONS, {name: given}).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("pooling", "mean", "`options.pooling` must be one of align, max, got 'mean'"),
        ("levels", "4", "`options.levels` must be one of 3, 5, got '4'"),
        ("is_wide", "yes", "`options.is_wide` must be a bool, got 'yes'"),
        ("is_wide", 1, "`options.is_wide` must be a bool, got 1"),
        ("depth", "2.5", "`options.depth` must be a int, got 2.5"),
        ("depth", True, "`options.depth` must be a int, got True"),
        ("prior", "NaN", "`options.prior` must be a float, got nan"),
        ("title", 7, "`options.title` must be a str, got 7"),
        ("strides", "4,b", "`options.strides[1]` must be a int, got 'b'"),
        ("variances", (0.1,), "`options.variances` must have 2 entries, got 1"),
        ("pool", "max", "the model `net` has no option `pool`. It has: `pooling` (align, max; "),
        ("pool", "max", "`is_wide` (false, true; default false), `depth` (int; default 2)"),
        ("pool", "max", "`strides` (tuple; default 8,16)"),
    ],
)
def test_others_are_refused(name: str, given: object, message: str) -> None:
    with pytest.raises(InputError) as raised:
        read_options("net", OPTIONS, {name: given})
    assert message in str(raised.value)


def test_a_model_without_options_says_so() -> None:
    with pytest.raises(InputError, match=r"`net` has no options, got `depth`\. Leave it out"):
        read_options("net", {}, {"depth": 1})


def test_an_option_needs_a_default() -> None:
    def careless(num_classes: int, *, depth: int) -> Any:
        raise NotImplementedError

    with pytest.raises(TypeError, match=r"`depth` of .*careless.* must have a default"):
        options_of(careless)

"""Where keys and values of a TOML file stand: against `tomllib`, and against written out lines."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.stream.config.toml_lines import lines_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = '''# a comment with = and [brackets]
top = 1 # and one behind
"quoted.key" = "x # no comment"
dotted.key.here = """
one
two"""

[table]
literal = 'C:\\no escape'
list = [
  1, # first
  [2, 3],
  { a = "]", b = [4] },
]
[table.below]
at = 2026-01-31T10:00:00Z
[[array]]
x = 1
[array.inner]
y = "\\"#\\u0041"
[[array]]
x = 2
[[array.more]]
z = true
'''

LINES = {
    ("top",): 2,
    ("quoted.key",): 3,
    ("dotted", "key", "here"): 4,
    ("table",): 8,
    ("table", "literal"): 9,
    ("table", "list"): 10,
    ("table", "list", 0): 11,
    ("table", "list", 1): 12,
    ("table", "list", 1, 1): 12,
    ("table", "list", 2, "b", 0): 13,
    ("table", "below"): 15,
    ("table", "below", "at"): 16,
    ("array",): 17,
    ("array", 0, "x"): 18,
    ("array", 0, "inner"): 19,
    ("array", 0, "inner", "y"): 20,
    ("array", 1): 21,
    ("array", 1, "x"): 22,
    ("array", 1, "more", 0): 23,
    ("array", 1, "more", 0, "z"): 24,
}


def paths_of(plain: Any, path: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    items = plain.items() if isinstance(plain, dict) else enumerate(plain)
    found = set()
    for key, value in items:
        found.add((*path, key))
        if isinstance(value, dict | list):
            found |= paths_of(value, (*path, key))
    return found


def test_lines_as_counted_by_hand() -> None:
    lines = lines_of(TEXT)
    assert {path: lines[path] for path in LINES} == LINES


def test_every_key_that_tomllib_finds_has_a_line() -> None:
    assert set(lines_of(TEXT)) == paths_of(tomllib.loads(TEXT))


KEYS = st.text("abc_-1", min_size=1, max_size=4)
QUOTED = st.sampled_from(['"""a\n"b\n"""', "'''x\n'''", '"#"', "'['", '""', '"""""a"""""'])
SCALARS = st.one_of(QUOTED, st.sampled_from(["1", "-1.5e3", "true", "1979-05-27 07:32:00"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(
        lambda parts: "[\n" + ", # ,\n".join(parts) + "]"
    ),
    max_leaves=5,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_key_stands_where_it_was_written(top: dict[str, str], row: dict[str, str]) -> None:
    text, expected, path = "", {}, ()
    for number, pairs in enumerate((top, row, row)):
        if number:
            path = ("rows_", number - 1)
            expected[path] = text.count("\n") + 1
            text += "[[rows_]]\n"
        for key, value in pairs.items():
            expected[(*path, key)] = text.count("\n") + 1
            text += f"  {key} = {value}  # {key} =\n"
    lines = lines_of(text)
    assert {key: lines[key] for key in expected} == expected
    assert set(lines) == paths_of(tomllib.loads(text))


@pytest.mark.parametrize("text", ["", "\n\n# nothing\n", "a=1"])
def test_short_files(text: str) -> None:
    assert lines_of(text) == ({("a",): 1} if text.startswith("a") else {})

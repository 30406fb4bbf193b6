"""The class names in a data.yaml, without a YAML library.

`names:` is understood as a list or a map from index to name, in a line or a block, with or
without quotes: all that Ultralytics and Roboflow write. Anything else is refused, not guessed.
"""

import re
from pathlib import Path

from edgecv.data.checks import read_text
from edgecv.errors import DatasetError

# A scalar ends at what YAML gives a meaning; inside quotes nothing has one. ('' is a quote.)
_SCALAR = r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s,:\[\]{}#'"&*!|>%@`-][^,:\[\]{}#]*"""
_BLOCK_SCALAR = r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s#'"\[{&*!|>%@`][^#:]*"""
_LIST_ITEM = re.compile(rf"({_SCALAR})\s*(?:,|$)\s*")
_MAP_ITEM = re.compile(rf"(\d+)\s*:\s+({_SCALAR})\s*(?:,|$)\s*")
_BLOCK_LIST_ITEM = re.compile(rf"\s*-\s+({_BLOCK_SCALAR})\s*$")
_BLOCK_MAP_ITEM = re.compile(rf"\s+(\d+)\s*:\s+({_BLOCK_SCALAR})\s*$")
_COMMENT = re.compile(r"""((?:'[^']*'|"(?:[^"\\]|\\.)*"|[^'"#]|(?<!\s)#)*?)(?:(?:^|\s)#.*)?$""")


def read_yaml_names(path: Path) -> tuple[str, ...]:
    """Return the class names in the order of their indices.

    Args:
        path: a YAML file with the key `names` at its top level.

    Raises:
        DatasetError: if there is no such key, or its value is neither list nor map of names
            with the indices 0, 1, 2 and so on.

    """
    lines = [_without_comment(line) for line in read_text(path).splitlines()]
    for number, line in enumerate(lines, 1):
        if re.match(r"names\s*:", line):
            value = line.partition(":")[2].strip()
            if value:
                flow = " ".join([value, *map(str.strip, lines[number:])])
                return _flow_names(flow, path, number)
            return _block_names(lines[number:], path, number + 1)
    raise DatasetError(f"{path}: the file must have the key `names`, got none. Add the names.")


def _flow_names(text: str, path: Path, number: int) -> tuple[str, ...]:
    """Return the names of `[a, b]` or `{0: a, 1: b}`, which begins on line `number`."""
    is_list = text.startswith("[")
    if not is_list and not text.startswith("{"):
        raise _refused(path, number, text)
    item, closing = (_LIST_ITEM, "]") if is_list else (_MAP_ITEM, "}")
    names: dict[int, str] = {}
    body, end = _inside(text, closing)
    if not end:
        raise _refused(path, number, text)
    at = 0
    while at < len(body):
        found = item.match(body, at)
        if found is None:
            raise _refused(path, number, body[at:])
        index = len(names) if is_list else int(found[1])
        names[index] = _unquoted(found[1] if is_list else found[2])
        at = found.end()
    return _in_order(names, path, number)


def _inside(text: str, closing: str) -> tuple[str, bool]:
    """Return what stands before the closing bracket, quotes respected, and whether there is one."""
    found = re.match(rf"""[\[{{]((?:'[^']*'|"(?:[^"\\]|\\.)*"|[^'"\{closing}])*)\{closing}""", text)
    return (found[1].strip(), True) if found else ("", False)


def _block_names(lines: list[str], path: Path, first_number: int) -> tuple[str, ...]:
    """Return the names of a block, one item a line, up to the next key."""
    names: dict[int, str] = {}
    for number, line in enumerate(lines, first_number):
        if not line.strip():
            continue
        if not line[0].isspace() and not line.startswith("-"):
            break  # the next key
        if found := _BLOCK_LIST_ITEM.match(line):
            names[len(names)] = _unquoted(found[1])
        elif found := _BLOCK_MAP_ITEM.match(line):
            names[int(found[1])] = _unquoted(found[2])
        else:
            raise _refused(path, number, line.strip())
    return _in_order(names, path, first_number - 1)


def _in_order(names: dict[int, str], path: Path, number: int) -> tuple[str, ...]:
    if sorted(names) != list(range(len(names))):
        indices = ", ".join(map(str, sorted(names)))
        raise DatasetError(
            f"{path}:{number}: the class indices must be 0, 1, 2 and so on, got {indices}. "
            "Number the names without gaps."
        )
    return tuple(names[index] for index in range(len(names)))


def _unquoted(text: str) -> str:
    text = text.strip()
    if text[:1] == "'":
        return text[1:-1].replace("''", "'")
    if text[:1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _without_comment(line: str) -> str:
    """Return the line without what follows a # that begins a word outside of quotes."""
    found = _COMMENT.match(line)
    return (found[1] if found else line).rstrip()


def _refused(path: Path, number: int, text: str) -> DatasetError:
    shown = text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004
    return DatasetError(
        f"{path}:{number}: `names` must be a list or a map of names, got {shown!r}. "
        "Write `names: [first, second]`, or put the names into classes.txt, one a line, and "
        "remove this file."
    )

"""Frozen dataclasses to and from plain JSON values, strictly.

A file that somebody will read years from now must not be half understood: an unknown key, a
missing one or a value of the wrong type is an error that names its path (`input.size_hw[1]`).
"""

import dataclasses
import difflib
import math
import sys
import types
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgecv.errors import SpecError

T = TypeVar("T")

TAG = "format"  # the key that tells the members of a union of dataclasses apart


def require(holds: bool, key: str, rule: str, value: object) -> None:  # noqa: FBT001
    """Refuse a field's value: `key` must `rule`.

    Raises:
        SpecError: with the key, the rule and the value, unless `holds`.

    """
    if not holds:
        raise SpecError(f"`{key}` must {rule}, got {value!r}.")


def to_plain(record: Any) -> Any:  # noqa: ANN401  # any field value, by recursion
    """Return `record` as dictionaries, lists, strings, numbers, booleans and None."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        tag = getattr(record, "FORMAT", None)
        plain = {} if tag is None else {TAG: tag}
        for field in dataclasses.fields(record):
            plain[field.name] = to_plain(getattr(record, field.name))
        return plain
    if isinstance(record, Mapping):
        return {key: to_plain(value) for key, value in record.items()}
    if isinstance(record, tuple | list):
        return [to_plain(value) for value in record]
    return record


def finite(plain: Any) -> Any:  # noqa: ANN401  # plain data of any depth
    """Return `plain` with None for what is infinite or NaN, which JSON cannot hold."""
    if isinstance(plain, Mapping):
        return {key: finite(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [finite(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def from_plain(kind: type[T], plain: Any, *, where: str) -> T:  # noqa: ANN401  # parsed JSON
    """Return the dataclass `kind` that `plain` describes.

    Args:
        kind: a frozen dataclass whose fields are strings, numbers, booleans, literals, optionals,
            tuples, string-keyed mappings, dataclasses, unions of these but dataclasses, the first
            that fits, or unions of dataclasses with a class attribute `FORMAT`.
        plain: what `json.loads` returned.
        where: the path of `plain` for messages, such as `input`.

    Raises:
        SpecError: if a key is unknown or missing, or a value is of the wrong type or range.

    """
    if not isinstance(plain, dict):
        raise SpecError(f"`{where}` must be an object, got {plain!r}. Export the model again.")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in plain:
        if key not in fields:
            raise SpecError(f"unknown key `{_join(where, key)}`. {_suggest(key, list(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in plain:
            values[name] = _convert(hints[name], plain[name], _join(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SpecError(f"`{_join(where, name)}` is missing. Add it, or export again.")
    return kind(**values)


def plain_value(kind: Any, plain: Any, *, where: str) -> Any:  # noqa: ANN401  # any type, any value
    """Return the value that `plain` describes.

    Args:
        kind: a type that a field may have, see `from_plain`.
        plain: what `json.loads` returned.
        where: the path of `plain` for messages, such as `input`.

    Raises:
        SpecError: if the value is of another type or none of the choices.

    """
    return _convert(kind, plain, where)


def _convert(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401, PLR0911  # a case a type
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in args:
            raise SpecError(f"`{where}` must be one of {', '.join(map(str, args))}, got {value!r}.")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        members = [arg for arg in args if arg is not type(None)]
        if len(members) == 1:
            return _convert(members[0], value, where)
        is_tagged = all(dataclasses.is_dataclass(member) for member in members)
        return (_tagged if is_tagged else _first_fitting)(members, value, where)
    if origin is tuple:
        return _sequence(args, value, where)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise SpecError(f"`{where}` must be an object, got {value!r}.")
        return {key: _convert(args[1], item, _join(where, key)) for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where=where)
    return _scalar(hint, value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:  # noqa: ANN401
    # bool is an int in Python, not in JSON; a whole number is a fine float.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number and abs(value) <= sys.float_info.max:  # nor NaN
        return float(value)
    if hint is int and is_number and isinstance(value, int):
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise SpecError(f"`{where}` must be a {hint.__name__}, got {value!r}.")


def _sequence(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:  # noqa: ANN401
    if not isinstance(value, list | tuple):
        raise SpecError(f"`{where}` must be a list, got {value!r}.")
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(value) != len(args):
        raise SpecError(f"`{where}` must have {len(args)} entries, got {len(value)}: {value!r}.")
    return tuple(
        _convert(hint, item, f"{where}[{index}]")
        for index, (hint, item) in enumerate(zip(args, value, strict=True))
    )


def _first_fitting(members: list[Any], value: Any, where: str) -> Any:  # noqa: ANN401
    for member in members:
        with suppress(SpecError):
            return _convert(member, value, where)
    kinds = ", ".join(getattr(member, "__name__", str(member)) for member in members)
    raise SpecError(f"`{where}` must be one of the kinds {kinds}, got {value!r}.")


def _tagged(members: list[Any], value: Any, where: str) -> Any:  # noqa: ANN401
    by_tag = {member.FORMAT: member for member in members}
    tag = value.get(TAG) if isinstance(value, dict) else None
    if not isinstance(tag, str) or tag not in by_tag:
        raise SpecError(f"`{_join(where, TAG)}` must be one of {', '.join(by_tag)}, got {tag!r}.")
    rest = {key: item for key, item in value.items() if key != TAG}
    return from_plain(by_tag[tag], rest, where=where)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _suggest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"Known keys: {', '.join(known)}."

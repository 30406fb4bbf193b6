"""Options of a model: what the builder of a network lets its user choose, beyond its backbone.

They are the keyword-only parameters of the builder, so that they are declared once. The values come
from Python, from a recipe or, as text, from the command line.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from edgecv.errors import InputError
from edgecv.records import plain_value, to_plain

OptionValue: TypeAlias = bool | int | float | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True)
class ModelOption:
    """One choice that the builder of a network offers.

    Args:
        kind: its type: bool, int, float, str, a `Literal` of them or a tuple of numbers.
        default: its value if nothing is chosen.

    """

    kind: Any
    default: OptionValue

    @property
    def choices(self) -> tuple[OptionValue, ...]:
        """The values that it may have; empty where every value of its type will do."""
        if self.kind is bool:
            return (False, True)
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    def __str__(self) -> str:
        """Describe it in a few words: its values and its default."""
        kind = ", ".join(map(_text, self.choices)) or getattr(self.kind, "__name__", "numbers")
        return f"{kind}; default {_text(self.default)}"


def options_of(builder: Callable[..., object]) -> dict[str, ModelOption]:
    """Return the options of a builder by name: its keyword-only parameters.

    Raises:
        TypeError: if one of them has no default.

    """
    kinds = get_type_hints(builder)
    options = {}
    for name, parameter in inspect.signature(builder).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.default is inspect.Parameter.empty:
            raise TypeError(f"options_of: `{name}` of {builder} must have a default.")
        options[name] = ModelOption(kinds[name], parameter.default)
    return options


def read_options(
    model: str, options: Mapping[str, ModelOption], given: Mapping[str, object]
) -> dict[str, OptionValue]:
    """Return the values that were given for a model's options, each of its option's type.

    Args:
        model: its name, for messages.
        options: that it has.
        given: values by name; as text, they are read as on the command line: `true`, `0.5`, `1,2`.

    Raises:
        InputError: if the model has no such option, or the value is none of its choices.

    """
    values: dict[str, OptionValue] = {}
    for name, value in given.items():
        if name not in options:
            raise InputError(_no_such_option(model, options, name))
        kind = options[name].kind
        plain = _from_text(kind, value) if isinstance(value, str) else to_plain(value)
        values[name] = plain_value(kind, plain, where=f"options.{name}")
    return values


def _no_such_option(model: str, options: Mapping[str, ModelOption], name: str) -> str:
    if not options:
        return f"the model `{model}` has no options, got `{name}`. Leave it out."
    known = ", ".join(f"`{key}` ({option})" for key, option in options.items())
    return f"the model `{model}` has no option `{name}`. It has: {known}."


def _from_text(kind: Any, text: str) -> object:  # noqa: ANN401  # a type
    """Return what `text` says of a kind; the text itself where it says nothing of it."""
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if _text(choice) == text), text)
    if get_origin(kind) is tuple:
        return [_from_text(get_args(kind)[0], part.strip()) for part in text.split(",")]
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: OptionValue) -> str:
    """Return a value as the command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)

"""The options of a sink's address: `out.mp4?segment=10min&keep=144`."""

import difflib
import math
import re
from urllib.parse import parse_qsl

from edgecv.errors import InputError

_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]+)")
_SWITCH = {"on": True, "off": False}


class Options:
    """What stands behind `?` or `#`; every option is taken once, and what is left is refused.

    Args:
        text: `name=value` pairs joined by `&`, percent-encoded where they need it.
        uri: the whole address for messages, without a password.

    Raises:
        InputError: if an option has no value or stands twice.

    """

    def __init__(self, text: str, uri: str) -> None:
        """Take the text apart."""
        self._uri = uri
        self._values: dict[str, str] = {}
        self._known: list[str] = []
        for part in filter(None, text.split("&")):
            pair = parse_qsl(part, keep_blank_values=True)
            if not pair or "=" not in part or not pair[0][1]:
                raise InputError(f"`{uri}`: an option must be `name=value`, got `{part}`.")
            name, value = pair[0]
            if name in self._values:
                raise InputError(f"`{uri}`: the option `{name}` stands there twice. Remove one.")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """Take an option as it is."""
        self._known.append(name)
        return self._values.pop(name, None)

    def names(self, name: str) -> tuple[str, ...]:
        """Take a list, `person,dog`."""
        return tuple(filter(None, (self.text(name) or "").split(",")))

    def duration_s(self, name: str) -> float | None:
        """Take a duration, `90s` or `10min`, in seconds."""
        value = self.text(name)
        return None if value is None else self._quantity(name, value, (_SECONDS,))[0]

    def size_bytes(self, name: str) -> int | None:
        """Take a size, `500MB`, in bytes."""
        value = self.text(name)
        return None if value is None else int(self._quantity(name, value, (_BYTES,))[0])

    def duration_or_size(self, name: str) -> tuple[float | None, int | None]:
        """Take a duration in seconds or a size in bytes; the other one is None."""
        value = self.text(name)
        if value is None:
            return None, None
        amount, units = self._quantity(name, value, (_SECONDS, _BYTES))
        return (amount, None) if units is _SECONDS else (None, int(amount))

    def whole(self, name: str, *, least: int = 1, most: int | None = None) -> int | None:
        """Take a whole number."""
        value = self.text(name)
        if value is None:
            return None
        if not value.isdecimal() or int(value) < least or (most is not None and int(value) > most):
            rule = f"at least {least}" if most is None else f"from {least} to {most}"
            raise self._refused(name, f"a whole number, {rule}", value)
        return int(value)

    def switch(self, name: str, *, default: bool) -> bool:
        """Take `on` or `off`."""
        value = self.text(name)
        if value is None:
            return default
        if value not in _SWITCH:
            raise self._refused(name, "`on` or `off`", value)
        return _SWITCH[value]

    def finish(self) -> None:
        """Refuse what nobody took.

        Raises:
            InputError: with the nearest option there is.

        """
        for name in self._values:
            near = difflib.get_close_matches(name, self._known, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"There are {', '.join(self._known)}."
            raise InputError(f"`{self._uri}`: there is no option `{name}` here. {hint}")

    def _quantity(
        self, name: str, value: str, kinds: tuple[dict[str, float], ...]
    ) -> tuple[float, dict[str, float]]:
        matched = _QUANTITY.fullmatch(value)
        if matched is not None:
            for units in kinds:
                factor = units.get(matched[2]) or units.get(matched[2].upper())
                amount = float(matched[1]) * (factor or 0)
                if amount > 0 and math.isfinite(amount):
                    return amount, units
        known = " or ".join(f"a number with {', '.join(units)}" for units in kinds)
        raise self._refused(name, known, value)

    def _refused(self, name: str, rule: str, value: str) -> InputError:
        return InputError(f"`{self._uri}`: the option `{name}` must be {rule}, got `{value}`.")

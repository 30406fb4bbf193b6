"""How a source is written: a scheme, an address, and options behind `?` or `#`.

Options of what is local stand behind `?`, as in `camera:0?size=1280x720&fps=30`. A network URL's
own `?` belongs to the server, so ours stand behind `#`, which by RFC 3986 never reaches a server:
`rtsp://cam/1?channel=2#transport=udp&timeout=5`.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from urllib.parse import parse_qsl

from edgecv.errors import SourceError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CAMERA = re.compile(r"-|\d+|camera:.*", re.DOTALL)
_CREDENTIALS = re.compile(r"(?<=://).*@", re.DOTALL)
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_SECRET = re.compile(
    r"((?:pw|pass\w*|token|secret|key)\s*=\s*)(\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE
)
_WORD_WITH_CREDENTIALS = re.compile(r"(?<=://)\S*@")

_TRUTHS = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}


def scheme_of(text: str) -> str | None:
    """Return the scheme before `://` in lower case, None if there is none."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else None


def is_path(text: str) -> bool:
    """Tell whether a text names a file or folder: no camera, address or standard stream."""
    return scheme_of(text) in (None, "file") and _CAMERA.fullmatch(text) is None


def redacted(url: str) -> str:
    """Return `url` without user, password, query and fragment, for messages and results.

    A password that should have been percent-encoded may hold `/`, `?`, `#` or `@`: everything up
    to the last `@` goes, rather too much than too little.
    """
    return re.split(r"[?#]", _CREDENTIALS.sub("***@", url), maxsplit=1)[0]


def shown(uri: str) -> str:
    """Return what a source was named, without the secrets of a URL."""
    return redacted(uri) if "://" in uri else uri


def redacted_words(text: str) -> str:
    """Return a text of many words without the credentials of its URLs and the like of `pw=…`."""
    return _SECRET.sub(r"\1***", _WORD_WITH_CREDENTIALS.sub("***@", text))


def without_fragment(url: str) -> tuple[str, str]:
    """Return a network URL for the server, and our options, which stood behind its `#`.

    A `#` in a password that should have been percent-encoded is none of ours.
    """
    last_at = url.rfind("@")
    position = url.find("#", last_at + 1)
    return (url, "") if position < 0 else (url[:position], url[position + 1 :])


class Options:
    """The options of a URI, each taken by its name.

    Args:
        name: the source for messages.
        text: `fps=30&size=1280x720`, empty for none.
        known: the names that there are.

    """

    def __init__(self, name: str, text: str, known: Sequence[str]) -> None:
        """Parse `text`.

        Raises:
            SourceError: if it is malformed, or holds an unknown name or one twice.

        """
        self._name = name
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
        except ValueError:
            raise SourceError(
                f"`{name}`: options must be written as `key=value&key=value`. "
                f"Choose from {', '.join(known)}."
            ) from None
        self._values: dict[str, str] = {}
        for key, value in pairs:
            if key not in known:
                raise SourceError(
                    f"`{name}`: there is no option `{key}`. Choose from {', '.join(known)}."
                )
            if key in self._values:
                raise SourceError(f"`{name}`: the option `{key}` is given twice. Keep one of them.")
            self._values[key] = value

    def text(self, key: str) -> str | None:
        """Return the option as it is written, None if it is not given."""
        return self._values.get(key)

    def word(self, key: str, words: Sequence[str]) -> str | None:
        """Return one of `words`, None if the option is not given."""
        value = self._values.get(key)
        if value is not None and value.lower() not in words:
            raise self._refused(key, f"be one of {', '.join(words)}")
        return None if value is None else value.lower()

    def size_hw(self, key: str) -> tuple[int, int] | None:
        """Return height and width in pixels of a text such as `1280x720`."""
        value = self._values.get(key)
        if value is None:
            return None
        match = _SIZE.fullmatch(value)
        if match is None:
            raise self._refused(key, "be width x height in pixels, such as 1280x720")
        return int(match[2]), int(match[1])

    def rate(self, key: str) -> Fraction | None:
        """Return frames a second: `30`, `29.97` or `30000/1001`."""
        value = self._values.get(key)
        if value is None:
            return None
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 0 < rate <= 1000:  # noqa: PLR2004  # no camera is faster
            raise self._refused(key, "be frames a second, above 0 and at most 1000")
        return rate

    def count(self, key: str, *, minimum: int = 0) -> int | None:
        """Return a whole number."""
        value = self._values.get(key)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal()) or int(value) < minimum:
            raise self._refused(key, f"be a whole number, at least {minimum}")
        return int(value)

    def seconds(self, key: str) -> float | None:
        """Return a duration."""
        value = self._values.get(key)
        if value is None:
            return None
        try:
            duration_s = float(value)
        except ValueError:
            duration_s = 0.0
        if not 0 < duration_s < float("inf"):
            raise self._refused(key, "be seconds, above 0")
        return duration_s

    def truth(self, key: str) -> bool | None:
        """Return yes or no."""
        word = self.word(key, list(_TRUTHS))
        return None if word is None else _TRUTHS[word]

    def _refused(self, key: str, rule: str) -> SourceError:
        return SourceError(
            f"`{self._name}`: the option `{key}` must {rule}, got {self._values[key]!r}. "
            "Correct it or leave it out."
        )

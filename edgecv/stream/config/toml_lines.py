"""On which line of a TOML file each key and value stands, which `tomllib` does not tell.

Source: TOML 1.0.0, toml.io. The text is taken to be TOML: `tomllib` has read it before.
"""

from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_BLANK = " \t\r\n"
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def lines_of(text: str) -> dict[KeyPath, int]:
    r"""Return the line, from 1, of each table, key and entry of an array, by its path.

    Args:
        text: valid TOML.

    Example:
        >>> lines_of('[[source]]\nuri = "a.mp4"')
        {('source',): 1, ('source', 0): 1, ('source', 0, 'uri'): 2}

    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text + "\n"
        self._at = 0
        self._counted_to, self._line = 0, 1
        self._lines: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}  # entries of arrays of tables

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip() < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> KeyPath:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        line, path = self._line_here(), self._resolved(self._key())
        self._at += 2 if is_array else 1
        self._note(path, line)
        if not is_array:
            return path
        number = self._counts[path] = self._counts.get(path, -1) + 1
        self._note((*path, number), line)
        return *path, number

    def _resolved(self, key: tuple[str, ...]) -> KeyPath:
        """Return a header's path: of an array of tables on its way, the last one is meant."""
        path: KeyPath = ()
        for position, part in enumerate(key):
            path = (*path, part)
            if path in self._counts and position < len(key) - 1:
                path = (*path, self._counts[path])
        return path

    def _pair(self, table: KeyPath) -> None:
        line, key = self._line_here(), self._key()
        for length in range(1, len(key) + 1):
            self._note((*table, *key[:length]), line)
        self._skip()
        self._at += 1  # =
        self._value((*table, *key))

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip()
            if self._text[self._at] in "\"'":
                parts.append(self._string())
            else:
                begin = self._at
                while self._text[self._at] not in _BLANK + ".=]":
                    self._at += 1
                parts.append(self._text[begin : self._at])
            self._skip()
            if self._text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip()
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._at += 1
            number = 0
            while self._skip_comma() != "]":
                self._note((*path, number), self._line_here())
                self._value((*path, number))
                number += 1
            self._at += 1
        elif first == "{":
            self._at += 1
            while self._skip_comma() != "}":
                self._pair(path)
            self._at += 1
        else:
            while self._text[self._at] not in ",]}#\n":
                self._at += 1

    def _string(self) -> str:
        quote = self._text[self._at]
        fence = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._at += len(fence)
        letters = []
        while not self._text.startswith(fence, self._at):
            letter = self._text[self._at]
            if letter == "\\" and quote == '"':
                self._at += 1
                letter = self._escaped()
            letters.append(letter)
            self._at += 1
        self._at += len(fence)
        while len(fence) > 1 and self._text[self._at] == quote:  # """…"" ends with its own quotes
            self._at += 1
        return "".join(letters)

    def _escaped(self) -> str:
        letter = self._text[self._at]
        length = {"u": 4, "U": 8}.get(letter)
        if length is None:
            return _ESCAPES.get(letter, "")
        self._at += length
        return chr(int(self._text[self._at - length + 1 : self._at + 1], 16))

    def _skip(self) -> int:
        """Go past blanks and comments and return where that is."""
        while self._at < len(self._text):
            if self._text[self._at] == "#":
                self._at = self._text.index("\n", self._at)
            elif self._text[self._at] not in _BLANK:
                break
            self._at += 1
        return self._at

    def _skip_comma(self) -> str:
        while self._text[self._skip()] == ",":
            self._at += 1
        return self._text[self._at]

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line

    def _note(self, path: KeyPath, line: int) -> None:
        self._lines.setdefault(path, line)

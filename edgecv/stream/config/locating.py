"""Errors of a run that was read from a file, with the line that they are about."""

from edgecv.errors import InputError
from edgecv.stream.config.config import RunConfig
from edgecv.stream.config.toml_lines import KeyPath, lines_of


class Located:
    """Puts the line of the file that a run was read from before what is raised within.

    Args:
        config: of the run.
        path: of the key that it is about, see `lines_of`.

    """

    def __init__(self, config: RunConfig, path: KeyPath) -> None:
        """Do nothing yet."""
        self._file, self._path = config.file, path

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise an error with the line in the place of one without."""
        if self._file is None or not isinstance(error, InputError):
            return
        try:
            lines = lines_of(self._file.read_text(encoding="utf-8"))
        except OSError:
            return
        path = self._path
        while path and path not in lines:
            path = path[:-1]
        raise type(error)(f"{self._file}:{lines.get(path, 1)}: {error}") from error

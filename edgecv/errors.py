"""What edgecv raises: one family, each member with the exit code that the command line returns.

A message says what was found and, in its last sentence, what to do about it. The command line
prints it as one line; a library user catches `EdgeCVError`.
"""


class EdgeCVError(Exception):
    """Something failed at work: the base of every error that edgecv raises on purpose."""

    exit_code = 1


class InputError(EdgeCVError, ValueError):
    """What the caller handed over cannot be used: a file, a value, a combination."""

    exit_code = 2


class SpecError(InputError):
    """A model description is missing, of a newer schema, misspelt or contradicts itself."""


class DatasetError(InputError):
    """A data set cannot be read as it is; the message names file and line."""


class SourceError(InputError):
    """A video, an image or a camera cannot be opened or decoded."""


class MissingDependencyError(InputError, ImportError):
    """An optional package is needed; the message holds the command that installs it."""


class OutputError(EdgeCVError, OSError):
    """A result could not be written: a full disk, a folder without permission."""


class ParityError(EdgeCVError):
    """An exported model does not compute what the PyTorch model computes."""


class AccuracyError(EdgeCVError):
    """A model in a lower precision loses more accuracy than was allowed."""


class DownloadError(EdgeCVError):
    """A file could not be fetched or does not have the expected checksum."""


class DeviceError(EdgeCVError, RuntimeError):
    """A GPU, its driver or this build of edgecv cannot do what was asked of them."""


class ServerError(EdgeCVError):
    """A model server does not answer, or answers what its protocol does not allow."""

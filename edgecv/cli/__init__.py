"""The command line: one module per group of commands, errors as one line and a remedy."""

import sys
import traceback
from importlib import import_module

from edgecv.errors import EdgeCVError

# One module each, in the order of `edgecv --help`.
_COMMANDS = (
    "train",
    "export",
    "build",
    "adopt",
    "inspect",
    "verify",
    "bundle",
    "run",
    "eval",
    "bench",
    "data",
    "demo",
    "doctor",
)

_INTERRUPTED = 130  # the shell's code for a process that CTRL-C ended


def main() -> None:
    """Run the command line; the exit code is 2 for bad input and 1 for a failure at work."""
    try:
        for name in _COMMANDS:
            import_module(f"edgecv.cli.{name}")
        from edgecv.cli.app import app  # `import edgecv.cli` stays quick

        app()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # the last stop: a user never meets a traceback
        if "--debug" in sys.argv:
            traceback.print_exc()
        sys.stderr.write(f"edgecv: {_one_line(error)}\n")
        sys.exit(error.exit_code if isinstance(error, EdgeCVError) else 1)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, EdgeCVError | OSError):
        return text
    return f"unexpected {type(error).__name__}: {text}. Run `edgecv --debug ...` to see where."

"""The application that the command modules register themselves with."""

from typing import Annotated

import typer

app = typer.Typer(
    name="edgecv",
    help="Take a vision model from PyTorch to a camera.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Take a vision model from PyTorch to a camera."""
    del debug  # `main` looks for it: an error may come before options are parsed

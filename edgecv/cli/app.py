"""The application that the command modules register themselves with."""

from typing import Annotated

import typer

import edgecv

app = typer.Typer(
    name="edgecv",
    help="Take a vision model from PyTorch to a camera.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # typer's signature
    if wanted:
        typer.echo(f"edgecv {edgecv.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="And exit.")
    ] = False,
) -> None:
    """Take a vision model from PyTorch to a camera."""
    del version, debug  # `main` looks for `--debug`: an error may come before it is parsed

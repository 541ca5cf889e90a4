"""Options that commands have in common, for ``cli`` and the modules that bring commands of their own.

Prints the version and nothing else.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dehedge import __version__


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer calls it with the option's value)
    if wanted:
        typer.echo(f"dehedge {__version__}")
        raise typer.Exit


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]

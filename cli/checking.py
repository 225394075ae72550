"""The settings, checked before anything is started with them."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from settings import get_settings
from settings.misspelt import misspelt, names_in_env

app = typer.Typer()


@app.command()
def settings(
    containers: Annotated[bool, typer.Option("--containers", help="also what processes in containers need")] = False,
) -> None:
    """Check the settings as each process does at its start; exit 1 with a line per fault. Asks no server.

    A name that nobody reads and that nearly is one of ours is told of, too, and is no fault.
    """
    from api.auth import BadToken, read_tokens

    # first, for it may be why something is missing; a container has all of .env in its environment
    for line in misspelt({*names_in_env(), *(os.environ if containers else ())}):
        typer.echo(f"autotrader: warning: {line}", err=True)
    checked = get_settings()
    faults = []
    try:
        read_tokens(checked)
    except BadToken as error:
        faults.append(str(error))
    if containers:
        from doctor.containers import container_faults

        faults += container_faults(checked, os.environ)
    if faults:
        sys.exit("\n".join(f"autotrader: {fault}" for fault in faults))

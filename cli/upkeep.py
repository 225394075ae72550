"""Set the system up and look after it: the schema, and what the doctor finds."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from settings import get_settings

app = typer.Typer()


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from storage.engine import StorageError
    from storage.migrate import upgrade

    try:
        asyncio.run(upgrade(get_settings().database_url))
    except StorageError as error:
        sys.exit(f"autotrader: {error}")


@app.command()
def doctor(
    alert: Annotated[bool, typer.Option("--alert", help="also send a test alert to the error chat")] = False,
    metrics_port: Annotated[
        list[int] | None, typer.Option(help="where processes of this host serve Prometheus text; repeatable")
    ] = None,
) -> None:
    """Check everything the system needs, line by line; exit 1 if anything is at fault."""
    from doctor.examination import examine
    from doctor.processes import PORTS

    async def run() -> int:
        faults = 0
        async for finding in examine(alert=alert, ports=metrics_port or tuple(PORTS)):
            typer.echo(str(finding))
            faults += finding.verdict == "FAULT"
        return faults

    if faults := asyncio.run(run()):
        sys.exit(f"autotrader: {faults} at fault")

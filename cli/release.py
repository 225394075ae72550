"""What a deployment asks of a release (docs/deploying.md): its facts, its schema, a hold of orders, a smoke test."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

import typer

from cli.answers import tell
from settings import get_settings

release = typer.Typer(no_args_is_help=True)
app = typer.Typer()
app.add_typer(release, name="release", help="What a deployment asks of a release (docs/deploying.md).")


@release.command()
def facts() -> None:
    """Check the settings, and print what this version knows of the schema as JSON; asks no server."""
    settings = get_settings()
    from storage.revisions import revisions

    known = revisions()
    shown = {
        "known": known.known,
        "one_way": known.one_way,
        "mode": settings.trading_mode,
        "api_port": settings.api_port,
    }
    typer.echo(json.dumps(shown))


@release.command()
def schema(
    to: Annotated[
        str, typer.Argument(help="the revision to go to, up or down; without it only the present is told")
    ] = "",
) -> None:
    """Print the revision at which the database stands, as JSON; with one, go there first."""
    from storage.engine import open_engine
    from storage.errors import StorageError
    from storage.migrate import current
    from storage.revisions import UnknownRevision, move

    async def stands() -> str | None:
        engine = open_engine(get_settings().database_url, pool_size=1, application_name="autotrader-release")
        try:
            return await current(engine)
        finally:
            await engine.dispose()

    async def run() -> str | None:
        at = await stands()
        if to:
            await move(get_settings().database_url, at, to)
            at = await stands()
        return at

    try:
        typer.echo(json.dumps({"current": asyncio.run(run())}))
    except (StorageError, UnknownRevision) as error:
        sys.exit(f"autotrader: {error}")


@release.command()
def hold(deployment: Annotated[str, typer.Argument(help="the id of the deployment")]) -> None:
    """Order nothing until it is lifted, and for twelve hours at most; a halt of yours stays as it is."""
    from operate.holding import hold_orders

    tell(hold_orders(get_settings(), deployment))


@release.command()
def lift(deployment: Annotated[str, typer.Argument(help="the id of the deployment")]) -> None:
    """Take `hold` of the same deployment back, and put what was in force before it back."""
    from operate.holding import lift_hold

    tell(lift_hold(get_settings(), deployment))


@release.command()
def smoke(
    url: Annotated[str, typer.Option(help="where the API answers; API_HOST and API_PORT if empty")] = "",
    seconds: Annotated[float, typer.Option(help="how long each part may take", min=1, max=3600)] = 60,
) -> None:
    """Send one task through every queue, ask /readyz, and have an alert delivered; exit 1 if anything is at fault."""
    from doctor.smoke import smoke as try_all

    settings = get_settings()

    async def run() -> int:
        faults = 0
        async for finding in try_all(settings, url or f"http://{settings.api_host}:{settings.api_port}", seconds):
            typer.echo(str(finding))
            faults += finding.verdict == "FAULT"
        return faults

    if faults := asyncio.run(run()):
        sys.exit(f"autotrader: {faults} at fault")

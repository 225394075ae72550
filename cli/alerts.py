"""What the alert queue sent lately, and what it could not deliver."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.answers import tell
from settings import get_settings

alerts = typer.Typer(no_args_is_help=True)
app = typer.Typer()
app.add_typer(alerts, name="alerts", help="What the alert queue sent, and could not deliver.")


@alerts.command("dead")
def dead_alerts(
    limit: Annotated[int, typer.Option(help="how many")] = 20,
    seen: Annotated[bool, typer.Option("--seen", help="note that you have seen them all: the alarm ends")] = False,
) -> None:
    """The alerts that were given up, newest first, with why."""
    from operate import show_dead_alerts

    tell(show_dead_alerts(get_settings(), limit, seen))


@alerts.command("sent")
def sent_alerts(
    limit: Annotated[int, typer.Option(min=1, max=200, help="how many")] = 20,
    offset: Annotated[int, typer.Option(min=0, max=200, help="after so many newer ones")] = 0,
) -> None:
    """What the error chat was told lately, and what was critical, newest first."""
    from operate import show_sent_alerts

    tell(show_sent_alerts(get_settings(), limit, offset))

"""The command line: `autotrader worker upbit`, `autotrader notifier`, `autotrader demo`, ...

A room per subject; what a command needs beyond typer is imported when it runs, so that each starts fast and a
process holds only what it uses.
"""

from __future__ import annotations

import sys

import typer

from cli import alerts, checking, demo, processes, reading, release, replay, telegram, trading, upkeep, work
from settings import UnknownMarket

# in the order of the help
ROOMS = (
    ("Processes", processes.app),
    ("Work", work.app),
    ("Reading", reading.app),
    ("Trading", trading.app),
    ("Upkeep", upkeep.app),
    ("Upkeep", checking.app),
    ("Upkeep", release.app),
    ("Alerts and Telegram", alerts.app),
    ("Alerts and Telegram", telegram.app),
    ("Demo and replay", demo.app),
    ("Demo and replay", replay.app),
)

app = typer.Typer(
    help="An automated trader on Celery that can be left alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

for subject, room in ROOMS:
    for command in room.registered_commands:
        command.rich_help_panel = subject
    for group in room.registered_groups:
        group.rich_help_panel = subject
    app.add_typer(room)


def main() -> None:
    """Entry point; a wrong market is one line, not a stack."""
    try:
        app()
    except UnknownMarket as error:
        sys.exit(f"autotrader: {error}")

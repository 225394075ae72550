"""Set up the Telegram bot (docs/telegram.md)."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from settings import SettingsError

telegram = typer.Typer(no_args_is_help=True)
app = typer.Typer()
app.add_typer(telegram, name="telegram", help="Set up the Telegram bot (docs/telegram.md).")


@telegram.command("test")
def telegram_test() -> None:
    """Send a test message to both chats, and say of each fault what to do; exit 1 if there is one."""
    from doctor.telegram_setup import telegram_settings, try_chats

    async def run() -> int:
        faults = 0
        async for finding in try_chats(telegram_settings()):
            typer.echo(str(finding))
            faults += finding.verdict == "FAULT"
        return faults

    try:
        faults = asyncio.run(run())
    except SettingsError as error:
        sys.exit(_setting_faults(error))
    if faults:
        sys.exit(f"autotrader: {faults} at fault")


@telegram.command("chats")
def telegram_chats(
    seconds: Annotated[float, typer.Option(help="how long to listen", min=1, max=3600)] = 60,
) -> None:
    """Show the chat and user ids of whoever writes to the bot; TELEGRAM_TOKEN is all it needs."""
    from doctor.telegram_setup import CannotListen, chats, telegram_settings

    async def run() -> None:
        async for line in chats(telegram_settings(), seconds):
            typer.echo(line)

    try:
        asyncio.run(run())
    except SettingsError as error:
        sys.exit(_setting_faults(error))
    except CannotListen as error:
        sys.exit(f"autotrader: {error}")


def _setting_faults(error: SettingsError) -> str:
    return "\n".join(f"autotrader: {line} (set it in .env or the environment)" for line in str(error).splitlines())

"""What there is to read: analyses, states, orders, positions, profit."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.answers import tell
from settings import get_settings

app = typer.Typer()


@app.command()
def why(analysis_id: Annotated[str, typer.Argument(help="the id at the end of an analysis message")]) -> None:
    """Show an analysis with what it was made from and what came of it."""
    from operate import explain

    tell(explain(get_settings(), analysis_id))


@app.command()
def models(clear: Annotated[bool, typer.Option("--clear", help="open them all")] = False) -> None:
    """Which language models are closed after a refusal, for which key (by its hash), and for how long."""
    from operate import show_models

    tell(show_models(get_settings(), clear))


@app.command()
def status() -> None:
    """Trading states, heartbeats, the last runs and the accounts."""
    from operate import show_status

    tell(show_status(get_settings()))


@app.command()
def orders(limit: Annotated[int, typer.Option(help="how many")] = 20) -> None:
    """The orders changed last."""
    from operate import show_orders

    tell(show_orders(get_settings(), limit))


@app.command()
def positions() -> None:
    """What the accounts hold, at the price of the last analysis."""
    from operate import show_positions

    tell(show_positions(get_settings()))


@app.command()
def pnl(days: Annotated[int, typer.Option(help="KST days, today's included")] = 7) -> None:
    """What was earned after fees and taxes, market by market, and what is unrealised."""
    from operate import show_pnl

    tell(show_pnl(get_settings(), days))


@app.command()
def daily() -> None:
    """Today's figures so far, as the daily report tells them when the day is over."""
    from operate import show_daily

    tell(show_daily(get_settings()))

"""What may trade: halts, pauses and locks, arming a market, and selling everything."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.answers import tell
from settings import check_market, get_settings

app = typer.Typer()


@app.command()
def locks() -> None:
    """Everything that keeps a symbol or a market from trading now."""
    from operate import show_locks

    tell(show_locks(get_settings()))


@app.command(name="unlock")
def lift(name: Annotated[str, typer.Argument(help="its name in `autotrader locks`")]) -> None:
    """Lift a lock, where a person can."""
    from operate import operator, unlock

    tell(unlock(get_settings(), name, operator()))


@app.command(name="pause")
def stop_buying(
    market: Annotated[str, typer.Argument(help="only this market")] = "",
    hours: Annotated[float, typer.Option("--for", help="hours until it ends by itself; 0 = until resumed")] = 0,
    reason: Annotated[str, typer.Option(help="why; shown wherever the pause is")] = "",
) -> None:
    """Buy nothing, everywhere or in a market; stop-losses and sales go on."""
    from operate import operator, pause

    tell(pause(get_settings(), market, hours, reason, operator()))


@app.command()
def flatten(
    market: Annotated[str, typer.Argument(help="only this market")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Stop buying and sell every position that our own fills hold, everywhere or in a market."""
    if market:
        check_market(market)
    from operate import operator, request_flatten

    wanted = market or "everything"
    if not yes and typer.prompt(f"Every position is sold at what the market pays. Type {wanted} to go on") != wanted:
        sys.exit("autotrader: nothing was sold")
    tell(request_flatten(get_settings(), market, operator()))


@app.command()
def halt(
    market: Annotated[str, typer.Argument(help="only this market")] = "",
    symbol: Annotated[str, typer.Argument(help="only this symbol of it")] = "",
    reason: Annotated[str, typer.Option(help="why; shown wherever the halt is")] = "halted by the operator",
    hours: Annotated[float, typer.Option("--for", help="hours until it ends by itself; 0 = until resumed")] = 0,
    reduce: Annotated[bool, typer.Option("--reduce", help="allow orders that only reduce what is held")] = False,
) -> None:
    """Stop ordering: everywhere, in a market or in a symbol. Analyses go on."""
    from operate import set_trading_state

    state = "reducing" if reduce else "halted"
    tell(set_trading_state(get_settings(), state, market, symbol, reason, hours))


@app.command()
def resume(
    market: Annotated[str, typer.Argument(help="only this market")] = "",
    symbol: Annotated[str, typer.Argument(help="only this symbol of it")] = "",
) -> None:
    """Take a halt of the same scope back."""
    from operate import set_trading_state

    tell(set_trading_state(get_settings(), "active", market, symbol, "resumed by the operator", 0))


@app.command()
def arm(
    market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")],
    length: Annotated[str, typer.Option("--for", help="how long: 90s, 10m, 8h, 1d")],
) -> None:
    """Allow orders with real money in a market for a while; TRADING_MODE=live is the other switch."""
    from operate import arm_market

    tell(arm_market(get_settings(), market, length))


@app.command()
def disarm(market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")]) -> None:
    """Take `arm` back at once."""
    from operate import disarm_market

    tell(disarm_market(get_settings(), market))


@app.command(name="same-account")
def same_account(market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")]) -> None:
    """After a key was renewed: the account is the same, so its journal goes on."""
    from operate import keep_account

    tell(keep_account(get_settings(), market))

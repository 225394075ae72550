"""Have the workers do something now: a sweep, or the analysis of one symbol."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.answers import answer
from settings import check_market, get_settings

app = typer.Typer()


@app.command()
def sweep(
    market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="print the task id and return at once")] = False,
    timeout: Annotated[float, typer.Option(help="seconds to follow it; it goes on after that")] = 3600,
) -> None:
    """Ask the market's worker for a sweep now and follow it; a slot that has been swept stays swept.

    Prints the task id, then how far it is on stderr, then what it came to; exit 1 if a symbol failed. Ctrl-C stops the
    following only.
    """
    check_market(market)
    from storage.redis import RedisUnavailable, check_redis_sync

    try:
        check_redis_sync(get_settings().redis_url)
    except RedisUnavailable as error:
        sys.exit(f"autotrader: {error}")
    from tasks.analysis import sweep as task

    task_id = task.apply_async(args=(market,), queue=market).id
    typer.echo(task_id)
    if not no_wait:
        from cli.progress import interruptible
        from cli.sweeping import follow_sweep

        interruptible(follow_sweep(get_settings(), market, task_id, timeout))


@app.command()
def analyze(
    market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")],
    symbol: Annotated[str, typer.Argument(help="a symbol of that market, such as KRW-BTC")],
    timeout: Annotated[float, typer.Option(help="seconds to wait for the worker")] = 120,
) -> None:
    """Have one symbol analysed (and traded) now, and say what came of it."""
    check_market(market)
    from cli.progress import hearing
    from operate import analyze_now

    with hearing(market, symbol) as heard:
        told = answer(analyze_now(get_settings(), market, symbol, timeout, heard))
    typer.echo(told)

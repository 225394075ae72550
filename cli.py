"""The command line: `autotrader worker upbit`, `autotrader notifier`, `autotrader demo`, ..."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from settings import UnknownMarket, check_market, get_settings

app = typer.Typer(
    help="An automated trader on Celery that can be left alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def worker(
    market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")],
    concurrency: Annotated[int, typer.Option("-c", help="tasks at a time; 0 = WORKER_CONCURRENCY")] = 0,
) -> None:
    """Run the worker of one market."""
    check_market(market)
    from tasks.app import app as celery

    options = ["-P", "threads", "-Q", market, "-n", f"{market}@%h"]
    celery.worker_main(["worker", *options, *(["-c", str(concurrency)] if concurrency else [])])


@app.command()
def beat() -> None:
    """Run the beat; a second one stands by."""
    from tasks.app import app as celery

    celery.start(["beat"])


@app.command()
def notifier() -> None:
    """Run the process that talks to Telegram."""
    from notifications.notifier import NotifierError, run_notifier
    from tasks.lifecycle import start_telemetry
    from telemetry import logs

    settings = get_settings()
    logs.configure(settings.log_format, settings.log_level)
    telemetry = start_telemetry(settings, "notifier", f"notifier@{os.uname().nodename}")

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_notifier(settings, stop=stop)

    try:
        asyncio.run(run())
    except NotifierError as error:
        sys.exit(f"autotrader: {error}")
    finally:
        telemetry.shutdown()


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
def sweep(market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")]) -> None:
    """Ask the market's worker for a sweep now; a slot that has been swept stays swept."""
    check_market(market)
    from storage.redis import RedisUnavailable, check_redis_sync

    try:
        check_redis_sync(get_settings().redis_url)
    except RedisUnavailable as error:
        sys.exit(f"autotrader: {error}")
    from tasks.analysis import sweep as task

    typer.echo(task.apply_async(args=(market,), queue=market).id)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="one sweep of all three markets, then stop")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --once: print the result as one JSON object")] = False,
    candles: Annotated[
        Path | None, typer.Option(help="recorded candles: DIR/{upbit,kis,yfinance}/SYMBOL.1d.csv")
    ] = None,
    fail: Annotated[list[str] | None, typer.Option(help="let this symbol's venue time out; repeatable")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the simulated candles")] = None,
    feed: Annotated[str, typer.Option(help="auto, live or simulated")] = "auto",
) -> None:
    """Start everything on this machine and show it at work; Ctrl-C stops it all."""
    from sandbox.demo import run_demo

    sys.exit(run_demo(once=once, as_json=as_json, candles=candles, fail=fail or [], seed=seed, feed=feed))


def main() -> None:
    """Entry point; a wrong market is one line, not a stack."""
    try:
        app()
    except UnknownMarket as error:
        sys.exit(f"autotrader: {error}")


if __name__ == "__main__":
    main()

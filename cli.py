"""The command line: `autotrader worker upbit`, `autotrader notifier`, `autotrader demo`, ..."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from settings import MARKETS, SettingsError, UnknownMarket, check_market, get_settings

FLOWER_CONFIG = Path(__file__).resolve().parent / "deploy" / "flower" / "flowerconfig.py"

app = typer.Typer(
    help="An automated trader on Celery that can be left alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

alerts = typer.Typer(help="What the alert queue could not deliver.", no_args_is_help=True)
app.add_typer(alerts, name="alerts")

telegram = typer.Typer(help="Set up the Telegram bot (docs/telegram.md).", no_args_is_help=True)
app.add_typer(telegram, name="telegram")


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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def flower(context: typer.Context) -> None:
    """Run Flower; its own options, such as --port=5556, may follow."""
    from tasks.app import app as celery

    if not FLOWER_CONFIG.is_file():
        sys.exit(f"autotrader: {FLOWER_CONFIG} is missing: run from a copy of the whole project")
    celery.start(["flower", f"--conf={FLOWER_CONFIG}", *context.args])


@app.command()
def notifier() -> None:
    """Run the process that talks to Telegram: it sends alerts and answers commands."""
    from beat.schedule import orders_queue
    from bot.process import run_bot
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
        served = [market for market in MARKETS if settings.symbols(market)]
        queues = [*served, *map(orders_queue, served)]
        bot = asyncio.create_task(run_bot(settings, stop=stop))
        try:
            await run_notifier(settings, stop=stop, queues=queues, announce=True)
        finally:
            stop.set()
            await bot

    try:
        asyncio.run(run())
    except NotifierError as error:
        sys.exit(f"autotrader: {error}")
    finally:
        telemetry.shutdown()


@alerts.command("dead")
def dead_alerts(
    limit: Annotated[int, typer.Option(help="how many")] = 20,
    seen: Annotated[bool, typer.Option("--seen", help="note that you have seen them all: the alarm ends")] = False,
) -> None:
    """The alerts that were given up, newest first, with why."""
    from operate import show_dead_alerts

    typer.echo(_answer(show_dead_alerts(get_settings(), limit, seen)))


@app.command()
def api() -> None:
    """Run the HTTP interface; its documentation is at /docs."""
    from api.auth import BadToken
    from api.process import CannotStart, check_tokens, open_listener, run_api
    from storage.engine import StorageError
    from tasks.lifecycle import configure_logs, start_telemetry

    settings = get_settings()
    configure_logs(settings)
    try:
        tokens = check_tokens(settings)
        listener = open_listener(settings)
    except (BadToken, CannotStart) as error:
        sys.exit(f"autotrader: {error}")
    telemetry = start_telemetry(settings, "api", f"api@{os.uname().nodename}")
    try:
        run_api(settings, tokens, listener)
    except StorageError as error:
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
def analyze(
    market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")],
    symbol: Annotated[str, typer.Argument(help="a symbol of that market, such as KRW-BTC")],
    timeout: Annotated[float, typer.Option(help="seconds to wait for the worker")] = 120,
) -> None:
    """Have one symbol analysed (and traded) now, and say what came of it."""
    check_market(market)
    from operate import analyze_now

    typer.echo(_answer(analyze_now(get_settings(), market, symbol, timeout)))


@app.command()
def why(analysis_id: Annotated[str, typer.Argument(help="the id at the end of an analysis message")]) -> None:
    """Show an analysis with what it was made from and what came of it."""
    from operate import explain

    typer.echo(_answer(explain(get_settings(), analysis_id)))


@app.command()
def models(clear: Annotated[bool, typer.Option("--clear", help="open them all")] = False) -> None:
    """Which language models are closed after a refusal, for which key (by its hash), and for how long."""
    from operate import show_models

    typer.echo(_answer(show_models(get_settings(), clear)))


@app.command()
def status() -> None:
    """Trading states, heartbeats, the last runs and the accounts."""
    from operate import show_status

    typer.echo(_answer(show_status(get_settings())))


@app.command()
def orders(limit: Annotated[int, typer.Option(help="how many")] = 20) -> None:
    """The orders changed last."""
    from operate import show_orders

    typer.echo(_answer(show_orders(get_settings(), limit)))


@app.command()
def positions() -> None:
    """What the accounts hold, at the price of the last analysis."""
    from operate import show_positions

    typer.echo(_answer(show_positions(get_settings())))


@app.command()
def pnl(days: Annotated[int, typer.Option(help="KST days, today's included")] = 7) -> None:
    """What was earned after fees and taxes, market by market, and what is unrealised."""
    from operate import show_pnl

    typer.echo(_answer(show_pnl(get_settings(), days)))


@app.command()
def daily() -> None:
    """Today's figures so far, as the daily report tells them when the day is over."""
    from operate import show_daily

    typer.echo(_answer(show_daily(get_settings())))


@app.command()
def locks() -> None:
    """Everything that keeps a symbol or a market from trading now."""
    from operate import show_locks

    typer.echo(_answer(show_locks(get_settings())))


@app.command(name="unlock")
def lift(name: Annotated[str, typer.Argument(help="its name in `autotrader locks`")]) -> None:
    """Lift a lock, where a person can."""
    from operate import operator, unlock

    typer.echo(_answer(unlock(get_settings(), name, operator())))


@app.command(name="pause")
def stop_buying(
    market: Annotated[str, typer.Argument(help="only this market")] = "",
    hours: Annotated[float, typer.Option("--for", help="hours until it ends by itself; 0 = until resumed")] = 0,
    reason: Annotated[str, typer.Option(help="why; shown wherever the pause is")] = "",
) -> None:
    """Buy nothing, everywhere or in a market; stop-losses and sales go on."""
    from operate import operator, pause

    typer.echo(_answer(pause(get_settings(), market, hours, reason, operator())))


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
    typer.echo(_answer(request_flatten(get_settings(), market, operator())))


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
    typer.echo(_answer(set_trading_state(get_settings(), state, market, symbol, reason, hours)))


@app.command()
def resume(
    market: Annotated[str, typer.Argument(help="only this market")] = "",
    symbol: Annotated[str, typer.Argument(help="only this symbol of it")] = "",
) -> None:
    """Take a halt of the same scope back."""
    from operate import set_trading_state

    typer.echo(_answer(set_trading_state(get_settings(), "active", market, symbol, "resumed by the operator", 0)))


@app.command()
def arm(
    market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")],
    length: Annotated[str, typer.Option("--for", help="how long: 90s, 10m, 8h, 1d")],
) -> None:
    """Allow orders with real money in a market for a while; TRADING_MODE=live is the other switch."""
    from operate import arm_market

    typer.echo(_answer(arm_market(get_settings(), market, length)))


@app.command()
def disarm(market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")]) -> None:
    """Take `arm` back at once."""
    from operate import disarm_market

    typer.echo(_answer(disarm_market(get_settings(), market)))


@app.command(name="same-account")
def same_account(market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")]) -> None:
    """After a key was renewed: the account is the same, so its journal goes on."""
    from operate import keep_account

    typer.echo(_answer(keep_account(get_settings(), market)))


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


def _answer(question: Coroutine[Any, Any, str]) -> str:
    """Run an operator's question; what it cannot answer is one line and exit code 1."""
    from operate import CannotAnswer

    try:
        return asyncio.run(question)
    except CannotAnswer as error:
        sys.exit(f"autotrader: {error}")


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

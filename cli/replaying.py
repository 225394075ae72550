"""A replay from its options to its report; what it says meanwhile goes to stderr."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from cli import replay_candles
from cli.progress import Row, State, watch
from cli.replay_report import Report, print_report
from cli.replay_words import ReplayWords, replay_words
from cli.words import follow_words
from replay.errors import BadReplay
from replay.plan import plan
from replay.series import Series
from replay.terms import CURRENCIES
from sandbox.local import LocalServerError
from sandbox.processes import ProcessFailed
from settings import Settings, SettingsError, get_settings
from storage.errors import StorageError
from storage.redis import RedisUnavailable, check_redis_sync

if TYPE_CHECKING:
    from tasks.replays import Asked, Course, Replay

ANALYSTS = ("rules", "llm")
# what the validator of a model's answer looks at beside each coin
REFERENCES = {"upbit": ("KRW-BTC",)}
# longer than years of many symbols take on a small machine
PATIENCE_SECONDS = 24 * 3_600.0
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """As the command line has them: dates and money are still text, and nothing is checked."""

    market: str
    start: str = ""
    end: str = ""
    candles: Path | None = None
    simulated: bool = False
    symbols: tuple[str, ...] = ()
    cash: str = ""
    seed: int = 1
    analyst: str = "rules"
    local: bool = False
    workers: int = 2
    as_json: bool = False
    picture: Path | None = None
    keep: bool = False

    @property
    def source(self) -> str:
        return "recorded" if self.candles else "simulated" if self.simulated else "venue"


def run(options: Options) -> int:
    """Replay, and print what came of it; a fault is one line on stderr and 1."""
    words = replay_words(get_settings().notify_language)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # as Ctrl-C does: what is under way is ended, and nothing is left behind
        signal.signal(number, signal.default_int_handler)
    try:
        print_report(_replay(options, words), words, as_json=options.as_json, picture=options.picture)
    except (BadReplay, LocalServerError, ProcessFailed, StorageError, RedisUnavailable, SettingsError) as error:
        return _fault(str(error))
    except (RedisError, SQLAlchemyError, OSError) as error:
        return _fault(f"{type(error).__name__}: {str(error).splitlines()[0]}; autotrader doctor says more")
    except KeyboardInterrupt:
        _tell(words.stopped)
        return INTERRUPTED
    return 0


def _replay(options: Options, words: ReplayWords) -> Report:
    first, last = _date("--from", options.start), _date("--to", options.end)
    _check(options)
    series: Mapping[str, Series] | None = None
    if options.candles is not None:
        series = replay_candles.recorded(options.candles, options.market, options.symbols)
    elif options.simulated:
        series = replay_candles.simulated(options.market, options.symbols, options.seed, last)
    if series is not None:
        # what is wrong with the days is said before anything is started
        plan(series, first, last)
    with ExitStack() as stack:
        settings = get_settings()
        configured = {"redis_url", "database_url"} <= settings.model_fields_set
        if options.local or not configured:
            if options.keep:
                raise BadReplay("--keep needs a database of yours: set REDIS_URL and DATABASE_URL, leave out --local")
            _tell(("" if options.local else words.local_because) + words.local.format(workers=options.workers))
            settings = _start_local(stack, options)
        check_redis_sync(settings.redis_url)
        if series is None:
            _tell(words.asking_venue.format(market=options.market))
            symbols = options.symbols or settings.symbols(options.market)
            series = asyncio.run(replay_candles.of_venue(settings, options.market, symbols, first))
        for symbol, of in sorted(series.items()):
            _tell(_source(words, options, symbol, of))
        return asyncio.run(_on_the_workers(settings, _asked(settings, options, series, first, last), options, words))


async def _on_the_workers(settings: Settings, asked: Asked, options: Options, words: ReplayWords) -> Report:
    from tasks.replays import Replay, ReplayFailed, at_once, threads_of_workers

    threads = await asyncio.to_thread(threads_of_workers, asked.market)
    replay = Replay(settings, asked, at_once(threads))

    async def look() -> Sequence[Row]:
        return [_row(course, words) for course in await replay.look()]

    try:
        await replay.open()
        await watch(look, title=words.following.format(market=asked.market), patience=PATIENCE_SECONDS)
        if not replay.ended:
            raise BadReplay(f"the workers of {asked.market} have fallen silent: see their logs")
        return _report(replay, options)
    except ReplayFailed as error:
        raise BadReplay(str(error)) from None
    finally:
        await replay.close()


def _report(replay: Replay, options: Options) -> Report:
    return Report.of(
        replay.asked,
        source=options.source,
        seconds=replay.seconds,
        courses=[replay.courses[symbol] for symbol in sorted(replay.courses)],
    )


def _row(course: Course, words: ReplayWords) -> Row:
    if course.ended:
        return Row(course.symbol, State.DONE, 100)
    if not course.task_id and course.next == course.span.first:
        return Row(course.symbol, State.WAITING)
    step = follow_words(get_settings().notify_language).step(course.state.step)
    return Row(course.symbol, State.RUNNING, course.percent, step)


def _asked(
    settings: Settings, options: Options, series: Mapping[str, Series], first: date | None, last: date | None
) -> Asked:
    from tasks.replays import Asked

    currency = CURRENCIES[options.market]
    cash = _money(options.cash) if options.cash else settings.paper_cash(currency)
    references: tuple[str, ...] = ()
    if options.analyst == "llm":
        references = REFERENCES.get(options.market, ())
        missing = [symbol for symbol in references if symbol not in series]
        if missing:
            raise BadReplay(f"--analyst llm looks at {', '.join(missing)} too: add it to --symbols")
    asked = Asked(
        market=options.market,
        series=series,
        plan=plan(series, first, last),
        seed=options.seed,
        analyst=options.analyst,
        cash=cash,
        keep=options.keep,
        references=references,
    )
    if asked.share <= 0:
        raise BadReplay(f"{cash} {currency} are too little for {len(series)} symbols: give more with --cash")
    return asked


def _check(options: Options) -> None:
    """Raise `BadReplay` or `SettingsError` for options that do not go together."""
    if options.candles is not None and options.simulated:
        raise BadReplay("--candles and --simulated exclude each other: leave one out")
    if options.analyst not in ANALYSTS:
        raise BadReplay(f"--analyst {options.analyst}: use one of {', '.join(ANALYSTS)}")
    if options.cash:
        _money(options.cash)
    if options.picture is not None and not options.picture.resolve().parent.is_dir():
        raise BadReplay(f"--picture {options.picture}: {options.picture.resolve().parent} is no folder: make it first")
    if options.analyst == "llm" and get_settings().analyst != "llm":
        raise BadReplay("--analyst llm asks the models of the settings: set ANALYST=llm there, for workers too")


def _start_local(stack: ExitStack, options: Options) -> Settings:
    """Bring servers and workers up, and have this process use them."""
    from sandbox.replaying import ReplayWorkers

    started = stack.enter_context(ReplayWorkers(options.market, options.workers))
    os.environ.update(started.environment)
    get_settings.cache_clear()
    return get_settings()


def _date(option: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadReplay(f"{option} {text}: is no date: write it like 2025-03-02") from None


def _money(text: str) -> Decimal:
    try:
        money = Decimal(text)
    except InvalidOperation:
        money = Decimal(0)
    if not money.is_finite() or money <= 0:
        raise BadReplay(f"--cash {text}: is no amount: write it like 10000000")
    return money


def _source(words: ReplayWords, options: Options, symbol: str, series: Series) -> str:
    days = [f"{candle.time:%Y-%m-%d}" for candle in series.daily] or [words.none]
    return words.source.format(
        symbol=symbol, days=len(series.daily), first=days[0], last=days[-1], source=words.sources[options.source]
    )


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _fault(line: str) -> int:
    _tell(f"autotrader: {line}")
    return 1

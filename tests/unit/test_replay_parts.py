"""A replay shows the past as it was known, day by day, and says in one line what cannot be replayed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from PIL import Image

from charts import replay as chart
from charts.errors import BadChart
from charts.theme import AVERAGE, CURVE, WIDTH
from cli import replaying
from cli.replaying import Options
from replay.clock import Clock
from replay.days import Point, between, days_of
from replay.errors import BadReplay
from replay.feed import Feed
from replay.figures import drawdown, figures, kept, summed, trades_of
from replay.plan import Span, plan
from replay.series import Series
from replay.terms import session, tick_at
from tasks.replays import at_once
from telemetry import instruments, simulation
from trading.types import Candle

START = datetime(2025, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def day(number: int, opened: int = 100_000, low: int = 90_000, high: int = 120_000, closed: int = 110_000) -> Candle:
    return Candle(START + number * DAY, *map(Decimal, (opened, high, low, closed)), Decimal(7))


def days(count: int) -> tuple[Candle, ...]:
    return tuple(day(number, 100_000 + number * 1_000) for number in range(count))


def hours(number: int, count: int = 24) -> tuple[Candle, ...]:
    return tuple(replace(day(number), time=START + number * DAY + hour * HOUR) for hour in range(count))


# the clock


def test_the_clock_is_later_at_every_look_and_never_goes_back() -> None:
    clock = Clock(START)
    looks = [clock.now() for _ in range(3)]
    clock.set(START - DAY)
    looks.append(clock.now())
    clock.set(START + DAY)
    looks.append(clock.now())
    assert all(later > earlier for earlier, later in pairwise(looks))
    assert looks[-1] - (START + DAY) < timedelta(seconds=1)


# the feed


@given(passed=st.timedeltas(timedelta(0), 90 * DAY))
def test_nothing_is_seen_before_it_is_closed(passed: timedelta) -> None:
    clock = Clock(START + passed)
    feed = Feed("upbit", {"KRW-BTC": Series(days(80), hours(40) + hours(41))}, clock)
    daily = asyncio.run(feed.candles("KRW-BTC", 200))
    hourly = asyncio.run(feed.minute_candles("KRW-BTC", 60, 24))
    now = clock.now()
    assert all(candle.time + DAY <= now for candle in daily)
    assert all(candle.time + HOUR <= now for candle in hourly)
    # and everything that is closed is
    assert len(daily) == min(80, (passed + timedelta(microseconds=2)) // DAY)


def test_a_session_of_a_stock_is_seen_when_it_has_ended() -> None:
    friday = date(2025, 3, 7)
    candle = replace(day(0), time=datetime(2025, 3, 7, tzinfo=UTC))
    for market, closes in (
        ("kis", datetime(2025, 3, 7, 6, 30, tzinfo=UTC)),
        ("yfinance", datetime(2025, 3, 7, 21, tzinfo=UTC)),
    ):
        assert session(market, friday)[1] == closes
        for at, seen in ((closes - timedelta(minutes=1), 0), (closes, 1)):
            feed = Feed(market, {"X": Series((candle,))}, Clock(at))
            assert len(asyncio.run(feed.candles("X", 10))) == seen


def test_the_hours_of_new_york_follow_its_summer_time() -> None:
    assert session("yfinance", date(2025, 1, 15))[0].hour == 14
    assert session("yfinance", date(2025, 7, 15))[0].hour == 13


def test_the_quote_is_the_price_that_the_day_has_come_to() -> None:
    feed = Feed("upbit", {"KRW-BTC": Series(days(3))}, Clock(START + DAY))
    feed.price["KRW-BTC"] = Decimal(101_000)
    quote = asyncio.run(feed.quote("KRW-BTC"))
    assert quote.price == quote.bid == quote.ask == 101_000
    assert (quote.bid_size, quote.ask_size) == (None, None)
    assert quote.at - (START + DAY) < timedelta(seconds=1)


# the way of a day


def test_a_rising_day_falls_first_and_a_falling_one_rises_first() -> None:
    [rising] = days_of("upbit", [day(0, closed=110_000)])
    [falling] = days_of("upbit", [day(0, closed=95_000)])
    assert [point.price for point in rising.points] == [100_000, 90_000, 120_000, 110_000]
    assert [point.price for point in falling.points] == [100_000, 120_000, 90_000, 95_000]
    assert rising.points[0].at == rising.opens
    assert rising.points[-1].at < rising.closes
    assert all(later.at > earlier.at for earlier, later in pairwise(rising.points))


def test_hours_make_the_way_where_they_cover_the_day() -> None:
    whole, part = days_of("upbit", [day(0), day(1)], hours(0) + hours(1, 10))
    assert len(whole.points) == 1 + 24 * 4
    assert len(part.points) == 4
    assert all(later.at >= earlier.at for earlier, later in pairwise(whole.points))


@given(start=st.integers(1, 200_000_000), end=st.integers(1, 200_000_000))
def test_between_two_prices_every_step_is_on_the_grid(start: int, end: int) -> None:
    begin, finish = Point(START, Decimal(start)), Point(START + HOUR, Decimal(end))
    steps = list(between(begin, finish, "upbit"))
    assert steps[-1] is finish
    for step in steps[:-1]:
        assert step.price > 0
        exact = begin.price + (finish.price - begin.price) * Decimal((step.at - begin.at) / HOUR)
        assert abs(step.price - exact) <= tick_at("upbit", max(exact, step.price), START.date())


# which days


def series(count: int, first: int = 0) -> Series:
    return Series(tuple(replace(candle, time=candle.time + first * DAY) for candle in days(count)))


def test_without_dates_it_is_every_day_that_all_symbols_have() -> None:
    found = plan({"A": series(100), "B": series(100, first=10)})
    assert (found.start, found.end) == (date(2025, 3, 12), date(2025, 4, 10))
    assert found.spans == {"A": Span(70, 99), "B": Span(60, 89)}


@pytest.mark.parametrize(
    ("of", "start", "end", "said"),
    [
        ({}, None, None, "no symbols to replay"),
        ({"A": series(60)}, None, None, "A: 60 daily candles are too few: the indicators need 60 before"),
        ({"A": series(100)}, date(2025, 3, 9), date(2025, 3, 5), "--from 2025-03-09 is after --to 2025-03-05"),
        ({"A": series(100)}, date(2025, 1, 5), None, "A can be replayed from 2025-03-02 to 2025-04-10"),
        ({"A": series(100)}, None, date(2026, 1, 5), "A can be replayed from 2025-03-02 to 2025-04-10"),
        ({"A": series(100)}, date(2025, 6, 1), None, "A can be replayed from 2025-03-02 to 2025-04-10"),
        ({"A": series(100)}, None, date(2025, 2, 1), "A can be replayed from 2025-03-02 to 2025-04-10"),
        ({"A": series(100), "B": series(100, first=90)}, None, None, "they have no day in common"),
    ],
)
def test_days_that_are_not_there_are_one_line_that_names_those_that_are(
    of: dict[str, Series], start: date | None, end: date | None, said: str
) -> None:
    with pytest.raises(BadReplay, match=said.replace("(", r"\(")) as refused:
        plan(of, start, end)
    assert "\n" not in str(refused.value)


@given(st.lists(st.decimals("0.0001", 10**9, allow_nan=False), min_size=1, max_size=5))
def test_candles_reach_the_workers_with_every_digit(prices: Sequence[Decimal]) -> None:
    candles = tuple(
        Candle(START + number * DAY, price, price, price, price, price) for number, price in enumerate(prices)
    )
    given_out = Series(candles, candles[:1])
    assert Series.unpacked(given_out.packed()) == given_out
    with pytest.raises(ValueError):
        Series.unpacked("no candles")


# the figures


def curve(*values: int) -> list[tuple[date, Decimal]]:
    return [(date(2025, 1, 1) + number * DAY, Decimal(value)) for number, value in enumerate(values)]


def test_the_drawdown_is_the_deepest_fall_from_a_highest_close() -> None:
    assert drawdown(Decimal(100), curve(110, 88, 120, 90)) == Decimal("0.25")
    assert drawdown(Decimal(100), curve(80, 100)) == Decimal("0.2")
    assert drawdown(Decimal(100), curve(100, 101)) == 0


def test_buying_and_keeping_pays_its_fee_and_buys_whole_shares() -> None:
    candles = [day(0, opened=100, closed=120), day(1, closed=150)]
    worth = kept("kis", "005930", Decimal(1_050), candles)
    fee = Decimal(1000) * Decimal("0.00015")
    assert [value for _, value in worth] == [50 - fee + 1200, 50 - fee + 1500]


def test_wins_are_round_trips_that_earned_something_after_fees() -> None:
    rows = [
        ("2025-03-02T00:00:00+00:00", "buy", "1", "100", "1"),
        ("2025-03-03T00:00:00+00:00", "sell", "1", "101", "1"),
        ("2025-03-04T00:00:00+00:00", "buy", "1", "100", "1"),
        ("2025-03-05T00:00:00+00:00", "sell", "1", "110", "1"),
    ]
    trades = trades_of("upbit", "KRW-BTC", "KRW", rows)
    found = figures(Decimal(1000), curve(1007), curve(1100), trades, "KRW-BTC")
    assert (found.trades, found.round_trips, found.wins, found.fees) == (4, 2, 1, 4)
    assert (found.win_rate, found.change, found.hold_change) == (Decimal("0.5"), Decimal("0.007"), Decimal("0.1"))


def test_a_symbol_without_a_day_counts_as_on_the_day_before() -> None:
    first, second = curve(10, 20, 30), [curve(1, 2, 3)[1]]
    total = summed({"A": first, "B": second}, {"A": Decimal(5), "B": Decimal(100)})
    assert [value for _, value in total] == [110, 22, 32]


@pytest.mark.parametrize(("threads", "parts"), [([8], 2), ([8, 8], 4), ([2, 8], 1), ([1], 1), ([8] * 5, 4)])
def test_half_of_every_worker_is_left_to_live_work(threads: list[int], parts: int) -> None:
    assert at_once(threads) == parts


# the picture


@pytest.mark.parametrize("count", [1, 2, 30, 400, 3000])
def test_the_picture_shows_both_curves_however_long_they_are(count: int) -> None:
    account, held = curve(*range(1000, 1000 + count)), curve(*range(4000, 4000 - count, -1))
    drawn = chart.ReplayChart(title="Replay", subtitle="upbit", cash=Decimal(1000), account=account, kept=held)
    image = Image.open(BytesIO(chart.draw(drawn)))
    colours = {colour for _, colour in image.getcolors(1_000_000) or []}
    assert {CURVE, AVERAGE} <= colours
    assert image.width == WIDTH


def test_there_is_no_picture_of_no_day() -> None:
    with pytest.raises(BadChart):
        chart.draw(chart.ReplayChart(title="", subtitle="", cash=Decimal(1), account=[], kept=[]))


# the real world hears nothing of it


def test_nothing_simulated_is_counted_traced_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    read = instruments.replays._values
    with simulation.simulated():
        instruments.replays.add(1, {"market": "nowhere", "outcome": "done"})
        instruments.worker_active.set(5, {"worker": "nobody"})
        assert not trace.get_current_span().is_recording()
        dropped = logging.LogRecord("tasks.guard", logging.WARNING, "", 0, "stop_loss", (), None)
        told = logging.LogRecord("tasks.guard", logging.ERROR, "", 0, "broken", (), None)
        assert (simulation.not_simulated(dropped), simulation.not_simulated(told)) == (False, True)
        with simulation.real():
            assert not simulation.is_simulated()
    assert (("market", "nowhere"), ("outcome", "done")) not in read
    assert (("worker", "nobody"),) not in instruments.worker_active._values
    assert simulation.not_simulated(dropped)


# the command


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "soon"}, "--from soon: is no date"),
        ({"cash": "-5"}, "--cash -5: is no amount"),
        ({"analyst": "oracle"}, "--analyst oracle: use one of rules, llm"),
        ({"analyst": "llm"}, "set ANALYST=llm there"),
        ({"simulated": True, "symbols": ("KRW-NONE",)}, "KRW-NONE is not simulated: use some of"),
        ({"candles": Path("/nowhere")}, "--candles /nowhere: no such folder"),
        ({"simulated": True, "start": "2020-01-01", "end": "2026-06-30"}, "can be replayed from"),
        ({"simulated": True, "candles": Path()}, "exclude each other"),
        ({"picture": Path("/nowhere/at/all.png")}, "is no folder: make it first"),
        ({"simulated": True, "local": True, "keep": True}, "--keep needs a database of yours"),
    ],
)
def test_what_cannot_be_replayed_is_one_line_before_anything_starts(
    options: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replaying.run(Options(market="upbit", **options)) == 1  # type: ignore[arg-type]
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("autotrader: ")
    assert said in line


def test_a_file_that_is_no_candles_is_named_with_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "upbit"
    folder.mkdir()
    (folder / "KRW-BTC.1d.csv").write_text("time,open,high,low,close,volume\n2025-01-01T00:00:00Z,1,2,x,1,1\n")
    assert replaying.run(Options(market="upbit", candles=tmp_path)) == 1
    assert "KRW-BTC.1d.csv: row 2: low 'x' is no number" in capsys.readouterr().err
    assert replaying.run(Options(market="upbit", candles=tmp_path, symbols=("KRW-ETH",))) == 1
    assert "KRW-ETH has no candles" in capsys.readouterr().err
    assert replaying.run(Options(market="kis", candles=tmp_path)) == 1
    assert "there is no kis/SYMBOL.1d.csv in it" in capsys.readouterr().err

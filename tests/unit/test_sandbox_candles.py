"""What the sandbox serves as candles: recorded rows unchanged but for their date, simulated ones sound."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from sandbox.candles import CandleBook, CandleFault, aggregate, load_recorded
from sandbox.simulated import DAYS, SYMBOLS, simulated_book
from sandbox.ticks import best_bid_and_ask, tick_size, to_tick

NOW = datetime(2026, 11, 20, 18, 20, tzinfo=UTC)


def _rows(count: int, start: str = "2025-01-01", hours: int = 24) -> list[str]:
    first = datetime.fromisoformat(f"{start}T00:00:00+00:00")
    return [f"{first + timedelta(hours=hours * i):%Y-%m-%dT%H:%M:%SZ},100,110,90,105,{i + 1}.5" for i in range(count)]


def _write(folder: Path, name: str, rows: list[str], header: str = "time,open,high,low,close,volume") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_recorded_candles_end_today_with_prices_and_volumes_unchanged(tmp_path: Path) -> None:
    _write(tmp_path, "upbit/KRW-BTC.1d.csv", _rows(40))
    book = CandleBook(load_recorded(tmp_path), "recorded", clock=lambda: NOW)

    days = book.daily("upbit", "KRW-BTC")

    assert days[-1].time == datetime(2026, 11, 20, tzinfo=UTC)
    assert [day.volume for day in days] == [Decimal(f"{i + 1}.5") for i in range(40)]
    assert {(str(day.open), str(day.high), str(day.low), str(day.close)) for day in days} == {
        ("100", "110", "90", "105")
    }
    assert {later.time - earlier.time for earlier, later in pairwise(days)} == {timedelta(days=1)}


def test_recorded_hours_that_have_not_begun_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path, "upbit/KRW-BTC.1d.csv", _rows(40))
    _write(tmp_path, "upbit/KRW-BTC.60m.csv", _rows(48, hours=1))
    book = CandleBook(load_recorded(tmp_path), "recorded", clock=lambda: NOW)

    hours = book.minutes("upbit", "KRW-BTC", 60)

    assert hours[-1].time == datetime(2026, 11, 20, 18, tzinfo=UTC)
    assert len(hours) == 48 - 5
    assert book.minutes("upbit", "KRW-BTC", 5) == []


def test_the_last_day_moves_on_at_midnight(tmp_path: Path) -> None:
    _write(tmp_path, "kis/005930.1d.csv", _rows(40))
    now = [NOW]
    book = CandleBook(load_recorded(tmp_path), "recorded", clock=lambda: now[0])
    assert book.daily("kis", "005930")[-1].time.date() == NOW.date()

    now[0] += timedelta(days=1)

    assert book.daily("kis", "005930")[-1].time.date() == now[0].date()


def _replaced(number: int, row: str) -> Callable[[list[str]], list[str]]:
    return lambda rows: [*rows[: number - 2], row, *rows[number - 1 :]]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_replaced(7, "2025-01-06T00:00:00Z,100,110,90,NaN,1"), ("row 7", "close", "no number", "correct or remove")),
        (_replaced(7, "2025-01-06T00:00:00Z,100,110,90,,1"), ("row 7", "close", "no number")),
        (_replaced(9, "2025-01-08T00:00:00Z,0,110,90,105,1"), ("row 9", "open", "not positive", "correct or remove")),
        (_replaced(9, "2025-01-08T00:00:00Z,100,110,-90,105,1"), ("row 9", "low", "not positive")),
        (_replaced(9, "2025-01-08T00:00:00Z,100,110,90,105,-1"), ("row 9", "volume", "not positive")),
        (_replaced(9, "2025-01-08T00:00:00Z,100,104,90,105,1"), ("row 9", "outside low..high", "correct or remove")),
        (_replaced(9, "2025-01-01T00:00:00Z,100,110,90,105,1"), ("row 9", "not after", "sort the rows")),
        (_replaced(9, "2025-01-08T00:00:00,100,110,90,105,1"), ("row 9", "ISO time in UTC", "write it like")),
        (_replaced(9, "yesterday,100,110,90,105,1"), ("row 9", "ISO time in UTC")),
        (_replaced(9, "2025-01-08T00:00:00Z,100,110,90"), ("row 9", "4 columns")),
        (lambda rows: rows[:5], ("row 6", "too few", "at least 30")),
        (lambda rows: [], ("row 1", "too few")),
    ],
)
def test_bad_rows_are_refused_with_file_row_and_cure(
    tmp_path: Path, spoil: Callable[[list[str]], list[str]], words: tuple[str, ...]
) -> None:
    path = _write(tmp_path, "upbit/KRW-BTC.1d.csv", spoil(_rows(40)))

    with pytest.raises(CandleFault) as caught:
        load_recorded(tmp_path)

    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_folders_that_hold_no_candles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CandleFault, match="no such folder"):
        load_recorded(tmp_path / "missing")
    with pytest.raises(CandleFault, match="no candle files"):
        load_recorded(tmp_path)
    _write(tmp_path, "upbit/KRW-BTC.60m.csv", _rows(40, hours=1))
    with pytest.raises(CandleFault, match="add the daily file"):
        load_recorded(tmp_path)
    _write(tmp_path, "upbit/KRW-BTC.1w.csv", _rows(40))
    with pytest.raises(CandleFault, match="name candle files"):
        load_recorded(tmp_path)


def test_a_wrong_header_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "upbit/KRW-BTC.1d.csv", _rows(40), header="date,open,high,low,close,volume")
    with pytest.raises(CandleFault, match="row 1: the header"):
        load_recorded(tmp_path)


@pytest.mark.parametrize(("market", "symbol"), [(market, symbol) for market in SYMBOLS for symbol in SYMBOLS[market]])
def test_simulated_candles_are_sound_and_on_the_grid(market: str, symbol: str) -> None:
    book = simulated_book(3, clock=lambda: NOW)
    days, hours = book.daily(market, symbol), book.minutes(market, symbol, 60)

    assert len(days) == DAYS
    assert days[-1].time == datetime(2026, 11, 20, tzinfo=UTC)
    assert hours
    assert hours[-1].time <= NOW
    for candle in days + hours:
        assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert candle.volume > 0
        for price in (candle.open, candle.high, candle.low, candle.close):
            assert price == to_tick(market, price)
    level = SYMBOLS[market][symbol][0]
    assert Decimal(level) / 2 < days[-1].close < Decimal(level) * 2


def test_simulated_candles_repeat_by_seed_and_differ_between_seeds() -> None:
    first, again, other = (simulated_book(seed, clock=lambda: NOW) for seed in (1, 1, 2))
    for market, symbols in SYMBOLS.items():
        for symbol in symbols:
            assert first.daily(market, symbol) == again.daily(market, symbol)
            assert first.daily(market, symbol) != other.daily(market, symbol)
    assert first.minutes("upbit", "KRW-BTC", 5) == again.minutes("upbit", "KRW-BTC", 5)


@pytest.mark.parametrize(("market", "symbol"), [("upbit", "KRW-BTC"), ("kis", "005930"), ("yfinance", "AAPL")])
def test_simulated_minutes_make_up_their_hours_and_hours_their_days(market: str, symbol: str) -> None:
    # when every session of the day is over
    late = NOW.replace(hour=23, minute=59)
    book = simulated_book(3, clock=lambda: late)
    hours = [hour for hour in book.minutes(market, symbol, 60) if hour.time.date() == late.date()]
    minutes = [minute for minute in book.minutes(market, symbol, 1) if minute.time.date() == late.date()]
    day = book.daily(market, symbol)[-1]

    for parts in (hours, minutes):
        assert parts[0].open == day.open
        assert max(part.high for part in parts) == day.high
        assert min(part.low for part in parts) == day.low
        assert parts[-1].close == day.close
        assert sum(part.volume for part in parts) == day.volume
    fives = [five for five in book.minutes(market, symbol, 5) if five.time.date() == late.date()]
    assert fives == aggregate(minutes, 5)
    assert all(part.low <= min(part.open, part.close) <= part.high for part in minutes)


@pytest.mark.parametrize(
    ("market", "price", "step"),
    [
        ("upbit", "128830000", "1000"),
        ("upbit", "999999", "500"),
        ("upbit", "184200", "100"),
        ("upbit", "2724", "1"),
        ("upbit", "184", "1"),
        ("upbit", "99.9", "0.1"),
        ("kis", "1999", "1"),
        ("kis", "2000", "5"),
        ("kis", "49950", "50"),
        ("kis", "178600", "100"),
        ("kis", "200000", "500"),
        ("kis", "500000", "1000"),
        ("yfinance", "253.79", "0.01"),
    ],
)
def test_price_steps_are_those_of_the_venues(market: str, price: str, step: str) -> None:
    assert tick_size(market, Decimal(price)) == Decimal(step)


@pytest.mark.parametrize(
    ("market", "price", "bid", "ask"),
    [
        ("upbit", "128830000", "128829000", "128831000"),
        ("upbit", "100000", "99950", "100100"),
        ("kis", "200000", "199900", "200500"),
        ("kis", "178650", "178600", "178700"),
        ("yfinance", "253.79", "253.78", "253.80"),
    ],
)
def test_the_book_is_one_step_wide_on_either_side(market: str, price: str, bid: str, ask: str) -> None:
    assert best_bid_and_ask(market, Decimal(price)) == (Decimal(bid), Decimal(ask))

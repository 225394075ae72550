"""What Yahoo and yfinance answer, read as the client reads it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from curl_cffi.requests import exceptions as curl
from yfinance import exceptions as yahoo

from workers.calls import Call
from workers.errors import BadReply, NoData, Throttled, TimedOut, UnknownSymbol, Unreachable, VenueError
from workers.yfinance.candles import Row, daily, intraday
from workers.yfinance.errors import judge_chart, translate
from workers.yfinance.market import DAYS, YahooMarket, _shortest

CALL = Call("yahoo", "chart", "AAPL")
NEW_YORK = ZoneInfo("America/New_York")
NAN = math.nan
SOUND = (1.25, 1.5, 1.0, 1.3, 100.0)
NONE = (NAN, NAN, NAN, NAN, 0.0)


def row(day: int, values: tuple[float, float, float, float, float] = SOUND) -> Row:
    return datetime(2026, 3, day, tzinfo=NEW_YORK), values


def test_days_are_dated_by_their_session_and_floats_keep_their_shortest_text() -> None:
    # the night of the 8th is the one in which New York changes its clocks
    candles = daily([row(6), row(9, (200.99000549316406, 201.5, 200.0, 201.0, 11392916.0))], date(2026, 3, 9), CALL)
    assert [candle.time for candle in candles] == [datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)]
    assert candles[1].open == Decimal("200.99000549316406")
    assert str(candles[1].volume) == "11392916"


def test_only_the_last_row_of_an_unfinished_day_may_be_without_prices() -> None:
    today = date(2026, 3, 5)
    assert [candle.time.day for candle in daily([row(4), row(5, NONE)], today, CALL)] == [4]
    with pytest.raises(BadReply, match=r"AAPL: candle of 2026-03-04T00:00:00.*open is NaN"):
        daily([row(4, NONE), row(5)], today, CALL)
    with pytest.raises(BadReply, match="candle of 2026-03-04"):
        # the day is over
        daily([row(3), row(4, NONE)], today, CALL)
    with pytest.raises(BadReply, match="high is NaN"):
        daily([row(4), row(5, (1.0, NAN, 1.0, 1.0, 1.0))], today, CALL)


def test_zero_and_negative_prices_are_passed_on_for_the_check_of_the_candles() -> None:
    (candle,) = daily([row(4, (0.0, -1.5, 1.0, 1.0, 0.0))], date(2026, 3, 5), CALL)
    assert (candle.open, candle.high) == (Decimal(0), Decimal("-1.5"))


def test_an_hour_without_a_price_is_refused() -> None:
    start = datetime(2026, 3, 4, 9, 30, tzinfo=NEW_YORK)
    assert intraday([(start, SOUND)], CALL)[0].time == datetime(2026, 3, 4, 14, 30, tzinfo=UTC)
    with pytest.raises(BadReply, match="open is NaN"):
        intraday([(start, NONE)], CALL)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (429, "Too Many Requests", Throttled),
        (404, '{"chart": {}}', UnknownSymbol),
        (503, "<html>", BadReply),
        (500, '{"chart": {}}', BadReply),
        (200, "<!DOCTYPE html>", BadReply),
        (200, "", BadReply),
    ],
)
def test_a_refused_chart_is_judged_before_yfinance_asks_again(status: int, text: str, kind: type[VenueError]) -> None:
    assert type(judge_chart(CALL, status, text)) is kind


@pytest.mark.parametrize(("status", "text"), [(200, '{"chart": {}}'), (401, "Invalid Crumb"), (422, '{"chart": {}}')])
def test_what_another_cookie_may_cure_is_left_to_yfinance(status: int, text: str) -> None:
    assert judge_chart(CALL, status, text) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (yahoo.YFRateLimitError(), Throttled),
        (yahoo.YFTzMissingError("AAPL"), UnknownSymbol),
        (yahoo.YFPricesMissingError("AAPL", "(period=5d)"), NoData),
        (yahoo.YFInvalidPeriodError("AAPL", "5d", "1mo"), NoData),
        (yahoo.YFDataException("…"), BadReply),
        (curl.ReadTimeout("https://query2.finance.yahoo.com/?crumb=SECRET"), TimedOut),
        (curl.ConnectTimeout("https://query2.finance.yahoo.com/?crumb=SECRET"), TimedOut),
        (curl.DNSError("https://query2.finance.yahoo.com/?crumb=SECRET"), Unreachable),
        (json.JSONDecodeError("…", "<html>", 0), BadReply),
        (KeyError("timestamp"), BadReply),
    ],
)
def test_every_failure_is_one_of_ours_without_the_address(error: Exception, kind: type[VenueError]) -> None:
    ours = translate(error, CALL, 3.0)
    assert type(ours) is kind
    assert "AAPL" in str(ours)
    assert "SECRET" not in str(ours)
    assert "://" not in str(ours)


@pytest.mark.parametrize(("count", "period"), [(1, "1mo"), (58, "3mo"), (200, "1y"), (400, "2y"), (9_999, "max")])
def test_the_shortest_period_that_surely_holds_the_candles(count: int, period: str) -> None:
    assert _shortest(DAYS, count, "max") == period


@pytest.mark.parametrize("symbol", ["", "aapl", "US0378331005", "AAPL/../x", "AAPL?x=1", "005930.KS"])
async def test_what_is_no_us_ticker_is_refused_before_any_call(symbol: str) -> None:
    market = YahooMarket("http://127.0.0.1:9", 1.0)
    for read in (market.instrument(symbol), market.quote(symbol), market.candles(symbol, 1)):
        with pytest.raises(UnknownSymbol, match="YFINANCE_SYMBOLS"):
            await read
    await market.close()


def test_a_worker_of_another_market_imports_nothing_of_yahoo() -> None:
    script = (
        "import sys, workers.markets, workers.upbit.market, workers.kis.market, workers.yfinance.market\n"
        "print(sorted({'yfinance', 'pandas', 'curl_cffi'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

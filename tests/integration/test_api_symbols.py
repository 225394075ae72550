from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api.errors import ApiError
from api.symbols import Symbols
from settings import Settings
from storage.engine import open_engine
from workers.errors import TimedOut, VenueError
from workers.http import open_session
from workers.upbit.wire import Listing

LISTED = {
    "KRW-BTC": "비트코인",
    "KRW-BCH": "비트코인캐시",
    "KRW-ETH": "이더리움",
    "KRW-SOL": "솔라나",
    "BTC-ETH": "이더리움",
}


class Upbit:
    """Upbit's list of markets; `away` is what it raises instead."""

    away: VenueError | None = None
    asked = 0

    async def market_all(self) -> list[Listing]:
        self.asked += 1
        if self.away is not None:
            raise self.away
        return [Listing(market=market, korean_name=name) for market, name in LISTED.items()]


@pytest.fixture
def upbit() -> Upbit:
    return Upbit()


@pytest.fixture
async def symbols(emptied_database_url: str, upbit: Upbit) -> AsyncIterator[Symbols]:
    settings = Settings(_env_file=None, upbit_symbols="KRW-BTC,KRW-XRP")
    engine, http = open_engine(emptied_database_url), open_session(1.0)
    found = Symbols(settings, engine, http)
    found._upbit = upbit  # type: ignore[assignment]
    yield found
    await http.close()
    await engine.dispose()


@pytest.mark.parametrize(
    ("market", "text", "symbol"),
    [
        ("upbit", "KRW-BTC", "KRW-BTC"),
        ("upbit", "btc", "KRW-BTC"),
        ("upbit", "비트코인", "KRW-BTC"),
        ("upbit", "비트코인 캐시", "KRW-BCH"),
        # composed otherwise, as macOS writes file names
        ("upbit", "\u1109\u1169\u11af\u1105\u1161\u1102\u1161", "KRW-SOL"),
        ("upbit", "이더리움", "KRW-ETH"),
        ("kis", "삼성전자", "005930"),
        ("kis", "sk하이닉스", "000660"),
        ("kis", "KODEX200", "069500"),
        ("kis", "000100", "000100"),
        ("yfinance", "brk-b", "BRK-B"),
    ],
)
async def test_a_symbol_is_found_by_itself_its_ticker_or_its_name(
    symbols: Symbols, market: str, text: str, symbol: str
) -> None:
    assert await symbols.find(market, text) == symbol


@pytest.mark.parametrize(
    ("market", "text", "candidate"),
    [
        ("upbit", "비트코", "KRW-BTC"),
        ("upbit", "KRW-BTCC", "KRW-BTC"),
        ("upbit", "이더리웅", "KRW-ETH"),
        ("kis", "삼성", "005930"),
        ("kis", "하이닉스", "000660"),
        ("yfinance", "애플", None),
    ],
)
async def test_an_unknown_one_is_told_with_what_may_have_been_meant(
    symbols: Symbols, market: str, text: str, candidate: str | None
) -> None:
    with pytest.raises(ApiError) as refused:
        await symbols.find(market, text)
    assert refused.value.status == 404
    found = [candidate.symbol for candidate in refused.value.candidates]
    assert found == [] if candidate is None else candidate in found
    assert len(found) <= 5


async def test_nobody_is_asked_for_an_enabled_symbol_and_the_list_is_read_once(symbols: Symbols, upbit: Upbit) -> None:
    assert await symbols.find("upbit", "XRP") == "KRW-XRP"
    assert upbit.asked == 0
    for _ in range(3):
        await symbols.find("upbit", "이더리움")
        with pytest.raises(ApiError):
            await symbols.find("upbit", "없는코인")
    assert upbit.asked == 1


async def test_a_halt_does_not_wait_for_the_venue_but_takes_no_name_it_cannot_check(
    symbols: Symbols, upbit: Upbit
) -> None:
    upbit.away = TimedOut("upbit market_all: no answer")
    assert await symbols.find_to_halt("upbit", "krw-sol") == "KRW-SOL"
    with pytest.raises(TimedOut):
        await symbols.find_to_halt("upbit", "솔라나")
    with pytest.raises(TimedOut):
        await symbols.find("upbit", "KRW-SOL")

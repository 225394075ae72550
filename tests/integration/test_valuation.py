"""A position is worth what it costs now, also where its analyses have failed since, or are made no more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

import pytest
from house import BUY, House, Venue

from settings import Settings
from storage import analyses, portfolio, runs, trading_states
from tasks.losses import check_losses
from tasks.portfolio import equity, take_snapshot
from tasks.valuation import good_for
from trading.state import State
from trading.types import Account, Holdings, Position, Quote
from workers.errors import TimedOut, Unreachable
from workers.runtime import Runtime

BTC, ETH = "KRW-BTC", "KRW-ETH"
# a Saturday, when no exchange for stocks is open
SATURDAY = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNUSED = Account("KRW", Decimal(0), Position(Decimal(0), Decimal(0)))


@dataclass
class Quoted(Venue):
    """A venue with a price for each symbol, or what stands in the way of it; it counts what it was asked."""

    prices: dict[str, Decimal | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def quote(self, symbol: str) -> Quote:
        self.asked.append(symbol)
        price = self.prices[symbol]
        if isinstance(price, Exception):
            raise price
        return replace(await super().quote(symbol), price=price, bid=price, ask=price)


@dataclass
class Clocked(House):
    """A house with a clock of its own."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def venue() -> Quoted:
    """Seventy in cash, and thirty in one symbol at the price of its purchase."""
    venue = Quoted(prices={BTC: Decimal(100)})
    venue.everything = Holdings("KRW", Decimal(70_000), {BTC: Position(Decimal(300), Decimal(100))})
    return venue


@pytest.fixture
def clocked(house: House, venue: Quoted) -> Clocked:
    return Clocked(house.engine, house.redis, venue, house.settings)


async def ran(house: Clocked, *, analysed: Sequence[str] = (), price: int = 100, market: str = "upbit") -> UUID:
    """A run that has analysed these symbols now."""
    run = await runs.open_run(house.engine, market=market, slot=house.at, task_id="t", symbols=(BTC, ETH))
    for symbol in analysed:
        made = replace(BUY, price=Decimal(price), at=house.at)
        await analyses.store(house.engine, run_id=run.id, market=market, symbol=symbol, analysis=made, indicators={})
    return run.id


async def snapshot(house: Clocked, run: UUID, market: str = "upbit") -> None:
    await take_snapshot(cast(Runtime, house), market, run)


async def worth(house: Clocked, market: str = "upbit") -> Decimal:
    return (await portfolio.latest(house.engine))[market].total


async def now_worth(house: Clocked, market: str = "upbit") -> Decimal:
    return await equity(cast(Runtime, house), market, UNUSED)


async def test_a_fall_that_no_analysis_saw_breaks_the_circuit(clocked: Clocked, venue: Quoted) -> None:
    clocked.at = datetime(2043, 11, 18, 3, 0, tzinfo=UTC)
    await snapshot(clocked, await ran(clocked, analysed=(BTC, ETH)))
    # its analysis fails, or it left the settings
    for _ in range(2):
        clocked.at += HOUR
        venue.prices[BTC] = Decimal(60)
        await snapshot(clocked, await ran(clocked, analysed=(ETH,)))
    assert await worth(clocked) == Decimal(88_000)
    row = await check_losses(cast(Runtime, clocked), "upbit", clocked.at)
    assert row is not None
    assert row.state is State.REDUCING
    assert "daily loss 12.00%" in row.reason
    assert [state.state for state in await trading_states.in_force(clocked.engine, clocked.at)] == [State.REDUCING]


async def test_what_was_analysed_lately_costs_no_request(clocked: Clocked, venue: Quoted) -> None:
    run = await ran(clocked, analysed=(BTC,))
    clocked.at += good_for(clocked.settings, "upbit")
    venue.prices[BTC] = Decimal(60)
    await snapshot(clocked, run)
    assert (await worth(clocked), await now_worth(clocked)) == (Decimal(100_000), Decimal(100_000))
    assert venue.asked == []


async def test_what_buys_are_capped_by_is_worth_what_it_costs_now(clocked: Clocked, venue: Quoted) -> None:
    await ran(clocked, analysed=(BTC,))
    clocked.at += 3 * HOUR
    venue.prices[BTC] = Decimal(60)
    assert await now_worth(clocked) == Decimal(88_000)
    # all symbols of a sweep ask for it, in seconds
    assert await now_worth(clocked) == Decimal(88_000)
    assert venue.asked == [BTC]
    clocked.at += timedelta(minutes=1)
    venue.prices[BTC] = Decimal(50)
    assert await now_worth(clocked) == Decimal(85_000)


@pytest.mark.parametrize(
    ("broken", "says"), [(Unreachable("upbit: no connection"), "no connection"), (Decimal("NaN"), "is NaN")]
)
async def test_a_price_that_cannot_be_had_is_told_and_the_rest_of_the_account_is_valued(
    clocked: Clocked, venue: Quoted, broken: Decimal | Exception, says: str
) -> None:
    venue.everything = Holdings(
        "KRW", Decimal(40_000), {symbol: Position(Decimal(300), Decimal(100)) for symbol in (BTC, ETH)}
    )
    run = await ran(clocked, analysed=(BTC, ETH))
    clocked.at += 3 * HOUR
    venue.prices |= {BTC: broken, ETH: Decimal(60)}
    with pytest.raises(Exception, match=says):
        await snapshot(clocked, run)
    assert await worth(clocked) == Decimal(40_000 + 30_000 + 18_000)


async def test_no_exit_is_stopped_by_the_quote_of_another_symbol(
    clocked: Clocked, venue: Quoted, caplog: pytest.LogCaptureFixture
) -> None:
    await ran(clocked, analysed=(BTC,))
    clocked.at += 3 * HOUR
    venue.prices[BTC] = ZeroDivisionError("whatever a client may raise")
    with caplog.at_level(logging.WARNING, "tasks.valuation"):
        assert await now_worth(clocked) == Decimal(100_000)
    assert f"{BTC}: counted at 100 of " in caplog.text
    # nor does it wait for the same again at once
    await now_worth(clocked)
    assert venue.asked == [BTC]


async def test_a_venue_that_does_not_answer_is_not_waited_for(
    clocked: Clocked, venue: Quoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(symbol: str) -> Quote:
        await asyncio.Event().wait()
        raise AssertionError(symbol)

    monkeypatch.setattr("tasks.valuation.PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(venue, "quote", hang)
    run = await ran(clocked, analysed=(BTC,))
    clocked.at += 3 * HOUR
    async with asyncio.timeout(60):
        assert await now_worth(clocked) == Decimal(100_000)
        with pytest.raises(TimedOut, match=f"{BTC}: no quote within"):
            await snapshot(clocked, run)


async def test_a_quote_that_fails_once_does_not_bring_an_older_price_back(clocked: Clocked, venue: Quoted) -> None:
    run = await ran(clocked, analysed=(BTC,))
    clocked.at += 3 * HOUR
    venue.prices[BTC] = Decimal(200)
    assert await now_worth(clocked) == Decimal(130_000)
    clocked.at += HOUR
    venue.prices[BTC] = Unreachable("upbit: no connection")
    with pytest.raises(Unreachable):
        await snapshot(clocked, run)
    assert await worth(clocked) == Decimal(130_000), "as if it had lost what it never lost"
    # until it is analysed again
    await ran(clocked, analysed=(BTC,), price=120)
    assert await now_worth(clocked) == Decimal(106_000)


async def test_while_its_market_is_closed_the_last_price_is_the_right_one(clocked: Clocked, venue: Quoted) -> None:
    clocked.at = SATURDAY - 24 * HOUR
    await ran(clocked, analysed=(BTC,), market="kis")
    clocked.at, venue.prices[BTC] = SATURDAY, Decimal(60)
    assert await now_worth(clocked, "kis") == Decimal(100_000)
    assert venue.asked == []
    clocked.settings = clocked.settings.model_copy(update={"ignore_market_hours": True})
    assert await now_worth(clocked, "kis") == Decimal(88_000)


def test_a_missed_sweep_makes_a_price_old_and_a_short_period_alone_does_not() -> None:
    def settings(minutes: int) -> Settings:
        return Settings(_env_file=None, upbit_sweep_minutes=minutes)

    for minutes in (30, 60, 1440):
        assert timedelta(minutes=minutes) < good_for(settings(minutes), "upbit") < timedelta(minutes=2 * minutes)
    for minutes in (0, 1, 5):
        assert good_for(settings(minutes), "upbit") == timedelta(minutes=20)

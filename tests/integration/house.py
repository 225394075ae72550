"""A house around the tasks' code: real PostgreSQL and Redis, and a venue in memory that does as it is told."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from settings import Settings
from trading.types import (
    Account,
    Analysis,
    Decision,
    Fill,
    Holdings,
    Instrument,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    PriceRange,
    PriceRanges,
    Quote,
)
from workers.clock import ClockWatch
from workers.ports import Absence

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
INSTRUMENT = Instrument(
    "upbit", "KRW-BTC", "비트코인", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)
QUOTE = Quote("KRW-BTC", Decimal(100_000), Decimal(99_900), Decimal(100_000), Decimal(100), NOW)
RANGE = PriceRange(Decimal(90_000), Decimal(110_000))
BUY = Analysis(Decision.BUY, 80, ("up",), PriceRanges(RANGE, RANGE, RANGE, RANGE), "rules-1", Decimal(100_000), NOW)


@dataclass
class Venue:
    """A venue in memory that counts what it is sent; `replies` and `truth` script what it says."""

    replies: list[Placement | Exception] = field(default_factory=list)
    truth: dict[str, Placement | Exception] = field(default_factory=dict)
    cancels: dict[str, Placement | Exception] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    intents: list[OrderIntent] = field(default_factory=list)
    cash: Decimal = Decimal(1_000_000)
    held: Position = field(default_factory=lambda: Position(Decimal(0), Decimal(0)))
    everything: Holdings | None = None
    book: list[OpenOrder] = field(default_factory=list)
    price: Decimal = Decimal(100_000)
    market: str = "upbit"
    absence: Absence = field(default_factory=lambda: Absence(1, 0.0))

    async def account(self, instrument: Instrument) -> Account:
        return Account("KRW", self.cash, self.held)

    async def holdings(self) -> Holdings | None:
        return self.everything

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        self.sent.append(intent.client_order_id)
        self.intents.append(intent)
        reply = self.replies.pop(0) if self.replies else filled(intent)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def find(self, client_order_id: str, venue_order_id: str | None = None) -> Placement | None:
        said = self.truth.get(client_order_id)
        if isinstance(said, Exception):
            raise said
        return said

    async def cancel(self, client_order_id: str, venue_order_id: str | None = None) -> Placement:
        said = self.cancels.get(client_order_id) or Placement(venue_order_id, OrderState.CANCELLED, reason="asked")
        if isinstance(said, Exception):
            raise said
        return said

    async def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        return list(self.book)

    async def instrument(self, symbol: str) -> Instrument:
        return replace(INSTRUMENT, symbol=symbol)

    async def quote(self, symbol: str) -> Quote:
        spread = Decimal(100)
        return Quote(symbol, self.price, self.price - spread, self.price, Decimal(100), datetime.now(UTC))

    def tick_size(self, instrument: Instrument, price: Decimal) -> Decimal:
        return Decimal(100)


def filled(intent: OrderIntent) -> Placement:
    fill = Fill(f"t-{intent.client_order_id}", intent.quantity, intent.price, Decimal(1), NOW)
    return Placement(f"v-{intent.client_order_id}", OrderState.FILLED, (fill,))


STRATEGY = {"all": {"levels": 1, "min_interval": "0s", "max_position_share": "1"}}


@dataclass
class Replies:
    """Where the clocks of the venues' replies are watched; none has come yet."""

    clock: ClockWatch = field(default_factory=ClockWatch)


@dataclass
class House:
    """What `trade` needs of a runtime."""

    engine: AsyncEngine
    redis: Redis
    venue: Venue
    settings: Settings
    http: Replies = field(default_factory=Replies)
    leases: str = "autotrader:lease"

    def now(self) -> datetime:
        return datetime.now(UTC)

    def written_at(self) -> datetime | None:
        return None

    def clock_offset(self, now: datetime) -> timedelta | None:
        return self.http.clock.offset(now)

    async def broker(self, _: str) -> Venue:
        return self.venue

    async def market(self, _: str) -> Venue:
        return self.venue


def settings(directory: Path, strategy: dict[str, object], **values: object) -> Settings:
    """The settings with that strategy file."""
    file = directory / f"strategy-{uuid.uuid4()}.json"
    file.write_text(json.dumps(strategy), encoding="utf-8")
    return Settings(_env_file=None, strategy_file=str(file), **values)  # type: ignore[call-arg, arg-type]

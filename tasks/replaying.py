"""One symbol through its past: each day what the beat, the resolver and the guard would have done, by their own code.

A day begins at its open. What rests or is held is looked at first; then the symbol is analysed from the candles that
are closed by then, at the day's open, and traded. After that the price goes its way to the close, and wherever it
reaches a resting order or an exit, the resolver and the guard have their look, as they have every few seconds live.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from replay.clock import Clock
from replay.days import Day, Point, between
from replay.feed import Feed
from storage import analyses, exits, runs
from storage import orders as journal
from storage.journal import JournalOrder
from tasks.analysis import see_through
from tasks.guard import guard_market
from tasks.orders import resolve_symbol
from tasks.strategies import strategy_of
from tasks.turns import raise_all
from trading.exits import check_exit
from trading.types import Instrument, Position, Quote, Side
from workers.simulated import SimulatedRuntime

# ids that follow from the seed, so that a replay with the same one writes the same rows
NAMES = uuid.UUID("8f3c1c3e-5d0b-4f0e-9a0c-6a3d1f0f7c55")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the price may meet: resting orders, what is held, and the numbers of the exits."""

    resting: Sequence[JournalOrder] = ()
    position: Position | None = None
    leaving: bool = False
    atr: Decimal | None = None

    @property
    def nothing(self) -> bool:
        return not (self.resting or self.position or self.leaving)


@dataclass(slots=True)
class Walk:
    """The way of one symbol through its days, in a world of its own."""

    world: SimulatedRuntime
    feed: Feed
    clock: Clock
    market: str
    symbol: str
    seed: int
    _standing: Standing = field(default_factory=Standing)

    async def day(self, day: Day) -> Decimal:
        """Go through a day; what the account is worth at its close, in its currency."""
        self._go_to(day.points[0])
        self._standing = await self._look_up()
        if not self._standing.nothing:
            await self._look()
        await self._analyse(day)
        self._standing = await self._look_up()
        for start, end in zip(day.points, day.points[1:], strict=False):
            if self._standing.nothing:
                break
            await self._leg(start, end)
        self._go_to(day.points[-1])
        return await self._worth(day.candle.close)

    async def _analyse(self, day: Day) -> None:
        run = await runs.open_run(
            self.world.engine,
            market=self.market,
            slot=day.opens,
            task_id="replay",
            symbols=(self.symbol,),
            run_id=uuid.uuid5(NAMES, f"{self.seed}:{self.market}:{self.symbol}:{day.opens.isoformat()}"),
        )
        await see_through(self.world, self.market, self.symbol, run.id)

    async def _leg(self, start: Point, end: Point) -> None:
        """From one price of the day to the next; at the next itself whatever stands is looked at."""
        quiet = False
        instrument = await self.feed.instrument(self.symbol)
        for point in between(start, end, self.market):
            if self._standing.nothing:
                return
            if point is not end and (quiet or not self._meets(instrument, point)):
                continue
            self._go_to(point)
            before = self._standing
            await self._look()
            # what a look has not changed, the next step on the same way will not change
            quiet = self._standing == before

    def _meets(self, instrument: Instrument, point: Point) -> bool:
        """Whether the price reaches a resting order, or an exit of what is held."""
        for order in self._standing.resting:
            limit = order.intent.price
            if point.price <= limit if order.intent.side is Side.BUY else point.price >= limit:
                return True
        position = self._standing.position
        if position is None:
            return False
        price = point.price
        strategy = strategy_of(self.world.settings, self.market, self.symbol, instrument.currency)
        quote = Quote(self.symbol, price, price, price, Decimal(1), point.at)
        # a trailing stop moves only with the guard's looks, which are at every turn of the price
        return strategy.enabled and check_exit(position, quote, strategy, self._standing.atr, None) is not None

    async def _look(self) -> None:
        """The resolver's look at what rests, and the guard's at what is held."""
        world, market = self.world, self.market
        if resting := self._standing.resting:
            broker = await world.broker(market)
            book = {order.venue_order_id: order for order in await broker.open_orders()}
            errors: list[Exception] = []
            await resolve_symbol(world, market, self.symbol, resting[0].intent.currency, book, world.now(), errors)
            raise_all(errors, market)
        await guard_market(world, market, world.now())
        self._standing = await self._look_up()

    async def _look_up(self) -> Standing:
        engine = self.world.engine
        holdings = await (await self.world.broker(self.market)).holdings()
        position = None if holdings is None else holdings.positions.get(self.symbol)
        resting = await journal.resting(engine, self.market, self.symbol)
        leaving = bool(await exits.open_exits(engine, self.market))
        atr = await analyses.last_atr(engine, self.market, self.symbol) if position else None
        return Standing(resting, position, leaving, atr)

    async def _worth(self, price: Decimal) -> Decimal:
        holdings = await (await self.world.broker(self.market)).holdings()
        if holdings is None:
            return self.world.settings.paper_cash((await self.feed.instrument(self.symbol)).currency)
        position = holdings.positions.get(self.symbol)
        return holdings.cash + (position.quantity * price if position else Decimal(0))

    def _go_to(self, point: Point) -> None:
        self.clock.set(point.at)
        self.feed.price[self.symbol] = point.price

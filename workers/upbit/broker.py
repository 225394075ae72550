"""Upbit as `workers.ports.Broker`: one request per order, and Upbit's own records for what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trading.orders import RESTING
from trading.types import (
    Account,
    Holdings,
    Instrument,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    Quote,
    TimeInForce,
)
from workers.errors import BadReply, Rejected, TimedOut, Unproven, Unreachable, VenueError
from workers.http import VenueHttp
from workers.ports import Absence
from workers.upbit.auth import Keys
from workers.upbit.errors import DUPLICATED_IDENTIFIER, ORDER_NOT_FOUND
from workers.upbit.exchange import LONGEST_WINDOW, ORDER_SECONDS, UpbitExchange
from workers.upbit.orders import SIDES, limit
from workers.upbit.placements import placement
from workers.upbit.private_wire import AccountRow, OrderBody
from workers.upbit.rules import figures, refusal

CURRENCY = "KRW"
ABSENCE = Absence(3, 30.0)
_ZERO = Decimal(0)
_SIDES = {name: side for side, name in SIDES.items()}


@dataclass(frozen=True, slots=True)
class Looks:
    """How often to ask: `count` times, the last one `seconds` after the first."""

    count: int
    seconds: float

    @property
    def pause(self) -> float:
        return self.seconds / max(self.count - 1, 1)


# an immediate-or-cancel order ends with its matching, and a cancelled one soon, but the records may be a little behind
END_LOOKS = Looks(5, 2.0)
ONE_LOOK = Looks(1, 0.0)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class UpbitBroker:
    """Orders in KRW markets. `ending` bounds the looks at an order that is about to end; `lookback` (at most 7 days)
    is how far back the closed orders are listed for one that cannot be read by its id."""

    market = "upbit"

    def __init__(
        self,
        http: VenueHttp,
        base_url: str,
        access_key: str,
        secret_key: str,
        *,
        absence: Absence = ABSENCE,
        order_timeout: float = ORDER_SECONDS,
        ending: Looks = END_LOOKS,
        lookback: timedelta = LONGEST_WINDOW,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.exchange = UpbitExchange(http, base_url, Keys(access_key, secret_key), order_timeout=order_timeout)
        self.absence = absence
        self._ending = ending
        self._lookback = lookback
        self._sleep = sleep
        self._now = now

    async def account(self, instrument: Instrument) -> Account:
        """Free cash and free units, without what open orders hold. Upbit's average price is without fees."""
        rows = {row.currency: row for row in await self.exchange.accounts() if row.unit_currency == instrument.currency}
        money, held = rows.get(instrument.currency), rows.get(instrument.symbol.partition("-")[2])
        return Account(
            currency=instrument.currency,
            cash=money.balance if money else _ZERO,
            position=Position(held.balance, held.avg_buy_price) if held else Position(_ZERO, _ZERO),
        )

    async def holdings(self) -> Holdings | None:
        """Everything the account holds, by KRW market, whether there is such a market or not. Cash is all of it, with
        what open buys hold, and positions are whole, so that what the account is worth does not drop while orders
        rest; for what may be spent see `account`."""
        rows = [row for row in await self.exchange.accounts() if row.unit_currency == CURRENCY]
        positions = {f"{CURRENCY}-{row.currency}": _position(row) for row in rows if row.currency != CURRENCY}
        return Holdings(
            currency=CURRENCY,
            cash=sum((row.balance + row.locked for row in rows if row.currency == CURRENCY), _ZERO),
            positions={symbol: position for symbol, position in positions.items() if position.quantity},
        )

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Send the order once and read what became of it: of an immediate-or-cancel order for a few looks until it
        has ended, of one that may rest once.

        Raises `Unproven` if nothing proves what became of it, and `Throttled`, `BadCredentials`, `UnknownSymbol`
        or `Unreachable` only if it was not created. An order that was accepted is returned as such, also if its
        trades could not be read. The same `client_order_id` again returns the first order's placement. Raises
        `ValueError` for an order or quote of something else.
        """
        if intent.market != self.market or not intent.symbol == instrument.symbol == quote.symbol:
            raise ValueError(
                f"upbit: order for {intent.market} {intent.symbol}, "
                f"instrument {instrument.symbol}, quote {quote.symbol}"
            )
        reason = refusal(intent, instrument, quote, self._now().date())
        if reason is not None:
            return Placement(None, OrderState.REJECTED, reason=reason)
        at_once = intent.time_in_force is TimeInForce.IOC
        order = limit(
            intent.symbol,
            intent.side,
            intent.quantity,
            intent.price,
            intent.client_order_id,
            time_in_force="ioc" if at_once else None,
        )
        try:
            placed = await self.exchange.place(order)
        except Rejected as error:
            if error.name.startswith(DUPLICATED_IDENTIFIER):
                return await self._first(intent)
            said = str(error).partition(f"{error.name}: ")[2]
            return Placement(
                None, OrderState.REJECTED, reason=f"{error.name}: {figures(intent, instrument)}; Upbit says: {said}"
            )
        word = await self._word({"uuid": placed.uuid}, self._ending if at_once else ONE_LOOK)
        return word or Placement(placed.uuid, OrderState.ACCEPTED)

    async def find(self, client_order_id: str, venue_order_id: str | None = None) -> Placement | None:
        """Upbit's word on an order sent earlier, or None if this look found none: it is not there by its id, Upbit's
        where that is known, and neither among the open nor the closed orders. What it takes to believe that is
        `absence`.

        Raises `Unproven` where the answers say nothing; `Throttled` and `BadCredentials` say nothing either.
        """
        name = _name(client_order_id, venue_order_id)
        try:
            body = await self._seen(name) or await self._listed(name)
            return None if body is None else placement(body)
        except (TimedOut, Unreachable, BadReply, Rejected) as error:
            raise Unproven(f"{error}; what became of order {client_order_id} is still open") from None

    async def cancel(self, client_order_id: str, venue_order_id: str | None = None) -> Placement:
        """Ask once for what rests to be cancelled, then read the order for a few looks until it has ended. It is read
        once, and its own state told, where the cancellation was refused or nothing answered.

        Raises `Unproven` if the order cannot be read then, and `Throttled`, `BadCredentials` or `Unreachable` only if
        nothing was cancelled.
        """
        name, looks = _name(client_order_id, venue_order_id), self._ending
        try:
            await self.exchange.cancel(**name)
        except (Rejected, Unproven):
            looks = ONE_LOOK
        word = await self._word(name, looks)
        if word is None:
            raise Unproven(
                f"upbit cancel_order: order {client_order_id} could not be read afterwards, whether it still rests "
                "is open; cancel it again"
            )
        return word

    async def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        """The limit orders that wait in KRW markets, oldest first, whoever sent them; market orders are over at once
        and have no price to rest at."""
        rows = await self.exchange.open_orders(symbol or "")
        return [
            OpenOrder(
                venue_order_id=row.uuid,
                client_order_id=row.identifier,
                symbol=row.market,
                side=_SIDES[row.side],
                quantity=row.volume,
                filled=row.executed_volume,
                price=row.price,
                currency=CURRENCY,
                at=row.created_at,
            )
            for row in rows
            if row.market.startswith(f"{CURRENCY}-") and row.volume is not None and row.price is not None
        ]

    async def _first(self, intent: OrderIntent) -> Placement:
        """The order that has used the identifier before. Raises `Unproven`: its request may have failed, or not."""
        name = _name(intent.client_order_id)
        try:
            first = placement(await self.exchange.order(**name))
        except VenueError as error:
            raise Unproven(
                f"upbit place_order {intent.symbol}: its identifier was used before, and that order could not be "
                f"read ({type(error).__name__}); it must be asked for"
            ) from None
        if first.state not in RESTING or intent.time_in_force is not TimeInForce.IOC:
            return first
        return await self._word(name, self._ending) or first

    async def _word(self, name: Mapping[str, str], looks: Looks) -> Placement | None:
        """The last word on an order, asked for until it has ended or `looks` are used up; None if none was told.
        Never raises a `VenueError`."""
        word = None
        for look in range(looks.count):
            if look:
                await self._sleep(looks.pause)
            try:
                word = placement(await self.exchange.order(**name))
            except Rejected:
                # reads may be behind the acceptance
                continue
            except VenueError:
                # what it traded is asked for again when orders are settled
                break
            if word.state not in RESTING:
                break
        return word

    async def _seen(self, name: Mapping[str, str]) -> OrderBody | None:
        try:
            return await self.exchange.order(**name)
        except Rejected as error:
            if error.name != ORDER_NOT_FOUND:
                raise
            return None

    async def _listed(self, name: Mapping[str, str]) -> OrderBody | None:
        now = self._now()
        # open ones first: an order that ends in between is then found among the closed ones
        rows = await self.exchange.open_orders()
        rows += await self.exchange.closed_orders(now - self._lookback, now)
        for row in rows:
            if name in ({"uuid": row.uuid}, {"identifier": row.identifier}):
                return await self.exchange.order(uuid=row.uuid)
        return None


def _name(client_order_id: str, venue_order_id: str | None = None) -> dict[str, str]:
    """How Upbit is asked for an order: by its own id where that is known, an order by hand has no other one."""
    return {"uuid": venue_order_id} if venue_order_id else {"identifier": client_order_id}


def _position(row: AccountRow) -> Position:
    return Position(row.balance + row.locked, row.avg_buy_price)

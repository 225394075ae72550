"""Upbit as `workers.ports.Broker`: one request per order, and Upbit's own records for what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from trading.types import Account, Fill, Holdings, Instrument, OrderIntent, OrderState, Placement, Position, Quote
from workers.errors import BadReply, Rejected, TimedOut, Unproven, Unreachable, VenueError
from workers.http import VenueHttp
from workers.upbit.auth import Keys
from workers.upbit.errors import DUPLICATED_IDENTIFIER, ORDER_NOT_FOUND
from workers.upbit.exchange import LONGEST_WINDOW, ORDER_SECONDS, UpbitExchange
from workers.upbit.orders import limit
from workers.upbit.private_wire import AccountRow, OrderBody
from workers.upbit.rules import figures, refusal

CURRENCY = "KRW"
FINAL_STATES = ("done", "cancel")
_ZERO = Decimal(0)
_FEE_STEP = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Looks:
    """How often to ask: at least `count` times, the last one at least `seconds` after the first."""

    count: int
    seconds: float

    @property
    def pause(self) -> float:
        return self.seconds / max(self.count - 1, 1)


# an immediate-or-cancel order ends with its matching, but the record of its trades may be a little behind
FILL_LOOKS = Looks(5, 2.0)
# a new order may be missing in reads for a while: what is not found at once may still appear
ABSENCE_LOOKS = Looks(3, 30.0)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class UpbitBroker:
    """Orders in KRW markets. `fills` bounds the looks at a placed order, `absence` what it takes to believe that
    there is no order; `lookback` (at most 7 days) is how far back the closed orders are listed for that."""

    market = "upbit"

    def __init__(
        self,
        http: VenueHttp,
        base_url: str,
        access_key: str,
        secret_key: str,
        *,
        order_timeout: float = ORDER_SECONDS,
        fills: Looks = FILL_LOOKS,
        absence: Looks = ABSENCE_LOOKS,
        lookback: timedelta = LONGEST_WINDOW,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.exchange = UpbitExchange(http, base_url, Keys(access_key, secret_key), order_timeout=order_timeout)
        self._fills = fills
        self._absence = absence
        self._lookback = lookback
        self._clock = clock
        self._sleep = sleep
        self._now = now

    async def account(self, instrument: Instrument) -> Account:
        """Free cash, and the position with what open orders hold of it. Upbit's average price is without fees."""
        rows = {row.currency: row for row in await self.exchange.accounts() if row.unit_currency == instrument.currency}
        money, held = rows.get(instrument.currency), rows.get(instrument.symbol.partition("-")[2])
        return Account(
            currency=instrument.currency,
            cash=money.balance if money else _ZERO,
            position=_position(held) if held else Position(_ZERO, _ZERO),
        )

    async def holdings(self) -> Holdings | None:
        """Everything the account holds, by KRW market, whether there is such a market or not."""
        rows = [row for row in await self.exchange.accounts() if row.unit_currency == CURRENCY]
        positions = {f"{CURRENCY}-{row.currency}": _position(row) for row in rows if row.currency != CURRENCY}
        return Holdings(
            currency=CURRENCY,
            cash=sum((row.balance for row in rows if row.currency == CURRENCY), _ZERO),
            positions={symbol: position for symbol, position in positions.items() if position.quantity},
        )

    async def place(self, intent: OrderIntent, instrument: Instrument, quote: Quote) -> Placement:
        """Send the order once, immediate-or-cancel, and read what it traded.

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
        order = limit(
            intent.symbol,
            intent.side,
            intent.quantity,
            intent.price,
            intent.client_order_id,
            time_in_force="ioc",
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
        return await self._followed(intent.client_order_id, Placement(placed.uuid, OrderState.ACCEPTED))

    async def find(self, client_order_id: str) -> Placement | None:
        """Upbit's word on an order sent earlier, or None if it is proven that there is none.

        Proven means: not found in every one of several looks spread over half a minute, and neither among the
        open nor the closed orders. Raises `Unproven` where the answers do not prove it; `Throttled` and
        `BadCredentials` prove nothing either.
        """
        try:
            body = await self._seen(client_order_id) or await self._listed(client_order_id)
        except (TimedOut, Unreachable, BadReply, Rejected) as error:
            raise Unproven(f"{error}; what became of order {client_order_id} is still open") from None
        return None if body is None else placement(body)

    async def _first(self, intent: OrderIntent) -> Placement:
        """The order that has used the identifier before. Raises `Unproven`: its request may have failed, or not."""
        try:
            body = await self.exchange.order(identifier=intent.client_order_id)
        except VenueError as error:
            raise Unproven(
                f"upbit place_order {intent.symbol}: its identifier was used before, and that order could not be "
                f"read ({type(error).__name__}); it must be asked for"
            ) from None
        first = placement(body)
        return first if first.state is not OrderState.ACCEPTED else await self._followed(intent.client_order_id, first)

    async def _followed(self, client_order_id: str, accepted: Placement) -> Placement:
        """What an accepted order came to, or that it is accepted still; never raises a `VenueError`."""
        for look in range(self._fills.count):
            if look:
                await self._sleep(self._fills.pause)
            try:
                word = placement(await self.exchange.order(identifier=client_order_id))
            except Rejected:
                # reads may be behind the acceptance
                continue
            except VenueError:
                # it is proven that the order exists, and what it traded is asked for when orders are settled
                break
            if word.state is not OrderState.ACCEPTED:
                return word
        return accepted

    async def _seen(self, client_order_id: str) -> OrderBody | None:
        started, looks = self._clock(), 0
        while True:
            try:
                return await self.exchange.order(identifier=client_order_id)
            except Rejected as error:
                if error.name != ORDER_NOT_FOUND:
                    raise
            looks += 1
            if looks >= self._absence.count and self._clock() - started >= self._absence.seconds:
                return None
            await self._sleep(self._absence.pause)

    async def _listed(self, client_order_id: str) -> OrderBody | None:
        now = self._now()
        # open ones first: an order that ends in between is then found among the closed ones
        rows = await self.exchange.open_orders()
        rows += await self.exchange.closed_orders(now - self._lookback, now)
        for row in rows:
            if row.identifier == client_order_id:
                return await self.exchange.order(uuid=row.uuid)
        return None


def placement(body: OrderBody) -> Placement:
    """Upbit's order as a placement: judged by what it traded, because a market buy ends as `cancel` when it is
    filled. It is accepted, without fills, until all of them are known: its fee is told for all together."""
    trades = body.trades or []
    traded = sum((trade.volume for trade in trades), _ZERO)
    whole = traded >= body.volume if body.volume is not None else traded > 0
    ended = body.state in FINAL_STATES
    if traded != body.executed_volume or not (ended or (whole and body.volume is not None)):
        return Placement(body.uuid, OrderState.ACCEPTED)
    if not traded:
        return Placement(body.uuid, OrderState.CANCELLED, reason="not_crossed: Upbit cancelled it without a trade")
    return Placement(body.uuid, OrderState.FILLED if whole else OrderState.PARTLY_FILLED, _fills(body))


def _fills(body: OrderBody) -> tuple[Fill, ...]:
    """The trades with the order's fee spread over them by value; the parts sum up to exactly the whole."""
    trades = body.trades or []
    value = sum((trade.funds for trade in trades), _ZERO)
    fees = [(body.paid_fee * trade.funds / value).quantize(_FEE_STEP, ROUND_DOWN) for trade in trades]
    fees[-1] += body.paid_fee - sum(fees, _ZERO)
    return tuple(
        Fill(trade.uuid, trade.volume, trade.price, fee, trade.created_at)
        for trade, fee in zip(trades, fees, strict=True)
    )


def _position(row: AccountRow) -> Position:
    return Position(row.balance + row.locked, row.avg_buy_price)

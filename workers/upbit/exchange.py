"""The private endpoints of Upbit, one method each; every page is one signed HTTP request, and none is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import aiohttp

from workers.calls import Call, start_counting
from workers.errors import (
    BadCredentials,
    BadReply,
    Rejected,
    Throttled,
    UnknownSymbol,
    Unproven,
    Unreachable,
    VenueError,
)
from workers.http import Judge, NotSent, VenueHttp, request_json
from workers.upbit import errors
from workers.upbit.auth import Keys, authorization, pairs, sent_query
from workers.upbit.orders import NewOrder
from workers.upbit.private_wire import AccountRow, ApiKey, Chance, OrderBody, Placed
from workers.wire import M, each_once, parse_list, parse_one

SERVICE = "upbit"
OPERATIONS = (
    "accounts",
    "api_keys",
    "orders_chance",
    "orders_open",
    "orders_closed",
    "order",
    "cancel_order",
    "test_order",
    "place_order",
)
ORDER_SECONDS = 10.0
OPEN_PAGE_ROWS = 100
CLOSED_PAGE_ROWS = 1000
LONGEST_WINDOW = timedelta(days=7)
KST = timezone(timedelta(hours=9), "KST")

Proof: TypeAlias = Callable[[str, VenueError], bool]
"""Whether a refusal of that name proves that the request changed nothing."""

# the statuses Upbit documents for a refusal that names its reason
_REFUSALS = (400, 401, 403, 404)


class UpbitExchange:
    """`base_url` without `/v1`. Raises the `VenueError`s of `workers.http` and of `workers.upbit.errors`.

    `order_timeout` bounds the one request that places or cancels an order, in seconds; `http` bounds all others.
    """

    def __init__(self, http: VenueHttp, base_url: str, keys: Keys, *, order_timeout: float = ORDER_SECONDS) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._keys = keys
        self._order_timeout = order_timeout
        start_counting(SERVICE, OPERATIONS)

    async def accounts(self) -> list[AccountRow]:
        """Every balance of the account, KRW among them."""
        call = Call(SERVICE, "accounts")
        rows = parse_list(AccountRow, await self._ask(call, "GET", "accounts"), call)
        return each_once(rows, lambda row: f"{row.unit_currency}-{row.currency}", call)

    async def chance(self, symbol: str) -> Chance:
        """Fees, limits and balances for orders in one market."""
        call = Call(SERVICE, "orders_chance", symbol)
        chance = parse_one(Chance, await self._ask(call, "GET", "orders/chance", {"market": symbol}), call)
        quote, _, coin = symbol.partition("-")
        told = (chance.market.id, chance.market.bid.currency, chance.bid_account.currency, chance.ask_account.currency)
        if told != (symbol, quote, quote, coin):
            raise BadReply(f"{call}: answered another market; it is tried again at the next tick")
        return chance

    async def place(self, order: NewOrder) -> Placed:
        """Send the order, once. It was accepted if this returns.

        It was not created if this raises `Rejected`, `Throttled`, `UnknownSymbol`, `BadCredentials` or
        `Unreachable` (no connection was made, or its time was over before: `NotSent`). Whatever else happens proves
        nothing and is `Unproven`. Of the refusals `duplicated_identifier` says only that this request created nothing:
        an earlier one may have.
        """
        call = Call(SERVICE, "place_order", order.symbol)
        return await self._send(call, "POST", "orders", Placed, _refuses_order, body=order.body(), fail_closed=True)

    async def test(self, order: NewOrder) -> None:
        """Have the order checked as `place` would, with nothing created: proves key, address and permission."""
        call = Call(SERVICE, "test_order", order.symbol)
        parse_one(Placed, await self._ask(call, "POST", "orders/test", body=order.body()), call)

    async def order(self, *, uuid: str = "", identifier: str = "") -> OrderBody:
        """One order with its trades, by Upbit's id or by ours. Raises `Rejected` named `order_not_found`."""
        call = Call(SERVICE, "order")
        body = parse_one(OrderBody, await self._ask(call, "GET", "order", _name(uuid, identifier)), call)
        if (uuid and body.uuid != uuid) or (identifier and body.identifier not in (None, identifier)):
            raise BadReply(f"{call}: answered another order; it is tried again at the next tick")
        return body

    async def cancel(self, *, uuid: str = "", identifier: str = "") -> OrderBody:
        """Ask for what rests of an order to be cancelled, once. It was asked for if this returns, with the order as it
        stood before.

        Nothing was done if this raises `Throttled`, `BadCredentials` or `Unreachable` (no connection was made).
        `Rejected` is also how Upbit answers for an order that has ended. Whatever else happens is `Unproven`.
        """
        call = Call(SERVICE, "cancel_order")
        return await self._send(call, "DELETE", "order", OrderBody, _refuses_cancel, params=_name(uuid, identifier))

    async def open_orders(self, symbol: str = "", *, page_rows: int = OPEN_PAGE_ROWS) -> list[OrderBody]:
        """The orders that wait, without their trades, oldest first; of one market or of all."""
        call = Call(SERVICE, "orders_open", symbol)
        found: dict[str, OrderBody] = {}
        number = 1
        while True:
            params = {"states": ("wait", "watch"), "page": str(number), "limit": str(page_rows), "order_by": "asc"}
            page = await self._page(call, "orders/open", symbol, params)
            fresh = {row.uuid: row for row in each_once(page, _uuid, call) if row.uuid not in found}
            found |= fresh
            # a page of only known rows would be asked for for ever
            if len(page) < page_rows or not fresh:
                return list(found.values())
            number += 1

    async def closed_orders(
        self, start: datetime, end: datetime, symbol: str = "", *, page_rows: int = CLOSED_PAGE_ROWS
    ) -> list[OrderBody]:
        """The orders created from `start` to `end` that are done or cancelled, without their trades, newest first.

        Raises `ValueError` for a window over 7 days, `BadReply` where one second has more orders than a page.
        """
        if end - start > LONGEST_WINDOW:
            raise ValueError(f"{end - start} is too long a window: Upbit lists {LONGEST_WINDOW.days} days at most")
        call = Call(SERVICE, "orders_closed", symbol)
        found: dict[str, OrderBody] = {}
        while True:
            params = {
                "states": ("done", "cancel"),
                "start_time": _kst(start),
                "end_time": _kst(end),
                "limit": str(page_rows),
                "order_by": "desc",
            }
            page = await self._page(call, "orders/closed", symbol, params)
            fresh = {row.uuid: row for row in each_once(page, _uuid, call) if row.uuid not in found}
            found |= fresh
            if len(page) < page_rows:
                return list(found.values())
            if not fresh:
                raise BadReply(f"{call}: more than {page_rows} orders in one second; they cannot be listed")
            # times have whole seconds, so the rest of the oldest one's second is asked for again
            end = min(row.created_at for row in page) + timedelta(seconds=1)

    async def api_keys(self) -> list[ApiKey]:
        """The keys of the account with their ends."""
        call = Call(SERVICE, "api_keys")
        rows = parse_list(ApiKey, await self._ask(call, "GET", "api_keys"), call)
        return each_once(rows, lambda row: row.access_key, call)

    async def expires_at(self) -> datetime:
        """When the key in use ends. Raises `BadReply` if it is not listed."""
        for row in await self.api_keys():
            if row.access_key == self._keys.access_key:
                return row.expire_at
        raise BadReply(f"{Call(SERVICE, 'api_keys')}: the key in use is not listed; look it up on upbit.com")

    async def _send(
        self,
        call: Call,
        method: str,
        path: str,
        model: type[M],
        proves: Proof,
        *,
        params: Mapping[str, str | Iterable[str]] | None = None,
        body: Mapping[str, str] | None = None,
        fail_closed: bool = False,
    ) -> M:
        """One request that changes something; `proves` says which refusals prove that nothing was changed."""
        answer = _Answer()
        try:
            async with asyncio.timeout(self._order_timeout):
                document = await self._ask(
                    call, method, path, params, body=body, judge=answer.judge, fail_closed=fail_closed
                )
            return parse_one(model, document, call)
        except TimeoutError:
            raise Unproven(f"{call}: no answer within {self._order_timeout:g} s; it must be asked for") from None
        except VenueError as error:
            raise _outcome(call, answer, error, proves) from None

    async def _page(
        self, call: Call, path: str, symbol: str, params: Mapping[str, str | Iterable[str]]
    ) -> list[OrderBody]:
        wanted = {"market": symbol, **params} if symbol else params
        rows = parse_list(OrderBody, await self._ask(call, "GET", path, wanted), call)
        if symbol and any(row.market != symbol for row in rows):
            raise BadReply(f"{call}: answered orders of another market; it is tried again at the next tick")
        return rows

    async def _ask(
        self,
        call: Call,
        method: str,
        path: str,
        params: Mapping[str, str | Iterable[str]] | None = None,
        *,
        body: Mapping[str, str] | None = None,
        judge: Judge = errors.judge,
        fail_closed: bool = False,
    ) -> Any:
        query = pairs(params or {})
        url = f"{self._base_url}/v1/{path}" + (f"?{sent_query(query)}" if query else "")
        headers = authorization(self._keys, query if body is None else pairs(body))
        return await request_json(
            self._http, call, method, url, judge=judge, headers=headers, body=body, fail_closed=fail_closed
        )


def _uuid(row: OrderBody) -> str:
    return row.uuid


class _Answer:
    """What HTTP answered to a request that changes something, if it did."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.name = ""

    def judge(self, call: Call, status: int, document: Any) -> VenueError | None:
        self.status, self.name = status, errors.error_name(document)
        return errors.judge(call, status, document)


def _outcome(call: Call, answer: _Answer, error: VenueError, proves: Proof) -> VenueError:
    """The error to raise for an order: the same one where it proves that nothing was changed, else `Unproven`."""
    if answer.status is None:
        if isinstance(error, Throttled | NotSent):
            # our own gate was closed, or its time was over: nothing was sent
            return error
        if isinstance(error.__context__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return Unreachable(str(error))
    elif answer.status == errors.TOO_MANY_REQUESTS or (answer.status in _REFUSALS and proves(answer.name, error)):
        return error
    return Unproven(
        f"{call}: sent, and nothing proves what became of it ({type(error).__name__}); it must be asked for"
    )


def _refuses_order(name: str, error: VenueError) -> bool:
    if isinstance(error, Rejected):
        return name.startswith((*errors.REFUSED_ORDER, errors.DUPLICATED_IDENTIFIER))
    return _refuses_key(name, error) or isinstance(error, UnknownSymbol)


def _refuses_cancel(name: str, error: VenueError) -> bool:
    return _refuses_key(name, error) or isinstance(error, Rejected)


def _refuses_key(name: str, error: VenueError) -> bool:
    # a used nonce means that this request came a second time, and of the first one nothing is known
    return isinstance(error, BadCredentials) and name != errors.NONCE_USED


def _name(uuid: str, identifier: str) -> dict[str, str]:
    if bool(uuid) == bool(identifier):
        raise ValueError("name an order by uuid or by identifier, by one of them")
    return {"uuid": uuid} if uuid else {"identifier": identifier}


def _kst(moment: datetime) -> str:
    return moment.astimezone(KST).isoformat(timespec="seconds")

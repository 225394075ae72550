"""Upbit's private API (docs.upbit.com, REST API v1): accounts, orders and keys, and what can go wrong with an order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from aiohttp import web

from sandbox.candles import CandleBook
from sandbox.faults import ORDER_FAULT, Fault
from sandbox.ticks import best_bid_and_ask, tick_size
from sandbox.venues.upbit_keys import KEY_ERRORS, Key, Refused, check, read_body
from sandbox.venues.upbit_matching import (
    FEE,
    KST,
    MAX_TOTAL,
    MIN_TOTAL,
    QUOTE,
    UNIT,
    Account,
    Balance,
    Order,
    coin,
    stamp,
    text,
)
from sandbox.venues.upbit_replies import REPLIES_LOST, lost, refused, reply

KEY_LIFE = timedelta(days=365)
LONGEST_WINDOW = timedelta(days=7)
MOST_OPEN, MOST_CLOSED, MOST_NAMED = 100, 1000, 100

_TIMES_IN_FORCE: dict[str, tuple[str | None, ...]] = {
    "limit": (None, "ioc", "fok", "post_only"),
    "best": ("ioc", "fok"),
    "price": (None,),
    "market": (None,),
}
_SMP_TYPES = ("cancel_maker", "cancel_taker", "reduce", "none")
_INVALID = "잘못된 파라미터"
_NOT_FOUND = "주문을 찾지 못했습니다."

Answer: TypeAlias = Callable[[web.Request, str, Key], Any]


class UpbitExchange:
    """Answers the signed requests under `/v1`, and `/control/upbit/...` that sets the accounts up."""

    def __init__(self, book: CandleBook) -> None:
        self._book = book
        self.keys: dict[str, Key] = {}

    def routes(self, prefix: str) -> list[web.RouteDef]:
        reads: dict[str, Answer] = {
            "/v1/accounts": self._accounts,
            "/v1/orders/chance": self._chance,
            "/v1/orders/open": self._open,
            "/v1/orders/closed": self._closed,
            "/v1/orders/uuids": self._named,
            "/v1/order": self._order,
            "/v1/api_keys": self._api_keys,
        }
        return [
            *(web.get(prefix + path, self._answering(answer)) for path, answer in reads.items()),
            web.delete(f"{prefix}/v1/order", self._answering(self._cancel)),
            web.post(f"{prefix}/v1/orders", self._place),
            web.post(f"{prefix}/v1/orders/test", self._test),
        ]

    def control_routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.post(f"{prefix}/accounts", self._set_account),
            web.get(f"{prefix}/accounts", self._show_account),
            web.post(f"{prefix}/fills", self._fill),
        ]

    def _answering(self, answer: Answer) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                named, key = await check(request, self.keys, self._book.now())
                return reply(answer(request, named, key))
            except Refused as refusal:
                return refused(refusal)

        return handler

    # reads

    def _accounts(self, _: web.Request, __: str, key: Key) -> list[dict[str, Any]]:
        key.account.settle()
        return [_balance_row(currency, held) for currency, held in key.account.balances.items()]

    def _chance(self, request: web.Request, _: str, key: Key) -> dict[str, Any]:
        market = self._market(request.query.get("market", ""))
        units = coin(market)
        fees = dict.fromkeys(("bid_fee", "ask_fee", "maker_bid_fee", "maker_ask_fee"), text(FEE))
        types = ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc"]
        return fees | {
            "market": {
                "id": market,
                "name": f"{units}/{QUOTE}",
                "order_types": ["limit"],
                "order_sides": ["ask", "bid"],
                "bid_types": [*types, "price"],
                "ask_types": [*types, "market"],
                "bid": {"currency": QUOTE, "min_total": text(MIN_TOTAL)},
                "ask": {"currency": units, "min_total": text(MIN_TOTAL)},
                "max_total": text(MAX_TOTAL),
                "state": "active",
            },
            "bid_account": _balance_row(QUOTE, key.account.balance(QUOTE)),
            "ask_account": _balance_row(units, key.account.balance(units)),
        }

    def _order(self, request: web.Request, _: str, key: Key) -> dict[str, Any]:
        order = self._found(request, key)
        return order.row() | {"trades": order.trade_rows()}

    def _cancel(self, request: web.Request, _: str, key: Key) -> dict[str, Any]:
        order = self._found(request, key)
        if order.state != "wait":
            raise Refused(404, "order_not_found", _NOT_FOUND)
        before = order.row()
        key.account.cancel(order)
        return before

    def _found(self, request: web.Request, key: Key) -> Order:
        uuid, identifier = request.query.get("uuid", ""), request.query.get("identifier", "")
        if not uuid and not identifier:
            raise Refused(400, "invalid_parameter", _INVALID)
        order = key.account.find(uuid, identifier)
        if order is None:
            raise Refused(404, "order_not_found", _NOT_FOUND)
        return order

    def _open(self, request: web.Request, _: str, key: Key) -> list[dict[str, Any]]:
        limit = _whole(request, "limit", MOST_OPEN, MOST_OPEN)
        skipped = (_whole(request, "page", 1, 1_000_000) - 1) * limit
        return [order.row() for order in self._listed(request, key, ("wait", "watch"))[skipped : skipped + limit]]

    def _closed(self, request: web.Request, _: str, key: Key) -> list[dict[str, Any]]:
        now = self._book.now()
        end = _moment(request, "end_time", now)
        start = _moment(request, "start_time", end - LONGEST_WINDOW)
        if end - start > LONGEST_WINDOW:
            raise Refused(400, "invalid_parameter", _INVALID)
        limit = _whole(request, "limit", MOST_OPEN, MOST_CLOSED)
        rows = self._listed(request, key, ("done", "cancel"))
        # created_at has whole seconds, and so has the window
        return [order.row() for order in rows if start <= order.created_at.replace(microsecond=0) <= end][:limit]

    def _named(self, request: web.Request, _: str, key: Key) -> list[dict[str, Any]]:
        uuids, identifiers = request.query.getall("uuids[]", []), request.query.getall("identifiers[]", [])
        if not 1 <= len(uuids) + len(identifiers) <= MOST_NAMED:
            raise Refused(400, "invalid_parameter", _INVALID)
        key.account.settle()
        return [
            order.row() for order in key.account.visible() if order.uuid in uuids or order.identifier in identifiers
        ]

    def _listed(self, request: web.Request, key: Key, states: tuple[str, ...]) -> list[Order]:
        asked = request.query.getall("states[]", []) or list(states)
        if not set(asked) <= set(states):
            raise Refused(400, "invalid_parameter", _INVALID)
        market = request.query.get("market")
        key.account.settle()
        rows = [order for order in key.account.visible() if order.state in asked and market in (None, "", order.market)]
        return sorted(rows, key=lambda order: order.created_at, reverse=request.query.get("order_by", "desc") == "desc")

    def _api_keys(self, _: web.Request, __: str, key: Key) -> list[dict[str, Any]]:
        return [
            {"access_key": name, "expire_at": stamp(other.expires_at)}
            for name, other in self.keys.items()
            if other.account is key.account
        ]

    # orders

    async def _place(self, request: web.Request) -> web.StreamResponse:
        fault = request.get(ORDER_FAULT)
        try:
            _, key = await check(request, self.keys, self._book.now())
            order = self._checked(await read_body(request), key.account, fault)
            key.account.open(order)
        except Refused as refusal:
            return refused(refusal)
        if fault is not None and fault.variant in REPLIES_LOST:
            return await lost(fault, request)
        return reply(order.row(), 201)

    async def _test(self, request: web.Request) -> web.StreamResponse:
        try:
            _, key = await check(request, self.keys, self._book.now())
            order = self._checked(await read_body(request), key.account, None, test=True)
        except Refused as refusal:
            return refused(refusal)
        return reply(order.row(), 201)

    def _checked(self, body: Mapping[str, str], account: Account, fault: Fault | None, *, test: bool = False) -> Order:
        """The order a body asks for. Raises `Refused`; the identifier is burnt even then, except by a test."""
        identifier = body.get("identifier")
        if identifier is not None and not test:
            if identifier in account.identifiers or (fault is not None and fault.variant == "burnt"):
                raise Refused(400, "duplicated_identifier", "이미 사용된 identifier 입니다.")
            account.identifiers.add(identifier)
        market = self._market(body.get("market", ""))
        side, ord_type, in_force = body.get("side", ""), body.get("ord_type", ""), body.get("time_in_force")
        volume, price = _amount(body, "volume"), _amount(body, "price")
        smp_type = body.get("smp_type", "none" if in_force == "post_only" else "cancel_maker")
        self._check_shape(side, ord_type, in_force, smp_type, volume, price)
        self._check_total(market, side, ord_type, volume, price)
        now = self._book.now()
        variant, seconds = ("", 0.0) if fault is None else (fault.variant or "", fault.seconds)
        order = Order(
            market=market,
            side=side,
            ord_type=ord_type,
            volume=volume,
            price=price,
            identifier=identifier,
            time_in_force=in_force,
            smp_type=smp_type,
            created_at=now,
            visible_at=now + timedelta(seconds=seconds if variant == "late" else 0),
            matched_at=now + timedelta(seconds=seconds if variant == "resting" else 0),
            share=Decimal("0.5") if variant == "partial" else Decimal(1),
        )
        currency, amount = account.need(order)
        if account.balance(currency).free < amount:
            raise Refused(400, f"insufficient_funds_{side}", f"주문 가능한 금액({currency})이 부족합니다.")
        return order

    @staticmethod
    def _check_shape(
        side: str, ord_type: str, in_force: str | None, smp_type: str, volume: Decimal | None, price: Decimal | None
    ) -> None:
        if side not in ("bid", "ask") or ord_type not in _TIMES_IN_FORCE or smp_type not in _SMP_TYPES:
            raise Refused(400, "validation_error", "잘못된 API 요청입니다.")
        if in_force not in _TIMES_IN_FORCE[ord_type]:
            raise Refused(400, "invalid_time_in_force", "주문조건을 다시 확인해 주세요.")
        if in_force == "post_only" and smp_type != "none":
            raise Refused(400, "invalid_post_only", "post_only 주문은 SMP 옵션과 함께 사용할 수 없습니다.")
        by_value = ord_type == "price" or (ord_type == "best" and side == "bid")
        wanted = (ord_type == "limit" or not by_value, ord_type == "limit" or by_value)
        wrong_side = (ord_type, side) in (("price", "ask"), ("market", "bid"))
        if wrong_side or wanted != (volume is not None, price is not None):
            raise Refused(400, f"create_{side}_error", "주문 요청 정보가 올바르지 않습니다.")

    def _check_total(
        self, market: str, side: str, ord_type: str, volume: Decimal | None, price: Decimal | None
    ) -> None:
        if volume is not None and volume % UNIT:
            raise Refused(400, "validation_error", "잘못된 API 요청입니다.")
        if ord_type == "limit" and price is not None and price % tick_size("upbit", price):
            raise Refused(400, f"invalid_price_{side}", "주문가격 단위를 잘못 입력하셨습니다.")
        bid, _ = self._sides(market)
        total = (bid if price is None else price) * (1 if volume is None else volume)
        if total < MIN_TOTAL:
            least = f"최소주문금액 이상으로 주문해주세요. (최소 {MIN_TOTAL} {QUOTE})"
            raise Refused(400, f"under_min_total_{side}", least)
        if total > MAX_TOTAL:
            most = f"최대 주문 가능 금액 {MAX_TOTAL} {QUOTE} 보다 작은 주문을 입력해 주세요."
            raise Refused(400, f"over_krw_funds_{side}", most)

    def _market(self, symbol: str) -> str:
        if not self._book.has("upbit", symbol):
            raise Refused(400, "notfoundmarket", f"다음 마켓에 없는 종목입니다: {symbol}")
        return symbol

    def _sides(self, symbol: str) -> tuple[Decimal, Decimal]:
        return best_bid_and_ask("upbit", self._book.price("upbit", symbol))

    # control

    async def _set_account(self, request: web.Request) -> web.Response:
        """Make a key, or change the one there is: only what is named changes, its orders and nonces stay."""
        try:
            body = await request.json()
            name, secret = str(body["access_key"]), body.get("secret_key")
            if name not in self.keys:
                account = Account(self._sides, self._book.now)
                self.keys[name] = Key(str(body["secret_key"]), account, self._book.now() + KEY_LIFE)
            key = self.keys[name]
            key.secret = key.secret if secret is None else str(secret)
            if "balances" in body:
                key.account.set({currency: _balance(held) for currency, held in body["balances"].items()})
            if "expires_at" in body:
                key.expires_at = datetime.fromisoformat(body["expires_at"])
            key.refuse = str(body.get("refuse") or "")
            if key.refuse and key.refuse not in KEY_ERRORS:
                raise ValueError(key.refuse)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation):
            wanted = "access_key, secret_key, balances {currency: amount}, expires_at (ISO), refuse (an error of keys)"
            return web.json_response({"error": f"the body is not JSON with {wanted}"}, status=400)
        return web.json_response({"access_key": name}, status=201)

    async def _show_account(self, request: web.Request) -> web.Response:
        """Balances and all orders of a key with their trades, also those that reads do not find yet."""
        key = self.keys.get(request.query.get("access_key", ""))
        if key is None:
            return web.json_response({"error": "there is no such access_key"}, status=404)
        key.account.settle()
        orders = [order.row() | {"trades": order.trade_rows()} for order in key.account.orders.values()]
        balances = [_balance_row(currency, held) for currency, held in key.account.balances.items()]
        return web.json_response({"balances": balances, "orders": orders})

    async def _fill(self, request: web.Request) -> web.Response:
        """Let an open limit order trade: `access_key`, `uuid` and `volume`."""
        try:
            body = await request.json()
            account, volume = self.keys[body["access_key"]].account, Decimal(body["volume"])
            order = account.orders[body["uuid"]]
            if order.state != "wait" or order.volume is None or not 0 < volume <= order.volume - order.executed:
                raise ValueError(volume)
        except (ValueError, TypeError, KeyError, InvalidOperation):
            return web.json_response(
                {"error": "name access_key, uuid of an open order, volume it has left"}, status=400
            )
        account.fill(order, volume)
        return web.json_response(order.row(), status=201)


def _balance_row(currency: str, held: Balance) -> dict[str, Any]:
    return {
        "currency": currency,
        "balance": text(held.free),
        "locked": text(held.locked),
        "avg_buy_price": text(held.avg_buy_price),
        "avg_buy_price_modified": False,
        "unit_currency": QUOTE,
    }


def _balance(given: Any) -> Balance:
    if not isinstance(given, Mapping):
        return Balance(Decimal(str(given)))
    return Balance(Decimal(str(given["balance"])), avg_buy_price=Decimal(str(given.get("avg_buy_price", "0"))))


def _amount(body: Mapping[str, str], name: str) -> Decimal | None:
    if name not in body:
        return None
    try:
        value = Decimal(body[name])
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise Refused(400, "validation_error", "잘못된 API 요청입니다.")
    return value


def _whole(request: web.Request, name: str, default: int, most: int) -> int:
    written = request.query.get(name, str(default))
    if not written.isdecimal() or not 1 <= int(written) <= most:
        raise Refused(400, "invalid_parameter", _INVALID)
    return int(written)


def _moment(request: web.Request, name: str, default: datetime) -> datetime:
    if name not in request.query:
        return default
    try:
        moment = datetime.fromisoformat(request.query[name])
    except ValueError:
        raise Refused(400, "invalid_parameter", _INVALID) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=KST)

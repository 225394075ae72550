"""Upbit's private API (docs.upbit.com, REST API v1): accounts, orders and keys, and what can go wrong with an order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from aiohttp import web

from sandbox.faults import ORDER_FAULT, Fault
from sandbox.ticks import tick_size
from sandbox.venues.upbit_control import UpbitControl
from sandbox.venues.upbit_keys import Key, Refused, check, read_body
from sandbox.venues.upbit_matching import (
    FEE,
    KST,
    MAX_TOTAL,
    MIN_TOTAL,
    QUOTE,
    UNIT,
    Account,
    Order,
    balance_row,
    coin,
    stamp,
    text,
)
from sandbox.venues.upbit_prices import UpbitPrices
from sandbox.venues.upbit_replies import REPLIES_LOST, lost, refused, reply

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
    """Answers the signed requests under `/v1`; `/control/upbit/...` sets its accounts and prices."""

    def __init__(self, prices: UpbitPrices) -> None:
        self._prices = prices
        self.keys: dict[str, Key] = {}
        self._control = UpbitControl(self.keys, prices)

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
            web.delete(f"{prefix}/v1/order", self._cancel),
            web.post(f"{prefix}/v1/orders", self._place),
            web.post(f"{prefix}/v1/orders/test", self._test),
        ]

    def control_routes(self, prefix: str) -> list[web.RouteDef]:
        return self._control.routes(prefix)

    def _answering(self, answer: Answer) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                named, key = await check(request, self.keys, self._prices.now())
                return reply(answer(request, named, key))
            except Refused as refusal:
                return refused(refusal)

        return handler

    # reads

    def _accounts(self, _: web.Request, __: str, key: Key) -> list[dict[str, Any]]:
        key.account.settle()
        return [balance_row(currency, held) for currency, held in key.account.balances.items()]

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
            "bid_account": balance_row(QUOTE, key.account.balance(QUOTE)),
            "ask_account": balance_row(units, key.account.balance(units)),
        }

    def _order(self, request: web.Request, _: str, key: Key) -> dict[str, Any]:
        order = self._found(request, key)
        return order.row() | {"trades": order.trade_rows()}

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
        now = self._prices.now()
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
            _, key = await check(request, self.keys, self._prices.now())
            order = self._checked(await read_body(request), key.account, fault)
            key.account.open(order)
        except Refused as refusal:
            return refused(refusal)
        if fault is not None and fault.variant in REPLIES_LOST:
            return await lost(fault, request)
        return reply(order.row(), 201)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        fault = request.get(ORDER_FAULT)
        try:
            _, key = await check(request, self.keys, self._prices.now())
            order = self._found(request, key)
            if fault is not None and fault.variant == "filled" and order.state == "wait" and order.volume is not None:
                key.account.fill(order, order.volume - order.executed)
            if order.state != "wait":
                raise Refused(404, "order_not_found", _NOT_FOUND)
            before = order.row()
            key.account.cancel(order, fault.seconds if fault is not None and fault.variant == "slow" else 0)
        except Refused as refusal:
            return refused(refusal)
        if fault is not None and fault.variant in REPLIES_LOST:
            return await lost(fault, request)
        return reply(before)

    async def _test(self, request: web.Request) -> web.StreamResponse:
        try:
            _, key = await check(request, self.keys, self._prices.now())
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
        now = self._prices.now()
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
        bid, _ = self._prices.sides(market)
        total = (bid if price is None else price) * (1 if volume is None else volume)
        if total < MIN_TOTAL:
            least = f"최소주문금액 이상으로 주문해주세요. (최소 {MIN_TOTAL} {QUOTE})"
            raise Refused(400, f"under_min_total_{side}", least)
        if total > MAX_TOTAL:
            most = f"최대 주문 가능 금액 {MAX_TOTAL} {QUOTE} 보다 작은 주문을 입력해 주세요."
            raise Refused(400, f"over_krw_funds_{side}", most)

    def _market(self, symbol: str) -> str:
        if not self._prices.has(symbol):
            raise Refused(400, "notfoundmarket", f"다음 마켓에 없는 종목입니다: {symbol}")
        return symbol


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

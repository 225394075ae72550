"""KIS Open API, US trading (koreainvestment/open-trading-api): accounts whose limit orders rest until a price comes.

`POST /control/kis_overseas/accounts` opens one (`depth` is how many shares one price fills of an order), `GET` shows
all with their orders, `DELETE` closes them; `POST /control/kis_overseas/faults` orders what becomes of the next orders
and cancellations (`late` keeps an order out of the lists for `looks` readings, `ignored` takes a cancellation and does
not carry it out). A cancellation is a row of its own in the list of fills, as KIS shows it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from sandbox.faults import MAINTENANCE, drop
from sandbox.ticks import tick_size
from sandbox.venues.kis import Fields, Refused, refusal
from sandbox.venues.kis_overseas import EXCHANGES, NEW_YORK, KisOverseas

TRADING = "/uapi/overseas-stock/v1/trading/"
BRANCH = "01790"
KST = timedelta(hours=9)
AREA = 200
FEE_RATE = Decimal("0.0025")
SELL, BUY, LIMIT = "01", "02", "00"
# rows of a page: TTTS3035R documents 20 in the real environment and 15 in mock trading
ROWS = {"real": 20, "mock": 15}
ORDER_IDS = {
    ("real", BUY): "TTTT1002U", ("real", SELL): "TTTT1006U", ("mock", BUY): "VTTT1002U", ("mock", SELL): "VTTT1001U",
}  # fmt: skip
FAULTS = (
    "timeout_before", "timeout_after", "reset_before", "reset_mid_reply", "late", "throttled", "ledger_throttled",
    "token_expired", "html_before", "html_after", "error_before", "error_after", "garbled_after", "routing_after",
    "ignored",
)  # fmt: skip
_ZERO = Decimal(0)

Reading = Callable[["UsAccount", Fields, web.Request], tuple[dict[str, Any], str]]


@dataclass(slots=True)
class UsOrder:
    """One order, or the cancellation of one (`original`), taken at `at` (UTC)."""

    odno: str
    symbol: str
    exchange: str
    side: str
    quantity: int
    price: Decimal
    at: datetime
    filled: int = 0
    amount: Decimal = _ZERO
    cancelled: int = 0
    original: str = ""
    hidden: int = 0

    @property
    def left(self) -> int:
        return 0 if self.original else self.quantity - self.filled - self.cancelled


@dataclass(slots=True)
class UsAccount:
    """Cash in USD, shares as (quantity, cost) and the orders of one account."""

    environment: str
    cash: Decimal
    depth: int | None = None
    page_rows: int | None = None
    holdings: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    orders: list[UsOrder] = field(default_factory=list)

    def free_cash(self) -> Decimal:
        reserved = sum((order.price * order.left for order in self.orders if order.side == BUY), _ZERO)
        return self.cash - reserved

    def sellable(self, symbol: str) -> int:
        resting = sum(order.left for order in self.orders if order.side == SELL and order.symbol == symbol)
        return self.holdings.get(symbol, (0, _ZERO))[0] - resting

    def meet(self, symbol: str, bid: Decimal, ask: Decimal) -> None:
        """Fill what crosses, at most `depth` shares of each order."""
        for order in self.orders:
            if order.symbol != symbol or not order.left:
                continue
            price = ask if order.side == BUY else bid
            if order.price >= price if order.side == BUY else order.price <= price:
                self._fill(order, order.left if self.depth is None else min(order.left, self.depth), price)

    def _fill(self, order: UsOrder, quantity: int, price: Decimal) -> None:
        value = price * quantity
        order.filled, order.amount = order.filled + quantity, order.amount + value
        held, cost = self.holdings.get(order.symbol, (0, _ZERO))
        if order.side == BUY:
            self.cash -= value * (1 + FEE_RATE)
            self.holdings[order.symbol] = (held + quantity, cost + value)
        else:
            self.cash += value * (1 - FEE_RATE)
            self.holdings[order.symbol] = (held - quantity, cost - cost / held * quantity)


class KisOverseasAccounts:
    """The accounts behind the US trading calls; prices are those of `overseas`."""

    def __init__(self, overseas: KisOverseas) -> None:
        self._overseas = overseas
        self._accounts: dict[tuple[str, str], UsAccount] = {}
        self._faults: list[tuple[str, float, int]] = []
        self._last_odno = 30_000_000
        overseas.on_price.append(self._meet)

    def routes(self, prefix: str, control: str) -> list[web.RouteDef]:
        at = prefix + TRADING
        return [
            web.get(f"{at}inquire-balance", self._reading("TTTS3012R", "VTTS3012R", self._balance)),
            web.get(f"{at}inquire-psamount", self._reading("TTTS3007R", "VTTS3007R", self._buyable)),
            web.get(f"{at}inquire-ccnl", self._reading("TTTS3035R", "VTTS3035R", self._fills)),
            web.get(f"{at}inquire-nccs", self._reading("TTTS3018R", None, self._resting)),
            web.post(f"{at}order", self._order),
            web.post(f"{at}order-rvsecncl", self._cancel),
            web.post(f"{control}/accounts", self._open),
            web.get(f"{control}/accounts", self._show),
            web.delete(f"{control}/accounts", self._close),
            web.post(f"{control}/faults", self._order_faults),
        ]

    # control

    async def _open(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            account = UsAccount(
                environment=str(body.get("environment", "real")),
                cash=Decimal(str(body.get("cash", "0"))),
                depth=body.get("depth"),
                page_rows=body.get("page_rows"),
            )
            for symbol, held in body.get("holdings", {}).items():
                quantity = int(held["quantity"])
                account.holdings[str(symbol)] = (quantity, quantity * Decimal(str(held["average_price"])))
            key = (str(body["cano"]), str(body.get("product", "01")))
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation):
            return web.json_response({"error": "the body is not JSON with cano, cash and holdings"}, status=400)
        if account.environment not in ROWS:
            return web.json_response({"error": "environment: use real or mock"}, status=400)
        self._accounts[key] = account
        return web.json_response({"cano": key[0], "product": key[1]}, status=201)

    async def _show(self, _: web.Request) -> web.Response:
        shown = [{"cano": key[0], "product": key[1], **asdict(account)} for key, account in self._accounts.items()]
        return web.json_response(json.loads(json.dumps(shown, default=str)))

    async def _close(self, _: web.Request) -> web.Response:
        self._accounts.clear()
        self._faults.clear()
        return web.json_response({"cleared": True})

    async def _order_faults(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            kind, count = body.get("kind"), int(body.get("count", 1))
            seconds, looks = float(body.get("seconds", 1.0)), int(body.get("looks", 1))
        except (ValueError, TypeError, AttributeError):
            return web.json_response({"error": "the body is not JSON with kind, count, seconds and looks"}, status=400)
        if kind not in ("", *FAULTS):
            return web.json_response({"error": f"kind {kind!r}: use one of {', '.join(FAULTS)}"}, status=400)
        self._faults += [(str(kind), seconds, looks)] * count
        return web.json_response({"waiting": len(self._faults)}, status=201)

    def _meet(self, symbol: str) -> None:
        for account in self._accounts.values():
            account.meet(symbol, *self._overseas.bid_and_ask(symbol))

    # reads

    def _reading(self, real: str, mock: str | None, answer: Reading) -> Any:
        async def handler(request: web.Request) -> web.Response:
            try:
                fields = Fields(request.query)
                account = self._admit(request, fields, {"real": real, "mock": mock})
                body, more = answer(account, fields, request)
            except Refused as refused:
                return refusal(refused.code, str(refused), refused.status, refused.rt_cd)
            headers = {"tr_id": request.headers["tr_id"], "tr_cont": more, "gt_uid": secrets.token_hex(16)}
            return web.json_response(body, headers=headers)

        return handler

    def _admit(self, request: web.Request, fields: Fields, ids: Mapping[str, str | None]) -> UsAccount:
        """The account of a request with a good token, whose TR is of the account's environment."""
        given = request.headers.get("tr_id", "")
        self._overseas.kis.check_headers(request, given)
        account = self._accounts.get((fields["CANO"], fields["ACNT_PRDT_CD"]))
        if account is None:
            raise Refused("APBK0918", "계좌번호를 확인하여 주십시오.", rt_cd="7")
        wanted = ids[account.environment]
        if wanted is None:
            raise Refused("90000000", "모의투자에서는 해당업무가 제공되지 않습니다.")
        if given != wanted:
            environment = "모의투자" if account.environment == "mock" else "실전투자"
            raise Refused("EGW02006", f"{environment} TR 이 아닙니다.", 500)
        return account

    def _balance(self, account: UsAccount, fields: Fields, request: web.Request) -> tuple[dict[str, Any], str]:
        if fields["TR_CRCY_CD"] != "USD":
            raise Refused("OPSQ2001", "ERROR : INPUT INVALID_CHECK_TR_CRCY_CD", rt_cd="2")
        exchange = fields["OVRS_EXCG_CD"]
        whole = account.environment == "real" and exchange == "NASD"
        rows = [
            _balance_row(symbol, held, cost, account.sellable(symbol), self._exchange(symbol))
            for symbol, (held, cost) in sorted(account.holdings.items())
            if whole or self._exchange(symbol) == exchange
        ]
        page, more = _paged(rows, account, fields, request, "output1", _balance_row("", 0, _ZERO, 0, ""))
        return {**page, "output2": {"frcr_pchs_amt1": "0.00000", "tot_evlu_pfls_amt": "0.00000000"}}, more

    def _buyable(self, account: UsAccount, fields: Fields, _: web.Request) -> tuple[dict[str, Any], str]:
        price, symbol = _price(fields, "OVRS_ORD_UNPR"), fields["ITEM_CD"]
        self._check_listed(fields["OVRS_EXCG_CD"], symbol)
        cash = max(account.free_cash(), _ZERO)
        quantity = str(int(cash / (price * (1 + FEE_RATE))))
        output = {
            "tr_crcy_cd": "USD", "ord_psbl_frcr_amt": f"{cash:.2f}", "sll_ruse_psbl_amt": "0.00",
            "ovrs_ord_psbl_amt": f"{cash:.2f}", "max_ord_psbl_qty": quantity, "echm_af_ord_psbl_amt": "0.00",
            "echm_af_ord_psbl_qty": "0", "ord_psbl_qty": quantity, "exrt": "1400.0000000000",
            "frcr_ord_psbl_amt1": f"{cash * 2:.6f}", "ovrs_max_ord_psbl_qty": quantity,
        }  # fmt: skip
        return {"output": output, **_done("KIOK0510", "조회가 완료되었습니다")}, ""

    def _fills(self, account: UsAccount, fields: Fields, request: web.Request) -> tuple[dict[str, Any], str]:
        first, last = fields["ORD_STRT_DT"], fields["ORD_END_DT"]
        filters = (fields.get("PDNO", ""), fields.get("OVRS_EXCG_CD", ""))
        if account.environment == "mock" and filters != ("", ""):
            raise Refused("OPSQ2001", "ERROR : 모의투자는 전체 조회만 가능합니다.", rt_cd="2")
        if account.environment == "real" and filters[1] not in ("%", "NASD"):
            raise Refused("OPSQ2001", "ERROR : INPUT INVALID_CHECK_OVRS_EXCG_CD", rt_cd="2")
        if request.headers.get("tr_cont", "").strip() != "N":
            shown = [order for order in account.orders if not order.hidden]
            for order in account.orders:
                order.hidden = max(order.hidden - 1, 0)
        else:
            shown = [order for order in account.orders if not order.hidden]
        rows = [
            _order_row(order)
            for order in shown
            if first <= f"{order.at.astimezone(NEW_YORK):%Y%m%d}" <= last and filters[0] in ("", "%", order.symbol)
        ]
        return _paged(rows, account, fields, request, "output", dict.fromkeys(_BLANK, ""))

    def _resting(self, account: UsAccount, fields: Fields, request: web.Request) -> tuple[dict[str, Any], str]:
        exchange = fields["OVRS_EXCG_CD"]
        found = [_order_row(order) for order in account.orders if order.left and not order.hidden]
        # the documented reply has no date or time of Korea
        rows = [
            {name: value for name, value in row.items() if name not in ("dmst_ord_dt", "thco_ord_tmd")}
            for row in found
            if exchange in ("NASD", row["ovrs_excg_cd"])
        ]
        return _paged(rows, account, fields, request, "output", dict.fromkeys(_BLANK, ""))

    # orders

    async def _order(self, request: web.Request) -> web.StreamResponse:
        return await self._with_fault(request, self._take)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        return await self._with_fault(request, self._take_back)

    async def _with_fault(
        self, request: web.Request, act: Callable[[Fields, web.Request, str, int], UsOrder]
    ) -> web.StreamResponse:
        """Carry the order out and answer it, as the next fault says; "" is no fault."""
        kind, seconds, looks = self._faults.pop(0) if self._faults else ("", 0.0, 0)
        try:
            body = Fields(await request.json())
            early = await _before(kind, seconds, request)
            if early is not None:
                return early
            order = act(body, request, kind, looks if kind == "late" else 0)
        except Refused as refused:
            return refusal(refused.code, str(refused), refused.status, refused.rt_cd)
        output = {"KRX_FWDG_ORD_ORGNO": BRANCH, "ODNO": order.odno, "ORD_TMD": f"{order.at + KST:%H%M%S}"}
        body_out = {"output": output, **_done("APBK0013", "주문 전송 완료 되었습니다.")}
        return await _after(kind, seconds, request, body_out)

    def _take(self, body: Fields, request: web.Request, _: str, hidden: int) -> UsOrder:
        side = SELL if request.headers.get("tr_id", "").endswith(("1006U", "1001U")) else BUY
        ids = {environment: ORDER_IDS[environment, side] for environment in ROWS}
        account = self._admit(request, body, ids)
        symbol, exchange = body["PDNO"], body["OVRS_EXCG_CD"]
        quantity, price = _whole(body, "ORD_QTY"), _price(body, "OVRS_ORD_UNPR")
        self._check_listed(exchange, symbol)
        if body["ORD_DVSN"] != LIMIT or body["ORD_SVR_DVSN_CD"] != "0":
            raise Refused("APBK0002", "주문구분을 확인하여 주십시오.")
        if body.get("SLL_TYPE", "") != ("00" if side == SELL else ""):
            raise Refused("APBK0006", "매도유형을 확인하여 주십시오.")
        if quantity <= 0 or price <= 0 or price % tick_size("yfinance", price):
            raise Refused("APBK0004", "호가단위를 확인하여 주십시오.")
        if side == BUY and account.free_cash() < price * quantity * (1 + FEE_RATE):
            raise Refused("APBK0952", "주문가능금액을 초과 했습니다", rt_cd="7")
        if side == SELL and account.sellable(symbol) < quantity:
            raise Refused("APBK0400", "주문 가능한 수량을 초과했습니다.", rt_cd="7")
        order = UsOrder(self._odno(), symbol, exchange, side, quantity, price, self._now(), hidden=hidden)
        account.orders.append(order)
        account.meet(symbol, *self._overseas.bid_and_ask(symbol))
        return order

    def _take_back(self, body: Fields, request: web.Request, kind: str, hidden: int) -> UsOrder:
        account = self._admit(request, body, {"real": "TTTT1004U", "mock": "VTTT1004U"})
        if body["RVSE_CNCL_DVSN_CD"] != "02" or body["OVRS_ORD_UNPR"] != "0":
            raise Refused("APBK0002", "정정취소구분을 확인하여 주십시오. (sandbox: 02)")
        odno, quantity = body["ORGN_ODNO"], _whole(body, "ORD_QTY")
        original = next((order for order in account.orders if order.odno == odno and order.left), None)
        if original is None or (original.symbol, original.exchange) != (body["PDNO"], body["OVRS_EXCG_CD"]):
            raise Refused("APBK0344", "정정취소 가능한 주문이 없습니다.", rt_cd="7")
        if not 0 < quantity <= original.left:
            raise Refused("APBK0400", "주문 가능한 수량을 초과했습니다.", rt_cd="7")
        cancellation = UsOrder(
            self._odno(), original.symbol, original.exchange, original.side, quantity, _ZERO, self._now(),
            original=odno, hidden=hidden,
        )  # fmt: skip
        if kind != "ignored":
            original.cancelled += quantity
            account.orders.append(cancellation)
        return cancellation

    def _odno(self) -> str:
        self._last_odno += 1
        return f"{self._last_odno:010}"

    def _now(self) -> datetime:
        return self._overseas.book.now()

    def _exchange(self, symbol: str) -> str:
        return next((code for listed, code in EXCHANGES.items() if self._overseas.lists(listed, symbol)), "")

    def _check_listed(self, exchange: str, symbol: str) -> None:
        if not symbol or self._exchange(symbol) != exchange:
            raise Refused("APBK0656", "해당종목정보가 없습니다.", rt_cd="7")


async def _before(kind: str, seconds: float, request: web.Request) -> web.StreamResponse | None:
    """The answer of a fault that keeps the order from being taken, or None."""
    match kind:
        case "timeout_before":
            await asyncio.sleep(seconds)
            return _dropped(request)
        case "reset_before":
            return _dropped(request)
        case "throttled":
            return refusal("EGW00201", "초당 거래건수를 초과하였습니다.", 500)
        case "ledger_throttled":
            return refusal("EGW00215", "원장 초당 거래건수를 초과하였습니다.", 500)
        case "token_expired":
            return refusal("EGW00123", "기간이 만료된 token 입니다.", 500)
        case "html_before":
            return web.Response(text=MAINTENANCE, content_type="text/html", status=503)
        case "error_before":
            return web.Response(status=502)
        case _:
            return None


async def _after(kind: str, seconds: float, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
    """The answer to an order that was taken; a fault loses or spoils it."""
    match kind:
        case "timeout_after":
            await asyncio.sleep(seconds)
            return _dropped(request)
        case "late":
            return _dropped(request)
        case "reset_mid_reply":
            raw = json.dumps(body).encode()
            reply = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(raw))})
            await reply.prepare(request)
            await reply.write(raw[: len(raw) // 2])
            drop(request)
            return reply
        case "html_after":
            return web.Response(text=MAINTENANCE, content_type="text/html")
        case "error_after":
            return web.Response(status=504)
        case "garbled_after":
            return web.json_response({"rt_cd": "0", "msg_cd": "APBK0013", "output": {"ODNO": ""}})
        case "routing_after":
            return refusal("EGW00203", "OPS라우팅 중 오류가 발생했습니다.", 500)
        case _:
            return web.json_response(body)


def _dropped(request: web.Request) -> web.Response:
    drop(request)
    # the connection is gone; aiohttp wants a response to discard
    return web.Response()


_BLANK = ("ord_dt", "odno", "orgn_odno", "sll_buy_dvsn_cd", "pdno", "prcs_stat_name", "dmst_ord_dt", "ord_tmd")


def _order_row(order: UsOrder) -> dict[str, str]:
    average = order.amount / order.filled if order.filled else _ZERO
    korean = order.at + KST
    return {
        "ord_dt": f"{order.at.astimezone(NEW_YORK):%Y%m%d}", "ord_gno_brno": BRANCH, "odno": order.odno,
        "orgn_odno": order.original, "sll_buy_dvsn_cd": order.side,
        "sll_buy_dvsn_cd_name": "매도" if order.side == SELL else "매수",
        "rvse_cncl_dvsn": "02" if order.original else "00", "rvse_cncl_dvsn_name": "취소" if order.original else "",
        "pdno": order.symbol, "prdt_name": order.symbol, "ft_ord_qty": str(order.quantity),
        "ft_ord_unpr3": f"{order.price:.8f}", "ft_ccld_qty": str(order.filled), "ft_ccld_unpr3": f"{average:.8f}",
        "ft_ccld_amt3": f"{order.amount:.5f}", "nccs_qty": str(order.left), "prcs_stat_name": "완료",
        "rjct_rson": "", "rjct_rson_name": "", "ord_tmd": f"{korean:%H%M%S}", "tr_mket_name": "나스닥",
        "tr_crcy_cd": "USD", "tr_natn": "840", "ovrs_excg_cd": order.exchange, "tr_natn_name": "미국",
        "dmst_ord_dt": f"{korean:%Y%m%d}", "thco_ord_tmd": f"{korean:%H%M%S}", "loan_type_cd": "10", "loan_dt": "",
        "mdia_dvsn_name": "OpenAPI", "usa_amk_exts_rqst_yn": "N", "splt_buy_attr_name": "",
    }  # fmt: skip


def _balance_row(symbol: str, held: int, cost: Decimal, sellable: int, exchange: str) -> dict[str, str]:
    average = cost / held if held else _ZERO
    return {
        "cano": "", "acnt_prdt_cd": "01", "prdt_type_cd": "512", "ovrs_pdno": symbol, "ovrs_item_name": symbol,
        "frcr_evlu_pfls_amt": "0.000000", "evlu_pfls_rt": "0.00", "pchs_avg_pric": f"{average:.4f}",
        "ovrs_cblc_qty": str(held), "ord_psbl_qty": str(sellable), "frcr_pchs_amt1": f"{cost:.5f}",
        "ovrs_stck_evlu_amt": "0.00000000", "now_pric2": "0.000000", "tr_crcy_cd": "USD" if symbol else "",
        "ovrs_excg_cd": exchange, "loan_type_cd": "10", "loan_dt": "", "expd_dt": "",
    }  # fmt: skip


def _paged(
    rows: list[dict[str, str]],
    account: UsAccount,
    fields: Fields,
    request: web.Request,
    part: str,
    blank: Mapping[str, str],
) -> tuple[dict[str, Any], str]:
    """One page of the rows with its areas, and its `tr_cont`; the last page ends with a blank row, and a list of
    nothing is one blank object."""
    size = account.page_rows or ROWS[account.environment]
    key = fields.get("CTX_AREA_NK200", "")
    following = request.headers.get("tr_cont", "").strip() == "N"
    start = int(key) if following and key.isdecimal() else 0
    more = start + size < len(rows)
    areas = {
        "ctx_area_fk200": f"{fields['CANO']}^{fields['ACNT_PRDT_CD']}^".ljust(AREA),
        "ctx_area_nk200": (str(start + size) if more else "").ljust(AREA),
    }
    page: Any = rows[start : start + size]
    if not rows:
        page = dict(blank)
    elif not more:
        page = [*page, dict(blank)]
    code = "KIOK0500" if more else "KIOK0510" if rows else "KIOK0560"
    cont = ("M" if start else "F") if more else "D" if start else ""
    return {**areas, part: page, **_done(code, "조회되었습니다.")}, cont


def _done(code: str, message: str) -> dict[str, str]:
    return {"rt_cd": "0", "msg_cd": code, "msg1": message}


def _whole(fields: Fields, name: str) -> int:
    value = fields[name]
    if not value.isdecimal():
        raise Refused("OPSQ2002", f"ERROR : INPUT INVALID_CHECK_FIELD [{name}]", rt_cd="2")
    return int(value)


def _price(fields: Fields, name: str) -> Decimal:
    try:
        price = Decimal(fields[name])
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or price <= 0:
        raise Refused("OPSQ2002", f"ERROR : INPUT INVALID_CHECK_FIELD [{name}]", rt_cd="2")
    return price

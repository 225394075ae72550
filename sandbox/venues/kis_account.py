"""KIS Open API, domestic trading (koreainvestment/open-trading-api): accounts whose orders meet the sandbox's quote.

`POST /control/kis/accounts` opens one, `GET` shows all of them with their orders, `DELETE` closes them;
`POST /control/kis/faults` orders what becomes of the next orders: `late` loses the answer and keeps the order out
of the list for `looks` readings, the time-outs last `seconds`; `filled_first` and `slow_cancel` are for cancellations.

Limit orders rest, and reserve cash or shares. `POST /control/kis/price {symbol, price}` moves a stock's price, order
book and candles, and what rests there and crosses trades at its own limit, up to the account's `depth`; `DELETE` takes
all such prices back. With `lowest` beside `price` that is the lowest price of the day, which quotes tell, and orders
below it are refused. `POST /control/kis/trades {cano, odno, quantity, price}` trades a part of a resting order, and
`POST /control/kis/session_end` ends all that rests, as the end of its day (KST) does. `POST /control/kis/orders {cano,
symbol, side, quantity, price, exchange}` is a limit order by hand in KIS's app, at `KRX`, `NXT` or `SOR`: the daily
list has it where that exchange is asked for or `ALL`, the list of what can be cancelled in any case, and a cancellation
has to name its exchange.

The codes of refusals are KIS's where they are documented: APBK0952 (cash), APBK0400 (quantity), EGW02006
(environment).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from sandbox.candles import CandleBook
from sandbox.ticks import tick_size
from sandbox.venues.kis import KST, NAMES, Fields, Kis, Refused, refusal, text
from sandbox.venues.kis_book import BUY, FEE_RATE, IMMEDIATE, LIMIT, MARKET_ORDER, SELL, AccountBook, Holding, Order
from sandbox.venues.kis_faults import CANCEL_FAULTS, FAULTS, after, before

TRADING = "/uapi/domestic-stock/v1/trading/"
HOLIDAYS = "/uapi/domestic-stock/v1/quotations/chk-holiday"
BRANCH = "06010"
KRX, ALL = "KRX", "ALL"
EXCHANGES = (KRX, "NXT", "SOR")
# rows of a page: (real, mock)
BALANCE_ROWS = {"real": 50, "mock": 20}
ORDER_ROWS = {"real": 100, "mock": 15}
AREA = 100
HOLIDAY_DAYS = 24

_ZERO = Decimal(0)


Answer = Callable[["AccountBook", Fields, web.Request], tuple[dict[str, Any], str]]


class KisAccounts:
    """The accounts behind the trading calls; tokens, keys and candles are those of `kis`."""

    def __init__(self, kis: Kis, book: CandleBook) -> None:
        self._kis = kis
        self._prices = kis.prices
        self._book = book
        self._accounts: dict[tuple[str, str], AccountBook] = {}
        self._faults: list[tuple[str, float, int]] = []
        self._last_odno = 0

    def routes(self, prefix: str, control: str) -> list[web.RouteDef]:
        at = prefix + TRADING
        return [
            web.get(f"{at}inquire-balance", self._reading("TTTC8434R", "VTTC8434R", self._balance)),
            web.get(f"{at}inquire-psbl-order", self._reading("TTTC8908R", "VTTC8908R", self._buyable)),
            web.get(f"{at}inquire-daily-ccld", self._reading("TTTC0081R", "VTTC0081R", self._daily)),
            web.get(f"{at}inquire-psbl-rvsecncl", self._reading("TTTC0084R", None, self._cancellable)),
            web.post(f"{at}order-cash", self._order),
            web.post(f"{at}order-rvsecncl", self._revise),
            web.get(prefix + HOLIDAYS, self._holidays),
            web.post(f"{control}/accounts", self._open),
            web.get(f"{control}/accounts", self._show),
            web.delete(f"{control}/accounts", self._close),
            web.post(f"{control}/faults", self._order_faults),
            web.post(f"{control}/price", self._set_price),
            web.delete(f"{control}/price", self._clear_prices),
            web.post(f"{control}/trades", self._trade),
            web.post(f"{control}/orders", self._by_hand),
            web.post(f"{control}/session_end", self._end_session),
        ]

    # control

    async def _open(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            account = AccountBook(
                environment=str(body.get("environment", "real")),
                cash=Decimal(str(body.get("cash", "0"))),
                page_rows=body.get("page_rows"),
                depth=body.get("depth"),
            )
            for symbol, held in body.get("holdings", {}).items():
                quantity = int(held["quantity"])
                account.holdings[str(symbol)] = Holding(quantity, quantity * Decimal(str(held["average_price"])))
            key = (str(body["cano"]), str(body.get("product", "01")))
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation):
            return web.json_response({"error": "the body is not JSON with cano, cash and holdings"}, status=400)
        if account.environment not in BALANCE_ROWS:
            return web.json_response({"error": "environment: use real or mock"}, status=400)
        self._accounts[key] = account
        return web.json_response({"cano": key[0], "product": key[1]}, status=201)

    async def _show(self, _: web.Request) -> web.Response:
        self._end_days()
        shown = [{"cano": key[0], "product": key[1], **asdict(book)} for key, book in self._accounts.items()]
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
        kinds = (*FAULTS, *CANCEL_FAULTS)
        if kind not in kinds:
            return web.json_response({"error": f"kind {kind!r}: use one of {', '.join(kinds)}"}, status=400)
        self._faults += [(str(kind), seconds, looks)] * count
        return web.json_response({"waiting": len(self._faults)}, status=201)

    async def _set_price(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            symbol, price = str(body["symbol"]), Decimal(str(body["price"]))
            lowest = Decimal(str(body["lowest"])) if "lowest" in body else None
        except (ValueError, TypeError, KeyError, InvalidOperation):
            return web.json_response({"error": "the body is not JSON with symbol and price"}, status=400)
        if not self._prices.has(symbol):
            return web.json_response({"error": f"symbol {symbol!r}: the sandbox does not serve it"}, status=400)
        if not price.is_finite() or price <= 0 or price % tick_size("kis", price):
            return web.json_response({"error": f"price {price}: use a positive one on the tick grid"}, status=400)
        if lowest is not None and not 0 < lowest <= price:
            return web.json_response(
                {"error": f"lowest {lowest}: use one that is positive and not over the price"}, status=400
            )
        self._prices.set(symbol, price)
        if lowest is not None:
            self._prices.set_lowest(symbol, lowest)
        self._trade_at(symbol)
        return web.json_response({"symbol": symbol, "price": text(price)}, status=201)

    async def _clear_prices(self, _: web.Request) -> web.Response:
        self._prices.clear()
        for symbol in {order.symbol for account in self._accounts.values() for order in account.orders}:
            self._trade_at(symbol)
        return web.json_response({"cleared": True})

    def _trade_at(self, symbol: str) -> None:
        self._end_days()
        for account in self._accounts.values():
            account.trade(symbol, self._price(symbol))

    async def _trade(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            account = self._accounts[str(body["cano"]), str(body.get("product", "01"))]
            order = next(order for order in account.orders if order.odno == str(body["odno"]))
            quantity, price = int(body.get("quantity", order.left)), Decimal(str(body.get("price", order.price)))
        except (ValueError, TypeError, KeyError, AttributeError, StopIteration, InvalidOperation):
            return web.json_response({"error": "the body is not JSON with cano and odno of a known order"}, status=400)
        if not 0 < quantity <= order.left or not price.is_finite() or price <= 0:
            return web.json_response({"error": f"order {order.odno} has {order.left} left; trade no more"}, status=400)
        account.fill(order, quantity, price)
        return web.json_response({"odno": order.odno, "left": order.left}, status=201)

    async def _by_hand(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            account = self._accounts[str(body["cano"]), str(body.get("product", "01"))]
            symbol, side = self._listed(str(body["symbol"])), {"buy": BUY, "sell": SELL}[body["side"]]
            quantity, price = int(body["quantity"]), Decimal(str(body["price"]))
            exchange = str(body.get("exchange", KRX))
            _check_grid(price)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation, Refused):
            error = "the body is not JSON with cano, symbol, side (buy, sell), quantity and a price on the tick grid"
            return web.json_response({"error": error}, status=400)
        if quantity <= 0 or exchange not in EXCHANGES:
            error = f"quantity {quantity}, exchange {exchange!r}: use one above 0 and one of {', '.join(EXCHANGES)}"
            return web.json_response({"error": error}, status=400)
        order = Order(self._odno(), symbol, side, LIMIT, quantity, price, self._book.now(), exchange=exchange)
        account.add(order, self._price(symbol))
        return web.json_response({"odno": order.odno, "left": order.left}, status=201)

    async def _end_session(self, _: web.Request) -> web.Response:
        for account in self._accounts.values():
            account.end_days_before(date.max)
        return web.json_response({"ended": True}, status=201)

    def _end_days(self) -> None:
        today = (self._book.now() + KST).date()
        for account in self._accounts.values():
            account.end_days_before(today)

    # reads

    def _reading(self, real: str, mock: str | None, answer: Answer) -> Any:
        async def handler(request: web.Request) -> web.Response:
            try:
                fields = Fields(request.query)
                account = self._admit(request, fields, real, mock)
                body, more = answer(account, fields, request)
            except Refused as refused:
                return refusal(refused.code, str(refused), refused.status, refused.rt_cd)
            headers = {"tr_id": request.headers["tr_id"], "tr_cont": more, "gt_uid": secrets.token_hex(16)}
            return web.json_response(body, headers=headers)

        return handler

    def _admit(self, request: web.Request, fields: Fields, real: str, mock: str | None) -> AccountBook:
        """The account of a request with a good token, whose TR is of the account's environment."""
        self._end_days()
        account = self._accounts.get((fields["CANO"], fields["ACNT_PRDT_CD"]))
        if account is None:
            self._kis.check_headers(request, request.headers.get("tr_id", ""))
            raise Refused("APBK0918", "계좌번호를 확인하여 주십시오.", rt_cd="7")
        if account.environment == "mock" and mock is None:
            raise Refused("90000000", "모의투자에서는 해당업무가 제공되지 않습니다.")
        wanted = real if account.environment == "real" else str(mock)
        given = request.headers.get("tr_id", "")
        self._kis.check_headers(request, given)
        if given != wanted:
            environment = "모의투자" if account.environment == "mock" else "실전투자"
            raise Refused("EGW02006", f"{environment} TR 이 아닙니다.", 500)
        return account

    def _balance(self, account: AccountBook, fields: Fields, request: web.Request) -> tuple[dict[str, Any], str]:
        rows = [self._balance_row(account, symbol, held) for symbol, held in sorted(account.holdings.items())]
        page, more = _paged(rows, account.page_rows or BALANCE_ROWS[account.environment], fields, request, "output1")
        value = sum((self._price(symbol) * held.quantity for symbol, held in account.holdings.items()), _ZERO)
        sums = {
            "dnca_tot_amt": text(account.cash), "nxdy_excc_amt": text(account.cash),
            "prvs_rcdl_excc_amt": text(account.cash), "cma_evlu_amt": "0", "thdt_tlex_amt": "0",
            "scts_evlu_amt": text(value), "tot_evlu_amt": text(value + account.cash),
            "nass_amt": text(value + account.cash), "evlu_amt_smtl_amt": text(value),
        }  # fmt: skip
        return {**page, "output2": [sums]}, more

    def _balance_row(self, account: AccountBook, symbol: str, held: Holding) -> dict[str, str]:
        price = self._price(symbol)
        average = held.cost / held.quantity if held.quantity else _ZERO
        return {
            "pdno": symbol, "prdt_name": NAMES.get(symbol, (symbol, ""))[0], "trad_dvsn_name": "현금",
            "bfdy_buy_qty": "0", "bfdy_sll_qty": "0", "thdt_buyqty": "0", "thdt_sll_qty": "0",
            "hldg_qty": str(held.quantity), "ord_psbl_qty": str(account.sellable(symbol)),
            "pchs_avg_pric": f"{average:.4f}", "pchs_amt": f"{held.cost:.0f}", "prpr": text(price),
            "evlu_amt": text(price * held.quantity), "evlu_pfls_amt": f"{price * held.quantity - held.cost:.0f}",
            "evlu_pfls_rt": "0.00", "evlu_erng_rt": "0.00", "loan_dt": "", "loan_amt": "0", "expd_dt": "",
            "fltt_rt": "0.00", "bfdy_cprs_icdc": "0", "sbst_pric": "0",
        }  # fmt: skip

    def _buyable(self, account: AccountBook, fields: Fields, _: web.Request) -> tuple[dict[str, Any], str]:
        symbol = self._listed(fields["PDNO"])
        price = Decimal(fields.get("ORD_UNPR", "0")) or self._price(symbol)
        cash = max(account.free_cash(), _ZERO)
        quantity = str(int(cash / (price * (1 + FEE_RATE))))
        output = {
            "ord_psbl_cash": f"{cash:.0f}", "ord_psbl_sbst": "0", "ruse_psbl_amt": "0", "fund_rpch_chgs": "0",
            "psbl_qty_calc_unpr": text(price), "nrcvb_buy_amt": f"{cash:.0f}", "nrcvb_buy_qty": quantity,
            "max_buy_amt": f"{cash:.0f}", "max_buy_qty": quantity, "cma_evlu_amt": "0",
        }  # fmt: skip
        return {"output": output, **_done("KIOK0510", "조회가 완료되었습니다")}, ""

    def _daily(self, account: AccountBook, fields: Fields, request: web.Request) -> tuple[dict[str, Any], str]:
        first, last, side = fields["INQR_STRT_DT"], fields["INQR_END_DT"], fields["SLL_BUY_DVSN_CD"]
        symbol, odno = fields.get("PDNO", ""), fields.get("ODNO", "")
        exchange = fields.get("EXCG_ID_DVSN_CD", KRX)
        if exchange not in ((*EXCHANGES, ALL) if account.environment == "real" else (KRX,)):
            raise Refused("APBK0001", "거래소구분코드를 확인하여 주십시오.")
        rows = [
            _daily_row(order)
            for order in account.read()
            if first <= f"{order.at + KST:%Y%m%d}" <= last
            and side in ("00", order.side)
            and symbol in ("", order.symbol)
            and odno in ("", order.odno)
            and exchange in (ALL, order.exchange)
        ]
        if fields.get("INQR_DVSN", "00") == "00":
            rows.reverse()
        page, more = _paged(rows, account.page_rows or ORDER_ROWS[account.environment], fields, request, "output1")
        filled = sum(order.filled for order in account.orders)
        sums = {
            "tot_ord_qty": str(sum(order.quantity for order in account.orders)), "tot_ccld_qty": str(filled),
            "tot_ccld_amt": text(sum((order.amount for order in account.orders), _ZERO)), "prsm_tlex_smtl": "0",
            "pchs_avg_pric": "0.0000",
        }  # fmt: skip
        return {**page, "output2": sums}, more

    def _cancellable(self, account: AccountBook, fields: Fields, request: web.Request) -> tuple[dict[str, Any], str]:
        rows = [
            {
                "ord_gno_brno": BRANCH, "odno": order.odno, "orgn_odno": order.original, "ord_dvsn_name": "지정가",
                "pdno": order.symbol, "prdt_name": order.symbol, "rvse_cncl_dvsn_name": "",
                "ord_qty": str(order.quantity), "ord_unpr": text(order.price),
                "ord_tmd": f"{order.at + KST:%H%M%S}", "tot_ccld_qty": str(order.filled),
                "tot_ccld_amt": text(order.amount), "psbl_qty": str(order.left - order.withdrawn),
                "sll_buy_dvsn_cd": order.side, "ord_dvsn_cd": order.kind, "mgco_aptm_odno": "",
                "excg_dvsn_cd": "02", "excg_id_dvsn_cd": order.exchange,
            }
            for order in account.orders
            if order.left > order.withdrawn
        ]  # fmt: skip
        return _paged(rows, account.page_rows or BALANCE_ROWS["real"], fields, request, "output")

    async def _holidays(self, request: web.Request) -> web.Response:
        try:
            self._kis.check_headers(request, "CTCA0903R")
            first = datetime.strptime(Fields(request.query)["BASS_DT"], "%Y%m%d")  # noqa: DTZ007 - a day in Korea
        except ValueError:
            return refusal("OPSQ2002", "ERROR : INPUT INVALID_CHECK_FIELD_LENGTH", 200, "2")
        except Refused as refused:
            return refusal(refused.code, str(refused), refused.status, refused.rt_cd)
        rows = []
        for number in range(HOLIDAY_DAYS):
            day = first + timedelta(days=number)
            # the sandbox keeps weekends, and no holidays
            opens = "N" if day.isoweekday() > 5 else "Y"
            weekday = f"{day.isoweekday() % 7 + 1:02}"
            kinds = dict.fromkeys(("bzdy_yn", "tr_day_yn", "opnd_yn", "sttl_day_yn"), opens)
            rows.append({"bass_dt": f"{day:%Y%m%d}", "wday_dvsn_cd": weekday, **kinds})
        areas = {"ctx_area_nk": rows[-1]["bass_dt"].ljust(20), "ctx_area_fk": rows[0]["bass_dt"].ljust(20)}
        message = "조회가 계속됩니다..다음버튼을 Click 하십시오."
        return web.json_response({**areas, "output": rows, **_done("KIOK0500", message)})

    # orders

    async def _order(self, request: web.Request) -> web.StreamResponse:
        return await self._with_fault(request, self._take)

    async def _revise(self, request: web.Request) -> web.StreamResponse:
        return await self._with_fault(request, self._change)

    async def _with_fault(
        self, request: web.Request, act: Callable[[Fields, web.Request, str, int], Order]
    ) -> web.StreamResponse:
        """Carry the order out and answer it, as the next fault says."""
        kind, seconds, looks = self._faults.pop(0) if self._faults else ("", 0.0, 0)
        try:
            body = Fields(await request.json())
            early = await before(kind, seconds, request)
            if early is not None:
                return early
            order = act(body, request, kind, looks)
        except Refused as refused:
            return refusal(refused.code, str(refused), refused.status, refused.rt_cd)
        output = {"KRX_FWDG_ORD_ORGNO": BRANCH, "ODNO": order.odno, "ORD_TMD": f"{order.at + KST:%H%M%S}"}
        return await after(
            kind, seconds, request, {"output": output, **_done("APBK0013", "주문 전송 완료 되었습니다.")}
        )

    def _take(self, body: Fields, request: web.Request, fault: str, looks: int) -> Order:
        given = request.headers.get("tr_id", "")
        side = SELL if given.endswith("0011U") else BUY
        ids = ("TTTC0011U", "VTTC0011U") if side == SELL else ("TTTC0012U", "VTTC0012U")
        account = self._admit(request, body, *ids)
        symbol = self._listed(body["PDNO"])
        kind, quantity, price = body["ORD_DVSN"], _whole(body, "ORD_QTY"), Decimal(_whole(body, "ORD_UNPR"))
        if body["EXCG_ID_DVSN_CD"] != KRX:
            raise Refused("APBK0001", "거래소구분코드를 확인하여 주십시오.")
        if kind not in (LIMIT, MARKET_ORDER, IMMEDIATE):
            raise Refused("APBK0002", "주문구분을 확인하여 주십시오.")
        if quantity <= 0:
            raise Refused("APBK0003", "주문수량을 확인하여 주십시오.")
        limit = self._price(symbol) if kind == MARKET_ORDER else price
        if kind != MARKET_ORDER:
            _check_grid(price)
            self._check_lowest(symbol, price)
        if side == BUY and account.free_cash() < limit * quantity * (1 + FEE_RATE):
            raise Refused("APBK0952", "주문가능금액을 초과 했습니다", rt_cd="7")
        if side == SELL and account.sellable(symbol) < quantity:
            raise Refused("APBK0400", "주문 가능한 수량을 초과했습니다.", rt_cd="7")
        hidden = looks if fault == "late" else 0
        order = Order(self._odno(), symbol, side, kind, quantity, price, self._book.now(), hidden=hidden)
        return account.add(order, self._price(symbol))

    def _change(self, body: Fields, request: web.Request, fault: str, looks: int) -> Order:
        account = self._admit(request, body, "TTTC0013U", "VTTC0013U")
        odno, all_of_it = body["ORGN_ODNO"], body["QTY_ALL_ORD_YN"] == "Y"
        cancel = body["RVSE_CNCL_DVSN_CD"] == "02"
        original = next((order for order in account.orders if order.odno == odno), None)
        if original is not None and original.left and fault == "filled_first":
            account.fill(original, original.left, original.price)
        left = 0 if original is None else original.left - original.withdrawn
        if original is None or not left or body["KRX_FWDG_ORD_ORGNO"] != BRANCH:
            raise Refused("APBK0005", "정정취소 가능한 주문이 없습니다.", rt_cd="7")
        if body["EXCG_ID_DVSN_CD"] != original.exchange:
            raise Refused("APBK0001", "거래소구분코드를 확인하여 주십시오.")
        quantity = left if all_of_it else _whole(body, "ORD_QTY")
        if not 0 < quantity <= left:
            raise Refused("APBK0400", "주문 가능한 수량을 초과했습니다.", rt_cd="7")
        price = original.price if cancel else Decimal(_whole(body, "ORD_UNPR"))
        if not cancel:
            _check_grid(price)
            self._check_lowest(original.symbol, price)
            more = (price - original.price) * quantity * (1 + FEE_RATE)
            if original.side == BUY and account.free_cash() < more:
                raise Refused("APBK0952", "주문가능금액을 초과 했습니다", rt_cd="7")
        if cancel and fault == "slow_cancel":
            original.withdrawn, original.patience = quantity, looks
        else:
            original.cancelled += quantity
        order = Order(
            self._odno(), original.symbol, original.side, original.kind, quantity, price, self._book.now(),
            cancelled=quantity if cancel else 0, original=odno, hidden=looks if fault == "late" else 0,
            exchange=original.exchange,
        )  # fmt: skip
        return account.add(order, self._price(order.symbol))

    def _odno(self) -> str:
        self._last_odno += 1
        return f"{self._last_odno:010}"

    def _price(self, symbol: str) -> Decimal:
        return self._prices.price(symbol)

    def _check_lowest(self, symbol: str, price: Decimal) -> None:
        lowest = self._prices.lowest(symbol)
        if lowest is not None and price < lowest:
            raise Refused("APBK0006", "주문단가가 하한가 미만입니다.")

    def _listed(self, symbol: str) -> str:
        if not self._prices.has(symbol):
            raise Refused("MCA05918", "종목코드 오류입니다.")
        return symbol


def _daily_row(order: Order) -> dict[str, str]:
    average = order.amount / order.filled if order.filled else _ZERO
    name = "매도" if order.side == SELL else "매수"
    return {
        "ord_dt": f"{order.at + KST:%Y%m%d}", "ord_gno_brno": BRANCH, "odno": order.odno, "orgn_odno": order.original,
        "ord_dvsn_name": "지정가", "sll_buy_dvsn_cd": order.side, "sll_buy_dvsn_cd_name": f"현금{name}",
        "pdno": order.symbol, "prdt_name": NAMES.get(order.symbol, (order.symbol, ""))[0],
        "ord_qty": str(order.quantity), "ord_unpr": text(order.price), "ord_tmd": f"{order.at + KST:%H%M%S}",
        "tot_ccld_qty": str(order.filled), "avg_prvs": f"{average:.4f}".rstrip("0").rstrip("."),
        "cncl_yn": "Y" if order.cancelled else "", "tot_ccld_amt": text(order.amount), "loan_dt": "",
        "ordr_empno": "OpnAPI", "ord_dvsn_cd": order.kind, "cncl_cfrm_qty": str(order.cancelled),
        "rmn_qty": str(order.left), "rjct_qty": str(order.rejected), "ccld_cndt_name": "없음",
        "cpbc_ordp_ord_rcit_dvsn_cd": "", "cpbc_ordp_infm_mthd_dvsn_cd": "", "infm_tmd": "", "ctac_tlno": "",
        "prdt_type_cd": "300", "excg_dvsn_cd": "02", "cpbc_ordp_mtrl_dvsn_cd": "", "ord_orgno": "00000",
        "rsvn_ord_end_dt": "", "excg_id_dvsn_cd": order.exchange,
    }  # fmt: skip


def _paged(
    rows: list[dict[str, str]], size: int, fields: Fields, request: web.Request, part: str
) -> tuple[dict[str, Any], str]:
    """One page of the rows with its areas, and its `tr_cont`: F first of several, M in between, D last."""
    key = fields.get("CTX_AREA_NK100", "")
    following = request.headers.get("tr_cont", "").strip() == "N"
    start = int(key) if following and key.isdecimal() else 0
    more = start + size < len(rows)
    areas = {
        "ctx_area_fk100": f"{fields['CANO']}^{fields['ACNT_PRDT_CD']}^".ljust(AREA),
        "ctx_area_nk100": (str(start + size) if more else "").ljust(AREA),
    }
    code = "KIOK0500" if more else "KIOK0510" if rows else "KIOK0560"
    cont = ("M" if start else "F") if more else "D" if start else ""
    return {**areas, part: rows[start : start + size], **_done(code, "조회되었습니다.")}, cont


def _done(code: str, message: str) -> dict[str, str]:
    return {"rt_cd": "0", "msg_cd": code, "msg1": message}


def _check_grid(price: Decimal) -> None:
    if price <= 0 or price % tick_size("kis", price):
        raise Refused("APBK0004", "호가단위를 확인하여 주십시오.")


def _whole(fields: Fields, name: str) -> int:
    value = fields[name]
    if not value.isdecimal():
        raise Refused("OPSQ2002", f"ERROR : INPUT INVALID_CHECK_FIELD [{name}]", rt_cd="2")
    return int(value)

"""The trading calls of KIS for US stocks: limit orders, cancellations and the lists of the account."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from trading.types import Side
from workers.calls import Call, start_counting
from workers.errors import BadReply, Unproven
from workers.kis.environment import MOCK, REAL
from workers.kis.overseas_calls import KisCalls, part_of
from workers.kis.overseas_client import EXCHANGES, Exchange, kis_symbol
from workers.kis.overseas_wire import UsBalanceRow, UsBuyable, UsOrdered, UsOrderRow
from workers.wire import parse_one

SERVICE = "kis"
OPERATIONS = ("us_balance", "us_buyable", "us_order", "us_cancel", "us_fills", "us_open")
# ORD_DVSN of US orders: there are also on-open and on-close orders, but no immediate-or-cancel one
LIMIT = "00"
CURRENCY = "USD"
# TTTS3012R: NASD is all of the US in the real environment, but one exchange in mock trading
BALANCE_EXCHANGES = {REAL: ("NASD",), MOCK: tuple(exchange.orders for exchange in EXCHANGES)}


class KisOverseasTrading:
    """The account's calls in one environment; errors as `KisCalls` raises them."""

    def __init__(self, calls: KisCalls) -> None:
        self.calls = calls
        start_counting(SERVICE, OPERATIONS)

    async def balance(self) -> list[UsBalanceRow]:
        """What is held in USD, each symbol once; one with `ovrs_cblc_qty` 0 was sold off."""
        call = Call(SERVICE, "us_balance")
        rows: dict[str, UsBalanceRow] = {}
        for exchange in BALANCE_EXCHANGES[self.calls.environment.name]:
            params = {"OVRS_EXCG_CD": exchange, "TR_CRCY_CD": CURRENCY}
            found = await self.calls.pages(
                call, params, "output1", UsBalanceRow, "ovrs_pdno", lambda row: row.ovrs_pdno
            )
            rows.update((row.ovrs_pdno, row) for row in found if row.tr_crcy_cd in ("", CURRENCY))
        return list(rows.values())

    async def buyable(self, exchange: Exchange, symbol: str, price: Decimal) -> UsBuyable:
        """What can be bought at `price` (USD) with the USD in hand."""
        call = Call(SERVICE, "us_buyable", symbol)
        params = {"OVRS_EXCG_CD": exchange.orders, "OVRS_ORD_UNPR": f"{price:f}", "ITEM_CD": kis_symbol(symbol)}
        buyable = parse_one(UsBuyable, part_of(await self.calls.read(call, params), "output", call), call)
        if buyable.tr_crcy_cd != CURRENCY:
            raise BadReply(f"{call}: the amount is in {buyable.tr_crcy_cd[:8] or 'no currency'}, not in {CURRENCY}")
        return buyable

    async def order(self, side: Side, exchange: Exchange, symbol: str, quantity: Decimal, price: Decimal) -> UsOrdered:
        """Send a limit order for the day, once."""
        operation = "us_order_buy" if side is Side.BUY else "us_order_sell"
        body = {
            "OVRS_EXCG_CD": exchange.orders, "PDNO": kis_symbol(symbol), "ORD_QTY": _digits(quantity),
            "OVRS_ORD_UNPR": f"{price:f}", "CTAC_TLNO": "", "MGCO_APTM_ODNO": "",
            "SLL_TYPE": "00" if side is Side.SELL else "", "ORD_SVR_DVSN_CD": "0", "ORD_DVSN": LIMIT,
        }  # fmt: skip
        return await self._send(Call(SERVICE, "us_order", symbol), operation, body)

    async def cancel(self, exchange: Exchange, symbol: str, odno: str, quantity: Decimal) -> UsOrdered:
        """Send a cancellation of `quantity` units of an order, once."""
        body = {
            "OVRS_EXCG_CD": exchange.orders, "PDNO": kis_symbol(symbol), "ORGN_ODNO": odno,
            "RVSE_CNCL_DVSN_CD": "02", "ORD_QTY": _digits(quantity), "OVRS_ORD_UNPR": "0", "MGCO_APTM_ODNO": "",
            "ORD_SVR_DVSN_CD": "0",
        }  # fmt: skip
        return await self._send(Call(SERVICE, "us_cancel", symbol), "us_modify_cancel", body)

    async def fills(self, first: date, last: date) -> list[UsOrderRow]:
        """The orders of those days (dates in New York), filled or not, with their changes and cancellations.

        Mock trading takes no filter at all, and nothing can be searched by number; so all of them are read.
        """
        real = self.calls.environment.name == REAL
        params = {
            "PDNO": "%" if real else "", "ORD_STRT_DT": f"{first:%Y%m%d}", "ORD_END_DT": f"{last:%Y%m%d}",
            "SLL_BUY_DVSN": "00", "CCLD_NCCS_DVSN": "00", "OVRS_EXCG_CD": "%" if real else "", "SORT_SQN": "DS",
            "ORD_DT": "", "ORD_GNO_BRNO": "", "ODNO": "",
        }  # fmt: skip
        return await self.calls.pages(Call(SERVICE, "us_fills"), params, "output", UsOrderRow, "odno", _number_of)

    async def open(self) -> list[UsOrderRow]:
        """The orders that rest, of all three exchanges. Raises `NotOffered` in mock trading.

        Whether NASD stands for one exchange or for all is told both ways, so each is asked and a row kept once.
        """
        call = Call(SERVICE, "us_open")
        rows: dict[str, UsOrderRow] = {}
        for exchange in EXCHANGES:
            params = {"OVRS_EXCG_CD": exchange.orders, "SORT_SQN": "DS"}
            found = await self.calls.pages(call, params, "output", UsOrderRow, "odno", _number_of)
            rows.update((row.venue_order_id, row) for row in found)
        return list(rows.values())

    async def _send(self, call: Call, operation: str, body: dict[str, str]) -> UsOrdered:
        output = await self.calls.send(call, operation, body)
        try:
            return parse_one(UsOrdered, output, call)
        except BadReply as error:
            raise Unproven(f"{call}: sent, and its fate is not known; look for the order ({error})") from None


def _number_of(row: UsOrderRow) -> str:
    return row.venue_order_id


def _digits(quantity: Decimal) -> str:
    """A whole number of shares as text. Raises `ValueError`."""
    if not quantity.is_finite() or quantity <= 0 or quantity != quantity.to_integral_value():
        raise ValueError(f"{quantity} is no whole number of shares")
    return f"{quantity:.0f}"

"""Replies of KIS's trading calls, the fields we need; every value is text.

Field names from github.com/koreainvestment/open-trading-api.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from trading.types import Side
from workers.kis.wire import KST, CompactDate, CompactTime
from workers.wire import MOST, Wire

ODNO_DIGITS = 10
NO_ORDER = "0" * ODNO_DIGITS
SIDES = {"01": Side.SELL, "02": Side.BUY}
YES = "Y"
# where an order can rest; SOR (smart order routing) is what the app sends by default
KRX, NXT, SOR = "KRX", "NXT", "SOR"


def _trimmed(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _exchange(value: object) -> str:
    name = value.strip() if isinstance(value, str) else ""
    return name if name in (KRX, NXT, SOR) else ""


def _or_zero(value: object) -> object:
    return "0" if isinstance(value, str) and not value.strip() else value


def _whole_number(value: str) -> str:
    number = value.zfill(ODNO_DIGITS)
    if not (value.isascii() and value.isdecimal() and len(number) == ODNO_DIGITS) or number == NO_ORDER:
        raise ValueError("is no order number")
    return number


def _original(value: str) -> str:
    number = value.zfill(ODNO_DIGITS) if value else ""
    return "" if number == NO_ORDER else number


Trimmed = Annotated[str, BeforeValidator(_trimmed)]
OrderNumber = Annotated[str, BeforeValidator(_trimmed), AfterValidator(_whole_number)]
OriginalNumber = Annotated[str, BeforeValidator(_trimmed), AfterValidator(_original)]
Amount = Annotated[Decimal, BeforeValidator(_or_zero), Field(ge=0, lt=MOST)]
"""A quantity or an amount in KRW, finite and not negative; KIS sends some that are 0 as blank."""
ExchangeName = Annotated[str, BeforeValidator(_exchange)]
"""KRX, NXT or SOR; empty where a row does not tell."""


class BalanceRow(Wire):
    """One row of `output1` of TTTC8434R; one with `hldg_qty` 0 was sold off and lingers for two days."""

    pdno: Trimmed
    hldg_qty: Amount
    ord_psbl_qty: Amount
    pchs_avg_pric: Amount


class BalanceSum(Wire):
    """`output2` of TTTC8434R: deposit now, and in two days, when what was traded until now is settled."""

    dnca_tot_amt: Amount
    prvs_rcdl_excc_amt: Amount


class Buyable(Wire):
    """`output` of TTTC8908R: cash, and what it buys without going into debt."""

    ord_psbl_cash: Amount
    nrcvb_buy_amt: Amount
    nrcvb_buy_qty: Amount


class Ordered(Wire):
    """`output` of order-cash and order-rvsecncl: the number the order has from now on, and when (KST)."""

    KRX_FWDG_ORD_ORGNO: Annotated[Trimmed, Field(pattern=r"^[0-9]{1,10}$")]
    ODNO: OrderNumber
    ORD_TMD: CompactTime


class OrderRow(Wire):
    """One row of `output1` of TTTC0081R: an order and what became of it so far.

    A cancellation is a row of its own, with the number of the order it is about in `orgn_odno`.
    """

    ord_dt: CompactDate
    ord_tmd: CompactTime
    ord_gno_brno: Trimmed = ""
    odno: OrderNumber
    orgn_odno: OriginalNumber = ""
    sll_buy_dvsn_cd: Annotated[str, Field(pattern=r"^0[12]$")]
    pdno: Trimmed
    ord_qty: Amount
    ord_unpr: Amount
    tot_ccld_qty: Amount
    tot_ccld_amt: Amount
    avg_prvs: Amount
    rmn_qty: Amount
    rjct_qty: Amount
    # the sample of the documentation and its list of fields spell it differently
    cncl_cfrm_qty: Amount = Field(Decimal(0), validation_alias=AliasChoices("cncl_cfrm_qty", "cnc_cfrm_qty"))
    cncl_yn: Trimmed = ""
    # the list of fields of the documentation has a capital letter in it
    exchange: ExchangeName = Field("", validation_alias=AliasChoices("excg_id_dvsn_cd", "excg_id_dvsn_Cd"))

    @property
    def side(self) -> Side:
        return SIDES[self.sll_buy_dvsn_cd]

    @property
    def at(self) -> datetime:
        """When the order was taken, UTC, to the second."""
        return datetime.combine(self.ord_dt, self.ord_tmd, KST).astimezone(UTC)

    @property
    def venue_order_id(self) -> str:
        """The order number with its trade day: KIS begins anew every day."""
        return f"{self.ord_dt:%Y%m%d}-{self.odno}"


class CancellableRow(Wire):
    """One row of `output` of TTTC0084R: an order of today that still rests, and how much of it."""

    ord_gno_brno: Trimmed
    odno: OrderNumber
    pdno: Trimmed
    sll_buy_dvsn_cd: Annotated[str, Field(pattern=r"^0[12]$")]
    ord_qty: Amount
    ord_unpr: Amount
    ord_tmd: CompactTime
    tot_ccld_qty: Amount
    psbl_qty: Amount
    exchange: ExchangeName = Field("", validation_alias="excg_id_dvsn_cd")

    @property
    def side(self) -> Side:
        return SIDES[self.sll_buy_dvsn_cd]


class DayRow(Wire):
    """One row of `output` of CTCA0903R: whether stocks can be traded on that day is `opnd_yn`."""

    bass_dt: CompactDate
    opnd_yn: Annotated[str, Field(pattern=r"^[YN]$")]

    @property
    def opens(self) -> bool:
        return self.opnd_yn == YES

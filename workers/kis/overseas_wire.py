"""Replies of KIS's calls for US stocks, the fields we need; every value is text.

Field names from github.com/koreainvestment/open-trading-api (examples_llm/overseas_stock). An order of 05:46 in Korea
has the `ord_dt` of the day before, which is the date in New York, and the `dmst_ord_dt` of its own day in Korea.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field

from trading.types import Side
from workers.kis.wire import KST, CompactDate, CompactTime
from workers.wire import Number, Wire

NEW_YORK = ZoneInfo("America/New_York")
ODNO_DIGITS = 10
NO_ORDER = "0" * ODNO_DIGITS
SIDES = {"01": Side.SELL, "02": Side.BUY}
REFUSED_STATUS = "거부"
DONE_STATUS = "완료"
CHANGE_KINDS = frozenset({"01", "02"})


def _trimmed(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _or_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _or_zero(value: object) -> object:
    return "0" if isinstance(value, str) and not value.strip() else value


def _number(value: object) -> object:
    """The ten digits of an order number, "" for none. Raises `ValueError`."""
    if not isinstance(value, str):
        return value
    digits = value.strip()
    if digits and not digits.isdecimal():
        raise ValueError("is no order number")
    number = digits.zfill(ODNO_DIGITS) if digits else ""
    return "" if number == NO_ORDER else number


Trimmed = Annotated[str, BeforeValidator(_trimmed)]
OrderNumber = Annotated[str, BeforeValidator(_number), Field(min_length=ODNO_DIGITS, max_length=12)]
OriginalNumber = Annotated[str, BeforeValidator(_number)]
Amount = Annotated[Decimal, BeforeValidator(_or_zero), Field(ge=0)]
"""A quantity, or a price or an amount in USD, finite and not negative."""
MaybeNumber = Annotated[Number | None, BeforeValidator(_or_none)]
MaybeDate = Annotated[CompactDate | None, BeforeValidator(_or_none)]
MaybeTime = Annotated[CompactTime | None, BeforeValidator(_or_none)]


class UsPrice(Wire):
    """`output` of HHDFS00000300; all of it is blank for a symbol that this exchange does not list."""

    last: MaybeNumber = None


class UsBookTime(Wire):
    """`output1` of HHDFS76200100: when the book stood so."""

    dymd: MaybeDate = None
    dhms: MaybeTime = None

    def at(self, now: datetime) -> datetime | None:
        """The time of the book, UTC, None where there is none.

        The documentation does not say whether these are hours of New York or of Korea. They are 13 or 14 hours apart,
        so of the two readings the latest one that is not in the future is it.
        """
        if self.dymd is None or self.dhms is None:
            return None
        readings = [datetime.combine(self.dymd, self.dhms, zone).astimezone(UTC) for zone in (NEW_YORK, KST)]
        return max((reading for reading in readings if reading <= now + timedelta(minutes=1)), default=None)


class UsBook(Wire):
    """`output2` of HHDFS76200100: the best level, "0" where a side has none."""

    pbid1: Number
    pask1: Number
    vbid1: MaybeNumber = None
    vask1: MaybeNumber = None


class UsDailyRow(Wire):
    """One row of `output2` of HHDFS76240000; `xymd` is the session in New York."""

    xymd: CompactDate
    open: Number
    high: Number
    low: Number
    clos: Number
    tvol: Number


class UsMinuteRow(Wire):
    """One row of `output2` of HHDFS76950200, named by its start in New York."""

    xymd: CompactDate
    xhms: CompactTime
    open: Number
    high: Number
    low: Number
    last: Number
    evol: Number

    @property
    def local(self) -> datetime:
        """The start, in New York."""
        return datetime.combine(self.xymd, self.xhms, NEW_YORK)


class UsBalanceRow(Wire):
    """One row of `output1` of TTTS3012R."""

    ovrs_pdno: Trimmed
    ovrs_excg_cd: Trimmed = ""
    ovrs_cblc_qty: Amount
    ord_psbl_qty: Amount
    pchs_avg_pric: Amount
    tr_crcy_cd: Trimmed = "USD"


class UsBuyable(Wire):
    """`output` of TTTS3007R. `ovrs_ord_psbl_amt` is what USD in hand and today's sales can buy; amounts that would
    first be changed from KRW (`frcr_ord_psbl_amt1`) are not in it."""

    tr_crcy_cd: Trimmed
    ovrs_ord_psbl_amt: Amount


class UsOrdered(Wire):
    """`output` of order and order-rvsecncl: the number from now on, and when (KST)."""

    ODNO: OrderNumber
    ORD_TMD: CompactTime


class UsOrderRow(Wire):
    """One row of TTTS3035R or TTTS3018R: an order and what became of it so far.

    A change (`rvse_cncl_dvsn` 01) or cancellation (02) is a row of its own, with the number of the order it is about
    in `orgn_odno`. An order that ended with the session says so in `rjct_rson_name` and is not refused.
    """

    ord_dt: CompactDate
    dmst_ord_dt: MaybeDate = None
    ord_tmd: MaybeTime = None
    thco_ord_tmd: MaybeTime = None
    odno: OrderNumber
    orgn_odno: OriginalNumber = ""
    sll_buy_dvsn_cd: Annotated[str, Field(pattern=r"^0[12]$")]
    rvse_cncl_dvsn: Trimmed = ""
    pdno: Trimmed
    ft_ord_qty: Amount
    ft_ord_unpr3: Amount
    ft_ccld_qty: Amount
    ft_ccld_unpr3: Amount = Decimal(0)
    ft_ccld_amt3: Amount = Decimal(0)
    nccs_qty: Amount
    prcs_stat_name: Trimmed = ""
    rjct_rson_name: Trimmed = ""
    ovrs_excg_cd: Trimmed = ""

    @property
    def side(self) -> Side:
        return SIDES[self.sll_buy_dvsn_cd]

    @property
    def is_change(self) -> bool:
        """Whether the row is the change or cancellation of another order."""
        return bool(self.orgn_odno) or self.rvse_cncl_dvsn in CHANGE_KINDS

    @property
    def refused(self) -> bool:
        return REFUSED_STATUS in self.prcs_stat_name

    @property
    def done(self) -> bool:
        return DONE_STATUS in self.prcs_stat_name

    @property
    def value(self) -> Decimal:
        """What was traded so far, USD."""
        return self.ft_ccld_amt3 or self.ft_ccld_unpr3 * self.ft_ccld_qty

    @property
    def at(self) -> datetime:
        """When the order was taken, UTC, to the second. Raises `ValueError` for a row without a time."""
        time = self.thco_ord_tmd or self.ord_tmd
        if time is None:
            raise ValueError(f"order {self.odno} has no time")
        if self.dmst_ord_dt is not None:
            return datetime.combine(self.dmst_ord_dt, time, KST).astimezone(UTC)
        # the list of resting orders has no date of Korea: it is the one at which New York had `ord_dt`
        days = (self.ord_dt, self.ord_dt + timedelta(days=1))
        moments = [datetime.combine(day, time, KST) for day in days]
        return next(at for at in moments if at.astimezone(NEW_YORK).date() == self.ord_dt).astimezone(UTC)

    @property
    def venue_order_id(self) -> str:
        """The order number with its day in Korea: KIS begins anew every day."""
        return f"{self.at.astimezone(KST):%Y%m%d}-{self.odno}"


def listed(rows: Any, key: str) -> Any:
    """The rows that name something in `key`: KIS pads a page with blank ones, and sends a lone blank one for none."""
    rows = [rows] if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        return rows
    return [row for row in rows if not isinstance(row, dict) or str(row.get(key, "?")).strip()]


def session_of(at: datetime) -> date:
    """The date in New York."""
    return at.astimezone(NEW_YORK).date()

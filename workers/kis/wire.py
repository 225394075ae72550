"""Replies of the KIS Open API, the fields we need; every value is text.

Field names from github.com/koreainvestment/open-trading-api.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from trading.fundamentals import told
from workers.wire import FIRST_YEAR, LAST_YEAR, MOST, Number, Told, ToldAmount, Wire

KST = ZoneInfo("Asia/Seoul")
# 억원, in which a market capitalisation is told
HUNDRED_MILLION = Decimal(100_000_000)
# so far two clocks and a reply on its way are apart at most
APART = timedelta(minutes=5)
FIRST_MINUTES, LAST_MINUTES = time(0, 5), time(23, 55)


def _date(value: object) -> object:
    return datetime.strptime(value, "%Y%m%d").date() if isinstance(value, str) else value  # noqa: DTZ007


def _of_this_age(value: date) -> date:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError("is not of this age")
    return value


def _time(value: object) -> object:
    return datetime.strptime(value, "%H%M%S").time() if isinstance(value, str) else value  # noqa: DTZ007


def _kst_to_utc(value: datetime) -> datetime:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError("is not of this age")
    return value.replace(tzinfo=KST).astimezone(UTC) if value.utcoffset() is None else value.astimezone(UTC)


def _or_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Size = Annotated[Annotated[Decimal, Field(ge=0, lt=MOST)] | None, BeforeValidator(_or_none)]
CompactDate = Annotated[date, BeforeValidator(_date), AfterValidator(_of_this_age)]
CompactTime = Annotated[time, BeforeValidator(_time)]
KstTime = Annotated[datetime, AfterValidator(_kst_to_utc)]


class Token(Wire):
    """`POST /oauth2/tokenP`; the expiry is KST and names no zone."""

    # it goes into a header as it is
    access_token: str = Field(pattern=r"^[\x21-\x7e]+$", repr=False)
    access_token_token_expired: KstTime


class Price(Wire):
    """`output` of FHKST01010100: last price and tick size at that price, the lowest price the exchange takes an order
    for on this day, and what it tells of the company."""

    stck_prpr: Number
    aspr_unit: Number
    stck_llam: ToldAmount = None
    hts_avls: ToldAmount = None
    per: Told = None
    pbr: Told = None
    eps: Told = None
    bps: Told = None
    w52_hgpr: ToldAmount = None
    w52_lwpr: ToldAmount = None

    @property
    def fundamentals(self) -> dict[str, Decimal]:
        """By the names of `trading.fundamentals`, in KRW."""
        return told(
            market_cap=None if self.hts_avls is None else self.hts_avls * HUNDRED_MILLION,
            per=self.per,
            pbr=self.pbr,
            eps=self.eps,
            bps=self.bps,
            week52_high=self.w52_hgpr,
            week52_low=self.w52_lwpr,
        )


class AskingPrice(Wire):
    """`output1` of FHKST01010200: the best of ten levels and the shares there, "0" where a side has none."""

    askp1: Number
    bidp1: Number
    askp_rsqn1: Size = None
    bidp_rsqn1: Size = None


class DailyRow(Wire):
    """One row of `output2` of FHKST03010100."""

    stck_bsop_date: CompactDate
    stck_oprc: Number
    stck_hgpr: Number
    stck_lwpr: Number
    stck_clpr: Number
    acml_vol: Number


class MinuteRow(Wire):
    """One row of `output2` of FHKST03010200: one minute, named by its start in KST."""

    stck_bsop_date: CompactDate
    stck_cntg_hour: CompactTime
    stck_oprc: Number
    stck_hgpr: Number
    stck_lwpr: Number
    stck_prpr: Number
    cntg_vol: Number

    @property
    def start(self) -> datetime:
        """The start of the minute, UTC."""
        return datetime.combine(self.stck_bsop_date, self.stck_cntg_hour, KST).astimezone(UTC)


def day_of(told: time, now: datetime) -> date:
    """The date in Korea of a time of day that KIS told just now: that of `now`, unless midnight came in between, or
    has come for KIS's clock alone."""
    local = now.astimezone(KST)
    if local.hour == 0 and told > (local + APART).time():
        return local.date() - timedelta(days=1)
    if local.time() >= LAST_MINUTES and told < FIRST_MINUTES:
        return local.date() + timedelta(days=1)
    return local.date()


def filled(rows: Any) -> Any:
    """The rows without the empty ones that KIS pads a page with (an object without values)."""
    return [row for row in rows if row and not _is_blank(row)] if isinstance(rows, list) else rows


def _is_blank(row: object) -> bool:
    return isinstance(row, dict) and not any(row.values())

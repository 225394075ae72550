"""The figures: instruments, analyses, orders and reports as they could be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Literal

from trading.exits import Exit, ExitKind
from trading.reports import (
    Decisions,
    Failure,
    Gap,
    Holding,
    MarketReport,
    ModelUse,
    Profit,
    Report,
    Sweeps,
    SymbolProfit,
    Worth,
)
from trading.runs import RunSummary
from trading.types import (
    Analysis,
    Decision,
    Fill,
    Instrument,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    PriceRange,
    PriceRanges,
    Side,
    TimeInForce,
)

# one moment for all, and today's, since the chat shows beside each message when it came
NOW = datetime.now(UTC).replace(microsecond=0)
BTC_PRICE = D(131_250_000)
TRACE = "6805aa1c59a1b21d800ab3978606ba78"
RUN = "0bdf8f57-bac1-4717-afa6-2c2bcaf2bc58"
ANALYSIS = "f1bf190a-1906-43b8-937f-c407a097716f"

BTC = Instrument("upbit", "KRW-BTC", "비트코인", "crypto", "KRW", D("0.00000001"), D(5000), D("0.0005"))
ETH = Instrument("upbit", "KRW-ETH", "이더리움", "crypto", "KRW", D("0.00000001"), D(5000), D("0.0005"))
SOL = Instrument("upbit", "KRW-SOL", "솔라나", "crypto", "KRW", D("0.00000001"), D(5000), D("0.0005"))
SAMSUNG = Instrument("kis", "005930", "삼성전자", "equity_kr", "KRW", D(1), D(0), D("0.00015"))
HYNIX = Instrument("kis", "000660", "SK하이닉스", "equity_kr", "KRW", D(1), D(0), D("0.00015"))
APPLE = Instrument("yfinance", "AAPL", "Apple Inc.", "equity_us", "USD", D(1), D(0), D("0.0025"))
NVIDIA = Instrument("yfinance", "NVDA", "NVIDIA Corporation", "equity_us", "USD", D(1), D(0), D("0.0025"))


def analysis(price: D, decision: Decision, confidence: int, reasons: tuple[str, ...], step: D) -> Analysis:
    """An analysis around a price, its ranges in steps of `step`."""

    def between(low: str, high: str) -> PriceRange:
        return PriceRange(*((price * D(rate) / step).to_integral_value() * step for rate in (low, high)))

    ranges = PriceRanges(
        between("0.983", "1.001"), between("1.024", "1.048"), between("0.951", "0.972"), between("1.06", "1.09")
    )
    return Analysis(decision, confidence, reasons, ranges, "gemini-2.5-flash", price, NOW)


def intent(instrument: Instrument, side: Side, quantity: str, price: str, leg: int = 1) -> OrderIntent:
    """An order of the run."""
    return OrderIntent(
        f"{instrument.market}-{side[0]}1-{leg}-ef5066d79908776dc2a1", instrument.market, instrument.symbol, side,
        D(quantity), D(price), instrument.currency, TimeInForce.GTC,
    )  # fmt: skip


def placement(state: OrderState, *fills: tuple[str, str, str], reason: str | None = None) -> Placement:
    """The venue's word, with fills of (quantity, price, fee)."""
    made = tuple(
        Fill(f"t{number}", D(quantity), D(price), D(fee), NOW + timedelta(seconds=number))
        for number, (quantity, price, fee) in enumerate(fills, 1)
    )
    return Placement("C0101000001799653559", state, made, reason)


def exit_of(kind: ExitKind, quantity: str, price: str, trigger: str, average: str) -> Exit:
    """An exit rule that a price has reached."""
    rate = D(price) / D(average) - 1
    reason = f"{kind}: the price {price} has reached {trigger}, {rate:+.2%} against the average {average}"
    return Exit(kind, D(quantity), D(price), D(trigger), rate, reason)


def by_hand() -> OpenOrder:
    """An order that a person placed in the venue's own app."""
    return OpenOrder(
        "9ca023a5-851b-4fec-9f0a-48cd83c2eaae", None, "KRW-ETH", Side.SELL, D("0.35"), D(0), D(4_720_000), "KRW", NOW
    )


def run_summary() -> RunSummary:
    """A run in which one symbol of five failed."""
    return RunSummary(
        market="upbit",
        slot=NOW.replace(second=0),
        symbols=5,
        decisions={Decision.BUY: 2, Decision.HOLD: 1, Decision.SELL: 1},
        orders={Side.BUY: 5, Side.SELL: 1},
        failed=("KRW-XRP",),
        seconds=4.8,
    )


def report(period: Literal["day", "week"], starts_at: datetime, ends_at: datetime) -> Report:
    """A day, or a week of about seven of it."""
    times = 1 if period == "day" else 6
    crypto = _market(
        "upbit", "crypto", "KRW", times, ends_at,
        figures={"bought": 1_196_400, "sold": 1_482_700, "fees": 1_340, "taxes": 0, "realised": 41_870},
        rate=D("0.0291"),
        symbols={"KRW-BTC": (38_120, "0.0412", 2), "KRW-SOL": (9_460, "0.0187", 1), "KRW-DOGE": (-5_710, "-0.0121", 1)},
        account=(5_412_380, 4_871_950, 10_201_400),
        holdings={"KRW-BTC": ("0.02311842", 129_400_000, 131_250_000), "KRW-ETH": ("0.41", 4_455_000, 4_390_000)},
    )  # fmt: skip
    korea = _market(
        "kis", "equity_kr", "KRW", times, ends_at,
        figures={"bought": 892_500, "sold": 628_000, "fees": 228, "taxes": 942, "realised": -12_430},
        rate=D("-0.0194"),
        symbols={"000660": (-12_430, "-0.0194", 1)},
        account=(8_240_500, 1_787_000, 10_031_200),
        holdings={"005930": ("10", 176_900, 178_700)},
    )  # fmt: skip
    america = _market(
        "yfinance", "equity_us", "USD", times, ends_at,
        figures={"bought": 2_541, "sold": 0, "fees": 6, "taxes": 0, "realised": 0},
        rate=None,
        symbols={},
        account=(7_452, 2_588, 9_991),
        holdings={"AAPL": ("10", 254, 259)},
    )  # fmt: skip
    return Report(
        period=period,
        starts_at=starts_at,
        ends_at=ends_at,
        markets=(crypto, korea, america),
        failures=(Failure("upbit", "Throttled", 2 * times), Failure("yfinance", "Stale", 1)),
        alerts_sent=47 * times,
        dead_letters=0,
        gap=Gap(starts_at + timedelta(hours=19, minutes=2), starts_at + timedelta(hours=19, minutes=31)),
        models=(ModelUse("gemini-2.5-flash", 96 * times, 214_000 * times, 31_400 * times, D("0.1427") * times),),
    )


def _market(
    name: str, asset_type: str, currency: str, times: int, at: datetime, *, figures: Mapping[str, int], rate: D | None,
    symbols: Mapping[str, tuple[int, str, int]], account: tuple[int, int, int],
    holdings: Mapping[str, tuple[str, int, int]],
) -> MarketReport:  # fmt: skip
    cash, positions, start = map(D, account)
    return MarketReport(
        market=name,
        asset_type=asset_type,
        currency=currency,
        decisions=Decisions(buy=11 * times, sell=6 * times, hold=31 * times, overruled=2 * times),
        sweeps=Sweeps(expected=24 * times, carried_out=24 * times, closed=0),
        profit=Profit(
            fills=sum(sales for _, _, sales in symbols.values()) * 2 * times + 1,
            **{label: D(value) * times for label, value in figures.items()},
            rate=rate,
            symbols=tuple(
                SymbolProfit(symbol, D(realised) * times, D(gained), sales * times)
                for symbol, (realised, gained, sales) in symbols.items()
            ),
            unbooked=(),
            round_trips=4 * times if symbols else 0,
            won=(3 if figures["realised"] > 0 else 1) * times if symbols else 0,
        ),
        worth=Worth(at, cash, positions, cash + positions, start, (cash + positions) / start - 1, D("0.0132")),
        holdings=tuple(
            Holding(symbol, D(units), D(average), D(price), D(units) * price, D(price) / average - 1)
            for symbol, (units, average, price) in holdings.items()
        ),
    )

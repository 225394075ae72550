"""From analysis to order: every way out has a name, and no order costs more than there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.confidence import confidence_range
from trading.decision import Order, Skip, decide
from trading.errors import BadQuote
from trading.ticks import round_down
from trading.types import Account, Analysis, Decision, Instrument, Position, PriceRange, PriceRanges, Quote, Side

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
BITCOIN = Instrument(
    "upbit", "KRW-BTC", "Bitcoin", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)
SAMSUNG = Instrument("kis", "005930", "Samsung", "equity_kr", "KRW", Decimal(1), Decimal(0), Decimal("0.00015"))


def analysis_of(decision: Decision, *, highest: str = "1000000000", confidence: int = 80) -> Analysis:
    wide = PriceRange(Decimal(1), Decimal(highest))
    return Analysis(decision, confidence, ("x",), PriceRanges(wide, wide, wide, wide), "rules-1", Decimal(1), NOW)


def quote_of(instrument: Instrument, bid: str, ask: str, tick: str = "1") -> Quote:
    return Quote(instrument.symbol, Decimal(ask), Decimal(bid), Decimal(ask), Decimal(tick), NOW)


def account(cash: str, held: str = "0") -> Account:
    return Account("KRW", Decimal(cash), Position(Decimal(held), Decimal(1)))


def run(analysis: Analysis, money: Account, instrument: Instrument, quote: Quote, **changes: Any) -> Order | Skip:
    arguments: dict[str, Any] = {
        "min_confidence": 55,
        "order_value": Decimal(100_000),
        "max_age_seconds": 120,
        "now": NOW + timedelta(seconds=3),
    }
    return decide(analysis, money, instrument, quote, **(arguments | changes))


def test_a_buy_is_one_limit_order_at_the_ask_for_the_order_value() -> None:
    order = run(
        analysis_of(Decision.BUY), account("1000000"), BITCOIN, quote_of(BITCOIN, "128829000", "128830000", "1000")
    )
    assert isinstance(order, Order)
    assert (order.side, order.price, order.quantity) == (Side.BUY, Decimal(128830000), Decimal("0.00077621"))
    assert order.value == order.price * order.quantity <= 100_000
    assert order.fee == order.value * Decimal("0.0005")


def test_a_sell_is_the_whole_position_at_the_bid() -> None:
    order = run(analysis_of(Decision.SELL), account("0", "7"), SAMSUNG, quote_of(SAMSUNG, "178500", "178600", "100"))
    assert isinstance(order, Order)
    assert (order.side, order.price, order.quantity) == (Side.SELL, Decimal(178500), Decimal(7))


def test_off_the_grid_a_limit_still_crosses_the_book() -> None:
    quote = quote_of(SAMSUNG, "50.004", "50.006", "0.01")
    buy = run(analysis_of(Decision.BUY), account("1000000"), SAMSUNG, quote)
    sell = run(analysis_of(Decision.SELL), account("0", "1"), SAMSUNG, quote)
    assert isinstance(buy, Order)
    assert isinstance(sell, Order)
    assert buy.price == Decimal("50.01") >= quote.ask
    assert sell.price == Decimal("50.00") <= quote.bid


@pytest.mark.parametrize(
    ("analysis", "money", "instrument", "quote", "changes", "outcome"),
    [
        (analysis_of(Decision.HOLD), account("0"), SAMSUNG, quote_of(SAMSUNG, "50", "50"), {}, "hold"),
        (
            analysis_of(Decision.BUY),
            account("1000000"),
            SAMSUNG,
            quote_of(SAMSUNG, "50", "50"),
            {"now": NOW + timedelta(seconds=121)},
            "stale_analysis",
        ),
        (
            analysis_of(Decision.SELL),
            account("0", "1"),
            SAMSUNG,
            quote_of(SAMSUNG, "50", "50"),
            {"now": NOW - timedelta(seconds=121)},
            "stale_analysis",
        ),
        (
            analysis_of(Decision.BUY, confidence=54),
            account("1000000"),
            SAMSUNG,
            quote_of(SAMSUNG, "50", "50"),
            {},
            "low_confidence",
        ),
        (
            analysis_of(Decision.BUY, highest="49"),
            account("1000000"),
            SAMSUNG,
            quote_of(SAMSUNG, "49", "50"),
            {},
            "price_out_of_range",
        ),
        (
            analysis_of(Decision.BUY),
            account("1000000"),
            SAMSUNG,
            quote_of(SAMSUNG, "178500", "178600"),
            {},
            "below_minimum",
        ),
        (
            analysis_of(Decision.BUY),
            account("1000000"),
            BITCOIN,
            quote_of(BITCOIN, "100", "100"),
            {"order_value": Decimal(4_999)},
            "below_minimum",
        ),
        (analysis_of(Decision.BUY), account("99999"), SAMSUNG, quote_of(SAMSUNG, "50", "50"), {}, "insufficient_cash"),
        (analysis_of(Decision.SELL), account("0"), SAMSUNG, quote_of(SAMSUNG, "50", "50"), {}, "nothing_to_sell"),
        (
            analysis_of(Decision.SELL),
            account("0", "0.5"),
            SAMSUNG,
            quote_of(SAMSUNG, "50", "50"),
            {},
            "nothing_to_sell",
        ),
        (
            analysis_of(Decision.SELL),
            account("0", "0.00001"),
            BITCOIN,
            quote_of(BITCOIN, "100000000", "100000000"),
            {},
            "below_minimum",
        ),
    ],
)
def test_every_reason_not_to_trade_has_its_name(
    analysis: Analysis, money: Account, instrument: Instrument, quote: Quote, changes: dict[str, Any], outcome: str
) -> None:
    skip = run(analysis, money, instrument, quote, **changes)
    assert isinstance(skip, Skip)
    assert skip.outcome == outcome
    assert skip.reason
    assert "\n" not in skip.reason


def test_insufficient_cash_says_what_there_is_and_what_it_takes() -> None:
    skip = run(analysis_of(Decision.BUY), account("100000"), SAMSUNG, quote_of(SAMSUNG, "50", "50"))
    assert isinstance(skip, Skip)
    # 2,000 shares at 50, and 0.015 % of it
    assert (skip.outcome, skip.have, skip.need) == ("insufficient_cash", Decimal(100_000), Decimal(100_015))
    assert skip.reason == "the balance is 100,000 KRW, the order needs 100,015 KRW with its fee"


def test_an_order_value_below_one_share_says_what_one_costs() -> None:
    skip = run(analysis_of(Decision.BUY), account("1000000"), SAMSUNG, quote_of(SAMSUNG, "178500", "178600"))
    assert isinstance(skip, Skip)
    assert (skip.have, skip.need) == (Decimal(100_000), Decimal(178_600))
    assert "raise the order value" in skip.reason


def test_what_belongs_to_another_instrument_is_refused() -> None:
    buy = analysis_of(Decision.BUY)
    with pytest.raises(ValueError, match="was given a quote of KRW-BTC"):
        run(buy, account("1000000"), SAMSUNG, quote_of(BITCOIN, "50", "50"))
    with pytest.raises(ValueError, match="an account in USD"):
        run(buy, replace(account("1000000"), currency="USD"), SAMSUNG, quote_of(SAMSUNG, "50", "50"))
    with pytest.raises(BadQuote):
        run(buy, account("1000000"), SAMSUNG, quote_of(SAMSUNG, "51", "50"))


money = st.decimals("0", "1000000000", places=4)
steps = st.sampled_from([Decimal("0.00000001"), Decimal("0.001"), Decimal(1), Decimal(10)])


@settings(deadline=None)
@given(
    decision=st.sampled_from(Decision),
    cash=money,
    held=st.decimals("0", "100000", places=8),
    price=st.decimals("0.0001", "200000000", places=4),
    spread=st.decimals("0", "10", places=4),
    tick=st.sampled_from([Decimal("0.0001"), Decimal("0.01"), Decimal(1), Decimal(1000)]),
    step=steps,
    minimum=st.sampled_from([Decimal(0), Decimal(1), Decimal(5000)]),
    fee=st.sampled_from([Decimal(0), Decimal("0.0005"), Decimal("0.0025")]),
    order_value=money,
    highest=money,
)
def test_no_order_is_unpayable_off_the_grid_or_more_than_is_held(
    decision: Decision,
    cash: Decimal,
    held: Decimal,
    price: Decimal,
    spread: Decimal,
    tick: Decimal,
    step: Decimal,
    minimum: Decimal,
    fee: Decimal,
    order_value: Decimal,
    highest: Decimal,
) -> None:
    instrument = Instrument("m", "X", "X", "crypto", "KRW", step, minimum, fee)
    quote = Quote("X", price, price, price + spread, tick, NOW)
    result = run(
        analysis_of(decision, highest=str(highest)),
        Account("KRW", cash, Position(held, Decimal(1))),
        instrument,
        quote,
        order_value=order_value,
    )
    if isinstance(result, Skip):
        return
    assert result.quantity > 0
    assert result.price > 0
    assert result.price == round_down(result.price, tick)
    assert result.quantity == round_down(result.quantity, step)
    assert result.value == result.price * result.quantity >= minimum
    if result.side is Side.BUY:
        assert decision is Decision.BUY
        assert result.value + result.fee <= cash
        assert result.value <= order_value
        assert quote.ask <= result.price <= highest
    else:
        assert decision is Decision.SELL
        assert held - step < result.quantity <= held
        assert result.price <= quote.bid


def test_confidence_has_three_ranges() -> None:
    assert [confidence_range(value) for value in (0, 39, 40, 69, 70, 100)] == [
        "low",
        "low",
        "medium",
        "medium",
        "high",
        "high",
    ]

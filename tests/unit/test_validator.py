"""What fails a check becomes a HOLD that says why; a BUY without its numbers fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.checks.case import Case, Check
from trading.errors import BadQuote
from trading.indicators import Indicators
from trading.market_risk import MarketRisk
from trading.ranges import price_ranges
from trading.types import Analysis, Decision, PriceRange, PriceRanges, Quote
from trading.validator import CHECKS, PRICE_CHECKS, Thresholds, validate

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
PRICE = Decimal(1000)
CALM = MarketRisk(False, False, False)
GOOD = Indicators(
    close=1000, rsi=55, macd=1, macd_signal=0, macd_histogram=1, macd_histogram_previous=0, bollinger_upper=1050,
    bollinger_middle=1000, bollinger_lower=950, bollinger_width=0.1, stochastic_k=50, stochastic_d=50, sma_5=1000,
    sma_20=1000, sma_60=1000, sma_120=None, sma_200=None, atr=30, adx=30, volume_ratio=2,
)  # fmt: skip


def pair(low: Any, high: Any) -> PriceRange:
    return PriceRange(Decimal(low), Decimal(high))


RANGES = PriceRanges(pair(980, 1005), pair(995, 1025), pair(940, 960), pair(1040, 1060))


def analysis_of(decision: Decision = Decision.BUY, **changes: Any) -> Analysis:
    return replace(Analysis(decision, 80, ("a", "b", "c"), RANGES, "rules-1", PRICE, NOW), **changes)


def quote_at(price: Any = PRICE) -> Quote:
    value = Decimal(price)
    return Quote("X", value, value, value, Decimal(1), NOW)


def run(analysis: Analysis, market: MarketRisk | None = CALM, price: Any = PRICE, **indicators: Any) -> Analysis:
    return validate(analysis, replace(GOOD, **indicators), quote_at(price), market, language="en")


@pytest.mark.parametrize("decision", list(Decision))
def test_a_sound_analysis_passes_unchanged(decision: Decision) -> None:
    analysis = analysis_of(decision)
    assert run(analysis) is analysis


def test_the_checks_stand_in_their_documented_order() -> None:
    assert [check.__name__ for check in CHECKS] == [
        "range_bounds",
        "rsi_extreme",
        "volatility",
        "market_risk",
        "fake_breakout",
        "trend",
        "low_confidence",
        "range_order",
        "price_distance",
        "quote_moved",
    ]


@pytest.mark.parametrize(
    ("rule", "indicators"),
    [
        ("rsi_extreme", {"rsi": 70.1}),
        ("volatility", {"atr": 60.1}),
        ("fake_breakout", {"volume_ratio": 1.49}),
        ("fake_breakout", {"adx": 19.9}),
        ("trend", {"adx": 24.9}),
        ("trend", {"bollinger_width": 0.039}),
    ],
)
def test_each_indicator_check_makes_a_buy_a_hold(rule: str, indicators: dict[str, float]) -> None:
    made = run(analysis_of(), **indicators)
    assert (made.decision, made.rejected_by) == (Decision.HOLD, rule)
    assert run(analysis_of(Decision.SELL), **indicators).rejected_by is None


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("rsi_extreme", "rsi"),
        ("volatility", "atr"),
        ("volatility", "close"),
        ("fake_breakout", "volume_ratio"),
        ("fake_breakout", "adx"),
        ("trend", "bollinger_width"),
    ],
)
@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_a_missing_indicator_refuses_a_buy_but_not_a_sell(rule: str, name: str, missing: float | None) -> None:
    assert run(analysis_of(), **{name: missing}).rejected_by == rule
    assert run(analysis_of(Decision.SELL), **{name: missing}).rejected_by is None


def test_without_indicators_or_market_nothing_is_bought() -> None:
    assert validate(analysis_of(), None, quote_at(), CALM).decision is Decision.HOLD
    assert run(analysis_of(), market=None).rejected_by == "market_risk"
    sell = analysis_of(Decision.SELL)
    assert validate(sell, None, quote_at(), None) is sell


@pytest.mark.parametrize("name", ["reference_falling", "flash_crash", "bearish_divergence"])
@pytest.mark.parametrize("answer", [True, None])
def test_each_market_risk_refuses_a_buy(name: str, answer: bool | None) -> None:
    risky = replace(CALM, **{name: answer})
    assert run(analysis_of(), market=risky).rejected_by == "market_risk"
    assert run(analysis_of(Decision.SELL), market=risky).rejected_by is None


def test_a_sell_is_refused_when_oversold() -> None:
    assert run(analysis_of(Decision.SELL), rsi=29.9).rejected_by == "rsi_extreme"
    assert run(analysis_of(Decision.SELL), rsi=30).rejected_by is None


@pytest.mark.parametrize("decision", [Decision.BUY, Decision.SELL])
def test_low_confidence_is_refused_on_both_sides(decision: Decision) -> None:
    assert run(analysis_of(decision, confidence=39)).rejected_by == "low_confidence"
    assert run(analysis_of(decision, confidence=40)).rejected_by is None


@pytest.mark.parametrize("bad", [pair(10, 5), pair(0, 5), pair(-1, 5), pair("NaN", 5), pair(5, "Infinity")])
@pytest.mark.parametrize("decision", list(Decision))
def test_ranges_that_are_none_become_the_price_so_that_the_hold_can_be_stored(
    decision: Decision, bad: PriceRange
) -> None:
    made = run(analysis_of(decision, ranges=replace(RANGES, sell_target=bad)))
    assert (made.decision, made.rejected_by) == (Decision.HOLD, "range_bounds")
    assert made.ranges.sell_target == made.ranges.buy_hope == pair(PRICE, PRICE)
    assert made.reasons[-1].startswith("Not a price range: sell_target")


@pytest.mark.parametrize(
    ("rule", "decision", "ranges"),
    [
        ("range_order", Decision.BUY, replace(RANGES, buy_hope=pair(985, 990))),
        ("range_order", Decision.SELL, replace(RANGES, sell_target=pair(1000, 1010))),
        ("price_distance", Decision.BUY, replace(RANGES, appropriate_buy=pair(690, 1005), buy_hope=pair(600, 680))),
        ("price_distance", Decision.BUY, replace(RANGES, buy_hope=pair(390, 900))),
        ("price_distance", Decision.SELL, replace(RANGES, sell_target=pair(1040, 1601))),
    ],
)
def test_prices_that_make_no_sense_are_refused(rule: str, decision: Decision, ranges: PriceRanges) -> None:
    made = run(analysis_of(decision, ranges=ranges))
    assert (made.decision, made.rejected_by) == (Decision.HOLD, rule)
    assert made.ranges == ranges


def test_only_the_side_of_the_decision_must_be_near() -> None:
    far = replace(RANGES, sell_target=pair(1040, 5000))
    assert run(analysis_of(Decision.BUY, ranges=far)).rejected_by is None


def test_a_price_that_ran_away_is_refused() -> None:
    assert run(analysis_of(), price=1060).rejected_by == "quote_moved"
    assert run(analysis_of(price=Decimal("NaN"))).rejected_by == "quote_moved"


def test_the_reason_is_the_last_of_at_most_three() -> None:
    made = run(analysis_of(), rsi=75)
    assert made.reasons == ("a", "b", "Overbought: RSI 75.0 > 70")
    korean = validate(analysis_of(reasons=("a",)), replace(GOOD, rsi=75), quote_at(), CALM)
    assert korean.reasons == ("a", "과매수: RSI 75.0 > 70")


def test_thresholds_can_be_moved() -> None:
    lenient = Thresholds(buy_max_rsi=80)
    assert validate(analysis_of(), replace(GOOD, rsi=75), quote_at(), CALM, thresholds=lenient).rejected_by is None


def test_a_quote_that_is_none_is_refused() -> None:
    with pytest.raises(BadQuote):
        validate(analysis_of(), GOOD, quote_at("NaN"), CALM)


numbers = st.floats(min_value=0, max_value=200) | st.just(float("nan"))


@given(numbers, numbers, numbers, numbers, st.sampled_from(list(Decision)), st.integers(0, 100))
def test_a_check_only_ever_makes_a_hold(
    rsi: float, atr: float, adx: float, volume: float, decision: Decision, confidence: int
) -> None:
    analysis = analysis_of(decision, confidence=confidence)
    made = run(analysis, rsi=rsi, atr=atr, adx=adx, volume_ratio=volume)
    assert made is analysis or (made.decision is Decision.HOLD and made.rejected_by)
    assert 1 <= len(made.reasons) <= 3
    # a HOLD of the validator is not rejected again
    assert run(made, rsi=rsi, atr=atr, adx=adx, volume_ratio=volume) is made


prices = st.integers(1, 10**6)


@given(prices, prices, prices, prices, st.integers(0, 10**5))
def test_the_ranges_of_the_rule_analyst_are_always_in_order(
    price: int, upper: int, lower: int, average: int, atr: int
) -> None:
    indicators = replace(
        GOOD, bollinger_upper=max(upper, lower), bollinger_lower=min(upper, lower), sma_20=average, atr=atr
    )
    made = run(
        analysis_of(Decision.BUY, ranges=price_ranges(quote_at(price), indicators), price=Decimal(price)), price=price
    )
    assert made.rejected_by in (None, "price_distance")


def test_prices_are_checked_also_where_the_indicators_are_not() -> None:
    sound, ran_away = analysis_of(), analysis_of(price=PRICE * 2)
    assert validate(sound, None, quote_at(), None, checks=PRICE_CHECKS) is sound
    assert validate(ran_away, None, quote_at(), None, checks=PRICE_CHECKS).rejected_by == "quote_moved"


@pytest.mark.parametrize("check", CHECKS)
def test_a_rejection_bears_the_name_of_its_check(check: Check) -> None:
    # what each check refuses; the counter of rejections begins at 0 for these names
    bad = replace(GOOD, rsi=90, atr=100, volume_ratio=0.1, adx=1, bollinger_width=0.01)
    risky = MarketRisk(True, True, True)
    ranges = {
        "range_bounds": replace(RANGES, sell_target=pair(10, 5)),
        "range_order": replace(RANGES, buy_hope=pair(985, 990)),
        "price_distance": replace(RANGES, appropriate_buy=pair(1, 2)),
    }.get(check.__name__, RANGES)
    case = Case(analysis_of(confidence=1, ranges=ranges), bad, quote_at(1060), risky, Thresholds())
    found = check(case)
    assert found is not None
    assert found.rule == check.__name__


EASY = Thresholds(
    buy_max_rsi=100, buy_max_atr=1, breakout_min_volume=0, breakout_min_adx=0, trend_min_adx=0, trend_min_volume=0,
    trend_min_width=0, min_confidence=0, near=Decimal(1), far=Decimal(1), moved=Decimal(1),
)  # fmt: skip


def test_every_threshold_can_be_opened_wide() -> None:
    poor = replace(GOOD, rsi=99, atr=900, volume_ratio=0.01, adx=0.1, bollinger_width=0.001)
    analysis = analysis_of(confidence=1, ranges=replace(RANGES, buy_hope=pair(1, 2)), price=Decimal(10))
    assert validate(analysis, poor, quote_at(), CALM, language="en").decision is Decision.HOLD
    assert validate(analysis, poor, quote_at(), CALM, thresholds=EASY) is analysis

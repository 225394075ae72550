"""The rule analyst: what it says about markets anybody would judge the same."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.analyst import MODEL, THRESHOLD, analyse, confidence, decide_by, reasons, weigh
from trading.errors import BadCandles, BadQuote
from trading.indicators import Indicators, compute
from trading.signals import Signal, all_signals, bollinger, held, momentum, rsi, short_term, stochastic, trend
from trading.types import Analysis, Candle, Decision, Instrument, Position, Quote

ROOT = Path(__file__).parents[2]
RECORDED = (ROOT / os.environ.get("SHARED_DIR", "../shared") / "data" / "candles").resolve()

START = datetime(2026, 1, 1, tzinfo=UTC)
BITCOIN = Instrument(
    "upbit", "KRW-BTC", "Bitcoin", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005")
)
FLAT = Position(Decimal(0), Decimal(0))


def market(shape: Callable[[int], float], count: int = 200, *, step: timedelta = timedelta(days=1)) -> list[Candle]:
    """Candles whose close follows `shape`, with a small range around it."""
    rows = []
    for n in range(count):
        close, before = Decimal(str(round(shape(n), 4))), Decimal(str(round(shape(max(0, n - 1)), 4)))
        high, low = max(close, before) * Decimal("1.004"), min(close, before) * Decimal("0.996")
        rows.append(Candle(START + n * step, before, high, low, close, Decimal(1000 + n % 7)))
    return rows


def quote_of(candles: list[Candle]) -> Quote:
    last = candles[-1]
    return Quote("KRW-BTC", last.close, last.close, last.close, Decimal(1), last.time + timedelta(hours=9))


def judge(candles: list[Candle], position: Position = FLAT, language: str = "ko") -> Analysis:
    return analyse(BITCOIN, candles, [], quote_of(candles), position, language=language)  # type: ignore[arg-type]


def steady_rise(n: int) -> float:
    # rises with pullbacks and an acceleration at the end, so that RSI is high but MACD grows
    return 10_000 + 30 * n + 150 * math.sin(n / 4) + max(0, n - 170) ** 2 / 2


def steady_fall(n: int) -> float:
    return 20_000 - 30 * n + 150 * math.sin(n / 4) - max(0, n - 170) ** 2 / 2


def sideways(n: int) -> float:
    # two cycles that never become a trend: ADX stays below 20
    return 10_000 + 200 * math.sin(n / 1.7) + 200 * math.sin(n / 4.3)


def test_a_rising_market_is_bought_and_a_falling_one_sold() -> None:
    assert judge(market(steady_rise)).decision is Decision.BUY
    assert judge(market(steady_fall)).decision is Decision.SELL


def test_without_a_trend_the_bottom_of_the_range_is_bought_and_its_top_sold() -> None:
    closes: dict[Decision, list[Decimal]] = {decision: [] for decision in Decision}
    for end in range(150, 200):
        candles = market(sideways, end)
        closes[judge(candles).decision].append(candles[-1].close)
    assert closes[Decision.BUY]
    assert closes[Decision.SELL]
    assert max(closes[Decision.BUY]) < 9_850
    assert min(closes[Decision.SELL]) > 10_150


def test_where_there_is_no_trend_trend_signals_alone_decide_nothing(calm: Indicators) -> None:
    up = replace(calm, adx=19, macd_histogram=9, macd_histogram_previous=8, sma_20=9000, sma_60=8000, sma_120=7000)
    middle = replace(up, rsi=50, stochastic_k=50, stochastic_d=50, bollinger_lower=8000, bollinger_upper=12000)
    signals = all_signals(at(10_000), middle, [], FLAT)
    assert [signal.score for signal in signals if signal.name in ("trend", "momentum")] == [1, 1]
    assert decide_by(weigh(signals)) is Decision.HOLD
    assert decide_by(weigh(all_signals(at(10_000), replace(middle, adx=26), [], FLAT))) is Decision.BUY


def test_a_price_that_stands_still_is_held_for_want_of_signals() -> None:
    for price in ("0.3", "100", "160000000"):
        value = Decimal(price)
        candles = [Candle(START + timedelta(days=n), value, value, value, value, Decimal(0)) for n in range(100)]
        seen = replace(quote_of(candles), tick_size=Decimal("0.1"))
        analysis = analyse(BITCOIN, candles, [], seen, FLAT)
        assert analysis.decision is Decision.HOLD
        assert analysis.confidence == 100
        assert analysis.reasons == ("뚜렷한 신호가 없음",)


def test_the_analysis_is_dated_and_priced_by_the_quote_and_repeats_itself() -> None:
    candles = market(steady_rise)
    first, second = judge(candles), judge(candles)
    assert first == second
    assert (first.model, first.price, first.at) == (MODEL, candles[-1].close, quote_of(candles).at)


def test_reasons_are_korean_with_the_numbers_or_english() -> None:
    candles = market(steady_rise)
    korean, english = judge(candles), judge(candles, language="en")
    assert 1 <= len(korean.reasons) <= 3
    assert len(korean.reasons) == len(english.reasons)
    price = f"{candles[-1].close:,.0f}"
    assert any(price in reason and "일선 위" in reason for reason in korean.reasons)
    assert any(price in reason and "above SMA 20/60/120" in reason for reason in english.reasons)
    assert korean.confidence == english.confidence


def test_bad_data_is_refused_with_the_symbol() -> None:
    candles = market(steady_rise)
    with pytest.raises(BadCandles, match="KRW-BTC: too few candles: has 59, needs 60"):
        judge(candles[:59])
    broken = [*candles[:50], replace(candles[50], close=Decimal("NaN")), *candles[51:]]
    with pytest.raises(BadCandles, match=r"KRW-BTC: .* close is NaN"):
        judge(broken)
    with pytest.raises(BadCandles, match=r"KRW-BTC: .* volume is negative"):
        analyse(BITCOIN, candles, [replace(candles[0], volume=Decimal(-1))], quote_of(candles), FLAT)
    with pytest.raises(BadQuote):
        analyse(BITCOIN, candles, [], replace(quote_of(candles), bid=Decimal(0)), FLAT)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-0.15, 0.15), min_size=60, max_size=140),
    st.floats(0.0001, 1e8),
    st.sampled_from([FLAT, Position(Decimal(1), Decimal(5000))]),
)
def test_any_sound_market_gets_a_sound_analysis(moves: list[float], start: float, position: Position) -> None:
    price, rows = start, []
    for n, move in enumerate(moves):
        before, price = price, max(price * (1 + move), 1e-6)
        values = [Decimal(repr(round(value, 10))) for value in (before, max(before, price), min(before, price), price)]
        opened, high, low, close = (max(value, Decimal("1e-7")) for value in values)
        rows.append(Candle(START + timedelta(days=n), opened, high, low, close, Decimal(1)))
    analysis = judge(rows, position)
    assert 0 <= analysis.confidence <= 100
    assert 1 <= len(analysis.reasons) <= 3
    assert all(reason and "nan" not in reason and "\n" not in reason for reason in analysis.reasons)


def test_the_threshold_parts_buy_hold_and_sell() -> None:
    assert decide_by(THRESHOLD) is Decision.BUY
    assert decide_by(THRESHOLD - 1e-9) is Decision.HOLD
    assert decide_by(-THRESHOLD + 1e-9) is Decision.HOLD
    assert decide_by(-THRESHOLD) is Decision.SELL


def vote(score: float, weight: float = 1.0, name: str = "x") -> Signal:
    return Signal(name, score, weight, {"ko": f"{name} 이유", "en": f"{name} reason"})


def test_confidence_falls_when_the_signals_disagree() -> None:
    united = [vote(0.6), vote(0.6)]
    divided = [vote(1.0), vote(1.0), vote(-0.2)]
    assert weigh(divided) == pytest.approx(weigh(united))
    assert confidence(Decision.BUY, 0.6, united) == 100
    assert confidence(Decision.BUY, 0.6, divided) < 100
    quiet, shouting = [vote(0.0), vote(0.0)], [vote(1.0), vote(-1.0)]
    assert confidence(Decision.HOLD, 0.0, quiet) == 100
    assert confidence(Decision.HOLD, 0.0, shouting) == 50


def test_reasons_are_the_strongest_of_the_side_that_won() -> None:
    votes = [vote(0.5, 1, "a"), vote(-1, 5, "b"), vote(1, 2, "c"), vote(0.2, 1, "d"), vote(0.1, 1, "e")]
    assert reasons(Decision.BUY, votes, "en") == ("c reason", "a reason", "d reason")
    assert reasons(Decision.SELL, votes, "ko") == ("b 이유",)
    assert reasons(Decision.HOLD, votes, "en") == ("b reason", "c reason", "a reason")


@pytest.fixture(scope="module")
def calm() -> Indicators:
    return compute(market(sideways))


def at(price: float, moment: datetime = START) -> Quote:
    value = Decimal(str(price))
    return Quote("KRW-BTC", value, value, value, Decimal(1), moment)


def test_each_signal_speaks_for_the_side_the_field_gives_it(calm: Indicators) -> None:
    assert rsi(replace(calm, rsi=25)).score == 1
    assert rsi(replace(calm, rsi=35)).score == pytest.approx(0.5)
    assert rsi(replace(calm, rsi=50)).score == 0
    assert rsi(replace(calm, rsi=65)).score == pytest.approx(-0.5)
    assert rsi(replace(calm, rsi=80)).score == -1
    assert stochastic(replace(calm, stochastic_k=10, stochastic_d=8)).score == 1
    assert stochastic(replace(calm, stochastic_k=10, stochastic_d=12)).score == 0.5
    assert stochastic(replace(calm, stochastic_k=90, stochastic_d=88)).score == -0.5
    assert stochastic(replace(calm, stochastic_k=90, stochastic_d=95)).score == -1
    assert momentum(replace(calm, macd_histogram=5, macd_histogram_previous=4)).score == 1
    assert momentum(replace(calm, macd_histogram=5, macd_histogram_previous=6)).score == pytest.approx(0.2)
    assert momentum(replace(calm, macd_histogram=-5, macd_histogram_previous=-4)).score == -1
    bands = replace(calm, bollinger_lower=9000, bollinger_upper=11000)
    assert bollinger(at(8900), bands).score == 1
    assert bollinger(at(9200), bands).score == pytest.approx(0.5)
    assert bollinger(at(10000), bands).score == 0
    assert bollinger(at(11000), bands).score == -1
    averages = replace(calm, sma_20=10000, sma_60=9000, sma_120=8000, atr=100)
    assert trend(at(11000), averages).score == 1
    assert trend(at(10050), averages).score == pytest.approx((0.5 + 1 + 1 + 1) / 4)


def test_a_trend_gives_weight_to_trend_signals_and_takes_it_from_exhaustion(calm: Indicators) -> None:
    strong, weak = replace(calm, adx=30), replace(calm, adx=15)
    assert trend(at(10000), strong).weight > 3 * trend(at(10000), weak).weight
    assert rsi(weak).weight > 3 * rsi(strong).weight


def test_the_last_hours_count_only_when_they_are_fresh() -> None:
    hours = market(lambda n: 10_000 + n, 24, step=timedelta(hours=1))
    fresh = short_term(at(10_000, hours[-1].time + timedelta(minutes=30)), hours)
    assert fresh is not None
    assert fresh.score > 0.9
    assert short_term(at(10_000, hours[-1].time + timedelta(days=2)), hours) is None
    assert short_term(at(10_000, hours[-1].time), hours[:11]) is None
    assert short_term(at(10_000), []) is None


def test_a_loss_of_two_atr_speaks_for_selling_what_is_held(calm: Indicators) -> None:
    values = replace(calm, atr=100)
    position = Position(Decimal(1), Decimal(10_000))
    assert held(at(9_800), values, position).score == -1
    assert held(at(9_900), values, position).score == 0
    assert held(at(10_300), values, position).score == -0.5
    names = [signal.name for signal in all_signals(at(10_000), calm, [], FLAT)]
    assert "held" not in names


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded candles: set SHARED_DIR")
def test_recorded_markets_get_every_decision() -> None:
    decisions = {}
    for path in sorted(RECORDED.glob("*/*.1d.csv")):
        with path.open() as file:
            candles = [
                Candle(
                    datetime.fromisoformat(row["time"]),
                    *(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")),
                )
                for row in csv.DictReader(file)
            ][-200:]
        quote = replace(quote_of(candles), tick_size=Decimal("0.01"))
        decisions[path.stem] = analyse(BITCOIN, candles, [], quote, FLAT).decision
    assert len(decisions) >= 14
    assert set(decisions.values()) == set(Decision), decisions

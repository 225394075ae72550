"""From a situation to a ladder: every reason against it has its name, and no ladder exceeds what the limits left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.errors import BadQuote
from trading.ladder import Ladder
from trading.proposal import propose, purpose_of
from trading.risk import LIMITS, Approval, Purpose, Situation, check
from trading.state import ACTIVE, State, TradingState
from trading.strategy import SymbolStrategy
from trading.types import Analysis, Clamp, Decision, Instrument, Position, PriceRange, PriceRanges, Quote, Refusal, Side

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
OLD, AHEAD = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
COIN = Instrument("upbit", "KRW-X", "X", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005"))
SHARE = Instrument("kis", "005930", "Samsung", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal("0.00015"))
NONE = Position(Decimal(0), Decimal(0))
TICK = Decimal(10)


def tick(_: Decimal) -> Decimal:
    return TICK


def ranges_of(*prices: Any) -> PriceRanges:
    """The same prices to buy and to sell at: a near range and a far one."""
    low, high, far_low, far_high = (Decimal(price) for price in prices)
    near, far = PriceRange(low, high), PriceRange(far_low, far_high)
    return PriceRanges(near, near, far, far)


BELOW = ranges_of(9_800, 9_900, 9_000, 9_500)
ABOVE = ranges_of(10_100, 10_200, 10_400, 10_800)


def analysis_of(decision: Decision, ranges: PriceRanges, *, confidence: int = 80, at: datetime = NOW) -> Analysis:
    return Analysis(decision, confidence, ("x",), ranges, "rules-1", Decimal(10_000), at)


def quote_at(price: Any = 10_000, at: datetime = NOW) -> Quote:
    value = Decimal(price)
    return Quote("KRW-X", value, value, value, TICK, at)


def situation(purpose: Purpose, strategy: dict[str, Any] | None = None, **changes: Any) -> Situation:
    buys = purpose is Purpose.BUY
    given_: dict[str, Any] = {
        "purpose": purpose,
        "now": NOW,
        "instrument": COIN,
        "strategy": SymbolStrategy(**({"level_value": Decimal(50_000)} if strategy is None else strategy)),
        "state": ACTIVE,
        "analysis": analysis_of(Decision.BUY, BELOW) if buys else analysis_of(Decision.SELL, ABOVE),
        "quote": quote_at(),
        "market_open": True,
        "position": NONE if buys else Position(Decimal(10), Decimal(9_000)),
        "cash": Decimal(1_000_000),
        "equity": Decimal(1_000_000),
    }
    return Situation(**(given_ | changes))


def buying(strategy: dict[str, Any] | None = None, **changes: Any) -> Situation:
    return situation(Purpose.BUY, strategy, **changes)


def selling(strategy: dict[str, Any] | None = None, **changes: Any) -> Situation:
    return situation(Purpose.SELL, strategy, **changes)


def ladder_of(case: Situation, ranges: PriceRanges | None = None) -> Ladder:
    result = propose(case, ranges or (BELOW if case.purpose is Purpose.BUY else ABOVE), tick)
    assert isinstance(result, Ladder), result
    return result


def refused(case: Situation, ranges: PriceRanges | None = None) -> Refusal:
    result = propose(case, ranges or (BELOW if case.purpose is Purpose.BUY else ABOVE), tick)
    assert isinstance(result, Refusal), result
    assert result.reason
    assert result.reason.isprintable()
    return result


def test_a_ladder_has_no_more_orders_than_the_day_has_trades_left() -> None:
    assert len(ladder_of(buying(trades_today=0)).rungs) == 4
    assert len(ladder_of(buying(trades_today=3)).rungs) == 2
    assert len(ladder_of(buying(trades_today=4)).rungs) == 1


@pytest.mark.parametrize(
    ("decision", "purpose"), [(Decision.BUY, Purpose.BUY), (Decision.SELL, Purpose.SELL), (Decision.HOLD, None)]
)
def test_a_decision_asks_for_its_own_side_and_hold_for_nothing(decision: Decision, purpose: Purpose | None) -> None:
    assert purpose_of(decision) is purpose


def test_an_exit_is_no_ladder() -> None:
    with pytest.raises(ValueError, match="an exit is one order for the whole position"):
        propose(situation(Purpose.EXIT), ABOVE, tick)


@pytest.mark.parametrize("purpose", [Purpose.BUY, Purpose.SELL])
def test_on_a_quote_that_is_none_nothing_is_proposed(purpose: Purpose) -> None:
    with pytest.raises(BadQuote):
        propose(situation(purpose, quote=replace(quote_at(), bid=Decimal("NaN"))), BELOW, tick)


BY_THE_LIMITS: list[tuple[str, dict[str, Any]]] = [
    ("trading_state", {"state": TradingState(State.HALTED, "operator", AHEAD)}),
    ("clock", {"clock_offset": timedelta(minutes=5)}),
    ("no_analysis", {"analysis": None}),
    ("decision", {"analysis": analysis_of(Decision.HOLD, BELOW)}),
    ("low_confidence", {"strategy": SymbolStrategy(level_value=Decimal(50_000), min_confidence=81)}),
    ("stale_quote", {"quote": quote_at(at=OLD)}),
    ("market_closed", {"market_open": False}),
    ("disabled", {"strategy": SymbolStrategy(level_value=Decimal(50_000), enabled=False)}),
]


@pytest.mark.parametrize("purpose", [Purpose.BUY, Purpose.SELL])
@pytest.mark.parametrize(("rule", "changes"), BY_THE_LIMITS, ids=[rule for rule, _ in BY_THE_LIMITS])
def test_what_the_limits_refuse_is_refused_by_their_name(purpose: Purpose, rule: str, changes: dict[str, Any]) -> None:
    assert refused(replace(situation(purpose), **changes)).rule == rule


BY_ONE_SIDE: list[tuple[str, Situation]] = [
    ("stale_analysis", buying(analysis=analysis_of(Decision.BUY, BELOW, at=OLD))),
    ("stale_analysis", selling(analysis=analysis_of(Decision.SELL, ABOVE, at=OLD))),
    ("trading_state", buying(state=TradingState(State.REDUCING, "breaker", AHEAD))),
    ("min_interval", buying(last_trade_at=NOW)),
    ("trades_per_day", buying(trades_today=5)),
    ("position_cap", buying(open_buys=Decimal(300_000))),
    ("cash_reserve", buying({"level_value": Decimal(50_000), "cash_reserve": Decimal(999_000)})),
    ("insufficient_cash", buying(cash=Decimal(5_000))),
    ("below_minimum", buying({"level_value": Decimal(1_000)})),
    ("below_minimum", buying(equity=Decimal(10_000))),
    ("below_minimum", selling(position=Position(Decimal("0.1"), Decimal(9_000)))),
    ("unproven_order", buying(unproven=frozenset({Side.SELL}))),
    ("unproven_order", selling(unproven=frozenset({Side.SELL}))),
]


@pytest.mark.parametrize(("rule", "case"), BY_ONE_SIDE)
def test_what_holds_back_one_side_is_refused_by_its_name(rule: str, case: Situation) -> None:
    assert refused(case).rule == rule


def test_no_limit_is_missing_among_the_refusals() -> None:
    # where the name of the outcome is not that of the limit
    named = {
        "enabled": "disabled",
        "confidence": "low_confidence",
        "analysis_age": "stale_analysis",
        "quote_age": "stale_quote",
        "market_open": "market_closed",
        "cash": "insufficient_cash",
        "minimum_order": "below_minimum",
    }
    seen = {rule for rule, _ in [*BY_THE_LIMITS, *BY_ONE_SIDE]}
    assert {named.get(limit.__name__, limit.__name__) for limit, _ in LIMITS} - seen == set()


@pytest.mark.parametrize("position", [NONE, Position(Decimal("0.000000009"), Decimal(9_000))])
def test_what_is_not_held_is_not_sold(position: Position) -> None:
    refusal = refused(selling(position=position))
    assert (refusal.rule, "KRW-X" in refusal.reason) == ("nothing_to_sell", True)


def test_without_an_amount_nothing_is_bought() -> None:
    assert refused(buying({})).rule == "no_level_amount"
    # selling needs none: the position is the amount
    assert ladder_of(selling({})).quantity == 10


def test_each_order_below_the_smallest_is_refused_also_where_all_together_are_not() -> None:
    refusal = refused(buying({"level_value": Decimal(4_000)}))
    assert refusal.rule == "below_minimum"
    assert {clamp.rule for clamp in refusal.clamps} == {"minimum_order"}


def test_less_than_one_share_is_below_the_smallest_order() -> None:
    shares = refused(buying({"level_quantity": Decimal("0.5")}, instrument=SHARE))
    assert shares.rule == "below_minimum"


def test_cash_that_pays_for_no_order_at_any_price_is_insufficient() -> None:
    # more than the smallest order, less than one share at the prices of the analysis
    case = buying({"level_quantity": Decimal(1)}, instrument=replace(SHARE, min_order_value=Decimal(9_000)))
    refusal = refused(replace(case, cash=Decimal(10_000)), ranges_of(9_990, 9_990, 9_990, 9_990))
    assert refusal.rule == "insufficient_cash"


@pytest.mark.parametrize("purpose", [Purpose.BUY, Purpose.SELL])
def test_a_market_that_has_not_come_near_is_an_outcome(purpose: Purpose) -> None:
    case = situation(purpose)
    away = {
        Purpose.BUY: ranges_of(10_100, 10_200, 10_300, 10_400),
        Purpose.SELL: ranges_of(50_000, 51_000, 52_000, 53_000),
    }
    # to buy above the price; to sell further from it than `max_distance`, with an average it has not reached either
    case = replace(case, strategy=replace(case.strategy, take=False))
    if purpose is Purpose.SELL:
        case = replace(case, position=Position(Decimal(10), Decimal(20_000)))
    refusal = refused(case, away[purpose])
    assert refusal.rule == "price_out_of_range"
    assert f"no price to {purpose} at" in refusal.reason


def test_the_cuts_of_the_limits_stand_before_those_of_the_ladder() -> None:
    case = buying(
        {"level_value": Decimal(50_000), "max_position_value": Decimal(150_000), "cash_reserve": Decimal(900_000)}
    )
    ladder = ladder_of(case, ranges_of(9_801, 9_900, 9_000, 9_500))
    assert [clamp.rule for clamp in ladder.clamps] == ["position_cap", "cash_reserve", "tick_grid", "cash", "cash"]
    gate = check(case, ladder.clamps[0].before)
    assert isinstance(gate, Approval)
    assert ladder.clamps[:2] == gate.clamps
    # each cut begins where the one before it ended
    assert ladder.clamps[1].before == ladder.clamps[0].after


def test_a_refusal_by_the_limits_keeps_the_cuts_made_before_it() -> None:
    assert [clamp.rule for clamp in refused(buying(equity=Decimal(10_000))).clamps] == ["position_cap"]


def test_a_refusal_by_the_ladder_keeps_the_cuts_of_both() -> None:
    case = buying({"level_value": Decimal(50_000), "take": False}, equity=Decimal(100_000))
    refusal = refused(case, ranges_of(10_100, 10_200, 10_300, 10_400))
    assert [clamp.rule for clamp in refusal.clamps] == ["position_cap", *["current_price"] * 4]
    assert isinstance(refusal.clamps[0], Clamp)
    # a cut that left something is no reason why there is no price
    assert "cap" not in refusal.reason


def test_the_rule_that_dropped_the_last_price_names_the_outcome() -> None:
    # of four prices three are above the market, and the one that is left is worth too little
    case = buying({"level_value": Decimal(4_000), "take": False, "levels": 4})
    refusal = refused(case, ranges_of(9_900, 10_200, 10_300, 10_400))
    assert refusal.rule == "below_minimum"
    assert {clamp.rule for clamp in refusal.clamps} == {"current_price", "minimum_order"}


def test_a_sale_says_what_was_left_because_it_is_no_whole_step() -> None:
    ladder = ladder_of(selling(instrument=SHARE, position=Position(Decimal("10.7"), Decimal(9_000))))
    assert ladder.quantity == 10
    assert ladder.clamps[0].rule == "quantity_step"


prices = st.decimals(min_value=100, max_value=200_000, places=2)
shares = st.decimals(min_value=0, max_value="0.4", places=4)
instruments = st.sampled_from([COIN, SHARE])
# prices of an analysis, as fractions of the current one
factors = st.decimals(min_value="0.8", max_value="1.2", places=4)
averages = st.decimals(min_value="0.5", max_value="1.1", places=4)
fours = st.tuples(factors, factors, factors, factors)


@st.composite
def wishes_to_buy(draw: st.DrawFn) -> tuple[Situation, PriceRanges]:
    """An account that may have room for a ladder: amounts are shares of what it is worth."""
    price, equity = draw(prices), draw(st.decimals(min_value=20_000, max_value=10**8, places=2))
    instrument = draw(instruments)
    level = draw(shares.filter(bool)) * equity
    by_value = draw(st.booleans())
    strategy = {
        "level_value": level if by_value else None,
        "level_quantity": None if by_value else level / price,
        "levels": draw(st.integers(1, 4)),
        "take": draw(st.booleans()),
        "averaging_rule": draw(st.booleans()),
        "cash_reserve": draw(st.one_of(st.just(Decimal(0)), shares)) * equity,
        "max_position_value": draw(st.one_of(st.none(), shares.filter(bool).map(lambda share: share * equity))),
        "max_position_share": draw(st.decimals(min_value="0.1", max_value=1, places=2)),
    }
    case = buying(
        strategy,
        instrument=instrument,
        quote=quote_at(price),
        position=Position(draw(st.one_of(st.just(Decimal(0)), shares)) * equity / price / 2, price * draw(factors)),
        cash=draw(shares) * equity * 2,
        equity=equity,
        open_buys=draw(st.one_of(st.just(Decimal(0)), shares)) * equity / 4,
    )
    return case, ranges_of(*(price * factor for factor in draw(fours)))


@st.composite
def wishes_to_sell(draw: st.DrawFn) -> tuple[Situation, PriceRanges]:
    price, instrument = draw(prices), draw(instruments)
    case = selling(
        {"levels": draw(st.integers(1, 4)), "take": draw(st.booleans())},
        instrument=instrument,
        quote=quote_at(price),
        position=Position(
            draw(st.decimals(min_value=4_000, max_value=10**7, places=2)) / price, price * draw(averages)
        ),
    )
    return case, ranges_of(*(price * factor for factor in draw(fours)))


def test_no_buys_cost_more_than_the_limits_and_the_cash_leave() -> None:
    ladders = 0

    @settings(deadline=None, max_examples=400)
    @given(wishes_to_buy())
    def holds(wish: tuple[Situation, PriceRanges]) -> None:
        nonlocal ladders
        case, ranges = wish
        strategy, equity = case.strategy, case.equity
        result = propose(case, ranges, tick)
        if isinstance(result, Refusal):
            by_limits = {"position_cap", "cash_reserve", "insufficient_cash", "below_minimum"}
            assert result.rule in {*by_limits, "price_out_of_range"}
            return
        ladders += 1
        assert result.side is Side.BUY
        assert 1 <= len(result.rungs) <= strategy.levels
        # all may fill, fees included, and the reserve is still there
        assert result.cost <= case.cash - strategy.cash_reserve
        cap = min(equity * strategy.max_position_share, strategy.max_position_value or equity)
        value = sum((rung.value for rung in result.rungs), Decimal(0))
        assert case.position.quantity * case.quote.price + case.open_buys + value <= cap
        for rung in result.rungs:
            assert rung.price % TICK == 0
            assert rung.quantity > 0
            assert rung.quantity % case.instrument.quantity_step == 0
            assert rung.value >= case.instrument.min_order_value
            assert strategy.level_value is None or rung.value + rung.fee <= strategy.level_value
            assert strategy.level_quantity is None or rung.quantity <= strategy.level_quantity

    holds()
    # it would hold of refusals alone as well
    assert ladders >= 20


def test_no_sells_are_more_than_what_is_held() -> None:
    ladders = 0

    @settings(deadline=None, max_examples=200)
    @given(wishes_to_sell())
    def holds(wish: tuple[Situation, PriceRanges]) -> None:
        nonlocal ladders
        case, ranges = wish
        held = case.position.quantity
        result = propose(case, ranges, tick)
        if isinstance(result, Refusal):
            assert result.rule in {"nothing_to_sell", "below_minimum", "price_out_of_range"}
            return
        ladders += 1
        assert result.side is Side.SELL
        assert 1 <= len(result.rungs) <= case.strategy.levels
        assert result.quantity == held - held % case.instrument.quantity_step
        for rung in result.rungs:
            assert rung.quantity > 0
            assert rung.price >= case.position.average_price * (1 + case.strategy.sell_margin)

    holds()
    assert ladders >= 20

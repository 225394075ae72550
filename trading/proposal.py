"""From an analysis and a situation to the orders to place, or to the named reason why there are none."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from trading.ladder import Ladder, TickSize, buy_ladder, sell_ladder
from trading.risk import Purpose, Situation, check
from trading.ticks import round_down
from trading.types import Clamp, Decision, PriceRanges, Refusal, RefusalRule, Side

# what the last of the dropped prices was dropped for, as the outcome of the symbol
_OUTCOME_OF: dict[str, RefusalRule] = {
    "cash": "insufficient_cash",
    "minimum_order": "below_minimum",
    "level_amount": "no_level_amount",
}


def purpose_of(decision: Decision) -> Purpose | None:
    """What an analysis' decision asks for; None for HOLD."""
    return {Decision.BUY: Purpose.BUY, Decision.SELL: Purpose.SELL}.get(decision)


def propose(situation: Situation, ranges: PriceRanges, tick_size: TickSize) -> Ladder | Refusal:
    """The ladder that the limits of `trading.risk` leave room for. It has at least one rung.

    `tick_size` is the venue's grid at a price. Raises `BadQuote`, and `ValueError` for an exit, which is no ladder.
    """
    if situation.purpose is Purpose.EXIT:
        raise ValueError("an exit is one order for the whole position, not a ladder")
    held = round_down(situation.position.quantity, situation.instrument.quantity_step)
    if situation.purpose is Purpose.SELL and held <= 0:
        return Refusal("nothing_to_sell", f"no {situation.instrument.symbol} is held that could be sold")
    wanted = _buy_value(situation) if situation.purpose is Purpose.BUY else held * situation.quote.price
    if wanted <= 0:
        return Refusal("no_level_amount", "neither level_value nor level_quantity is set: nothing is bought")
    approval = check(situation, wanted)
    if isinstance(approval, Refusal):
        return approval
    if situation.purpose is Purpose.BUY:
        # each order may be a trade: no more of them than the day has left
        left = situation.strategy.max_trades_per_day - situation.trades_today
        ladder = buy_ladder(
            ranges,
            situation.position,
            situation.quote,
            min(situation.cost(approval.value), situation.cash),
            situation.instrument,
            replace(situation.strategy, levels=min(situation.strategy.levels, left)),
            tick_size,
        )
    else:
        ladder = sell_ladder(
            ranges, situation.position, situation.quote, situation.instrument, situation.strategy, tick_size
        )
    ladder = replace(ladder, clamps=(*approval.clamps, *ladder.clamps))
    return ladder if ladder.rungs else _refusal(ladder)


def _buy_value(situation: Situation) -> Decimal:
    """What the whole ladder is worth without fees, before any limit."""
    strategy = situation.strategy
    if strategy.level_value is not None:
        return situation.affordable(strategy.level_value * strategy.levels)
    return (strategy.level_quantity or Decimal(0)) * strategy.levels * situation.quote.price


def _refusal(ladder: Ladder) -> Refusal:
    dropped = [clamp for clamp in ladder.clamps if clamp.after is None]
    verb = "buy" if ladder.side is Side.BUY else "sell"
    rule = next((_OUTCOME_OF[clamp.rule] for clamp in reversed(dropped) if clamp.rule in _OUTCOME_OF), None)
    return Refusal(
        rule or "price_out_of_range",
        f"no price to {verb} at: {_reasons(dropped)}",
        clamps=ladder.clamps,
    )


def _reasons(dropped: list[Clamp]) -> str:
    return "; ".join(clamp.reason for clamp in dropped) or "the market has not reached any of them"

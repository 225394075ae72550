"""From an analysis to an order, or to the named reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from trading.ticks import check_quote, round_down, round_up
from trading.types import Account, Analysis, Decision, Instrument, Quote, Side

Outcome = Literal[
    "hold",
    "stale_analysis",
    "low_confidence",
    "price_out_of_range",
    "below_minimum",
    "insufficient_cash",
    "nothing_to_sell",
]


@dataclass(frozen=True, slots=True)
class Order:
    """What to place: a limit order that crosses the book. `value` is price x quantity, `fee` the one to expect
    on it, both in the instrument's currency."""

    side: Side
    quantity: Decimal
    price: Decimal
    value: Decimal
    fee: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A rule decided not to trade: an outcome, not a failure. `have` and `need` are in the instrument's
    currency and set where money, or the size of the order, is the reason."""

    outcome: Outcome
    reason: str
    have: Decimal | None = None
    need: Decimal | None = None


def decide(
    analysis: Analysis,
    account: Account,
    instrument: Instrument,
    quote: Quote,
    *,
    min_confidence: int,
    order_value: Decimal,
    max_age_seconds: float,
    now: datetime,
) -> Order | Skip:
    """One order at most: BUY for up to `order_value` at the ask, SELL of the whole position at the bid.

    A BUY needs an ask inside the appropriate range and, fee included, enough cash; a SELL is not held back
    by its range, since leaving matters more than the price. `now` is aware. Raises `BadQuote`, and
    `ValueError` if quote or account belong to another instrument.
    """
    check_quote(quote)
    if quote.symbol != instrument.symbol or account.currency != instrument.currency:
        raise ValueError(
            f"{instrument.symbol} in {instrument.currency} was given a quote of {quote.symbol} "
            f"and an account in {account.currency}"
        )
    if analysis.decision is Decision.HOLD:
        return Skip("hold", f"the analysis says hold, confidence {analysis.confidence}")
    age = (now - analysis.at).total_seconds()
    # as far in the future means that a clock is wrong, and then the age says nothing
    if abs(age) > max_age_seconds:
        return Skip("stale_analysis", f"the analysis is {age:.0f} s old, more than {max_age_seconds:g} s")
    if analysis.confidence < min_confidence:
        return Skip("low_confidence", f"confidence {analysis.confidence} is below {min_confidence}")
    if analysis.decision is Decision.BUY:
        return _buy(analysis, account, instrument, quote, order_value)
    return _sell(analysis, account, instrument, quote)


def _buy(
    analysis: Analysis, account: Account, instrument: Instrument, quote: Quote, order_value: Decimal
) -> Order | Skip:
    # rounded up, or the order would stay below an ask that is off the grid and never cross
    price = round_up(quote.ask, quote.tick_size)
    highest = analysis.ranges.appropriate_buy.max
    if price > highest:
        return Skip(
            "price_out_of_range", f"the ask {_money(price)} is above {_money(highest)}, the highest price to buy at"
        )
    quantity = round_down(order_value / price, instrument.quantity_step)
    smallest = max(instrument.min_order_value, price * instrument.quantity_step)
    if quantity <= 0 or price * quantity < instrument.min_order_value:
        return Skip(
            "below_minimum",
            f"an order of {_money(order_value)} {instrument.currency} at {_money(price)} is too small, the smallest is "
            f"{_money(smallest)} {instrument.currency}: raise the order value",
            have=order_value,
            need=smallest,
        )
    value = price * quantity
    fee = value * instrument.fee_rate
    if value + fee > account.cash:
        return Skip(
            "insufficient_cash",
            f"the balance is {_money(account.cash)} {instrument.currency}, "
            f"the order needs {_money(value + fee)} {instrument.currency} with its fee",
            have=account.cash,
            need=value + fee,
        )
    return Order(Side.BUY, quantity, price, value, fee, f"buy with confidence {analysis.confidence}")


def _sell(analysis: Analysis, account: Account, instrument: Instrument, quote: Quote) -> Order | Skip:
    quantity = round_down(account.position.quantity, instrument.quantity_step)
    if quantity <= 0:
        return Skip("nothing_to_sell", f"no {instrument.symbol} is held")
    # rounded down for the same reason as a buy is rounded up
    price = round_down(quote.bid, quote.tick_size)
    if price <= 0:
        return Skip("price_out_of_range", f"the bid {_money(quote.bid)} is below one tick, {_money(quote.tick_size)}")
    value = price * quantity
    if value < instrument.min_order_value:
        return Skip(
            "below_minimum",
            f"the position is worth {_money(value)} {instrument.currency}, the smallest order is "
            f"{_money(instrument.min_order_value)} {instrument.currency}",
            have=value,
            need=instrument.min_order_value,
        )
    fee = value * instrument.fee_rate
    return Order(Side.SELL, quantity, price, value, fee, f"sell with confidence {analysis.confidence}")


def _money(value: Decimal) -> str:
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

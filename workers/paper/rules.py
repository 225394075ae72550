"""What the paper venue refuses, and its words for it. Every refusal is a text `name: figures`."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from trading.errors import BadQuote
from trading.ticks import check_quote
from trading.types import Instrument, OrderIntent, Quote, Side

CANCELLED = "cancelled: on request, nothing had traded"


def quote_fault(quote: Quote, *, now: datetime, max_quote_age: timedelta) -> str | None:
    """Why nothing can be traded at this quote, or None."""
    try:
        check_quote(quote)
    except BadQuote as error:
        return f"bad_quote: {error}"
    for name, size in (("bid_size", quote.bid_size), ("ask_size", quote.ask_size)):
        if size is not None and (not size.is_finite() or size < 0):
            return f"bad_quote: {quote.symbol}: quote of {quote.at.isoformat()}: {name} is {size}"
    age = now - quote.at
    # as far in the future means a wrong clock, and then the age says nothing
    if abs(age) > max_quote_age:
        return f"stale_quote: {age.total_seconds():.0f} s old, at most {max_quote_age.total_seconds():.0f} s allowed"
    return None


def bad_number(intent: OrderIntent) -> str | None:
    """Why quantity or price are none at all, or None."""
    if not intent.quantity.is_finite() or intent.quantity <= 0:
        return f"bad_quantity: {intent.quantity}"
    if not intent.price.is_finite() or intent.price <= 0:
        return f"bad_price: {intent.price}"
    return None


def off_grid(intent: OrderIntent, instrument: Instrument, tick_size: Decimal) -> str | None:
    """Why a venue would not take this order whoever placed it, or None. `tick_size` is the one at the order's price,
    value and steps are as in `Instrument`."""
    if intent.price % tick_size:
        return f"off_tick: price {amount(intent.price)} is no multiple of {amount(tick_size)}"
    if intent.quantity % instrument.quantity_step:
        return f"off_step: quantity {amount(intent.quantity)} is no multiple of {amount(instrument.quantity_step)}"
    value = intent.price * intent.quantity
    if value < instrument.min_order_value:
        return (
            f"below_minimum: value {amount(value)} {instrument.currency}, "
            f"at least {amount(instrument.min_order_value)} {instrument.currency} needed"
        )
    return None


def shortfall(intent: OrderIntent, instrument: Instrument, *, cash: Decimal, held: Decimal) -> str | None:
    """Why the account cannot afford the order out of its free `cash` and its free units `held`, or None. As at a
    venue, a BUY needs its limit price and fee in cash even if it then fills for less."""
    if intent.side is Side.BUY:
        need = intent.price * intent.quantity * (1 + instrument.fee_rate)
        if cash < need:
            currency = instrument.currency
            return f"insufficient_funds: balance {amount(cash)} {currency}, need {amount(need)} {currency}"
    elif held < intent.quantity:
        return f"insufficient_position: balance {amount(held)} {intent.symbol}, need {amount(intent.quantity)}"
    return None


def not_crossed(intent: OrderIntent, quote: Quote) -> str:
    """Why an immediate-or-cancel order was cancelled without a trade."""
    buys = intent.side is Side.BUY
    name, best, size = ("ask", quote.ask, quote.ask_size) if buys else ("bid", quote.bid, quote.bid_size)
    if intent.price < best if buys else intent.price > best:
        return f"not_crossed: {name} {amount(best)} is {'above' if buys else 'below'} the limit {amount(intent.price)}"
    return f"not_crossed: nothing is left of the {amount(size or Decimal(0))} on offer at {amount(best)}"


def cancelled_rest(filled: Decimal, quantity: Decimal) -> str:
    """Why an order ended with a part filled."""
    return f"partly_filled: {amount(filled)} of {amount(quantity)} traded, the rest is cancelled"


def amount(value: Decimal) -> str:
    """A number as people write it: no exponent, no trailing zeros."""
    return f"{value.normalize():f}"

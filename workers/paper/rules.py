"""What the paper venue refuses and at which price it fills. Every refusal is a text `name: figures`."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from trading.errors import BadQuote
from trading.ticks import check_quote
from trading.types import Instrument, OrderIntent, Quote, Side


def refusal(
    intent: OrderIntent, instrument: Instrument, quote: Quote, *, now: datetime, max_quote_age: timedelta
) -> str | None:
    """Why a venue would not take this order whoever placed it, or None. Value and steps as in `Instrument`.

    The tick is that of the quote's price: where an order lies in another band of a tick table, its grid is
    still measured by this one.
    """
    try:
        check_quote(quote)
    except BadQuote as error:
        return f"bad_quote: {error}"
    age = now - quote.at
    # as far in the future means a wrong clock, and then the age says nothing
    if abs(age) > max_quote_age:
        return f"stale_quote: {age.total_seconds():.0f} s old, at most {max_quote_age.total_seconds():.0f} s allowed"
    if not intent.quantity.is_finite() or intent.quantity <= 0:
        return f"bad_quantity: {intent.quantity}"
    if not intent.price.is_finite() or intent.price <= 0:
        return f"bad_price: {intent.price}"
    if intent.price % quote.tick_size:
        return f"off_tick: price {amount(intent.price)} is no multiple of {amount(quote.tick_size)}"
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
    """Why the account cannot afford the order, or None. As at a venue, a BUY needs its limit price and fee
    in cash even if it then fills for less."""
    if intent.side is Side.BUY:
        need = intent.price * intent.quantity * (1 + instrument.fee_rate)
        if cash < need:
            currency = instrument.currency
            return f"insufficient_funds: balance {amount(cash)} {currency}, need {amount(need)} {currency}"
    elif held < intent.quantity:
        return f"insufficient_position: balance {amount(held)} {intent.symbol}, need {amount(intent.quantity)}"
    return None


def fill_price(intent: OrderIntent, quote: Quote) -> Decimal | None:
    """The best price of the other side if the limit reaches it, or None. The depth of the book is not looked
    at: what crosses fills whole."""
    if intent.side is Side.BUY:
        return quote.ask if intent.price >= quote.ask else None
    return quote.bid if intent.price <= quote.bid else None


def not_crossed(intent: OrderIntent, quote: Quote) -> str:
    """Why an order that did not cross the book was cancelled."""
    if intent.side is Side.BUY:
        return f"not_crossed: ask {amount(quote.ask)} is above the limit {amount(intent.price)}"
    return f"not_crossed: bid {amount(quote.bid)} is below the limit {amount(intent.price)}"


def amount(value: Decimal) -> str:
    """A number as people write it: no exponent, no trailing zeros."""
    return f"{value.normalize():f}"

"""What Upbit would refuse of an order, found before it is sent. Every refusal is a text `name: figures`."""

from __future__ import annotations

from datetime import date

from trading.errors import BadQuote
from trading.ticks import check_quote
from trading.types import Instrument, OrderIntent, Quote
from workers.upbit.orders import plain
from workers.upbit.ticks import pair_tick


def refusal(intent: OrderIntent, instrument: Instrument, quote: Quote, on: date) -> str | None:
    """Why Upbit would not take this order whatever the balance, or None. `on` says which tick table is in force.

    Grid and minimum are those at the order's own price: an order that rests may lie far from the quote.
    """
    try:
        check_quote(quote)
    except BadQuote as error:
        return f"bad_quote: {error}"
    if not intent.quantity.is_finite() or intent.quantity <= 0:
        return f"bad_quantity: {intent.quantity}"
    if not intent.price.is_finite() or intent.price <= 0:
        return f"bad_price: {intent.price}"
    tick = pair_tick(intent.price, quote.tick_size, quote.price, on)
    if intent.price % tick:
        return f"off_tick: price {plain(intent.price)} is no multiple of {plain(tick)}"
    if intent.quantity % instrument.quantity_step:
        return f"off_step: quantity {plain(intent.quantity)} is no multiple of {plain(instrument.quantity_step)}"
    value = intent.price * intent.quantity
    if value < instrument.min_order_value:
        return (
            f"below_minimum: value {plain(value)} {instrument.currency}, "
            f"at least {plain(instrument.min_order_value)} {instrument.currency} needed"
        )
    return None


def figures(intent: OrderIntent, instrument: Instrument) -> str:
    """What the order asked for, for a refusal of the venue that names no figures."""
    value = intent.price * intent.quantity
    return (
        f"{intent.side} {plain(intent.quantity)} at {plain(intent.price)} {intent.currency}, value {plain(value)}, "
        f"with fee {plain(value * (1 + instrument.fee_rate))}"
    )

"""What is told of the orders of one step: those that were accepted, and those that made way for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from notifications.message import Chat, Message, Priority, cut
from notifications.texts import REASON_LIMIT, SIDE_EMOJI, Style, head, traced
from notifications.words import quantity
from trading.types import Instrument, OrderIntent, Side

RUNGS_SHOWN = 10


def ladder(style: Style, instrument: Instrument, side: Side, rungs: Sequence[OrderIntent], *, at: datetime) -> Message:
    """The orders of one step that the venue has accepted, with their sum and the fee if all of it trades."""
    words, currency = style.words, instrument.currency
    value = sum((rung.quantity * rung.price for rung in rungs), Decimal(0))
    total = words.money(value, currency)
    title = words.rungs_title.format(side=words.sides[side], n=len(rungs), total=total)
    text = head(words, f"{SIDE_EMOJI[side]} {title}", at, instrument, style.mode)
    for number, rung in enumerate(rungs[:RUNGS_SHOWN], 1):
        shown = words.fill_line.format(price=words.money(rung.price, currency), quantity=quantity(rung.quantity))
        text.add(f"  {number}. {shown}\n")
    if len(rungs) > RUNGS_SHOWN:
        text.add(f"  {words.more_fills.format(n=len(rungs) - RUNGS_SHOWN)}\n")
    text.line(words.total, total)
    text.line(words.expected_fee, words.money(value * instrument.fee_rate, currency)).add("\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.HIGH, Chat.TRADE)


def orders_cancelled(
    style: Style, instrument: Instrument, side: Side, count: int, *, reason: str = "", at: datetime
) -> Message:
    """Resting orders of a side were taken out of the book: for `reason`, else before a new step."""
    words = style.words
    title = words.cancelled_orders_title.format(side=words.sides[side], n=count)
    text = head(words, f"🚫 {title}", at, instrument, style.mode)
    text.line(words.reason, cut(reason, REASON_LIMIT) or words.cancelled_orders_reason).add("\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.NORMAL, Chat.TRADE)

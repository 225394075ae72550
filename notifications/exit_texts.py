"""What is told of positions that an exit rule, or a person, closes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from notifications.message import Chat, Message, Priority, Text, cut
from notifications.risk_words import ExitOutcome
from notifications.texts import CONTEXT_LIMIT, REASON_LIMIT, Style, head, traced
from notifications.words import quantity
from trading.exits import Exit, ExitKind
from trading.types import Instrument

KIND_EMOJI = {
    ExitKind.STOP_LOSS: "🛑",
    ExitKind.TAKE_PROFIT: "🎯",
    ExitKind.ATR_STOP: "🛑",
    ExitKind.ATR_TARGET: "🎯",
    ExitKind.TRAILING: "🪤",
    ExitKind.FLATTEN: "🧹",
}
OUTCOME_EMOJI: dict[ExitOutcome, str] = {"sold_all": "✅", "sold_part": "🟡", "given_up": "❌"}


def exit_begun(style: Style, instrument: Instrument, exit: Exit, *, average_price: Decimal, at: datetime) -> Message:
    """A price has reached an exit rule, or a person wants out, and the position is being sold."""
    words, risk = style.words, style.words.risk
    why = risk.flatten_title if exit.kind is ExitKind.FLATTEN else risk.exit_title
    title = f"{KIND_EMOJI[exit.kind]} {why.format(kind=risk.kinds[exit.kind])}"
    text = head(words, title, at, instrument, style.mode)
    _what(style, text, instrument, exit, average_price)
    return traced(words, text, style.trace_id, style.links).message(Priority.HIGH, Chat.TRADE)


def exit_ended(
    style: Style,
    instrument: Instrument,
    kind: ExitKind,
    outcome: ExitOutcome,
    *,
    wanted: Decimal,
    sold: Decimal,
    proceeds: Decimal | None,
    reason: str,
    at: datetime,
) -> Message:
    """An exit is over: `sold` of the `wanted` units went for `proceeds`, in the instrument's currency."""
    words, risk = style.words, style.words.risk
    title = f"{OUTCOME_EMOJI[outcome]} {risk.exit_ended_titles[outcome].format(kind=risk.kinds[kind])}"
    text = head(words, title, at, instrument, style.mode)
    text.line(risk.sold, f"{quantity(sold)} / {quantity(wanted)}")
    if sold < wanted:
        text.line(risk.left, quantity(wanted - sold))
    if proceeds is not None and sold > 0:
        text.line(risk.proceeds, words.money(proceeds, instrument.currency))
    if reason:
        text.line(words.reason, cut(reason, REASON_LIMIT))
    text.add("\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.HIGH, Chat.TRADE)


def exit_not_armed(
    style: Style, instrument: Instrument, exit: Exit, *, average_price: Decimal, at: datetime
) -> Message:
    """An exit wants to sell and may not: somebody has to arm the market or sell by hand."""
    words, risk = style.words, style.words.risk
    why = risk.flatten_not_armed_title if exit.kind is ExitKind.FLATTEN else risk.not_armed_title
    title = f"🔴 CRITICAL: {why.format(kind=risk.kinds[exit.kind])}"
    text = head(words, title, at, instrument, style.mode)
    _what(style, text, instrument, exit, average_price)
    text.add(risk.not_armed_effect.format(market=cut(instrument.market, CONTEXT_LIMIT))).add("\n\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.CRITICAL, Chat.ERROR)


def _what(style: Style, text: Text, instrument: Instrument, exit: Exit, average_price: Decimal) -> None:
    words, risk, currency = style.words, style.words.risk, instrument.currency
    text.line(risk.kind, risk.kinds[exit.kind])
    text.line(risk.price, words.money(exit.price, currency))
    if exit.kind is not ExitKind.FLATTEN:
        text.line(risk.trigger, words.money(exit.trigger, currency))
    if average_price > 0:
        text.line(risk.average, words.money(average_price, currency))
        text.line(risk.rate, f"{exit.rate:+.2%}")
    text.line(risk.quantity, quantity(exit.quantity))
    # of a price that has reached its exit the lines above say everything
    if exit.kind is ExitKind.FLATTEN:
        text.line(words.reason, cut(exit.reason, REASON_LIMIT))
    text.add("\n")

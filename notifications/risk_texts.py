"""What is told of loss limits, permissions, and orders that somebody has to look at."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from notifications.message import Chat, Message, Priority, Text, cut
from notifications.texts import CONTEXT_LIMIT, REASON_LIMIT, Style, shown_time, titled, traced
from notifications.words import quantity
from trading.state import State, TradingState
from trading.types import OpenOrder, OrderIntent, Side

TRADING_EMOJI = {State.ACTIVE: "🟢", State.REDUCING: "🟡", State.HALTED: "⛔"}


def circuit_breaker(
    style: Style, state: TradingState, *, loss: Decimal | None, limit: Decimal | None, at: datetime
) -> Message:
    """A loss limit was reached. `loss` and `limit` are fractions of the equity, 0.10 for ten percent."""
    words, risk = style.words, style.words.risk
    text = titled(f"🚨 {risk.breaker_title}", at)
    _scope(style, text, state)
    if loss is not None:
        text.line(risk.loss, f"{loss:.2%}")
    if limit is not None:
        text.line(risk.limit, f"{limit:.2%}")
    _until(style, text, state.until)
    text.line(words.reason, cut(state.reason, REASON_LIMIT)).add("\n")
    text.add(risk.breaker_effect).add("\n\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.CRITICAL, Chat.TRADE)


def trading_state(style: Style, state: TradingState, *, by: str, at: datetime) -> Message:
    """Somebody changed what may be traded."""
    words, risk = style.words, style.words.risk
    text = titled(f"{TRADING_EMOJI[state.state]} {risk.state_title.format(state=risk.states[state.state])}", at)
    _scope(style, text, state)
    if state.state is not State.ACTIVE:
        _until(style, text, state.until)
    text.line(words.reason, cut(state.reason, REASON_LIMIT))
    text.line(risk.by, cut(by, CONTEXT_LIMIT)).add("\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.HIGH, Chat.TRADE)


def arming(style: Style, market: str, *, until: datetime | None, by: str, at: datetime) -> Message:
    """Live trading in a market was allowed `until` then or, without it, taken back."""
    words, risk = style.words, style.words.risk
    title = risk.disarmed_title if until is None else risk.armed_title
    text = titled(f"{'🔒' if until is None else '🔓'} {title.format(market=cut(market, CONTEXT_LIMIT))}", at)
    if until is not None:
        _until(style, text, until)
    text.line(risk.by, cut(by, CONTEXT_LIMIT)).add("\n")
    text.add(risk.disarmed_effect if until is None else risk.armed_effect).add("\n\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.HIGH, Chat.TRADE)


def unproven_order(style: Style, intent: OrderIntent, *, age_seconds: float, at: datetime) -> Message:
    """An order was sent, and nothing tells yet whether it exists."""
    risk = style.words.risk
    text = titled(f"🔴 CRITICAL: {risk.unproven_title}", at)
    _order(style, text, intent)
    text.line(risk.age, risk.seconds.format(n=f"{age_seconds:,.0f}")).add("\n")
    return _alarm(style, text, risk.unproven_effect, intent.client_order_id)


def ambiguous_order(style: Style, intent: OrderIntent, *, reason: str, at: datetime) -> Message:
    """Two orders of the venue could be the one that was sent: a human has to look, and the symbol is halted."""
    words, risk = style.words, style.words.risk
    text = titled(f"🔴 CRITICAL: {risk.ambiguous_title}", at)
    _order(style, text, intent)
    text.line(words.reason, cut(reason, REASON_LIMIT)).add("\n")
    return _alarm(style, text, risk.ambiguous_effect, intent.client_order_id)


def adopted_order(style: Style, market: str, found: OpenOrder, *, at: datetime) -> Message:
    """An order of the account that nobody here had sent is in the journal now."""
    words, risk = style.words, style.words.risk
    text = titled(f"🔗 {risk.adopted_title.format(side=words.sides[found.side])}", at)
    _order_lines(style, text, market, found.symbol, found.side, found.quantity, found.price, found.currency)
    text.line(words.filled, quantity(found.filled)).add("\n")
    text.add(risk.adopted_effect).add("\n\n")
    text.line(risk.venue_order_id, cut(found.venue_order_id, CONTEXT_LIMIT), "code")
    return traced(words, text, style.trace_id, style.links).message(Priority.HIGH, Chat.TRADE)


def _alarm(style: Style, text: Text, effect: str, client_order_id: str) -> Message:
    text.add(effect).add("\n\n").line(style.words.order_id, cut(client_order_id, CONTEXT_LIMIT), "code")
    return traced(style.words, text, style.trace_id, style.links).message(Priority.CRITICAL, Chat.ERROR)


def _order(style: Style, text: Text, intent: OrderIntent) -> None:
    _order_lines(style, text, intent.market, intent.symbol, intent.side, intent.quantity, intent.price, intent.currency)


def _order_lines(
    style: Style, text: Text, market: str, symbol: str, side: Side, units: Decimal, price: Decimal, currency: str
) -> None:
    words = style.words
    text.line(words.symbol, cut(symbol, CONTEXT_LIMIT))
    text.line(words.market, f"{cut(market, CONTEXT_LIMIT)} ({words.modes[style.mode]})")
    shown = f"{words.sides[side]} {quantity(units)} × {words.money(price, currency)}"
    text.line(words.order, shown)
    text.line(words.total, words.money(units * price, currency))


def _scope(style: Style, text: Text, state: TradingState) -> None:
    words, risk = style.words, style.words.risk
    names = " ".join(cut(name, CONTEXT_LIMIT) for name in (state.market, state.symbol) if name)
    text.line(risk.scope, f"{names or risk.everything} ({words.modes[style.mode]})")


def _until(style: Style, text: Text, until: datetime | None) -> None:
    risk = style.words.risk
    text.line(risk.until, risk.no_end if until is None else shown_time(until))

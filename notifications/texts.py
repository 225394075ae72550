"""What each message says. Pure: values in, a `Message` out; times are shown in KST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from notifications.message import Chat, Entity, Message, Priority, Text, cut, cut_start, utf16_length
from notifications.words import Mode, Words, quantity
from trading.confidence import confidence_range
from trading.periods import KST
from trading.types import Analysis, Decision, Fill, Instrument, OrderIntent, OrderState, Placement, Side

Level = Literal["ERROR", "CRITICAL"]

DECISION_EMOJI = {Decision.BUY: "📈", Decision.HOLD: "🤚", Decision.SELL: "📉"}
SIDE_EMOJI = {Side.BUY: "💰", Side.SELL: "💸"}
STATE_EMOJI = {
    OrderState.REJECTED: "❌",
    OrderState.NOT_CREATED: "❌",
    OrderState.CANCELLED: "🚫",
    OrderState.THROTTLED: "⏳",
    OrderState.UNKNOWN: "❓",
}
UNFILLED = (OrderState.PARTLY_FILLED, OrderState.CANCELLED)
GRADES = {"high": 0, "medium": 1, "low": 2}

REASONS_SHOWN = 3
REASON_LIMIT = 300
FILLS_SHOWN = 10
ERROR_MESSAGE_LIMIT = 1000
CONTEXT_LIMIT = 200
STACK_LIMIT = 1500


@dataclass(frozen=True, slots=True)
class Links:
    """Where to look further; an empty address gives no link."""

    signoz_url: str = ""
    flower_url: str = ""

    def trace(self, trace_id: str) -> str:
        return f"{self.signoz_url.rstrip('/')}/trace/{trace_id}" if self.signoz_url and trace_id else ""

    def task(self, task_id: str) -> str:
        return f"{self.flower_url.rstrip('/')}/task/{task_id}" if self.flower_url and task_id else ""


NO_LINKS = Links()


@dataclass(frozen=True, slots=True)
class Style:
    """How to tell: in which language, of which mode of trading, with which trace and where to look it up."""

    words: Words
    mode: Mode = "paper"
    links: Links = NO_LINKS
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error with what is known of where it happened; empty fields are not shown."""

    error_type: str
    error: str
    at: datetime
    level: Level = "ERROR"
    market: str = ""
    symbol: str = ""
    task: str = ""
    task_id: str = ""
    queue: str = ""
    worker: str = ""
    trace_id: str = ""
    stack: str = ""


def analysis_complete(
    words: Words,
    instrument: Instrument,
    analysis: Analysis,
    *,
    analysis_id: str = "",
    trace_id: str = "",
    mode: Mode = "paper",
    links: Links = NO_LINKS,
) -> Message:
    """An analysis is done: what it proposes, how sure it is, and why."""
    grade = words.grades[GRADES[confidence_range(analysis.confidence)]]
    text = head(words, f"{DECISION_EMOJI[analysis.decision]} {words.analysis_title}", analysis.at, instrument, mode)
    text.line(words.model, analysis.model)
    text.line(words.price, words.money(analysis.price, instrument.currency)).add("\n")
    text.line(words.decision, words.decisions[analysis.decision])
    text.line(words.confidence, f"{analysis.confidence}% ({grade})")
    buy, sell = analysis.ranges.appropriate_buy, analysis.ranges.appropriate_sell
    for label, prices in ((words.buy_range, buy), (words.sell_range, sell)):
        low, high = (words.money(price, instrument.currency) for price in (prices.min, prices.max))
        text.line(label, f"{low} ~ {high}")
    if analysis.reasons:
        text.add(words.reasons + ":", "bold").add("\n")
        for number, reason in enumerate(analysis.reasons[:REASONS_SHOWN], 1):
            text.add(f"  {number}. {cut(reason, REASON_LIMIT)}\n")
    text.add("\n")
    if analysis_id:
        text.line(words.analysis_id, analysis_id, "code")
    return traced(words, text, trace_id, links).message(Priority.NORMAL, Chat.TRADE)


def analysis_line(words: Words, instrument: Instrument, analysis: Analysis, analysis_id: str = "") -> str:
    """The same in one line, for a summary of many; its end is a command that tells all of it when it is pressed."""
    price = words.money(analysis.price, instrument.currency)
    decision = f"{DECISION_EMOJI[analysis.decision]} {instrument.symbol} {words.decisions[analysis.decision]}"
    why = f" /why_{analysis_id.replace('-', '')}" if analysis_id else ""
    return f"{decision} {analysis.confidence}% {price}{why}"


def order(
    words: Words,
    instrument: Instrument,
    intent: OrderIntent,
    placement: Placement,
    *,
    at: datetime,
    trace_id: str = "",
    mode: Mode = "paper",
    links: Links = NO_LINKS,
) -> Message:
    """What came of an order: accepted, filled, partly filled, cancelled, rejected or not known."""
    filled = sum((fill.quantity for fill in placement.fills), Decimal(0))
    ended_in_part = placement.state is OrderState.CANCELLED and filled > 0
    title = words.cancelled_part_title if ended_in_part else words.titles[placement.state]
    title = title.format(side=words.sides[intent.side])
    emoji = STATE_EMOJI.get(placement.state, SIDE_EMOJI[intent.side])
    currency = intent.currency
    text = head(words, f"{emoji} {title}", at, instrument, mode)
    text.line(words.order, f"{quantity(intent.quantity)} × {words.money(intent.price, currency)}")
    if placement.fills:
        _fills(words, text, placement.fills, currency)
    elif placement.state is OrderState.ACCEPTED:
        value = intent.quantity * intent.price
        text.line(words.total, words.money(value, currency))
        text.line(words.expected_fee, words.money(value * instrument.fee_rate, currency))
    if filled < intent.quantity and placement.state in UNFILLED:
        label = words.resting if placement.state is OrderState.PARTLY_FILLED else words.unfilled
        text.line(label, quantity(intent.quantity - filled))
    if placement.reason:
        text.line(words.reason, cut(placement.reason, REASON_LIMIT))
    text.add("\n").line(words.order_id, intent.client_order_id, "code")
    return traced(words, text, trace_id, links).message(Priority.HIGH, Chat.TRADE)


def insufficient_cash(
    words: Words,
    instrument: Instrument,
    side: Side,
    *,
    have: Decimal | None,
    need: Decimal | None,
    at: datetime,
    trace_id: str = "",
    mode: Mode = "paper",
    links: Links = NO_LINKS,
) -> Message:
    """An order was not placed because the free cash does not cover it; both amounts are shown."""
    title = words.insufficient_title.format(side=words.sides[side])
    text = head(words, f"❌ {title}", at, instrument, mode)
    text.line(words.reason, words.insufficient_reason)
    if have is not None and need is not None:
        balance, needed = (words.money(amount, instrument.currency) for amount in (have, need))
        text.add(words.cash + ":", "bold").add(f" {balance} / ").add(words.needed + ":", "bold").add(f" {needed}\n")
    text.add("\n")
    return traced(words, text, trace_id, links).message(Priority.HIGH, Chat.TRADE)


def error(words: Words, failure: Failure, *, links: Links = NO_LINKS) -> Message:
    """A failure: what, where, in which trace, and the last frames of its stack."""
    critical = failure.level == "CRITICAL"
    text = Text().add(f"{'🔴' if critical else '⚠️'} {failure.level}: {cut(failure.error_type, CONTEXT_LIMIT)}", "bold")
    text.add(f"\n🕒 {shown_time(failure.at)}\n\n")
    text.add(words.message + ":", "bold").add("\n")
    text.add(cut(failure.error.strip() or "-", ERROR_MESSAGE_LIMIT), "pre").add("\n\n")
    text.add(words.context + ":", "bold").add("\n")
    for label, value, entity in (
        (words.market, failure.market, ""),
        (words.symbol, failure.symbol, ""),
        (words.task, failure.task, "code"),
        (words.task_id, failure.task_id, "code"),
        (words.queue, failure.queue, ""),
        (words.worker, failure.worker, ""),
        (words.trace, failure.trace_id, "code"),
        ("SigNoz", links.trace(failure.trace_id), ""),
        ("Flower", links.task(failure.task_id), ""),
    ):
        if value:
            text.add(f"  • {label}: ").add(cut(value, CONTEXT_LIMIT), entity).add("\n")
    if failure.stack:
        text.add("\n").add(words.stack + ":", "bold").add("\n")
        text.add(cut_start(failure.stack.rstrip(), STACK_LIMIT), "pre")
    return text.message(Priority.CRITICAL if critical else Priority.HIGH, Chat.ERROR)


def with_count(words: Words, message: Message, occurrences: int, first: datetime, last: datetime) -> Message:
    """The message with how often it happened and when last; unchanged if it happened once."""
    if occurrences < 2:
        return message
    first, last = first.astimezone(KST), last.astimezone(KST)
    at = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%m-%d %H:%M}"
    counted = words.repeated.format(n=f"{occurrences:,}", at=at)
    start = utf16_length(message.text) + 2
    entities = (*message.entities, Entity("bold", start, utf16_length(counted)))
    return replace(message, text=f"{message.text}\n\n{counted}", entities=entities)


def head(words: Words, title: str, at: datetime, instrument: Instrument, mode: Mode) -> Text:
    """The lines every message about an instrument begins with."""
    text = titled(title, at)
    name = f"{cut(instrument.name, CONTEXT_LIMIT)} ({instrument.symbol})" if instrument.name else instrument.symbol
    kind = words.markets.get(instrument.asset_type, instrument.asset_type)
    return text.line(words.name, name).line(words.market, f"{kind} ({instrument.market}, {words.modes[mode]})")


def _fills(words: Words, text: Text, fills: Sequence[Fill], currency: str) -> None:
    filled = sum((fill.quantity for fill in fills), Decimal(0))
    value = sum((fill.quantity * fill.price for fill in fills), Decimal(0))
    average = words.money(value / filled, currency) if filled else "-"
    text.line(words.filled, f"{quantity(filled)} × {average}")
    text.line(words.total, words.money(value, currency))
    text.line(words.fee, words.money(sum((fill.fee for fill in fills), Decimal(0)), currency))
    if len(fills) < 2:
        return
    for number, fill in enumerate(fills[:FILLS_SHOWN], 1):
        shown = words.fill_line.format(price=words.money(fill.price, currency), quantity=quantity(fill.quantity))
        text.add(f"  {number}. {shown}\n")
    if len(fills) > FILLS_SHOWN:
        text.add(f"  {words.more_fills.format(n=len(fills) - FILLS_SHOWN)}\n")


def titled(title: str, at: datetime) -> Text:
    """The lines every message begins with."""
    return Text().add(title, "bold").add(f"\n🕒 {shown_time(at)}\n\n")


def traced(words: Words, text: Text, trace_id: str, links: Links) -> Text:
    """The text with its trace at the end, if there is one."""
    if trace_id:
        text.line(words.trace, trace_id, "code")
        if links.trace(trace_id):
            text.line("SigNoz", links.trace(trace_id))
    return text


def shown_time(at: datetime) -> str:
    """An aware time as people in Korea read it."""
    return f"{at.astimezone(KST):%Y-%m-%d %H:%M:%S} KST"

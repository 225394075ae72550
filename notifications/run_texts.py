"""What is told of a run when its last symbol has ended."""

from __future__ import annotations

from datetime import datetime

from notifications.message import Chat, Message, Priority, cut
from notifications.texts import CONTEXT_LIMIT, DECISION_EMOJI, Style, shown_time, titled, traced
from notifications.words import Words
from trading.runs import RunSummary
from trading.types import Decision, Side

FAILED_SHOWN = 10


def line(words: Words, run: RunSummary) -> str:
    """The same in one line, for a summary of many runs."""
    told = words.run
    orders = ", ".join(f"{words.sides[side]} {run.orders.get(side, 0):,}" for side in Side)
    return (
        f"🤖 {cut(run.market, CONTEXT_LIMIT)}: {told.analysed} {run.analysed:,}/{run.symbols:,}, "
        f"{orders}, {told.failed} {len(run.failed):,}"
    )


def run_summary(style: Style, run: RunSummary, *, at: datetime) -> Message:
    """How many symbols were analysed, what was decided and ordered, what failed, and how long it took."""
    words, told = style.words, style.words.run
    text = titled(f"🤖 {told.title.format(market=cut(run.market, CONTEXT_LIMIT))}", at)
    text.line(words.market, f"{cut(run.market, CONTEXT_LIMIT)} ({words.modes[style.mode]})")
    text.line(told.slot, shown_time(run.slot))
    text.line(told.analysed, f"{run.analysed:,} / {run.symbols:,}")
    decided = (f"{DECISION_EMOJI[one]} {words.decisions[one]} {run.decisions.get(one, 0):,}" for one in Decision)
    text.line(told.decided, ", ".join(decided))
    text.line(told.orders, ", ".join(f"{words.sides[side]} {run.orders.get(side, 0):,}" for side in Side))
    failed = ", ".join(cut(symbol, CONTEXT_LIMIT) for symbol in run.failed[:FAILED_SHOWN])
    more = f" {told.more.format(n=len(run.failed) - FAILED_SHOWN)}" if len(run.failed) > FAILED_SHOWN else ""
    text.line(told.failed, f"{len(run.failed):,}{f' ({failed}{more})' if run.failed else ''}")
    text.line(told.took, told.seconds.format(n=f"{run.seconds:,.1f}")).add("\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.NORMAL, Chat.TRADE)

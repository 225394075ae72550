"""What a day or a week earned, as a message. Currencies are never added up."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from notifications.message import Chat, Message, Priority, Text, cut
from notifications.texts import CONTEXT_LIMIT, KST, Style, titled, traced
from trading.reports import CurrencyProfit, ProfitReport, SymbolProfit

SYMBOLS_SHOWN = 5
UNBOOKED_SHOWN = 5


def profit_report(style: Style, report: ProfitReport, *, at: datetime) -> Message:
    """Realised profit, fees, taxes, what the accounts were worth, and the symbols with the largest figures."""
    words, profit = style.words, style.words.profit
    text = titled(f"📊 {profit.titles[report.period].format(days=_days(report))} ({words.modes[style.mode]})", at)
    for currency in report.currencies:
        _currency(style, text, currency)
    if not report.currencies:
        text.add(profit.nothing).add("\n\n")
    return traced(words, text, style.trace_id, style.links).message(Priority.NORMAL, Chat.TRADE)


def _currency(style: Style, text: Text, figures: CurrencyProfit) -> None:
    words, profit, currency = style.words, style.words.profit, figures.currency
    text.add(cut(currency, CONTEXT_LIMIT), "bold").add("\n")
    text.line(profit.realised, words.amount(figures.realised, currency, signed=True))
    text.line(profit.fees, words.amount(figures.fees, currency))
    text.line(profit.taxes, words.amount(figures.taxes, currency))
    if figures.equity_start is not None and figures.equity_end is not None:
        start, end = (words.amount(worth, currency) for worth in (figures.equity_start, figures.equity_end))
        rate = "" if figures.rate is None else f" ({figures.rate:+.2%})"
        text.line(profit.equity, f"{start} → {end}{rate}")
    count = profit.count.format(n=f"{figures.fills:,}")
    text.line(profit.trades, f"{count}, {profit.volume} {words.amount(figures.volume, currency)}")
    _symbols(style, text, figures)
    if figures.unbooked:
        names = ", ".join(cut(name, CONTEXT_LIMIT) for name in figures.unbooked[:UNBOOKED_SHOWN])
        text.line(f"⚠️ {profit.unbooked}", names + _more(style, len(figures.unbooked) - UNBOOKED_SHOWN))
    text.add("\n")


def _symbols(style: Style, text: Text, figures: CurrencyProfit) -> None:
    if not figures.symbols:
        return
    words, profit = style.words, style.words.profit
    largest = sorted(figures.symbols, key=_size, reverse=True)[:SYMBOLS_SHOWN]
    text.add(profit.symbols + ":", "bold").add(_more(style, len(figures.symbols) - SYMBOLS_SHOWN)).add("\n")
    for number, one in enumerate(sorted(largest, key=lambda one: -one.realised), 1):
        earned = words.amount(one.realised, figures.currency, signed=True)
        name = f"{cut(one.symbol, CONTEXT_LIMIT)} ({cut(one.market, CONTEXT_LIMIT)})"
        text.add(f"  {number}. {name} {earned}, {profit.sales.format(n=one.sales)}\n")


def _size(one: SymbolProfit) -> Decimal:
    return abs(one.realised)


def _more(style: Style, count: int) -> str:
    return f" {style.words.profit.more.format(n=count)}" if count > 0 else ""


def _days(report: ProfitReport) -> str:
    first = report.starts_at.astimezone(KST).date()
    last = (report.ends_at - timedelta(microseconds=1)).astimezone(KST).date()
    return f"{first}" if first == last else f"{first} ~ {last}"

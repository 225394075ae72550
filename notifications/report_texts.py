"""What a day or a week came to, as a message. Each market is shown in its own currency; currencies are never added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from notifications.message import Chat, Message, Priority, Text, cut
from notifications.texts import Style, titled, traced
from notifications.words import quantity
from trading.periods import KST
from trading.reports import Holding, MarketReport, Profit, Report, SymbolProfit, Worth
from trading.types import Decision

SYMBOLS_SHOWN = 5
HOLDINGS_SHOWN = 5
KINDS_SHOWN = 5
MODELS_SHOWN = 3
# so that a report of all markets stays below what Telegram takes
MARKETS_SHOWN = 4
NAME_LIMIT = 24
UNBOOKED_LIMIT = 120


def report(style: Style, told: Report, *, at: datetime, picture: str = "") -> Message:
    """Every market's decisions, trades, profit and account, then errors, alerts, uptime and what models cost."""
    words, its = style.words, style.words.report
    title = its.titles[told.period].format(since=_minute(told.starts_at, "%Y-%m-%d %H:%M"), until=_minute(told.ends_at))
    text = titled(f"📊 {title} ({words.modes[style.mode]})", at)
    for market in told.markets[:MARKETS_SHOWN]:
        _market(style, text, told, market)
    if not told.markets:
        text.add(its.nothing).add("\n\n")
    _operation(style, text, told)
    message = traced(words, text, style.trace_id, style.links).message(Priority.NORMAL, Chat.TRADE)
    return replace(message, picture=picture)


def _market(style: Style, text: Text, told: Report, market: MarketReport) -> None:
    words, its = style.words, style.words.report
    name = words.markets.get(market.asset_type, market.asset_type)
    text.add(f"{cut(name, NAME_LIMIT)} ({cut(market.market, NAME_LIMIT)})", "bold").add("\n")
    counts = {kind: getattr(market.decisions, kind.value) for kind in (Decision.BUY, Decision.SELL, Decision.HOLD)}
    decided = " · ".join(f"{words.decisions[kind]} {count:,}" for kind, count in counts.items())
    overruled = its.overruled.format(n=f"{market.decisions.overruled:,}") if market.decisions.overruled else ""
    text.line(its.decisions, decided + (f" ({overruled})" if overruled else ""))
    if market.profit is not None:
        _trades(style, text, market.profit, market.currency)
        _profit(style, text, told, market.profit, market.currency)
    if market.worth is not None:
        _worth(style, text, told, market.worth, market.currency)
    _holdings(style, text, market.holdings, market.currency)
    text.add("\n")


def _trades(style: Style, text: Text, profit: Profit, currency: str) -> None:
    words, its = style.words, style.words.report
    parts = [its.fills.format(n=f"{profit.fills:,}")]
    for label, value in ((its.bought, profit.bought), (its.sold, profit.sold), (its.fees, profit.fees)):
        parts.append(label.format(amount=words.amount(value, currency)))
    if profit.taxes:
        parts.append(its.taxes.format(amount=words.amount(profit.taxes, currency)))
    text.line(its.trades, " · ".join(parts if profit.fills else parts[:1]))


def _profit(style: Style, text: Text, told: Report, profit: Profit, currency: str) -> None:
    words, its = style.words, style.words.report
    text.line(its.realised, words.amount(profit.realised, currency, signed=True) + _rate(profit.rate))
    if told.period == "week":
        if profit.symbols:
            text.line(its.best, _sold(style, profit.symbols[0], currency))
        if len(profit.symbols) > 1:
            text.line(its.worst, _sold(style, profit.symbols[-1], currency))
        if profit.round_trips:
            rate = f"{profit.won / profit.round_trips:.0%}"
            text.line(its.round_trips, its.trips.format(n=profit.round_trips, rate=rate, won=profit.won))
        else:
            text.line(its.round_trips, "0")
    else:
        largest = sorted(profit.symbols, key=lambda one: -abs(one.realised))[:SYMBOLS_SHOWN]
        for one in sorted(largest, key=lambda one: -one.realised):
            text.add(f"  {_sold(style, one, currency)}, {its.sales.format(n=one.sales)}\n")
        _more(style, text, len(profit.symbols) - SYMBOLS_SHOWN)
    if profit.unbooked:
        text.line(f"⚠️ {its.unbooked}", cut(", ".join(profit.unbooked), UNBOOKED_LIMIT))


def _worth(style: Style, text: Text, told: Report, worth: Worth, currency: str) -> None:
    words, its = style.words, style.words.report
    text.line(its.total, f"{words.amount(worth.total, currency)} ({its.cash} {words.amount(worth.cash, currency)})")
    text.line(its.change, words.amount(worth.total - worth.start, currency, signed=True) + _rate(worth.rate))
    if told.period == "week" and worth.drawdown is not None:
        text.line(its.drawdown, f"{-worth.drawdown:.2%}" if worth.drawdown else "0.00%")


def _holdings(style: Style, text: Text, holdings: Sequence[Holding], currency: str) -> None:
    words, its = style.words, style.words.report
    if not holdings:
        return
    text.add(f"{its.held}:", "bold").add("\n")
    for one in holdings[:HOLDINGS_SHOWN]:
        worth = words.amount(one.worth, currency)
        units = f"{quantity(one.quantity)} × {words.money(one.price, currency)}"
        text.add(f"  {cut(one.symbol, NAME_LIMIT)} {units} = {worth}{_rate(one.rate)}\n")
    _more(style, text, len(holdings) - HOLDINGS_SHOWN)


def _operation(style: Style, text: Text, told: Report) -> None:
    words, its = style.words, style.words.report
    failed = sum(failure.count for failure in told.failures)
    text.line(its.errors, f"{its.failed.format(n=f'{failed:,}')} ({_kinds(told)})" if failed else its.no_errors)
    sent = [] if told.alerts_sent is None else [its.sent.format(n=f"{told.alerts_sent:,}")]
    text.line(its.alerts, " · ".join([*sent, its.not_sent.format(n=f"{told.dead_letters:,}")]))
    text.line(its.uptime, _uptime(style, told))
    for market in told.markets[:MARKETS_SHOWN]:
        if market.sweeps.expected is not None:
            shown = its.swept.format(n=f"{market.sweeps.carried_out:,}", expected=f"{market.sweeps.expected:,}")
            closed = f", {its.closed.format(n=f'{market.sweeps.closed:,}')}" if market.sweeps.closed else ""
            text.add(f"  {cut(market.market, NAME_LIMIT)}: {shown}{closed}\n")
    if told.models:
        calls = its.calls.format(n=f"{sum(model.calls for model in told.models):,}")
        cost = words.money(sum((model.cost for model in told.models), Decimal(0)), "USD")
        text.line(its.models, f"{cost} ({calls})")
        if told.period == "week":
            for model in told.models[:MODELS_SHOWN]:
                calls = its.calls.format(n=f"{model.calls:,}")
                text.add(f"  {cut(model.model, NAME_LIMIT)} {words.money(model.cost, 'USD')} ({calls})\n")
    text.add("\n")


def _uptime(style: Style, told: Report) -> str:
    its = style.words.report
    due = [market.sweeps for market in told.markets if market.sweeps.expected]
    expected = sum(sweeps.expected or 0 for sweeps in due)
    carried_out = sum(sweeps.carried_out for sweeps in due)
    shown = its.no_sweep_due
    if expected:
        # cut, not rounded: 100 % is all of them
        share = Decimal(min(carried_out, expected) * 1000 // expected) / 10
        shown = f"{its.sweeps} {its.swept.format(n=f'{carried_out:,}', expected=f'{expected:,}')} ({share:.1f}%)"
    if told.gap is None:
        return shown
    minutes = int((told.gap.until - told.gap.since).total_seconds()) // 60
    length = (its.hours if minutes >= 60 else its.minutes).format(hours=minutes // 60, minutes=minutes % 60)
    since, until = _minute(told.gap.since), _minute(told.gap.until)
    return f"{shown}, {its.gap.format(length=length, since=since, until=until)}"


def _kinds(told: Report) -> str:
    """Failed analyses by their kind of error, of all markets together, the most frequent first."""
    counts: dict[str, int] = {}
    for failure in told.failures:
        counts[failure.kind] = counts.get(failure.kind, 0) + failure.count
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{cut(kind, NAME_LIMIT)} {count:,}" for kind, count in largest[:KINDS_SHOWN]]
    return ", ".join(shown) + (", …" if len(largest) > KINDS_SHOWN else "")


def _sold(style: Style, one: SymbolProfit, currency: str) -> str:
    return f"{cut(one.symbol, NAME_LIMIT)} {style.words.amount(one.realised, currency, signed=True)}{_rate(one.rate)}"


def _rate(rate: Decimal | None) -> str:
    return "" if rate is None else f" ({rate:+.2%})"


def _more(style: Style, text: Text, count: int) -> None:
    if count > 0:
        text.add(f"  {style.words.report.more.format(n=f'{count:,}')}\n")


def _minute(at: datetime, form: str = "%m-%d %H:%M") -> str:
    return at.astimezone(KST).strftime(form)

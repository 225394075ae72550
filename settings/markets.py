"""The markets there are."""

from __future__ import annotations

MARKETS = ("upbit", "kis", "yfinance")


class UnknownMarket(ValueError):
    """No such market; the message lists those there are."""


def check_market(market: str) -> None:
    """Raise `UnknownMarket` unless `market` is one of ours."""
    if market not in MARKETS:
        raise UnknownMarket(f"unknown market {market!r}: use one of {', '.join(MARKETS)}")


def orders_queue(market: str) -> str:
    """The queue beside a market's own; its workers serve both."""
    return f"{market}.orders"

"""Which prices a market gets in the demo: recorded candles, the live public feed, or the simulated venue."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from settings import MARKETS

Feed = Literal["recorded", "live", "simulated"]
Request = Literal["auto", "live", "simulated"]

PROBE_SECONDS = 2.0

# Yahoo refuses the user agent of urllib
_USER_AGENT = "Mozilla/5.0"


class FeedError(Exception):
    """A feed was asked for that is not there; one line per market."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Where to ask whether a live feed answers: a GET for Upbit and Yahoo, a connection for KIS."""

    upbit: str = "https://api.upbit.com/v1/market/all"
    yfinance: str = "https://query1.finance.yahoo.com/v8/finance/chart/AAPL"
    kis: str = "https://openapi.koreainvestment.com:9443"


@dataclass(frozen=True, slots=True)
class MarketFeed:
    """The feed of one market, and why this one."""

    market: str
    feed: Feed
    reason: str

    def __str__(self) -> str:
        return f"{self.market}: {self.feed} ({self.reason})"


def choose_feeds(
    requested: Request,
    candles: Path | None,
    *,
    only_simulated: Collection[str] = (),
    probes: Probes | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, MarketFeed]:
    """The feed of every market; `only_simulated` names markets that need the sandbox whatever is requested.

    Takes up to 2 s. Raises `FeedError` if "live" is requested and a market has no live feed.
    """
    if candles is not None:
        return {market: MarketFeed(market, "recorded", f"candles of {candles}") for market in MARKETS}
    if requested == "simulated":
        return {market: MarketFeed(market, "simulated", "as requested") for market in MARKETS}
    feeds = _probe_all(probes or Probes(), environ)
    for market in only_simulated:
        feeds[market] = MarketFeed(market, "simulated", "--fail works on the simulated venue only")
    missing = [str(feed) for feed in feeds.values() if feed.feed != "live"]
    if requested == "live" and missing:
        raise FeedError("\n".join(f"no live feed for {line}" for line in missing))
    return {market: feeds[market] for market in MARKETS}


def overall(feeds: Mapping[str, MarketFeed]) -> Feed:
    """One word for all markets, the weakest: "live" only if every one of them is."""
    kinds = {feed.feed for feed in feeds.values()}
    return kinds.pop() if len(kinds) == 1 else "simulated"


def _probe_all(probes: Probes, environ: Mapping[str, str]) -> dict[str, MarketFeed]:
    """Probe the three at once: looking up a name can take longer than any time-out given to it."""
    found: dict[str, MarketFeed] = {}

    def probe(market: str) -> None:
        if market == "kis":
            found[market] = _probe_kis(probes.kis, environ)
        else:
            url = probes.upbit if market == "upbit" else probes.yfinance
            found[market] = _probe_http(market, url)

    threads = [threading.Thread(target=probe, args=(market,), daemon=True) for market in MARKETS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PROBE_SECONDS + 0.5)
    return {market: found.get(market) or MarketFeed(market, "simulated", "no answer in 2 s") for market in MARKETS}


def _probe_http(market: str, url: str) -> MarketFeed:
    host = urlsplit(url).hostname
    # without the proxy of the environment, as the workers connect
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT})
        with opener.open(request, timeout=PROBE_SECONDS) as reply:
            reply.read(1)
    except urllib.error.HTTPError as error:
        return MarketFeed(market, "simulated", f"{host} answered HTTP {error.code}")
    except (OSError, http.client.HTTPException) as error:
        return MarketFeed(market, "simulated", f"{host} not reachable: {_cause(error)}")
    return MarketFeed(market, "live", f"{host} answers; orders stay on paper")


def _probe_kis(url: str, environ: Mapping[str, str]) -> MarketFeed:
    if not (environ.get("KIS_APP_KEY") and environ.get("KIS_APP_SECRET")):
        return MarketFeed("kis", "simulated", "KIS_APP_KEY and KIS_APP_SECRET are not set in the environment")
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=PROBE_SECONDS).close()
    except OSError as error:
        return MarketFeed("kis", "simulated", f"{parts.hostname} not reachable: {_cause(error)}")
    return MarketFeed("kis", "live", f"{parts.hostname} answers; orders stay on paper")


def _cause(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__

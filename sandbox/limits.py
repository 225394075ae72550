"""The venues' rate limits as the venues enforce them: windows of one second that slide, a refusal, then a block.

Switched on by `Sandbox(enforce_limits=True)` or `python -m sandbox --enforce-limits`. Upbit is counted per group
and IP or access key (docs.upbit.com, rate-limits), KIS per app key (notice of 2026-04-20). The limits are written
down here once more, apart from those the workers keep to, so that a mistake there does not excuse itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

TOO_MANY_REQUESTS = 429
BLOCKED = 418

# group -> requests in any so many seconds, and whether the IP or the account is counted
UPBIT_GROUPS: dict[str, tuple[int, float, str]] = {
    "market": (10, 1.0, "ip"),
    "candle": (10, 1.0, "ip"),
    "trade": (10, 1.0, "ip"),
    "ticker": (10, 1.0, "ip"),
    "orderbook": (10, 1.0, "ip"),
    "default": (30, 1.0, "account"),
    "order": (12, 1.0, "account"),
    "order-test": (8, 1.0, "account"),
    "order-cancel-all": (1, 2.0, "account"),
}
_UPBIT_PATHS = {
    ("GET", "market"): "market",
    ("GET", "candles"): "candle",
    ("GET", "trades"): "trade",
    ("GET", "ticker"): "ticker",
    ("GET", "orderbook"): "orderbook",
    ("POST", "orders"): "order",
    ("POST", "orders/test"): "order-test",
    ("POST", "orders/cancel_and_new"): "order",
    ("DELETE", "orders/open"): "order-cancel-all",
}
KIS_PER_SECOND = 18
KIS_TOKEN = "/oauth2/"

# Upbit does not say how long it takes to be blocked, nor for how long at first: as many refused requests as a
# group has in a second, and a minute that doubles.
REFUSED_SECONDS = 1.0
STRIKES = 10
BLOCK_SECONDS = 60
LONGEST_BLOCK_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request refused: the HTTP status (None: the venue's own) and the seconds to stay away."""

    status: int | None
    seconds: int


@dataclass(slots=True)
class _Window:
    requests: int
    seconds: float
    taken: deque[float] = field(default_factory=deque)
    refused_until: float = float("-inf")
    strikes: int = 0


@dataclass(slots=True)
class _Block:
    until: float = float("-inf")
    count: int = 0


class Limits:
    """Counts requests. `clock` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self._blocks: dict[str, _Block] = {}
        self._refused: Counter[str] = Counter()
        self._served: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    def refusal(self, service: str, path: str, request: web.Request) -> Refusal | None:
        """The refusal of this request, which is counted, or None."""
        if service == "upbit":
            return self._upbit(path, request)
        if service == "kis" and not path.startswith(KIS_TOKEN):
            key = request.headers.get("appkey", "")
            window = self._window("kis", "rest", key, KIS_PER_SECOND, 1.0)
            return None if self._counted("kis/rest", window) else self._refuse("kis/rest", None)
        return None

    def summary(self) -> dict[str, dict[str, int]]:
        """By `service/group`: requests served and refused, and the most there were in any window, refused included."""
        names = sorted(self._served.keys() | self._refused.keys())
        return {
            name: {"served": self._served[name], "refused": self._refused[name], "most": self._most[name]}
            for name in names
        }

    def clear(self) -> None:
        """Forget the counts of the summary; windows and blocks stay."""
        for counts in (self._refused, self._served, self._most):
            counts.clear()

    def _upbit(self, path: str, request: web.Request) -> Refusal | None:
        group = _upbit_group(request.method, path)
        requests, seconds, scope = UPBIT_GROUPS[group]
        address = request.remote or ""
        name = f"upbit/{group}"
        now = self._clock()
        block = self._blocks.setdefault(address, _Block())
        if now < block.until:
            return self._refuse(name, BLOCKED, block.until - now)
        window = self._window("upbit", group, address if scope == "ip" else _access_key(request), requests, seconds)
        if now < window.refused_until:
            window.strikes += 1
            if window.strikes >= STRIKES:
                window.strikes = 0
                length = min(BLOCK_SECONDS * 2**block.count, LONGEST_BLOCK_SECONDS)
                block.until, block.count = now + length, block.count + 1
                return self._refuse(name, BLOCKED, length)
            return self._refuse(name, TOO_MANY_REQUESTS)
        if self._counted(name, window):
            return None
        window.refused_until, window.strikes = now + REFUSED_SECONDS, 1
        return self._refuse(name, TOO_MANY_REQUESTS)

    def _window(self, service: str, group: str, party: str, requests: int, seconds: float) -> _Window:
        return self._windows.setdefault((service, group, party), _Window(requests, seconds))

    def _counted(self, name: str, window: _Window) -> bool:
        now = self._clock()
        while window.taken and window.taken[0] <= now - window.seconds:
            window.taken.popleft()
        self._most[name] = max(self._most[name], len(window.taken) + 1)
        if len(window.taken) >= window.requests:
            return False
        window.taken.append(now)
        self._served[name] += 1
        return True

    def _refuse(self, name: str, status: int | None, seconds: float = REFUSED_SECONDS) -> Refusal:
        self._refused[name] += 1
        # whole seconds, as the message has them, and never fewer than are left
        return Refusal(status, max(1, int(-(-seconds // 1))))


def _upbit_group(method: str, path: str) -> str:
    parts = path.removeprefix("/v1/").strip("/")
    return _UPBIT_PATHS.get((method, parts)) or _UPBIT_PATHS.get((method, parts.split("/")[0])) or "default"


def _access_key(request: web.Request) -> str:
    """Whose request it is, from the token, unverified: that is for the venue to do."""
    token = request.headers.get("Authorization", "").partition(" ")[2]
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error):
        return ""
    return str(claims.get("access_key", "")) if isinstance(claims, dict) else ""

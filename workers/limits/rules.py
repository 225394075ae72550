"""Which limit a request falls under: the dated rows of `limits.json`, by venue, group and who is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workers.dated import in_force, load

if TYPE_CHECKING:
    from workers.calls import Call

PREFIX = "autotrader:limits"

# A venue counts when a request arrives, which is later than it was let through by a delay that varies. So the window
# we keep to is longer than the venue's by what two delays may differ. It costs as much of the rate: with windows of
# a second 2 %, less the first window, in which the whole allowance is free at once. A delay that was longer is told
# by the answer, and opens the lane as much later.
GUARD_SECONDS = 0.020
# That allowance is not sent at one moment, where requests hold each other up, but over this part of the window.
BURST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit of one counted party: `requests` in any `seconds`. The names of the keys hold hashes, never a key."""

    venue: str
    group: str
    requests: int
    seconds: float
    place: str
    party: str

    @property
    def window(self) -> float:
        """The seconds in which we send no more than `requests`."""
        return self.seconds + GUARD_SECONDS

    @property
    def gap(self) -> float:
        """The fewest seconds between two slots."""
        return self.seconds * BURST_SHARE / self.requests

    @property
    def lanes(self) -> str:
        """The Redis key of the slots."""
        return f"{self._prefix}:{self.group}:{self.party}:lanes"

    @property
    def gate(self) -> str:
        """The Redis key of the time until which this group is closed."""
        return f"{self._prefix}:{self.group}:{self.party}:closed"

    @property
    def venue_gate(self) -> str:
        """The Redis key of the time until which the whole venue is closed."""
        return f"{self._prefix}:closed"

    @property
    def _prefix(self) -> str:
        # the braces keep the keys of one script in one slot of a Redis cluster
        return f"{PREFIX}:{{{self.venue}:{self.place}}}"


def bucket_of(call: Call, url: str, headers: Mapping[str, str] | None = None) -> Bucket | None:
    """The bucket of a request, or None where none is counted.

    Limits per IP and per pocket have one bucket for all processes that share a Redis, since they are taken to share
    the address and the account; limits per key have one per value of the header that carries it. A stand-in at
    another address has buckets of its own.
    """
    parts = urlsplit(url)
    venue = _venues().get(call.service)
    if venue is None:
        return None
    group = venue["operations"].get(call.operation, venue["unlisted"])
    if group is None:
        return None
    group = venue.get("hosts", {}).get(parts.hostname, group)
    name = venue["groups"][group].get("header", "")
    party = (headers or {}).get(name, "") if name else ""
    return _bucket(call.service, group, f"{parts.scheme}://{parts.netloc}", party, datetime.now(UTC).date())


def groups_of(service: str) -> tuple[str, ...]:
    """The groups a venue counts in."""
    venue = _venues().get(service)
    return tuple(venue["groups"]) if venue else ()


@lru_cache(maxsize=256)
def _bucket(service: str, group: str, origin: str, party: str, on: date) -> Bucket:
    rule = _venues()[service]["groups"][group]
    row = in_force(rule["limits"], on)
    return Bucket(
        service, group, int(row["requests"]), float(row["seconds"]), _digest(origin), _digest(party) or rule["scope"]
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


@lru_cache(maxsize=1)
def _venues() -> dict[str, Any]:
    venues: dict[str, Any] = load("workers.limits", "limits.json")["venues"]
    return venues

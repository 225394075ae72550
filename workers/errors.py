"""What can go wrong at a venue, one class per reaction of the caller. No message ever holds a URL or a key."""

from __future__ import annotations


class VenueError(Exception):
    """A venue could not be used; the message names the venue, the symbol and the cure."""


class TimedOut(VenueError):
    """No answer within the time-out: a read may be repeated at the next tick, an order is unproven."""


class Unreachable(VenueError):
    """No connection could be made, or it broke before the answer was complete: check the network and the base URL."""


class Throttled(VenueError):
    """The venue refused for rate (429, 418, EGW00201): close the gate for `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownSymbol(VenueError):
    """The venue does not list this symbol: correct the setting."""


class BadReply(VenueError):
    """The venue answered something that is not its documented reply, such as an HTML page or an HTTP 500."""


class BadCredentials(VenueError):
    """The venue refused the keys, or there are none: correct them, nothing will work until then."""


class Rejected(VenueError):
    """The venue understood and refused; `name` is its own error name."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class NoData(VenueError):
    """The venue has no rows where some were needed."""


class Stale(VenueError):
    """The newest data is older than it may be."""


class Unproven(VenueError):
    """Sent, and nothing proves what became of it: ask the venue about the order, never send it again.

    `about` names the order where several of one symbol fail with the same words: each of them is told.
    """

    def __init__(self, message: str, *, about: str = "") -> None:
        super().__init__(message)
        self.about = about


class Ambiguous(VenueError):
    """Several orders at the venue could be the one that was sent: a human must look which is ours."""

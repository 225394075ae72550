"""KIS's refusals by code, as our errors.

A refusal comes with HTTP 200, 403 or 500 alike and in two shapes (`msg_cd` of a business call, `error_code` of a
token call), so the JSON is judged before the status.
"""

from __future__ import annotations

import re
from typing import Any

from workers.calls import SERVER_ERROR_STATUS, Call, bad_status
from workers.errors import BadCredentials, Rejected, Throttled, UnknownSymbol, Unproven, VenueError

OK = "0"
REFUSED = re.compile(r"[1-9]")
CODE = re.compile(r"[A-Z]{3,4}[0-9]{4,5}|[0-9]{8}")
# "the order was sent", which no refusal says
ACCEPTED_CODE = "APBK0013"
TOO_MANY_REQUESTS = 429
THROTTLED_SECONDS = 1.0

RATE_CODES = frozenset({"EGW00201", "EGW00215"})
# the token is invalid, or has expired
TOKEN_CODES = frozenset({"EGW00121", "EGW00123"})
# asked for a token too soon after the last one
TOKEN_RATE_CODE = "EGW00133"
# no or wrong app key, no or wrong app secret, key of the other environment, call that the environment does not have
KEY_CODES = frozenset({"EGW00102", "EGW00103", "EGW00104", "EGW00105", "EGW02004", "EGW02006"})
# the gateway's own failure
SERVER_CODES = frozenset({"EGW00002"})
SYMBOL_CODES = frozenset({"MCA05918"})
SYMBOL_WORDS = "종목코드"
# rows changed since the page before
MOVED_CODES = frozenset({"SYDB0050"})
# the gateway speaks of its own routing or of the answer's way back: what became of an order it does not say
UNPROVEN_PREFIXES = ("EGW00002", "EGW002", "EGW003", "IGW")

KEY_CURE = "correct KIS_APP_KEY and KIS_APP_SECRET, and see that KIS_BASE_URL is of the same environment"


class TokenRefused(BadCredentials):
    """The token is no longer good: drop it and ask for a new one, once."""


class TokenTooSoon(Throttled):
    """A token may not be asked for yet."""


class TurnedAway(Throttled):
    """The order never got past the gateway, so it provably does not exist: a new attempt may be made."""


class DataMoved(VenueError):
    """The rows changed between two pages: read them again from the first page."""


class WrongEnvironment(VenueError):
    """The address is not of the environment (real or mock) that was asked for."""


class NotOffered(VenueError):
    """The environment does not have this call."""


def judge(call: Call, status: int, document: Any) -> VenueError | None:
    """The error in a reply of KIS, or None."""
    if not isinstance(document, dict):
        return _throttled(call, "HTTP 429") if status == TOO_MANY_REQUESTS else None
    if str(document.get("rt_cd")) == OK:
        return None
    code = str(document.get("msg_cd") or document.get("error_code") or "").strip()
    if not code:
        return _throttled(call, "HTTP 429") if status == TOO_MANY_REQUESTS else None
    text = str(document.get("msg1") or document.get("error_description") or "").strip()[:120]
    return _by_code(call, status, code, text)


def _by_code(call: Call, status: int, code: str, text: str) -> VenueError | None:
    if code == TOKEN_RATE_CODE:
        return TokenTooSoon(f"{call}: a token may be asked for once a minute ({code})", THROTTLED_SECONDS)
    if code in RATE_CODES or status == TOO_MANY_REQUESTS:
        return _throttled(call, code)
    if code in TOKEN_CODES:
        return TokenRefused(f"{call}: the access token was refused ({code}); {KEY_CURE}")
    if code in KEY_CODES:
        return BadCredentials(f"{call}: the keys were refused ({code}); {KEY_CURE}")
    if code in SERVER_CODES:
        return bad_status(call, status)
    if code in SYMBOL_CODES or SYMBOL_WORDS in text:
        return UnknownSymbol(f"{call}: KIS does not list {call.symbol} ({code}); correct KIS_SYMBOLS")
    return Rejected(f"{call}: refused, {code}: {text}", code)


def judge_trading(call: Call, status: int, document: Any) -> VenueError | None:
    """The error in the reply to a read of the account, or None."""
    error = judge(call, status, document)
    if isinstance(error, Rejected) and error.name in MOVED_CODES:
        return DataMoved(f"{call}: the rows changed while they were read ({error.name})")
    return error


def judge_order(call: Call, status: int, document: Any) -> VenueError | None:
    """The error in the reply to an order: `Rejected`, `BadCredentials`, `Throttled` and `TurnedAway` prove that there
    is no order; `Unproven` proves nothing, and so does a reply without KIS's own JSON, for which this is None."""
    if not isinstance(document, dict) or "rt_cd" not in document:
        return None
    if document["rt_cd"] == OK:
        return None
    code = str(document.get("msg_cd") or "").strip()
    if not _is_refusal(document, code):
        return Unproven(f"{call}: answered something that is no refusal of KIS (HTTP {status}); look for the order")
    text = str(document.get("msg1") or "").strip()[:120]
    if code in RATE_CODES:
        return _throttled(call, code)
    if code in TOKEN_CODES:
        return TurnedAway(f"{call}: not created, the access token was refused ({code})", THROTTLED_SECONDS)
    if code in KEY_CODES:
        return BadCredentials(f"{call}: the keys were refused ({code}); {KEY_CURE}")
    if not code or code.startswith(UNPROVEN_PREFIXES):
        return Unproven(f"{call}: KIS failed on the way ({code or 'no code'}, HTTP {status}); look for the order")
    return Rejected(f"{call}: refused, {code}: {text}", code)


def _is_refusal(document: dict[str, Any], code: str) -> bool:
    """Whether a reply to an order has the form of KIS's refusals: a digit, a code, and no order number beside it."""
    kind = document["rt_cd"]
    return (
        isinstance(kind, str)
        and REFUSED.fullmatch(kind) is not None
        and isinstance(document.get("msg_cd"), str)
        and (not code or CODE.fullmatch(code) is not None)
        and code != ACCEPTED_CODE
        and not document.get("output")
    )


def judge_token(call: Call, status: int, document: Any) -> VenueError | None:
    """The error in the reply to a token call: whatever is refused there and is no fault of the server is the keys."""
    error = judge(call, status, document)
    if isinstance(error, Rejected | TokenRefused) and status < SERVER_ERROR_STATUS:
        code = error.name if isinstance(error, Rejected) else "token"
        # without the venue's text: a reply about keys may quote them
        return BadCredentials(f"{call}: the keys were refused ({code}); {KEY_CURE}")
    return error


def _throttled(call: Call, code: str) -> Throttled:
    return Throttled(f"{call}: over the rate limit ({code}); wait {THROTTLED_SECONDS:g} s", THROTTLED_SECONDS)

"""Upbit's refusals by name, as our errors. Its list of names is not closed, so an unknown one is `Rejected`."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from workers.calls import SERVER_ERROR_STATUS, Call
from workers.errors import BadCredentials, Rejected, Throttled, UnknownSymbol, VenueError
from workers.upbit.wire import Fault, FaultReply

TOO_MANY_REQUESTS = 429
BLOCKED = 418
# A 429 is over with its second; a 418 is a block that grows when it is ignored, and its message may say how long.
THROTTLED_SECONDS = 1.0
BLOCKED_SECONDS = 60.0
LONGEST_BLOCK_SECONDS = 3600.0
BLOCK_TIME = re.compile(r"(\d{1,6})\s*(?:seconds?|초)")

NOT_LISTED = "notfoundmarket"
CODE_NOT_FOUND = "code not found"
CREDENTIALS = (
    "invalid_query_payload",
    "jwt_verification",
    "expired_access_key",
    "invalid_access_key",
    "nonce_used",
    "no_authorization",
    "out_of_scope",
)


def judge(call: Call, status: int, document: Any) -> VenueError | None:
    """The error in a reply of Upbit, or None. A 429 or 418 counts whatever its body is."""
    if status == BLOCKED:
        seconds = _block_seconds(_fault(document))
        return Throttled(f"{call}: blocked for ignoring the rate limit; wait {seconds:g} s", seconds)
    if status == TOO_MANY_REQUESTS:
        return Throttled(f"{call}: over the rate limit; wait {THROTTLED_SECONDS:g} s", THROTTLED_SECONDS)
    fault = _fault(document)
    if fault is None or status >= SERVER_ERROR_STATUS:
        return None
    name = str(fault.name)
    if name == NOT_LISTED or fault.message.strip().lower() == CODE_NOT_FOUND:
        return UnknownSymbol(f"{call}: Upbit does not list {call.symbol}; correct UPBIT_SYMBOLS")
    if name.startswith(CREDENTIALS):
        return BadCredentials(f"{call}: the key was refused ({name}); check the key, its permissions and its IP list")
    return Rejected(f"{call}: refused, {name}: {fault.message[:120]}", name)


def _block_seconds(fault: Fault | None) -> float:
    named = BLOCK_TIME.search(fault.message) if fault else None
    return min(float(named[1]), LONGEST_BLOCK_SECONDS) if named else BLOCKED_SECONDS


def _fault(document: Any) -> Fault | None:
    if not isinstance(document, dict) or "error" not in document:
        return None
    try:
        return FaultReply.model_validate(document).error
    except ValidationError:
        return None

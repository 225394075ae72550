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
ORDER_NOT_FOUND = "order_not_found"
DUPLICATED_IDENTIFIER = "duplicated_identifier"
NONCE_USED = "nonce_used"

_SIGNATURE = "check UPBIT_SECRET_KEY, it must be the one made together with the access key"
_ADDRESS = "this machine's IP address is not on the list of the key; add it under Open API management on upbit.com"
# the first that a name begins with; the list of an address error is spelt both ..._ip and ..._i_p
CREDENTIALS = (
    ("invalid_query_payload", _SIGNATURE),
    ("jwt_verification", _SIGNATURE),
    ("expired_access_key", "a key lasts one year; make a new one and set UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY"),
    ("invalid_access_key", "check UPBIT_ACCESS_KEY"),
    (NONCE_USED, "something between us and Upbit repeats requests; look for a proxy that retries"),
    ("no_authorization_i", _ADDRESS),
    ("no_authorization", "set UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY"),
    ("out_of_scope", "give the key the permissions to read accounts, to read orders and to place orders"),
)
# The refusals of an order that prove it was not created (docs.upbit.com, error table of new-order). Upbit's list
# is not closed, and what is not on this one proves nothing.
REFUSED_ORDER = (
    "create_ask_error",
    "create_bid_error",
    "insufficient_funds_",
    "under_min_total_",
    "over_krw_funds_",
    "invalid_price_",
    "invalid_parameter",
    "invalid_post_only",
    "invalid_time_in_force",
    "validation_error",
    "market_offline",
    "pocket_not_found",
    "currency_not_found",
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
    cure = next((cure for start, cure in CREDENTIALS if name.startswith(start)), None)
    if cure is not None:
        return BadCredentials(f"{call}: the key was refused ({name}); {cure}")
    return Rejected(f"{call}: refused, {name}: {fault.message[:120]}", name)


def error_name(document: Any) -> str:
    """Upbit's own name of the error in a reply, or "" where there is none."""
    fault = _fault(document)
    return "" if fault is None else str(fault.name)


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

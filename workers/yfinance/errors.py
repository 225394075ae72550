"""Yahoo's and yfinance's failures, as our errors. Imports neither: exceptions are known by the names of their classes.

yfinance answers a refused request by asking again with another cookie, which makes a throttled client hit harder.
So a refusal of the chart itself is judged here, in the session, before yfinance sees it.
"""

from __future__ import annotations

import json
from typing import Any

from workers.calls import SERVER_ERROR_STATUS, Call, bad_status, not_json
from workers.errors import BadReply, NoData, Throttled, TimedOut, UnknownSymbol, Unreachable, VenueError

FIRST_NOT_OK_STATUS = 300
NOT_FOUND = 404
TOO_MANY_REQUESTS = 429
# Yahoo names no time; a block lasts minutes rather than seconds.
THROTTLED_SECONDS = 60.0

TIMEOUTS = frozenset({"Timeout", "ConnectTimeout", "ReadTimeout"})
NO_PRICES = frozenset({"YFPricesMissingError", "YFTickerMissingError", "YFInvalidPeriodError"})


def judge_chart(call: Call, status: int, text: str) -> VenueError | None:
    """The error in the answer to a chart request, or None where yfinance may read it or try another cookie."""
    if status == TOO_MANY_REQUESTS:
        return throttled(call)
    if status == NOT_FOUND:
        return unknown_symbol(call)
    is_json = text.lstrip()[:1] == "{"
    if not is_json and (status >= SERVER_ERROR_STATUS or status < FIRST_NOT_OK_STATUS):
        return not_json(call, status, text[:200])
    if status < FIRST_NOT_OK_STATUS:
        return _unreadable(call, text)
    return bad_status(call, status) if status >= SERVER_ERROR_STATUS else None


def translate(error: Exception, call: Call, timeout: float) -> VenueError:
    """What yfinance or curl raised, as our error; its own message, which may hold an address, is left behind."""
    if isinstance(error, VenueError):
        return error
    names = {kind.__name__ for kind in type(error).__mro__}
    if "YFRateLimitError" in names:
        return throttled(call)
    if "YFTzMissingError" in names:
        return unknown_symbol(call)
    if names & NO_PRICES:
        return no_data(call)
    if names & TIMEOUTS:
        return TimedOut(f"{call}: no answer within {timeout:g} s; it is tried again at the next tick")
    if isinstance(error, json.JSONDecodeError):
        return BadReply(f"{call}: answered something that is not JSON; it is tried again at the next tick")
    if "RequestException" in names:
        return Unreachable(f"{call}: not reachable ({type(error).__name__}); check the network and {call.setting}")
    # yfinance reads the reply without checks: what it trips over is a reply that is no chart
    what = f"something that is no {call.operation} ({type(error).__name__})"
    return BadReply(f"{call}: answered {what}; see if yfinance is current")


def _unreadable(call: Call, text: str) -> BadReply | None:
    """The error for what is no JSON or says one thing twice, which yfinance would read as the last of the two."""
    try:
        json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        what = f"no {call.operation} ({type(error).__name__})"
        return BadReply(f"{call}: answered {what}; it is tried again at the next tick")
    return None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("one name has two values")
    return known


def throttled(call: Call) -> Throttled:
    return Throttled(f"{call}: over the rate limit; wait {THROTTLED_SECONDS:g} s", THROTTLED_SECONDS)


def unknown_symbol(call: Call) -> UnknownSymbol:
    return UnknownSymbol(f"{call}: Yahoo does not list {call.symbol}; correct YFINANCE_SYMBOLS")


def no_data(call: Call) -> NoData:
    return NoData(f"{call}: there are no candles; is it delisted? see YFINANCE_SYMBOLS")

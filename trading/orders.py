"""Order ids and the order state machine; docs/orders.md is the policy behind both."""

from __future__ import annotations

import hashlib
import json
import re
from types import MappingProxyType

from trading.errors import IllegalTransition
from trading.types import OrderState, Side

ID_LENGTH = 36
# of legs and attempts: keeps at least 80 bits of the digest in the id
HIGHEST = 999

_S = OrderState

TRANSITIONS = MappingProxyType(
    {
        # cancelled before it was sent: the last check before sending refused it
        _S.PLANNED: frozenset({_S.SENDING, _S.CANCELLED}),
        # whatever the answer to the one POST proves; no answer, or a crash while sending, is unknown
        _S.SENDING: frozenset(
            {_S.ACCEPTED, _S.REJECTED, _S.THROTTLED, _S.UNKNOWN, _S.PARTLY_FILLED, _S.FILLED, _S.CANCELLED}
        ),
        # settled only by asking the venue, never by sending again
        _S.UNKNOWN: frozenset({_S.ACCEPTED, _S.REJECTED, _S.PARTLY_FILLED, _S.FILLED, _S.CANCELLED, _S.NOT_CREATED}),
        # a broker may accept what the exchange then refuses
        _S.ACCEPTED: frozenset({_S.PARTLY_FILLED, _S.FILLED, _S.CANCELLED, _S.REJECTED}),
        # another partial fill keeps the state; what ends with a part filled is cancelled, and keeps its fills
        _S.PARTLY_FILLED: frozenset({_S.PARTLY_FILLED, _S.FILLED, _S.CANCELLED}),
        _S.REJECTED: frozenset(),
        # provably not created, but its id may be burnt at the venue: another attempt is another order
        _S.THROTTLED: frozenset(),
        _S.FILLED: frozenset(),
        _S.CANCELLED: frozenset(),
        _S.NOT_CREATED: frozenset(),
    }
)

TERMINAL = frozenset(state for state, targets in TRANSITIONS.items() if not targets)

# it may or may not exist at the venue: blocks new exposure in its symbol
UNPROVEN = frozenset({_S.SENDING, _S.UNKNOWN})

# it is in the venue's book and may still trade
RESTING = frozenset({_S.ACCEPTED, _S.PARTLY_FILLED})


def check_transition(old: OrderState, new: OrderState) -> None:
    """Raise `IllegalTransition` unless an order may go from `old` to `new`."""
    allowed = TRANSITIONS[old]
    if new not in allowed:
        ways = ", ".join(sorted(allowed)) or "nothing, it is terminal"
        raise IllegalTransition(
            f"an order cannot go from {old} to {new} (from {old}: {ways}); ask the venue and read its events"
        )


def client_order_id(run_id: str, market: str, symbol: str, side: Side, leg: int, attempt: int) -> str:
    """The id the venue knows the order by: 36 characters of A-Z, a-z, 0-9 and -.

    The same arguments always make the same id, so a task delivered twice meets its own order; other
    arguments make another, by SHA-256. `run_id` must never come twice, not even after the database was set
    up anew: a venue refuses an id it has seen. The front is for people: market, side and leg, attempt.
    Raises `ValueError` for a leg or an attempt outside 0 to 999.
    """
    for name, number in (("leg", leg), ("attempt", attempt)):
        if not 0 <= number <= HIGHEST:
            raise ValueError(f"{name} {number} is outside 0 to {HIGHEST}")
    front = f"{re.sub('[^A-Za-z0-9]', '', market)[:5]}-{side.value[0]}{leg}-{attempt}-"
    facts = json.dumps([run_id, market, symbol, side.value, leg, attempt])
    return front + hashlib.sha256(facts.encode()).hexdigest()[: ID_LENGTH - len(front)]
